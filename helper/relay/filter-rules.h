#pragma once
/*
 * What the parts of the filter share: a question, and verdicts.
 */
#include "relay/filter.h"

struct filter_question {
	const struct policy *policy;
	uint32_t bit; /* the policy's, among the session's */
	const struct account *account;
	const struct tpm_command *command;
};

#define FILTER_REFUSED (TPM_RC_LAYER | TPM_RC_DISABLED)

static inline struct filter_verdict allow(void)
{
	return (struct filter_verdict){.kind = FILTER_ALLOW};
}

static inline struct filter_verdict refuse(const char *rule, uint32_t code)
{
	return (struct filter_verdict){.kind = FILTER_DENY, .code = code, .rule = rule};
}

static inline struct filter_verdict deny(const char *rule)
{
	return refuse(rule, FILTER_REFUSED);
}

static inline struct filter_verdict allow_if(bool condition, const char *rule)
{
	return condition ? allow() : deny(rule);
}

/* Allowed because the caller made it, or is about to. */
static inline struct filter_verdict allow_own(void)
{
	return (struct filter_verdict){.kind = FILTER_ALLOW, .own = true};
}

static inline struct filter_verdict need(enum filter_fact fact, uint32_t handle)
{
	return (struct filter_verdict){.kind = FILTER_QUERY,
		.code = FILTER_REFUSED,
		.rule = "unknown-fact",
		.fact = fact,
		.query = handle};
}

/*
 * Of two verdicts that must both hold: a refusal is final, an unknown fact comes next, and only two
 * permissions permit.
 */
static inline struct filter_verdict both(struct filter_verdict a, struct filter_verdict b)
{
	struct filter_verdict worst = b.kind < a.kind ? b : a;

	worst.own = a.own || b.own;
	return worst;
}

static inline bool is_object(uint32_t handle)
{
	return handle >> 24 == TPM_HT_TRANSIENT || handle >> 24 == TPM_HT_PERSISTENT;
}

/* The bit of enum policy_hierarchy for HANDLE; 0 for every other handle, aliases included. */
uint32_t filter_hierarchy_bit(uint32_t handle);

bool filter_is_storage_root(const struct policy *policy, uint32_t handle);

/* filter-handle.c: handle number I of the command, by its use. */
struct filter_verdict filter_handle(const struct filter_question *q, unsigned i);
/* An NV index that must be the uid's own, its public area included. */
struct filter_verdict filter_own_nv(const struct filter_question *q, uint32_t index, unsigned i);
/* A persistent object that must be the uid's own. */
struct filter_verdict filter_own_persistent(const struct filter_question *q, uint32_t handle);

/* filter-parameter.c: the command's parameters. */
struct filter_verdict filter_parameters(const struct filter_question *q);

/*
 * filter-dues.c: what the command owes, if VERDICT allows it; or the fact that must be known to
 * say.
 */
struct filter_verdict filter_dues(const struct account *account, const struct tpm_command *command,
	struct filter_verdict verdict);
