#pragma once
/*
 * What a relay asks and tells over its account socket (common/account-protocol.h), and what it is
 * answered: each message is about the uid and the TPM of its session, whatever it says.
 *
 * Trusts a relay with nothing but its own uid's account: one that asks out of turn is ended.
 */
#include "broker/ledger.h"
#include "broker/refusals.h"
#include "broker/registry.h"
#include "common/account-protocol.h"
#include "common/protocol.h"

/* What conversations of all sessions are about. */
struct accounts {
	struct ledger *ledger;
	struct registry *registry; /* NULL: nothing can be recorded, and nothing is own */
	struct refusals *refusals;
	const struct config *config;
};

struct conversation;

/* The session must end; BECAUSE is a constant text. */
typedef void (*conversation_failed)(void *context, const char *because);

/*
 * The conversation of the session FACTS over FD, which stays the caller's. ADOPTED: the session of
 * a broker before this one, which is asked for what it holds.
 */
struct conversation *conversation_new(const struct accounts *accounts,
	const struct protocol_session *facts, int fd, bool adopted, conversation_failed failed,
	void *context);
/* The session has given up its TPM: what it held is free, what it claimed is in doubt. */
void conversation_free(struct conversation *conversation);
/* The broker ends, and the session perhaps not: nothing is in doubt before the next has asked. */
void conversation_let_go(struct conversation *conversation);

/* Takes a message of the relay's; calls `failed` where it makes no sense. */
void conversation_hear(struct conversation *conversation, const struct account_message *message);
