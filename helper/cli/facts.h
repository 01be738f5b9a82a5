#pragma once
/*
 * What can be seen without a broker: who runs this, in which groups, the machine's TPMs, and the
 * rules of udev for them.
 */
#include "cli/chips.h"
#include "cli/udev-rules.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct facts_group {
	const char *name;
	bool exists;
	bool listed;    /* the account database has the user in it */
	bool effective; /* this process has it; as of the login, it is not the same */
};

struct facts {
	uid_t uid;
	char user[64]; /* the name, or the number where there is none */
	bool over_ssh;
	struct facts_group direct; /* "tss": may open the node itself */
	struct facts_group users;  /* "tpmgate-users" */
	struct chip chips[CHIPS_MAX];
	size_t chip_count;
	struct udev_rule rules[UDEV_RULES_MAX];
	size_t rule_count;
};

/* The TPMs and rules are looked for below ROOT; "": where they are. */
void facts_read(const char *root, struct facts *ret_facts);
