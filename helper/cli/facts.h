#pragma once
/*
 * What can be seen without a broker: who runs this, in which groups, and the machine's TPMs.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define FACTS_CHIPS 8

struct facts_group {
	const char *name;
	bool exists;
	bool listed;    /* the account database has the user in it */
	bool effective; /* this process has it; as of the login, it is not the same */
};

/* A TPM as the kernel shows it. */
struct facts_chip {
	char node[32];     /* the resource-managed node, such as /dev/tpmrm0; empty for TPM 1.2 */
	int version;       /* 1, 2, or 0 where the kernel does not say */
	bool node_present; /* there is such a file */
	bool node_usable;  /* and this process may read and write it */
};

struct facts {
	uid_t uid;
	char user[64]; /* the name, or the number where there is none */
	bool over_ssh;
	struct facts_group direct; /* "tss": may open the node itself */
	struct facts_group users;  /* "tpmgate-users" */
	struct facts_chip chips[FACTS_CHIPS];
	size_t chip_count;
};

void facts_read(struct facts *ret_facts);
