#include "cli/facts.h"

#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool facts_find(const gid_t *groups, int count, gid_t group)
{
	for (int i = 0; i < count; i++)
		if (groups[i] == group)
			return true;
	return false;
}

static bool facts_process_has(gid_t group)
{
	int count = getgroups(0, NULL);
	gid_t *groups = count > 0 ? calloc((size_t)count, sizeof *groups) : NULL;
	bool found = getegid() == group;

	if (groups)
		found |= facts_find(groups, getgroups(count, groups), group);
	free(groups);
	return found;
}

static bool facts_database_has(const char *user, gid_t primary, gid_t group)
{
	int count = 0;

	getgrouplist(user, primary, NULL, &count); /* how many */

	gid_t *groups = count > 0 ? calloc((size_t)count, sizeof *groups) : NULL;
	bool found = groups && getgrouplist(user, primary, groups, &count) >= 0 &&
		     facts_find(groups, count, group);

	free(groups);
	return found;
}

static struct facts_group facts_read_group(const char *name, const char *user, gid_t primary)
{
	struct facts_group facts = {.name = name};
	const struct group *group = getgrnam(name);

	if (!group)
		return facts;

	gid_t gid = group->gr_gid;

	facts.exists = true;
	facts.effective = facts_process_has(gid);
	facts.listed = facts_database_has(user, primary, gid);
	return facts;
}

/* Reads the small number in the file at PATH; 0 where there is none. */
static int facts_read_number(const char *path)
{
	FILE *file = fopen(path, "re");
	char line[16] = "";

	if (!file)
		return 0;
	if (!fgets(line, sizeof line, file))
		line[0] = '\0';
	(void)fclose(file);
	return (int)strtol(line, NULL, 10);
}

/* DIRECTORY is /sys/class/tpm/tpmN. */
static void facts_read_chip(const char *directory, struct facts_chip *ret_chip)
{
	const char *number = strrchr(directory, '/') + strlen("/tpm");
	char path[128];

	*ret_chip = (struct facts_chip){.version = 0};
	snprintf(path, sizeof path, "%s/tpm_version_major", directory);
	ret_chip->version = facts_read_number(path); /* from Linux 5.6 */
	if (ret_chip->version == 1)
		return;
	snprintf(ret_chip->node, sizeof ret_chip->node, "/dev/tpmrm%s", number);
	ret_chip->node_present = access(ret_chip->node, F_OK) == 0;
	ret_chip->node_usable = eaccess(ret_chip->node, R_OK | W_OK) == 0;
}

void facts_read(struct facts *ret_facts)
{
	struct facts facts = {.uid = getuid()};
	const struct passwd *user = getpwuid(facts.uid);
	gid_t primary = user ? user->pw_gid : getgid();
	glob_t chips;

	if (user)
		snprintf(facts.user, sizeof facts.user, "%s", user->pw_name);
	else
		snprintf(facts.user, sizeof facts.user, "%lu", (unsigned long)facts.uid);
	facts.over_ssh = getenv("SSH_CONNECTION") != NULL;
	facts.direct = facts_read_group("tss", facts.user, primary);
	facts.users = facts_read_group("tpmgate-users", facts.user, primary);
	if (glob("/sys/class/tpm/tpm[0-9]*", 0, NULL, &chips) == 0) {
		for (size_t i = 0; i < chips.gl_pathc && i < FACTS_CHIPS; i++)
			facts_read_chip(chips.gl_pathv[i], &facts.chips[facts.chip_count++]);
		globfree(&chips);
	}
	*ret_facts = facts;
}
