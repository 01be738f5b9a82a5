/*
 * RECORDS: what the registry has of the caller's, or of everybody's for administrators. Never shows
 * a prompt, as facts.c.
 */
#include "broker/records.h"

#include "broker/manage.h"
#include "broker/reply.h"

#include <string.h>

struct records_work {
	GArray *handles; /* struct protocol_record */
	GArray *sealed;  /* the same, one for each user and TPM */
};

static void records_count_sealed(GArray *sealed, const struct registry_entry *entry)
{
	struct protocol_record record;

	for (guint i = 0; i < sealed->len; i++) {
		struct protocol_record *known = &g_array_index(sealed, struct protocol_record, i);

		if (known->uid == entry->uid && strcmp(known->device, entry->device) == 0) {
			known->count++;
			known->changed = MAX(known->changed, entry->changed);
			return;
		}
	}
	memset(&record, 0, sizeof record);
	record.changed = entry->changed;
	record.uid = entry->uid;
	record.kind = entry->kind;
	record.state = entry->state;
	record.count = 1;
	g_strlcpy(record.device, entry->device, sizeof record.device);
	g_array_append_val(sealed, record);
}

static void records_add(const struct registry_entry *entry, void *context)
{
	struct records_work *work = context;
	struct protocol_record record;

	if (entry->kind == ACCOUNT_KIND_SEALED) {
		records_count_sealed(work->sealed, entry);
		return;
	}
	memset(&record, 0, sizeof record);
	record.changed = entry->changed;
	record.uid = entry->uid;
	record.kind = entry->kind;
	record.handle = entry->handle;
	record.nv_size = entry->nv_size;
	record.state = entry->state;
	record.count = 1;
	g_strlcpy(record.device, entry->device, sizeof record.device);
	g_array_append_val(work->handles, record);
}

GArray *records_collect(const struct registry *registry, uint32_t uid, uint32_t *ret_left_out)
{
	struct records_work work = {
		.handles = g_array_new(FALSE, FALSE, sizeof(struct protocol_record)),
		.sealed = g_array_new(FALSE, FALSE, sizeof(struct protocol_record)),
	};
	const guint room = reply_room(sizeof(struct protocol_record));

	if (registry)
		registry_each(registry, uid, records_add, &work);
	g_array_append_vals(work.handles, work.sealed->data, work.sealed->len);
	g_array_unref(work.sealed);
	*ret_left_out = work.handles->len > room ? work.handles->len - room : 0;
	if (*ret_left_out > 0)
		g_array_set_size(work.handles, room);
	return work.handles;
}

static void records_on_permitted(struct client *client, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem)
{
	const struct registry *registry = client->broker->accounts.registry;
	uint32_t uid = verdict == PERMIT_YES ? UINT32_MAX : client->identity.peer.uid;
	uint32_t left_out;
	g_autoptr(GArray) items = records_collect(registry, uid, &left_out);
	const char *trouble =
		registry ? registry_problem(registry)
			 : "nothing is recorded: the broker could not open its registry, and its "
			   "log says why";
	g_autofree char *cut = NULL;

	(void)item;
	(void)problem;
	if (left_out > 0)
		cut = g_strdup_printf("%u more records are not shown", left_out);
	/* trouble first: a long one is cut at its end */
	g_autofree char *message =
		g_strjoin(trouble && cut ? "; " : "", trouble ? trouble : "", cut ? cut : "", NULL);

	client_reply_told(client, items->data, items->len, sizeof(struct protocol_record), message);
}

void records_list(struct client *client)
{
	manage_ask(client, false, records_on_permitted);
}

_Static_assert((int)PROTOCOL_STATE_CLAIMED == (int)REGISTRY_CLAIMED &&
		       (int)PROTOCOL_STATE_OWN == (int)REGISTRY_OWN &&
		       (int)PROTOCOL_STATE_DROPPED == (int)REGISTRY_DROPPED &&
		       (int)PROTOCOL_STATE_DOUBTFUL == (int)REGISTRY_DOUBTFUL,
	"states are the registry's");
