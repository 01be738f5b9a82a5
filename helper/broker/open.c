/*
 * OPEN, from the names in the request to the descriptor in the reply:
 *
 *	resolve profiles and device, look at the limits
 *	  --> authorize --> (a TPM behind a socket or a manager: wait for it) --> open --> start a
 *relay --> reply | refused: look up the user's name for the advice --> reply
 *
 * Each arrow may take its time, and the client's hang-up ends all of it.
 */
#include "broker/client.h"

#include "broker/advice.h"
#include "broker/name.h"
#include "broker/release.h"
#include "common/cleanup.h"

#include <string.h>

struct open_work {
	struct client *client;
	struct profile_set *set; /* keeps the profiles */
	const struct profile *profiles[POLICY_MAX];
	size_t profile_count;
	char names[sizeof((struct protocol_session *)0)->profiles];
	struct permit_item items[POLICY_MAX];
	struct device device;    /* a copy: the list may change while somebody types a password */
	struct wait *wait;       /* for the TPM */
	struct session *session; /* that is being started */
	struct name_lookup *lookup;
	/* the refusal that waits for the user's name */
	struct advice advice;
	char *problem;
};

static void open_free(struct client *client)
{
	struct open_work *work = client->work;

	wait_cancel(work->wait);
	if (work->session)
		session_abandon(work->session);
	name_cancel(work->lookup);
	profile_set_unref(work->set);
	g_free(work->problem);
	g_free(work);
}

/* Returns whether the client may have one more session; if not, it has been refused. */
static bool open_check_limits(struct client *client)
{
	const struct broker *broker = client->broker;

	switch (account_may_open(broker->account, &broker->config, client->identity.peer.uid)) {
	case ACCOUNT_WITHIN:
		return true;
	case ACCOUNT_E_UID:
		client_refuse(client, PROTOCOL_LIMIT,
			"you have %u sessions open, as many as one user may have "
			"(MaxSessionsPerUser= of tpmgate.conf); end one first, 'tpmgate sessions' "
			"lists them",
			broker->config.max_sessions_per_user);
		return false;
	case ACCOUNT_E_TOTAL:
	default:
		client_refuse(client, PROTOCOL_LIMIT,
			"%u sessions are open, as many as there may be (MaxSessions= of "
			"tpmgate.conf); try again later",
			broker->config.max_sessions);
		return false;
	}
}

static void open_on_started(
	void *context, const struct protocol_session *facts, int client_fd, const char *problem)
{
	struct open_work *work = context;

	work->session = NULL;
	if (!facts)
		client_refuse(work->client, PROTOCOL_FAILED,
			"the session did not start: %s; the broker's log has more", problem);
	else
		client_reply_session(work->client, facts->session, client_fd);
}

static struct session_order open_order(const struct open_work *work, int tpm)
{
	const struct client *client = work->client;
	const struct config *config = &client->broker->config;
	struct session_order order = {
		.facts = {.uid = client->identity.peer.uid, .pid = client->identity.peer.pid},
		.image = policy_image_new(),
		.tpm = tpm,
		.hold = {.backend = work->device.backend},
	};

	g_strlcpy(order.facts.profiles, work->names, sizeof order.facts.profiles);
	g_strlcpy(order.facts.device, work->device.name, sizeof order.facts.device);
	order.image.backend = (uint32_t)work->device.backend;
	if (work->device.backend == POLICY_BACKEND_MANAGER) {
		struct rm_lease lease = rm_lease(client->broker->rm);

		order.hold.manager = lease.manager;
		order.image.object_slots = lease.object_slots;
		order.image.session_slots = lease.session_slots;
	}
	order.image.idle_seconds = config->idle_timeout;
	order.image.lifetime_seconds = config->max_lifetime;
	order.image.policy_count = (uint32_t)work->profile_count;
	for (size_t i = 0; i < work->profile_count; i++)
		order.image.policies[i] = work->profiles[i]->policy;
	return order;
}

/* TPM is an open descriptor of the device; a stream or manager is held. */
static void open_start_session(struct open_work *work, int tpm)
{
	struct broker *broker = work->client->broker;
	struct session_order order = open_order(work, tpm);
	g_autofree char *problem = NULL;

	work->session = session_start(broker->sessions, &order, open_on_started, work, &problem);
	if (work->session)
		return;
	session_list_release(broker->sessions, &order.hold);
	client_refuse(work->client, PROTOCOL_FAILED, "%s", problem);
}

static void open_refuse_busy(struct open_work *work)
{
	if (work->device.backend == POLICY_BACKEND_STREAM)
		client_refuse(work->client, PROTOCOL_BUSY,
			"the TPM at %s serves one session at a time and has had another one for %d "
			"seconds; try again later",
			work->device.path, WAIT_MS / 1000);
	else
		client_refuse(work->client, PROTOCOL_BUSY,
			"the TPM at %s was not ready within %d seconds; try again later",
			work->device.path, WAIT_MS / 1000);
}

static void open_refuse_failed(struct open_work *work, const char *problem)
{
	if (work->device.backend == POLICY_BACKEND_MANAGER)
		client_refuse(
			work->client, PROTOCOL_NO_DEVICE, "there is no TPM to be had: %s", problem);
	else
		client_refuse(work->client, PROTOCOL_NO_DEVICE,
			"cannot reach the TPM at %s: %s; does it run?", work->device.path, problem);
}

