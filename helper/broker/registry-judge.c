#include "broker/registry-judge.h"

static struct registry_change change_to(
	const struct registry_entry *entry, enum registry_state state)
{
	struct registry_change change = {.type = CHANGE_SET, .entry = *entry};

	change.entry.state = (uint32_t)state;
	change.entry.was = REGISTRY_NONE;
	change.entry.changed = g_get_real_time() / G_USEC_PER_SEC;
	return change;
}

static struct registry_change change_remove(const struct registry_entry *entry)
{
	return (struct registry_change){.type = CHANGE_REMOVE, .entry = *entry};
}

/* Whether ENTRY may come to what its uid has, in the place of REPLACED or NULL. */
static bool limits_allow(const struct registry_table *table, const struct registry_request *request,
	const struct registry_entry *replaced)
{
	const struct registry_entry *entry = &request->entry;
	const struct registry_limits *limits = &request->limits;
	uint32_t count = registry_table_count(table, entry->uid, entry->kind);
	uint64_t bytes;
	uint64_t own;

	if (replaced && replaced->uid == entry->uid)
		count--;
	switch (entry->kind) {
	case ACCOUNT_KIND_NV:
		bytes = registry_table_nv_size(table, entry->device, UINT32_MAX) + entry->nv_size;
		own = registry_table_nv_size(table, entry->device, entry->uid) + entry->nv_size;
		if (replaced) {
			bytes -= replaced->nv_size;
			own -= replaced->nv_size;
		}
		return count < limits->nv_indices && entry->nv_size <= limits->nv_size &&
		       own <= limits->nv_user_size && bytes <= limits->nv_total_size;
	case ACCOUNT_KIND_PERSISTENT:
		return count < limits->persistent;
	case ACCOUNT_KIND_SEALED:
		return count < limits->sealed;
	default:
		return false;
	}
}

static enum account_answer judge_claim(const struct registry_table *table,
	const struct registry_request *request, const struct registry_entry *found,
	struct registry_change *change)
{
	const bool sealed = request->entry.kind == ACCOUNT_KIND_SEALED;

	if (sealed && found)
		return ACCOUNT_YES;
	if (found &&
		(found->uid != request->entry.uid || found->state == REGISTRY_CLAIMED ||
			found->state == REGISTRY_DROPPED || registry_table_is_young(table, found)))
		return ACCOUNT_TAKEN;
	if (!sealed && registry_table_is_buried(table, &request->entry))
		return ACCOUNT_TAKEN;
	if (!limits_allow(table, request, found))
		return ACCOUNT_LIMIT;
	*change = change_to(&request->entry, sealed ? REGISTRY_OWN : REGISTRY_CLAIMED);
	if (found) {
		change->entry.was = REGISTRY_OWN; /* of a CLAIMED one: it replaces another */
		change->entry.nv_size = MAX(change->entry.nv_size, found->nv_size);
	}
	return ACCOUNT_YES;
}

/* A drop that the broker before this one had no time to answer is asked for once more. */
static enum account_answer judge_drop(
	const struct registry_entry *found, struct registry_change *change)
{
	if (found->state != REGISTRY_OWN && found->was != REGISTRY_DROPPED)
		return ACCOUNT_NO;
	*change = change_to(found, REGISTRY_DROPPED);
	return ACCOUNT_YES;
}

static enum account_answer judge_confirm(const struct registry_request *request,
	const struct registry_entry *found, struct registry_change *change)
{
	/* was OWN: a claim in the place of another record, here or in a broker before this one */
	const bool replaced = found->was == REGISTRY_OWN;
	const uint32_t was = replaced ? REGISTRY_CLAIMED : found->was;
	const uint32_t state = found->state == REGISTRY_DOUBTFUL ? was : found->state;

	if (state == REGISTRY_OWN)
		return ACCOUNT_YES; /* it was confirmed already */
	if (state != REGISTRY_CLAIMED && state != REGISTRY_DROPPED)
		return ACCOUNT_NO;
	if (request->success == (state == REGISTRY_CLAIMED))
		*change = change_to(found, REGISTRY_OWN);
	else if (replaced)
		*change = change_to(found, REGISTRY_DOUBTFUL); /* there is something after all */
	else
		*change = change_remove(found);
	return ACCOUNT_YES;
}

/*
 * What a session is busy with is not gone before it has said what became of it; nor is what was
 * made while the relay looked, or may yet be made by a command of a session that has ended.
 */
static enum account_answer judge_absent(const struct registry_table *table,
	const struct registry_entry *found, struct registry_change *change)
{
	if (registry_table_is_young(table, found))
		return ACCOUNT_YES;
	if (found->state == REGISTRY_OWN || found->state == REGISTRY_DOUBTFUL)
		*change = change_remove(found);
	return ACCOUNT_YES;
}

static enum account_answer judge_doubt(
	const struct registry_entry *found, struct registry_change *change)
{
	if (found->state == REGISTRY_CLAIMED || found->state == REGISTRY_DROPPED ||
		found->was != REGISTRY_NONE)
		*change = change_to(found, REGISTRY_DOUBTFUL);
	return ACCOUNT_YES;
}

static enum account_answer judge_forget(
	const struct registry_table *table, uint32_t uid, struct registry_change *change)
{
	if (registry_table_count(table, uid, ACCOUNT_KIND_NONE) == 0)
		return ACCOUNT_NO;
	*change = (struct registry_change){.type = CHANGE_FORGET, .entry = {.uid = uid}};
	return ACCOUNT_YES;
}

enum account_answer registry_judge(const struct registry_table *table,
	const struct registry_request *request, struct registry_change *ret_change)
{
	const struct registry_entry *found;

	*ret_change = (struct registry_change){.type = CHANGE_NONE};
	if (request->type == REQUEST_FORGET)
		return judge_forget(table, request->entry.uid, ret_change);
	if (!registry_entry_is_sound(&request->entry))
		return ACCOUNT_NO;
	found = registry_table_find(table, &request->entry);
	if (request->type == REQUEST_CLAIM)
		return judge_claim(table, request, found, ret_change);
	if (request->type == REQUEST_ADOPT) {
		*ret_change = change_to(&request->entry, REGISTRY_OWN);
		return ACCOUNT_YES;
	}
	/* what was sealed stays sealed: there is nothing to remove */
	if (!found || found->uid != request->entry.uid || found->kind == ACCOUNT_KIND_SEALED)
		return ACCOUNT_NO;
	switch (request->type) {
	case REQUEST_DROP:
		return judge_drop(found, ret_change);
	case REQUEST_CONFIRM:
		return judge_confirm(request, found, ret_change);
	case REQUEST_DOUBT:
		return judge_doubt(found, ret_change);
	case REQUEST_ABSENT:
		return judge_absent(table, found, ret_change);
	default:
		return ACCOUNT_NO;
	}
}

void registry_change_apply(struct registry_table *table, const struct registry_change *change)
{
	if (change->type == CHANGE_SET)
		registry_table_set(table, &change->entry);
	else if (change->type == CHANGE_REMOVE) {
		/* of a claim that failed, nobody was granted anything */
		if (change->entry.state != REGISTRY_CLAIMED &&
			change->entry.was != REGISTRY_CLAIMED)
			registry_table_bury(table, &change->entry);
		registry_table_remove(table, &change->entry);
	} else if (change->type == CHANGE_FORGET)
		registry_table_forget(table, change->entry.uid);
}

bool registry_comes_before(const struct registry_request *request)
{
	return request->type == REQUEST_DROP ||
	       (request->type == REQUEST_CLAIM && request->entry.kind != ACCOUNT_KIND_SEALED);
}
