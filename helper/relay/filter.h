#pragma once
/*
 * The policy of a session, applied to one command. Pure: no I/O, no state of its own.
 *
 *   filter.c            the whole command: by name, ownership, slots, the policies one by one
 *   filter-handle.c     the rule of each use of a handle
 *   filter-parameter.c  the rules of parameters that carry handles or change what a command does
 *   filter-dues.c       what an allowed command owes to the accounts
 */
#include "common/policy.h"
#include "relay/account.h"

/* From the worst to the best; across the session's policies the best one counts. */
enum filter_kind {
	FILTER_DENY = 0, /* refused by policy */
	FILTER_QUERY,    /* a fact about `query` must be learnt first, then it is judged again */
	FILTER_ALLOW,
	FILTER_LOCAL, /* the relay answers it itself */
};

/* What FILTER_QUERY wants to know. */
enum filter_fact {
	FILTER_FACT_NONE = 0,
	FILTER_FACT_PUBLIC,     /* the public area, of the TPM */
	FILTER_FACT_HANDLE_OWN, /* whether the handle is the uid's, of the broker */
	FILTER_FACT_SEALED_OWN, /* whether the sealed data is */
};

/* What an allowed command owes to the accounts, as bits. They are paid in this order. */
enum filter_due {
	FILTER_DUE_SESSION = 1, /* it makes one more TPM session */
	FILTER_DUE_TURN = 2,    /* it takes long, or tries an authorization of a hierarchy */
	FILTER_DUE_DA = 4,      /* it can raise the failure counter: the TPM's token */
	FILTER_DUE_CHARGE = 8,  /* it wears NV memory out */
	FILTER_DUE_CLAIM = 16,  /* it makes an NV index or persistent handle that will be own */
	FILTER_DUE_DROP = 32,   /* it removes an own one */
	FILTER_DUE_RECORD = 64, /* it returns sealed data that will be own */
};

struct filter_verdict {
	enum filter_kind kind;
	uint32_t code;         /* the response code where it is refused */
	const char *rule;      /* the rule that refused it, for the log */
	enum filter_fact fact; /* FILTER_QUERY */
	uint32_t query;        /* FILTER_QUERY: a persistent, transient or NV handle */
	bool own;              /* FILTER_ALLOW: because of what is recorded for the uid */
	uint32_t policies;     /* FILTER_ALLOW: which policies allow it, as bits */
	uint32_t dues;         /* FILTER_ALLOW: enum filter_due, as bits */
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

/*
 * The handle that a command with FILTER_DUE_CLAIM or _DROP is about, and its kind (NV or
 * persistent).
 */
uint32_t filter_claimed_handle(const struct tpm_command *command, enum account_kind *ret_kind);