/* The stream or the resource manager, which the session holds from here on. */
static void open_on_tpm(void *context, enum wait_result result, int fd, const char *problem)
{
	struct open_work *work = context;
	struct session_list *sessions = work->client->broker->sessions;
	CLEANUP_FD int tpm = fd;

	work->wait = NULL;
	if (result == WAIT_E_BUSY) {
		open_refuse_busy(work);
	} else if (result == WAIT_GRANTED) {
		const struct session_hold hold = open_order(work, tpm).hold;

		/* Others may have opened sessions meanwhile. A refusal frees WORK. */
		if (open_check_limits(work->client))
			open_start_session(work, tpm);
		else
			session_list_release(sessions, &hold);
	} else {
		open_refuse_failed(work, problem);
	}
}

static void open_device(struct open_work *work)
{
	struct broker *broker = work->client->broker;
	g_autofree char *problem = NULL;
	int tpm;

	if (work->device.backend == POLICY_BACKEND_STREAM) {
		work->wait = stream_acquire(broker->stream, open_on_tpm, work);
		return;
	}
	if (work->device.backend == POLICY_BACKEND_MANAGER) {
		work->wait = rm_acquire(broker->rm, open_on_tpm, work);
		return;
	}

	/* Others may have opened sessions since polkit was asked. This is looked at before the node
	 * is opened: the last close of it waits for whatever command the TPM has running. */
	if (!open_check_limits(work->client))
		return;
	tpm = device_open(&work->device, &problem);
	if (tpm < 0) {
		client_refuse(work->client, PROTOCOL_NO_DEVICE, "%s", problem);
		return;
	}
	open_start_session(work, tpm);
	/* The relay has its own by now. Where it has not, ours is the last. */
	release_slowly(tpm);
}

static void open_refuse(struct open_work *work)
{
	g_autofree char *text = advice_text(&work->advice);

	client_refuse(work->client, advice_status(work->advice.verdict), "%s", text);
}

static void open_on_name(void *context, const char *name)
{
	struct open_work *work = context;

	work->lookup = NULL;
	work->advice.user = name;
	open_refuse(work);
}

/* The group that would have let the client in; NULL for the sandbox's item, which has none. */
static const char *open_group(const struct open_work *work, const struct permit_item *item)
{
	const struct profile *profile = profile_set_find(work->set, item->name);

	return profile && item->action == profile->action ? profile->group_name : NULL;
}

static void open_on_permitted(struct client *client, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem)
{
	struct open_work *work = client->work;

	if (verdict == PERMIT_YES) {
		open_device(work);
		return;
	}
	work->problem = g_strdup(problem);
	work->advice = (struct advice){
		.verdict = verdict,
		.name = item->name,
		.action = item->action,
		.sandbox = client->identity.sandbox[0] ? client->identity.sandbox : NULL,
		.problem = work->problem,
		.group = open_group(work, item),
		.uid = client->identity.peer.uid,
	};
	if (advice_names_user(&work->advice))
		work->lookup = name_find(client->identity.peer.uid, open_on_name, work);
	else
		open_refuse(work);
}

static void open_authorize(struct open_work *work)
{
	for (size_t i = 0; i < work->profile_count; i++) {
		const struct profile *profile = work->profiles[i];

		work->items[i] = (struct permit_item){
			.name = profile->name,
			.action = profile->action,
			.groups = profile->groups,
			.group_count = profile->group_count,
		};
		if (i > 0)
			g_strlcat(work->names, "+", sizeof work->names);
		g_strlcat(work->names, profile->name, sizeof work->names);
	}
	client_authorize(work->client,
		&(struct permit_request){
			.items = work->items,
			.item_count = work->profile_count,
			.names = work->names,
			.device = work->device.name,
			.interactive = work->client->request.flags & PROTOCOL_INTERACTIVE,
		},
		open_on_permitted);
}

void open_start(struct client *client)
{
	struct open_work *work = g_new0(struct open_work, 1);
	g_autofree char *problem = NULL;
	const struct device *device;
	bool unknown;

	work->client = client;
	work->set = profile_set_ref(client->broker->profiles);
	client->work = work;
	client->abort = open_free;
	work->profile_count = profile_set_resolve(
		work->set, client->request.profiles, work->profiles, &unknown, &problem);
	if (work->profile_count == 0) {
		client_refuse(client, unknown ? PROTOCOL_NO_PROFILE : PROTOCOL_BAD_REQUEST, "%s",
			problem);
		return;
	}
	device = device_list_find(client->broker->devices, client->request.device, &problem);
	if (!device) {
		client_refuse(client, PROTOCOL_NO_DEVICE, "%s", problem);
		return;
	}
	work->device = *device;
	if (open_check_limits(client))
		open_authorize(work);
}

/* Deduplicated names of profiles are no longer than the request's field, which they came from. */
_Static_assert(sizeof((struct protocol_session *)0)->profiles ==
		       sizeof((struct protocol_request *)0)->profiles,
	"the names of a session fit");
_Static_assert(POLICY_MAX < PERMIT_ITEMS, "there is an item left for the sandbox");
