#pragma once
/*
 * What a TPM says of itself: who made it, and how near it is to locking everybody out. It is asked
 * through a session with the profile `basic`, which everybody may have.
 */
#include "client/tpmgate.h"

#include <stdbool.h>
#include <stdint.h>

enum lockout {
	LOCKOUT_UNKNOWN = 0,
	LOCKOUT_NO,
	LOCKOUT_NEAR, /* tpmgate lets nobody try */
	LOCKOUT_YES,
};

/* All texts are clean and end. */
struct properties {
	bool known;
	struct tpmgate_message problem; /* why it is not known; may be empty */
	char maker[8];                  /* such as "IBM" */
	char model[20];                 /* the maker's text */
	char firmware[48];
	uint32_t counter;  /* failures that it counts now */
	uint32_t maximum;  /* at which it locks everybody out */
	uint32_t interval; /* seconds in which the counter falls by one; 0: it does not count */
	enum lockout lockout;
};

/* OPTIONS name the TPM. */
void properties_read(const struct tpmgate_options *options, struct properties *ret_properties);

/* "unknown", "no", "near", "yes" */
const char *properties_lockout(enum lockout lockout);
