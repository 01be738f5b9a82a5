/*
 * Trusts: the kernel. What it shows as text comes from the firmware, so it is cleaned.
 */
#include "cli/chips.h"

#include "client/text.h"

#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads the first line of DIRECTORY/NAME that begins with START, without that; or nothing. */
static void read_line(
	const char *directory, const char *name, const char *start, char *ret_text, size_t size)
{
	char path[PATH_MAX];
	char line[256];
	FILE *file;

	ret_text[0] = '\0';
	snprintf(path, sizeof path, "%s/%s", directory, name);
	file = fopen(path, "re");
	if (!file)
		return;
	while (fgets(line, sizeof line, file)) {
		if (strncmp(line, start, strlen(start)) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		text_clean(line + strlen(start), sizeof line - strlen(start), ret_text, size);
		break;
	}
	(void)fclose(file);
}

static void read_driver(const char *directory, char *ret_driver, size_t size)
{
	char path[PATH_MAX];
	char target[PATH_MAX];
	const char *slash;
	ssize_t length;

	snprintf(path, sizeof path, "%s/device/driver", directory);
	length = readlink(path, target, sizeof target - 1);
	target[length > 0 ? length : 0] = '\0';
	slash = strrchr(target, '/');
	text_clean(slash ? slash + 1 : target,
		sizeof target - (size_t)(slash ? slash + 1 - target : 0), ret_driver, size);
}

static void name_owner(uid_t uid, char *ret_name, size_t size)
{
	const struct passwd *user = getpwuid(uid);

	if (user)
		snprintf(ret_name, size, "%s", user->pw_name);
	else
		snprintf(ret_name, size, "%lu", (unsigned long)uid);
}

static void name_group(gid_t gid, char *ret_name, size_t size)
{
	const struct group *group = getgrgid(gid);

	if (group)
		snprintf(ret_name, size, "%s", group->gr_name);
	else
		snprintf(ret_name, size, "%lu", (unsigned long)gid);
}

static void read_node(
	const char *root, const char *prefix, const char *number, struct chip_node *ret_node)
{
	struct chip_node node = {.present = false};
	char path[PATH_MAX];
	struct stat status;

	snprintf(node.path, sizeof node.path, "/dev/%s%s", prefix, number);
	snprintf(path, sizeof path, "%s%s", root, node.path);
	if (stat(path, &status) == 0) {
		node.present = true;
		node.usable = eaccess(path, R_OK | W_OK) == 0;
		node.mode = status.st_mode & 07777u;
		name_owner(status.st_uid, node.owner, sizeof node.owner);
		name_group(status.st_gid, node.group, sizeof node.group);
	}
	*ret_node = node;
}

/* DIRECTORY is ROOT/sys/class/tpm/tpmN. */
static void read_chip(const char *root, const char *directory, struct chip *ret_chip)
{
	const char *name = strrchr(directory, '/') + 1;
	const char *number = name + strlen("tpm");
	struct chip chip = {.version = 0};
	char version[16];

	snprintf(chip.name, sizeof chip.name, "%s", name);
	read_line(directory, "tpm_version_major", "", version, sizeof version); /* from Linux 5.6 */
	chip.version = (int)strtol(version, NULL, 10);
	read_driver(directory, chip.driver, sizeof chip.driver);
	read_line(directory, "device/description", "", chip.description, sizeof chip.description);
	read_line(directory, "device/caps", "Manufacturer: ", chip.maker, sizeof chip.maker);
	read_node(root, "tpm", number, &chip.raw);
	chip.raw.as_rules = strcmp(chip.raw.owner, "tss") == 0 && chip.raw.mode == 0660;
	if (chip.version != 1) {
		read_node(root, "tpmrm", number, &chip.node);
		chip.node.as_rules = strcmp(chip.node.group, "tss") == 0 && chip.node.mode == 0660;
	}
	*ret_chip = chip;
}

size_t chips_read(const char *root, struct chip ret_chips[CHIPS_MAX])
{
	char pattern[PATH_MAX];
	size_t count = 0;
	glob_t found;

	snprintf(pattern, sizeof pattern, "%s/sys/class/tpm/tpm[0-9]*", root);
	if (glob(pattern, 0, NULL, &found) != 0)
		return 0;
	while (count < found.gl_pathc && count < CHIPS_MAX) {
		read_chip(root, found.gl_pathv[count], &ret_chips[count]);
		count++;
	}
	globfree(&found);
	return count;
}
