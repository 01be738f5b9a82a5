/*
 * ADOPT: an administrator says that an NV index or persistent object that the TPM has already is a
 * user's. What its public area is, the administrator's program has read through a session of its
 * own; the broker records it as it was told, and relays compare it with the TPM's before it counts.
 */
#include "broker/client.h"

#include "broker/log.h"
#include "broker/manage.h"

#include <string.h>

struct handover_work {
	struct client *client;
	struct registry_entry entry;
};

static void handover_free(struct client *client)
{
	registry_forget_waiter(client->broker->accounts.registry, client->work);
	g_free(client->work);
}

static void handover_on_done(void *context, enum account_answer answer)
{
	struct handover_work *work = context;
	struct client *client = work->client;
	const struct registry_entry *entry = &work->entry;
	const char *problem;

	if (answer != ACCOUNT_YES) {
		problem = registry_problem(client->broker->accounts.registry);
		client_refuse(client, PROTOCOL_FAILED, "the registry cannot be written: %s",
			problem ? problem : "the broker's log says why");
		return;
	}
	log_event(LOG_SESSION, G_LOG_LEVEL_MESSAGE,
		&(struct log_about){
			.uid = &client->identity.peer.uid,
			.pid = client->identity.peer.pid,
			.device = entry->device,
			.verdict = "allowed",
			.event = EVENT_RECORDS_CHANGED,
		},
		"0x%08x is adopted for uid %u", entry->handle, entry->uid);
	client_reply_items(client, NULL, 0, 0);
}

static void handover_do(struct client *client)
{
	const struct protocol_adopt *adopt = &client->adopt;
	g_autofree char *problem = NULL;
	const struct device *device =
		device_list_find(client->broker->devices, client->request.device, &problem);
	struct handover_work *work;

	if (!device) {
		client_refuse(client, PROTOCOL_NO_DEVICE, "%s", problem);
		return;
	}
	if (!client->broker->accounts.registry) {
		client_refuse(client, PROTOCOL_FAILED,
			"this broker records nothing, because it could not open its registry "
			"(--state-dir); its log says why");
		return;
	}
	work = g_new0(struct handover_work, 1);
	work->client = client;
	work->entry = (struct registry_entry){
		.uid = adopt->uid,
		.kind = adopt->kind,
		.handle = adopt->handle,
		.nv_size = adopt->nv_size,
		.state = REGISTRY_OWN,
		.changed = g_get_real_time() / G_USEC_PER_SEC,
		.size = adopt->size,
	};
	g_strlcpy(work->entry.device, device->name, sizeof work->entry.device);
	memcpy(work->entry.data, adopt->data, sizeof work->entry.data);
	client->work = work;
	client->abort = handover_free;
	registry_adopt(client->broker->accounts.registry, &work->entry, handover_on_done, work);
}

static void handover_on_permitted(struct client *client, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem)
{
	if (verdict == PERMIT_YES)
		handover_do(client);
	else
		manage_refuse(client, verdict, item, problem);
}

void handover_start(struct client *client)
{
	manage_ask(client, client->request.flags & PROTOCOL_INTERACTIVE, handover_on_permitted);
}

_Static_assert(sizeof((struct registry_entry *)0)->data == PROTOCOL_AREA_MAX, "areas fit");
_Static_assert((int)PROTOCOL_KIND_NV == (int)ACCOUNT_KIND_NV &&
		       (int)PROTOCOL_KIND_PERSISTENT == (int)ACCOUNT_KIND_PERSISTENT &&
		       (int)PROTOCOL_KIND_SEALED == (int)ACCOUNT_KIND_SEALED,
	"kinds are the registry's");
