/*
 * Owns: a ring of refusals for each uid. Trusts no text: the rule's name is checked.
 */
#include "broker/refusals.h"

#include <glib.h>
#include <string.h>

struct ring {
	uint32_t uid;
	unsigned count;
	unsigned next; /* the slot to be written next: the oldest, if all are in use */
	struct refusal slots[REFUSALS_OF_UID];
};

struct refusals {
	GQueue rings; /* the one with the newest refusal last */
};

struct refusals *refusals_new(void)
{
	struct refusals *refusals = g_new0(struct refusals, 1);

	g_queue_init(&refusals->rings);
	return refusals;
}

void refusals_free(struct refusals *refusals)
{
	if (!refusals)
		return;
	g_queue_clear_full(&refusals->rings, g_free);
	g_free(refusals);
}

static bool rule_is_good(const char *rule, size_t size)
{
	if (size == 0 || size >= REFUSAL_RULE)
		return false;
	for (size_t i = 0; i < size; i++)
		if (!g_ascii_islower(rule[i]) && !g_ascii_isdigit(rule[i]) && rule[i] != '-')
			return false;
	return true;
}

bool refusal_set_rule(struct refusal *refusal, const void *text, size_t size)
{
	if (!rule_is_good(text, size))
		return false;
	memset(refusal->rule, 0, sizeof refusal->rule);
	memcpy(refusal->rule, text, size);
	return true;
}

/* The ring of UID, which becomes the newest. The oldest makes room where there is none. */
static struct ring *ring_get(struct refusals *refusals, uint32_t uid)
{
	struct ring *ring = NULL;

	for (GList *link = refusals->rings.head; link; link = link->next) {
		struct ring *candidate = link->data;

		if (candidate->uid == uid) {
			ring = candidate;
			g_queue_delete_link(&refusals->rings, link);
			break;
		}
	}
	if (!ring) {
		if (refusals->rings.length >= REFUSALS_UIDS)
			g_free(g_queue_pop_head(&refusals->rings));
		ring = g_new0(struct ring, 1);
		ring->uid = uid;
	}
	g_queue_push_tail(&refusals->rings, ring);
	return ring;
}

bool refusals_add(struct refusals *refusals, const struct refusal *refusal)
{
	struct ring *ring;

	if (refusal->uid == UINT32_MAX ||
		!rule_is_good(refusal->rule, strnlen(refusal->rule, sizeof refusal->rule)))
		return false;
	ring = ring_get(refusals, refusal->uid);
	ring->slots[ring->next] = *refusal;
	ring->next = (ring->next + 1) % REFUSALS_OF_UID;
	ring->count = MIN(ring->count + 1, REFUSALS_OF_UID);
	return true;
}

void refusals_each(const struct refusals *refusals, uint32_t uid,
	void (*each)(const struct refusal *refusal, void *context), void *context)
{
	for (GList *link = refusals->rings.head; link; link = link->next) {
		const struct ring *ring = link->data;

		if (uid != UINT32_MAX && ring->uid != uid)
			continue;
		for (unsigned i = 0; i < ring->count; i++)
			each(&ring->slots[(ring->next + REFUSALS_OF_UID - ring->count + i) %
					  REFUSALS_OF_UID],
				context);
	}
}
