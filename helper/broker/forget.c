/*
 * FORGET: an administrator says that a user is no more, or has nothing any more. The reply lists
 * what was recorded: the TPM still has that, and the next user of the same uid must not inherit it.
 *
 * A user with sessions keeps what is recorded: a relay that is about to make or remove something
 * would have it half forgotten.
 */
#include "broker/client.h"

#include "broker/log.h"
#include "broker/manage.h"
#include "broker/records.h"

struct forget_work {
	struct client *client;
	uint32_t uid;
	GArray *items; /* struct protocol_record */
	uint32_t left_out;
};

static void forget_free(struct client *client)
{
	struct forget_work *work = client->work;

	registry_forget_waiter(client->broker->accounts.registry, work);
	g_array_unref(work->items);
	g_free(work);
}

static void forget_reply(struct forget_work *work)
{
	g_autofree char *message = NULL;

	if (work->left_out > 0)
		message = g_strdup_printf("%u more are forgotten, and not shown", work->left_out);
	client_reply_told(work->client, work->items->data, work->items->len,
		sizeof(struct protocol_record), message);
}

static void forget_on_done(void *context, enum account_answer answer)
{
	struct forget_work *work = context;
	struct client *client = work->client;
	const char *problem;

	if (answer != ACCOUNT_YES && answer != ACCOUNT_NO) {
		problem = registry_problem(client->broker->accounts.registry);
		client_refuse(client, PROTOCOL_FAILED,
			"the registry cannot be written, so nothing is forgotten: %s",
			problem ? problem : "the broker's log says why");
		return;
	}
	if (answer == ACCOUNT_YES)
		log_event(LOG_SESSION, G_LOG_LEVEL_MESSAGE,
			&(struct log_about){
				.uid = &client->identity.peer.uid,
				.pid = client->identity.peer.pid,
				.verdict = "allowed",
				.event = EVENT_RECORDS_CHANGED,
			},
			"what uid %u had in the TPM is forgotten", work->uid);
	forget_reply(work);
}

struct forget_count {
	uint32_t uid;
	unsigned sessions;
};

static void forget_count_session(const struct protocol_session *facts, void *context)
{
	struct forget_count *count = context;

	count->sessions += facts->uid == count->uid;
}

/* Returns whether UID has no sessions; if it has, the client has been refused. */
static bool forget_check_sessions(struct client *client, uint32_t uid)
{
	struct forget_count count = {.uid = uid};

	session_list_each(client->broker->sessions, forget_count_session, &count);
	if (count.sessions == 0)
		return true;
	client_refuse(client, PROTOCOL_BUSY,
		"uid %u has %u %s open: end %s first (tpmgate sessions, tpmgate revoke)", uid,
		count.sessions, count.sessions == 1 ? "session" : "sessions",
		count.sessions == 1 ? "it" : "them");
	return false;
}

static void forget_do(struct client *client)
{
	uint32_t uid = (uint32_t)client->request.session;
	struct forget_work *work;

	if (!client->broker->accounts.registry) {
		client_refuse(client, PROTOCOL_FAILED,
			"this broker records nothing, because it could not open its registry "
			"(--state-dir); its log says why");
		return;
	}
	if (!forget_check_sessions(client, uid))
		return;
	work = g_new0(struct forget_work, 1);
	work->client = client;
	work->uid = uid;
	work->items = records_collect(client->broker->accounts.registry, uid, &work->left_out);
	client->work = work;
	client->abort = forget_free;
	registry_forget(client->broker->accounts.registry, uid, forget_on_done, work);
}

static void forget_on_permitted(struct client *client, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem)
{
	if (verdict == PERMIT_YES)
		forget_do(client);
	else
		manage_refuse(client, verdict, item, problem);
}

void forget_start(struct client *client)
{
	/* UINT32_MAX is no user's, and stands for all of them elsewhere */
	if (client->request.session >= UINT32_MAX)
		client_refuse(client, PROTOCOL_BAD_REQUEST, "the uid is nobody's");
	else
		manage_ask(
			client, client->request.flags & PROTOCOL_INTERACTIVE, forget_on_permitted);
}
