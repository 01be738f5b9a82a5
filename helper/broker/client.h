#pragma once
/*
 * One connection: its request, what has become of it, and its one reply.
 *
 *	REQUEST --packet--> WORKING --reply--> (freed)
 *	                     |   ^
 *	                     v   | the nonce came back
 *	                    NONCE
 *
 * A hang-up in any state frees the client and all that was begun for it.
 */
#include "broker/broker.h"
#include "broker/identity.h"
#include "broker/permit.h"

enum client_state {
	CLIENT_REQUEST = 0,
	CLIENT_WORKING,
	CLIENT_NONCE,
};

struct client;

typedef void (*client_permitted)(struct client *client, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem);

struct client {
	struct broker *broker;
	int fd;
	struct identity identity;
	bool subordinate; /* a uid that is not served: refused when its request is read */
	uint32_t charged; /* the uid that account_enter() counted */
	struct protocol_request request; /* from WORKING on */
	struct protocol_adopt adopt;     /* with the request ADOPT */
	enum client_state state;
	guint watch;
	guint deadline;
	bool described;
	struct permit *permit;
	client_permitted permitted;
	/* what the request's own file keeps, and how it gives up */
	void *work;
	void (*abort)(struct client *client);
};

/*
 * Serves the connection FD of IDENTITY, for which account_enter() counted the uid CHARGED. All of
 * it is the client's from here on.
 */
void client_new(struct broker *broker, int fd, const struct identity *identity, bool subordinate,
	uint32_t charged);

/* Ends the connection with a reply. The client is gone afterwards. */
void client_refuse(struct client *client, enum protocol_status status, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
void client_reply_items(struct client *client, const void *items, uint32_t count, uint32_t size);
/* The same with a MESSAGE for whoever reads the list; NULL: none. */
void client_reply_told(struct client *client, const void *items, uint32_t count, uint32_t size,
	const char *message);
void client_reply_session(struct client *client, uint64_t session, int fd); /* FD: -1 for none */

/*
 * Looks at the caller's process, once. Returns whether it is known well enough, and whether it is
 * sandboxed; if not, it has been refused.
 */
bool client_describe(struct client *client);

/*
 * Asks whether the client may have REQUEST, whose `identity` is filled in here. PERMITTED is called
 * once, unless the client is gone before.
 */
void client_authorize(
	struct client *client, const struct permit_request *request, client_permitted permitted);

/* What the requests are made of: each replies, now or later. */
void open_start(struct client *client);
void facts_profiles(struct client *client);
void facts_devices(struct client *client);
void facts_sessions(struct client *client);
void revoke_start(struct client *client);
void refused_list(struct client *client);
void records_list(struct client *client);
void handover_start(struct client *client);
void forget_start(struct client *client);
void eventlog_start(struct client *client);
void balance_tell(struct client *client);
