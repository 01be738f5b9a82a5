#pragma once
/*
 * What may be done to the registry: each request against what is recorded now. Pure, but for the
 * time.
 */
#include "broker/registry-table.h"

enum registry_request_type {
	REQUEST_CLAIM = 1,
	REQUEST_DROP,
	REQUEST_CONFIRM,
	REQUEST_DOUBT,
	REQUEST_ABSENT,
	REQUEST_ADOPT,
	REQUEST_FORGET
};

struct registry_limits {
	uint32_t nv_indices;
	uint32_t nv_size;
	uint32_t nv_user_size;
	uint32_t nv_total_size;
	uint32_t persistent;
	uint32_t sealed;
};

struct registry_request {
	enum registry_request_type type;
	struct registry_entry entry;
	struct registry_limits limits; /* of a claim, when it was asked */
	bool success;                  /* of a confirmation */
	bool orphan;                   /* nobody waits any more */
	registry_done done;
	void *context;
};

enum registry_change_type {
	CHANGE_NONE = 0,
	CHANGE_SET,
	CHANGE_REMOVE,
	CHANGE_FORGET, /* every entry of the uid */
};

/* What a request does to the disk, and to the table then. */
struct registry_change {
	enum registry_change_type type;
	struct registry_entry entry;
};

/* The answer to REQUEST once *ret_change, if it is any, is on disk. */
enum account_answer registry_judge(const struct registry_table *table,
	const struct registry_request *request, struct registry_change *ret_change);
void registry_change_apply(struct registry_table *table, const struct registry_change *change);

/* Whether the TPM is asked next, once there is a YES. */
bool registry_comes_before(const struct registry_request *request);
