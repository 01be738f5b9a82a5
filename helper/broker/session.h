#pragma once
/*
 * Sessions: relays that were started, their account sockets and pidfds, and how they end.
 */
#include "broker/account.h"
#include "broker/conversation.h"
#include "broker/notify.h"
#include "broker/rm.h"
#include "broker/stream.h"
#include "common/account-protocol.h"
#include "common/policy.h"
#include "common/protocol.h"

#include <glib.h>
#include <stdbool.h>

struct session;
struct session_list;

/* A session was removed from the list. */
typedef void (*session_ended)(void *context);

/* STREAM and RM are NULL where TPMs are device nodes. All arguments outlive the list. */
struct session_list *session_list_new(const char *relay, struct account *account,
	const struct accounts *accounts, struct notify *notify, struct stream *stream,
	struct rm *rm, session_ended ended, void *context);
/* Lets go of all sessions: without a store that holds their account sockets, they end. */
void session_list_free(struct session_list *list);

/* Sessions that can still reach a TPM; those that were revoked and wait for their client are not.
 */
guint session_list_count(const struct session_list *list, const char *device);
/* Calls EACH for them, in the order they began. */
void session_list_each(const struct session_list *list,
	void (*each)(const struct protocol_session *facts, void *context), void *context);
/* NULL where there is none of that number. */
struct session *session_list_find(const struct session_list *list, uint64_t number);
const struct protocol_session *session_facts(const struct session *session);

/* What a session has of a TPM that is not free for all: the stream, or a resource manager. */
struct session_hold {
	enum policy_backend
		backend;  /* POLICY_BACKEND_STREAM, _MANAGER, or anything else: nothing */
	unsigned manager; /* number of the resource manager */
};

/* Gives it back. */
void session_list_release(struct session_list *list, const struct session_hold *hold);

/* What a new session is to be. */
struct session_order {
	struct protocol_session facts; /* the list fills in `session` and `started` */
	struct policy_image image;     /* the list fills in `session`, `uid` and `pid` */
	int tpm;                       /* the caller's */
	struct session_hold hold;      /* if the session starts, it gives that back at its end */
};

/*
 * The relay is confined and serves CLIENT, which stays the list's; or FACTS is NULL, CLIENT -1 and
 * PROBLEM says what failed.
 */
typedef void (*session_started)(
	void *context, const struct protocol_session *facts, int client, const char *problem);

/*
 * Starts a relay. STARTED is called once, from the main loop; after session_abandon() it is not,
 * and the session ends. Returns NULL and *ret_problem where there will be no session.
 */
struct session *session_start(struct session_list *list, const struct session_order *order,
	session_started started, void *context, char **ret_problem);
void session_abandon(struct session *session);

/* Takes over a session of the broker before this one, and the descriptors. False: closed. */
bool session_adopt(
	struct session_list *list, const struct protocol_session *facts, int account, int pidfd);

/* Called when no command of the session reaches the TPM any more. */
typedef void (*session_revoked)(void *context);

/* Ends SESSION. DONE (NULL: nobody waits) is called once, from the main loop. */
void session_revoke(
	struct session *session, enum account_reason reason, session_revoked done, void *context);
/* CONTEXT does not wait any more. */
void session_forget_waiter(struct session_list *list, const void *context);
/* Revokes all sessions on DEVICE. */
void session_list_revoke_device(struct session_list *list, const char *device);
