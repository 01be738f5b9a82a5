#pragma once
/*
 * What relays have refused lately: the last of each uid, for `tpmgate status`, since users cannot
 * read the system's journal. In memory, and bounded: at most so many uids are remembered, and the
 * one whose newest refusal is oldest goes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REFUSALS_OF_UID 20
#define REFUSALS_UIDS   64
#define REFUSAL_RULE    32 /* bytes of a rule's name, with the terminating NUL */

struct refusal {
	int64_t time;     /* seconds since 1970 */
	uint64_t session; /* its number */
	uint32_t uid;
	uint32_t command;  /* code; 0: it was no command */
	uint32_t response; /* code */
	uint32_t untold;   /* how many more were refused and not told of */
	char rule[REFUSAL_RULE];
};

struct refusals;

struct refusals *refusals_new(void);
void refusals_free(struct refusals *refusals);

/*
 * Sets the rule to TEXT, SIZE bytes without NUL. False, and nothing is set, unless it is 1 to 31
 * bytes of [a-z0-9-]: a relay says it, and it is shown on terminals.
 */
bool refusal_set_rule(struct refusal *refusal, const void *text, size_t size);

/* Keeps a copy. False, and nothing is kept, where the rule is none, or the uid is UINT32_MAX. */
bool refusals_add(struct refusals *refusals, const struct refusal *refusal);

/*
 * Calls EACH for those of UID, or of everybody for UINT32_MAX; of each uid the oldest first. EACH
 * leaves REFUSALS alone.
 */
void refusals_each(const struct refusals *refusals, uint32_t uid,
	void (*each)(const struct refusal *refusal, void *context), void *context);
