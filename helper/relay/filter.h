#pragma once
/*
 * The policy of a session, applied to one command. Pure: no I/O, no state of its own.
 *
 * filter.c has the rule of each use of a handle and of each parameter that matters.
 */
#include "common/policy.h"
#include "relay/account.h"

/* From the worst to the best; across the session's policies the best one counts. */
enum filter_kind {
	FILTER_DENY = 0, /* refused by policy */
	FILTER_ACCOUNT,  /* needs an account of the caller's, which nobody keeps yet: refused */
	FILTER_QUERY,    /* the public area of `query` must be read first, then judged again */
	FILTER_ALLOW,
	FILTER_LOCAL, /* the relay answers it itself */
};

struct filter_verdict {
	enum filter_kind kind;
	uint32_t code;     /* the response code where it is refused */
	const char *rule;  /* the rule that refused it, for the log */
	uint32_t query;    /* FILTER_QUERY: a persistent, transient or NV handle */
	uint32_t policies; /* FILTER_ALLOW: which policies allow it, as bits */
};

/* IMAGE must have passed policy_image_check(). */
struct filter_verdict filter_check(const struct policy_image *image, const struct account *account,
	const struct tpm_command *command);

/*
 * Whether COMMAND, allowed by policy INDEX of IMAGE, uses it up (POLICY_ONCE) when it is answered
 * with CODE: one success, or one failed authorization, of a hierarchy.
 */
bool filter_spends(const struct policy_image *image, unsigned index,
	const struct tpm_command *command, uint32_t code);

/* Whether a session with IMAGE may see HANDLE, persistent or NV, in GetCapability(HANDLES). */
bool filter_shows_handle(const struct policy_image *image, uint32_t handle);
