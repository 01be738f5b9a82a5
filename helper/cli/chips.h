#pragma once
/*
 * The machine's TPMs as the kernel shows them, without a broker: /sys/class/tpm, and the nodes in
 * /dev with whose they are.
 */
#include <stdbool.h>
#include <stddef.h>

#define CHIPS_MAX 8

struct chip_node {
	char path[32];  /* such as /dev/tpmrm0; empty where there cannot be one */
	bool present;   /* there is such a file */
	bool usable;    /* and this process may read and write it */
	char owner[40]; /* names, or numbers where there are none */
	char group[40];
	unsigned mode;
	bool as_rules; /* whose it is and its mode are what the customary udev rules give */
};

struct chip {
	char name[32];         /* such as tpm0 */
	int version;           /* 1, 2, or 0 where the kernel does not say */
	char driver[32];       /* such as tpm_crb; empty where it does not say */
	char description[64];  /* the firmware's, such as "TPM 2.0 Device"; may be empty */
	char maker[64];        /* of a TPM 1.2; a TPM 2.0 has to be asked itself */
	struct chip_node raw;  /* /dev/tpmN: the user tss's, 0660 */
	struct chip_node node; /* /dev/tpmrmN: the group tss's, 0660; empty for TPM 1.2 */
};

/* ROOT is in front of all paths; "": none. Returns how many there are. */
size_t chips_read(const char *root, struct chip ret_chips[CHIPS_MAX]);

/* What the rules give to a node, in words. */
#define CHIPS_RAW_RULE  "owner tss, mode 0660"
#define CHIPS_NODE_RULE "group tss, mode 0660"
