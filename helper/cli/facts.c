#include "cli/facts.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
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

void facts_read(const char *root, struct facts *ret_facts)
{
	struct facts facts = {.uid = getuid()};
	const struct passwd *user = getpwuid(facts.uid);
	gid_t primary = user ? user->pw_gid : getgid();

	if (user)
		snprintf(facts.user, sizeof facts.user, "%s", user->pw_name);
	else
		snprintf(facts.user, sizeof facts.user, "%lu", (unsigned long)facts.uid);
	facts.over_ssh = getenv("SSH_CONNECTION") != NULL;
	facts.direct = facts_read_group("tss", facts.user, primary);
	facts.users = facts_read_group("tpmgate-users", facts.user, primary);
	facts.chip_count = chips_read(root, facts.chips);
	facts.rule_count = udev_rules_read(root, facts.rules);
	*ret_facts = facts;
}
