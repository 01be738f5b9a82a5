/*
 * Owns: the search for rules files, as udev(7) has it. A file is about TPMs if one of its rules
 * matches a name or subsystem of theirs and sets owner, group or mode.
 */
#include "cli/udev-rules.h"

#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The first one counts. The last one is the one before it where /usr is merged. */
static const char *const directories[] = {"/etc/udev/rules.d", "/run/udev/rules.d",
	"/usr/local/lib/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d"};

#define DIRECTORIES (sizeof directories / sizeof *directories)

static bool has_any(const char *text, const char *const parts[])
{
	for (size_t i = 0; parts[i]; i++)
		if (strstr(text, parts[i]))
			return true;
	return false;
}

/* LINE is a rule, which a backslash at the end of a line has not ended. */
static bool rule_is_about_tpms(const char *line)
{
	static const char *const matches[] = {
		"KERNEL==\"tpm", "KERNEL==\"tcm", "|tpm", "|tcm", "SUBSYSTEM==\"tpm", NULL};
	static const char *const gives[] = {"OWNER", "GROUP", "MODE", NULL};

	while (*line == ' ' || *line == '\t')
		line++;
	return *line != '#' && has_any(line, matches) && has_any(line, gives);
}

static bool file_is_about_tpms(const char *path)
{
	FILE *file = fopen(path, "re");
	char rule[4096] = "";
	size_t used = 0;
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(rule + used, (int)(sizeof rule - used), file)) {
		used += strlen(rule + used);
		if (used >= 2 && strcmp(rule + used - 2, "\\\n") == 0 && used < sizeof rule - 1) {
			used -= 2; /* goes on in the next line */
			continue;
		}
		found = rule_is_about_tpms(rule);
		used = 0;
	}
	(void)fclose(file);
	return found || (used > 0 && rule_is_about_tpms(rule));
}

static const char *file_name(const char *path)
{
	return strrchr(path, '/') + 1;
}

/* A file of a name that is only the maker's. */
static const char *file_from(const char *path)
{
	static const char *const tss[] = {"tpm-udev", "tpm2-tss", "tpm2-udev", NULL};
	const char *name = file_name(path);

	if (strstr(name, "tpmgate"))
		return "tpmgate";
	return has_any(name, tss) ? "tpm2-tss" : "other";
}

static bool is_masked(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && (S_ISCHR(status.st_mode) || status.st_size == 0);
}

/* Whether the directories A and B, of the list, are one. */
static bool is_same(const char *root, size_t a, size_t b)
{
	char path[PATH_MAX];
	struct stat first;
	struct stat second;

	snprintf(path, sizeof path, "%s%s", root, directories[a]);
	if (stat(path, &first) < 0)
		return false;
	snprintf(path, sizeof path, "%s%s", root, directories[b]);
	return stat(path, &second) == 0 && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}

/* Whether a directory before the one with number END has a file NAME. */
static bool is_hidden(const char *root, size_t end, const char *name)
{
	char path[PATH_MAX];
	struct stat status;

	for (size_t i = 0; i < end; i++) {
		snprintf(path, sizeof path, "%s%s/%s", root, directories[i], name);
		if (!is_same(root, i, end) && lstat(path, &status) == 0)
			return true;
	}
	return false;
}

/* Whether a file NAME in any directory is about TPMs: then one that is masked is worth telling. */
static bool any_is_about_tpms(const char *root, const char *name)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < DIRECTORIES; i++) {
		snprintf(path, sizeof path, "%s%s/%s", root, directories[i], name);
		if (file_is_about_tpms(path))
			return true;
	}
	return false;
}

static size_t read_directory(
	const char *root, size_t number, struct udev_rule rules[UDEV_RULES_MAX], size_t count)
{
	char pattern[PATH_MAX];
	glob_t found;

	for (size_t i = 0; i < number; i++)
		if (is_same(root, i, number))
			return count;
	snprintf(pattern, sizeof pattern, "%s%s/*.rules", root, directories[number]);
	if (glob(pattern, 0, NULL, &found) != 0)
		return count;
	for (size_t i = 0; i < found.gl_pathc && count < UDEV_RULES_MAX; i++) {
		const char *path = found.gl_pathv[i];
		bool masked = is_masked(path);
		struct udev_rule *rule = &rules[count];

		if (masked ? !any_is_about_tpms(root, file_name(path)) : !file_is_about_tpms(path))
			continue;
		snprintf(rule->path, sizeof rule->path, "%s", path + strlen(root));
		rule->from = file_from(path);
		rule->state = is_hidden(root, number, file_name(path)) ? UDEV_RULE_HIDDEN
			      : masked                                 ? UDEV_RULE_MASKED
								       : UDEV_RULE_APPLIES;
		count++;
	}
	globfree(&found);
	return count;
}

static int compare(const void *a, const void *b)
{
	const struct udev_rule *first = a;
	const struct udev_rule *second = b;

	return strcmp(file_name(first->path), file_name(second->path));
}

size_t udev_rules_read(const char *root, struct udev_rule ret_rules[UDEV_RULES_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < DIRECTORIES; i++)
		count = read_directory(root, i, ret_rules, count);
	qsort(ret_rules, count, sizeof *ret_rules, compare);
	return count;
}

const char *udev_rules_state(enum udev_rule_state state)
{
	switch (state) {
	case UDEV_RULE_APPLIES:
		return "applies";
	case UDEV_RULE_MASKED:
		return "masked";
	case UDEV_RULE_HIDDEN:
	default:
		return "hidden";
	}
}
