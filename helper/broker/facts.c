/*
 * PROFILES, DEVICES and SESSIONS: what there is, and what of it is for this caller. None of these
 * ever shows a prompt, whatever the request allows: they are asked by everything that shows a
 * state. Only who asks for everybody's sessions may have to prove that they are an administrator.
 */
#include "broker/client.h"

#include "broker/manage.h"
#include "broker/reply.h"
#include "broker/text.h"

#include <string.h>

/* ---- PROFILES ---- */

struct profiles_work {
	struct profile_set *set;
	guint next;
	struct permit_item item;
	GArray *items; /* struct protocol_profile */
};

static void profiles_free(struct client *client)
{
	struct profiles_work *work = client->work;

	profile_set_unref(work->set);
	g_array_unref(work->items);
	g_free(work);
}

static void profiles_next(struct client *client);

/* ITEM is what decided, NULL where nothing refused. */
static enum protocol_reason profiles_reason(
	const struct client *client, enum permit_verdict verdict, const struct permit_item *item)
{
	const struct profiles_work *work = client->work;
	const struct peer *peer = &client->identity.peer;

	switch (verdict) {
	case PERMIT_YES:
		if (peer->uid == 0)
			return PROTOCOL_REASON_ROOT;
		return permit_has_group(peer, &work->item) ? PROTOCOL_REASON_GROUP
							   : PROTOCOL_REASON_POLKIT;
	case PERMIT_NO:
	case PERMIT_PROMPT:
		return item ? PROTOCOL_REASON_POLKIT : PROTOCOL_REASON_NONE;
	case PERMIT_UNAVAILABLE:
	case PERMIT_FAULT:
		return PROTOCOL_REASON_NO_POLKIT;
	default:
		return PROTOCOL_REASON_NONE;
	}
}

/* REASON is PROTOCOL_REASON_NONE where the profile is faulty. */
static void profiles_add(struct profiles_work *work, const struct profile *profile,
	enum protocol_verdict verdict, enum protocol_reason reason, const char *action)
{
	struct protocol_profile item;

	memset(&item, 0, sizeof item);
	g_strlcpy(item.name, profile->name, sizeof item.name);
	item.verdict = (uint32_t)verdict;
	item.reason = (uint32_t)reason;
	if (reason != PROTOCOL_REASON_NONE)
		text_line(action, item.action, sizeof item.action);
	if (!profile->fault && profile->group_name)
		text_line(profile->group_name, item.group, sizeof item.group);
	if (profile->fault) {
		/* the name of the file says enough, and leaves room for the reason */
		const char *slash = strrchr(profile->fault, '/');
		g_autofree char *name = g_strconcat("/", profile->name, ".profile:", NULL);
		const char *short_fault = strstr(profile->fault, name);

		text_line(short_fault ? short_fault + 1 : (slash ? slash + 1 : profile->fault),
			item.summary, sizeof item.summary);
	} else {
		text_line(profile->summary, item.summary, sizeof item.summary);
	}
	g_array_append_val(work->items, item);
}

static enum protocol_verdict profiles_verdict(enum permit_verdict verdict)
{
	if (verdict == PERMIT_YES)
		return PROTOCOL_VERDICT_YES;
	return verdict == PERMIT_PROMPT ? PROTOCOL_VERDICT_PROMPT : PROTOCOL_VERDICT_NO;
}

static void profiles_on_permitted(struct client *client, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem)
{
	struct profiles_work *work = client->work;

	(void)problem;
	profiles_add(work, profile_set_get(work->set, work->next - 1), profiles_verdict(verdict),
		profiles_reason(client, verdict, item), item ? item->action : work->item.action);
	profiles_next(client);
}

static void profiles_next(struct client *client)
{
	struct profiles_work *work = client->work;
	guint count =
		MIN(profile_set_count(work->set), reply_room(sizeof(struct protocol_profile)));

	while (work->next < count) {
		const struct profile *profile = profile_set_get(work->set, work->next++);

		if (profile->fault) {
			profiles_add(
				work, profile, PROTOCOL_VERDICT_FAULTY, PROTOCOL_REASON_NONE, "");
			continue;
		}
		work->item = (struct permit_item){
			.name = profile->name,
			.action = profile->action,
			.groups = profile->groups,
			.group_count = profile->group_count,
		};
		client_authorize(client,
			&(struct permit_request){
				.items = &work->item,
				.item_count = 1,
				.names = profile->name,
			},
			profiles_on_permitted);
		return;
	}
	client_reply_items(
		client, work->items->data, work->items->len, sizeof(struct protocol_profile));
}

void facts_profiles(struct client *client)
{
	struct profiles_work *work = g_new0(struct profiles_work, 1);

	work->set = profile_set_ref(client->broker->profiles);
	work->items = g_array_new(FALSE, FALSE, sizeof(struct protocol_profile));
	client->work = work;
	client->abort = profiles_free;
	profiles_next(client);
}

/* ---- DEVICES ---- */

void facts_devices(struct client *client)
{
	const struct broker *broker = client->broker;
	g_autoptr(GArray) items = g_array_new(FALSE, FALSE, sizeof(struct protocol_device));
	guint count =
		MIN(device_list_count(broker->devices), reply_room(sizeof(struct protocol_device)));

	for (guint i = 0; i < count; i++) {
		const struct device *device = device_list_get(broker->devices, i);
		struct protocol_device item;

		memset(&item, 0, sizeof item);
		g_strlcpy(item.name, device->name, sizeof item.name);
		text_line(device->path, item.path, sizeof item.path);
		text_line(device->description, item.description, sizeof item.description);
		item.flags =
			(i == 0 ? PROTOCOL_DEVICE_DEFAULT : 0u) |
			(device->backend == POLICY_BACKEND_STREAM ? PROTOCOL_DEVICE_SINGLE : 0u);
		item.sessions = session_list_count(broker->sessions, device->name);
		g_array_append_val(items, item);
	}
	client_reply_items(client, items->data, items->len, sizeof(struct protocol_device));
}

/* ---- SESSIONS ---- */

struct sessions_filter {
	GArray *items;
	bool all;
	uint32_t uid;
};

static void sessions_add(const struct protocol_session *facts, void *context)
{
	struct sessions_filter *filter = context;

	if ((filter->all || facts->uid == filter->uid) &&
		filter->items->len < reply_room(sizeof *facts))
		g_array_append_vals(filter->items, facts, 1);
}

static void sessions_reply(struct client *client, bool all)
{
	g_autoptr(GArray) items = g_array_new(FALSE, FALSE, sizeof(struct protocol_session));
	struct sessions_filter filter = {
		.items = items,
		.all = all,
		.uid = client->identity.peer.uid,
	};

	session_list_each(client->broker->sessions, sessions_add, &filter);
	client_reply_items(client, items->data, items->len, sizeof(struct protocol_session));
}

static void sessions_on_permitted(struct client *client, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem)
{
	(void)item;
	(void)problem;
	sessions_reply(client, verdict == PERMIT_YES);
}

static void sessions_on_everybody(struct client *client, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem)
{
	if (verdict == PERMIT_YES)
		sessions_reply(client, true);
	else
		manage_refuse(client, verdict, item, problem);
}

void facts_sessions(struct client *client)
{
	uint32_t flags = client->request.flags;

	if (flags & PROTOCOL_EVERYBODY)
		manage_ask(client, flags & PROTOCOL_INTERACTIVE, sessions_on_everybody);
	else
		manage_ask(client, false, sessions_on_permitted);
}
