#pragma once
/*
 * Which files of udev rules say whose the nodes of TPMs are, and which of them count: of files of
 * one name the one in the first directory, and none where that is empty or /dev/null.
 */
#include <stdbool.h>
#include <stddef.h>

#define UDEV_RULES_MAX 16

enum udev_rule_state {
	UDEV_RULE_HIDDEN = 0, /* a file of this name in another directory counts instead */
	UDEV_RULE_MASKED, /* it is empty or /dev/null, so that others of its name do not count */
	UDEV_RULE_APPLIES,
};

struct udev_rule {
	char path[128];
	const char *from; /* "tpmgate", "tpm2-tss" (or Debian's tpm-udev), or "other" */
	enum udev_rule_state state;
};

/* ROOT is in front of all paths; "": none. Returns how many there are, as udev orders them. */
size_t udev_rules_read(const char *root, struct udev_rule ret_rules[UDEV_RULES_MAX]);

/* "applies", "hidden", "masked" */
const char *udev_rules_state(enum udev_rule_state state);
