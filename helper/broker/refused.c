/*
 * REFUSALS: the caller's last refused commands, or everybody's for administrators, who can read
 * them in the journal, too. Users cannot. Never shows a prompt, as facts.c.
 */
#include "broker/manage.h"
#include "broker/reply.h"

#include <string.h>

static void refused_add(const struct refusal *refusal, void *context)
{
	GArray *items = context;
	struct protocol_refusal item;

	memset(&item, 0, sizeof item);
	item.time = refusal->time;
	item.session = refusal->session;
	item.uid = refusal->uid;
	item.command = refusal->command;
	item.code = refusal->response;
	item.untold = refusal->untold;
	g_strlcpy(item.rule, refusal->rule, sizeof item.rule);
	g_array_append_val(items, item);
}

/* Oldest first; the sort is stable, so that those of one second stay as they were. */
static gint refused_compare(gconstpointer a, gconstpointer b)
{
	const struct protocol_refusal *one = a;
	const struct protocol_refusal *other = b;

	return one->time < other->time ? -1 : one->time > other->time;
}

static void refused_on_permitted(struct client *client, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem)
{
	g_autoptr(GArray) items = g_array_new(FALSE, FALSE, sizeof(struct protocol_refusal));
	uint32_t uid = verdict == PERMIT_YES ? UINT32_MAX : client->identity.peer.uid;
	const guint room = reply_room(sizeof(struct protocol_refusal));

	(void)item;
	(void)problem;
	refusals_each(client->broker->accounts.refusals, uid, refused_add, items);
	g_array_sort(items, refused_compare); /* of many users they come user by user */
	if (items->len > room)
		g_array_remove_range(items, 0, items->len - room);
	client_reply_items(client, items->data, items->len, sizeof(struct protocol_refusal));
}

void refused_list(struct client *client)
{
	manage_ask(client, false, refused_on_permitted);
}

_Static_assert(sizeof((struct protocol_refusal *)0)->rule == sizeof((struct refusal *)0)->rule,
	"rules fit");
