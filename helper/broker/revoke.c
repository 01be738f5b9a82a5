/*
 * REVOKE: one's own session, or anybody's with the action `manage`. The reply comes when no command
 * of the session reaches the TPM any more.
 *
 * Who may not end a session does not learn either whether there is one of that number.
 */
#include "broker/client.h"

#include "broker/log.h"
#include "broker/manage.h"

static void revoke_free(struct client *client)
{
	session_forget_waiter(client->broker->sessions, client);
}

static void revoke_refuse_unknown(struct client *client)
{
	client_refuse(client, PROTOCOL_NO_SESSION,
		"you have no session %" G_GUINT64_FORMAT "; 'tpmgate sessions' lists those open",
		client->request.session);
}

static void revoke_on_done(void *context)
{
	struct client *client = context;

	client_reply_session(client, client->request.session, -1);
}

static void revoke_do(struct client *client)
{
	struct session *session =
		session_list_find(client->broker->sessions, client->request.session);

	if (!session) {
		revoke_refuse_unknown(client);
		return;
	}
	log_event(LOG_SESSION, G_LOG_LEVEL_MESSAGE,
		&(struct log_about){
			.uid = &client->identity.peer.uid,
			.pid = client->identity.peer.pid,
			.session = client->request.session,
			.verdict = "allowed",
			.event = EVENT_SESSION_REVOKED,
		},
		"session is revoked");
	client->abort = revoke_free;
	session_revoke(session, ACCOUNT_REASON_REVOKED, revoke_on_done, client);
}

static void revoke_on_permitted(struct client *client, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem)
{
	if (verdict == PERMIT_YES)
		revoke_do(client);
	else if (verdict == PERMIT_NO)
		revoke_refuse_unknown(client);
	else
		manage_refuse(client, verdict, item, problem);
}

void revoke_start(struct client *client)
{
	const struct session *session =
		session_list_find(client->broker->sessions, client->request.session);

	if (!client_describe(client))
		return;
	/* a sandboxed program is not its user: what is its own ends as it closes it */
	if (session && session_facts(session)->uid == client->identity.peer.uid &&
		client->identity.sandbox[0] == '\0') {
		revoke_do(client);
		return;
	}
	manage_ask(client, client->request.flags & PROTOCOL_INTERACTIVE, revoke_on_permitted);
}
