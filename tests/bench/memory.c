#include "memory.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define MEMORY_GENERATIONS 16

struct memory_status {
	char name[16]; /* as the kernel cuts it */
	pid_t parent;
	unsigned long resident;
	unsigned long own;
};

/* The value of LINE, if KEY is what it is about. */
static const char *memory_value(const char *line, const char *key)
{
	size_t length = strlen(key);

	return strncmp(line, key, length) == 0 ? line + length + strspn(line + length, "\t ")
					       : NULL;
}

/* Returns whether there is such a process. */
static bool memory_read(pid_t pid, struct memory_status *ret_status)
{
	struct memory_status status = {.parent = 0};
	char path[32], line[128];
	const char *value;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);

	FILE *file = fopen(path, "re");

	if (!file)
		return false;
	while (fgets(line, sizeof line, file)) {
		if ((value = memory_value(line, "Name:")))
			snprintf(status.name, sizeof status.name, "%.*s", (int)strcspn(value, "\n"),
				value);
		else if ((value = memory_value(line, "PPid:")))
			status.parent = (pid_t)strtol(value, NULL, 10);
		else if ((value = memory_value(line, "VmRSS:")))
			status.resident = strtoul(value, NULL, 10);
		else if ((value = memory_value(line, "RssAnon:")))
			status.own = strtoul(value, NULL, 10);
	}
	(void)fclose(file);
	*ret_status = status;
	return true;
}

static bool memory_is_descendant(pid_t pid)
{
	struct memory_status status;

	for (int i = 0; i < MEMORY_GENERATIONS && pid > 1; i++) {
		if (pid == getpid())
			return true;
		if (!memory_read(pid, &status))
			return false;
		pid = status.parent;
	}
	return false;
}

struct memory memory_of(const char *name)
{
	struct memory memory = {0};
	const struct dirent *entry;
	DIR *directory = opendir("/proc");

	if (!directory)
		return memory;
	while ((entry = readdir(directory))) {
		struct memory_status status;
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10); /* 0 where it is no number */

		if (pid < 1 || !memory_read(pid, &status) || strcmp(status.name, name) != 0 ||
			!memory_is_descendant(pid))
			continue;
		memory.processes++;
		memory.resident += status.resident;
		memory.own += status.own;
	}
	closedir(directory);
	return memory;
}
