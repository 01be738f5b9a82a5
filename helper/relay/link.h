#pragma once
/*
 * The relay's end of the account socket: questions to the broker and their answers, what it was
 * told, and what it orders. Everything is remembered that a broker needs which comes after one that
 * crashed.
 *
 * Nothing here waits but channel_ask(), which polls the link with the session's other descriptors.
 */
#include "common/account-protocol.h"
#include "common/policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_ORDERS_MAX 64 /* TPM sessions that the broker wants flushed: as many as a TPM has */

enum link_event {
	LINK_NOTHING = 0,
	LINK_REVOKED, /* or the broker is gone, or makes no sense: the session is over */
};

struct link {
	int fd; /* -1 once the broker has revoked the session or is gone */
	uint32_t serial;
	struct account_message question; /* type 0: none is unanswered */
	struct account_message answer;   /* to `question.serial`; type 0: none yet */
	bool deferred;                   /* the broker is there, and the answer comes later */
	bool abandoned; /* nobody waits for the answer any more: what it grants is given back */
	uint32_t held;  /* enum account_held, as bits: set by the answer */
	uint32_t sessions[POLICY_SLOTS_MAX]; /* TPM sessions that the broker knows of; 0: free */
	uint32_t orders[LINK_ORDERS_MAX];
	unsigned order_count;
	enum account_reason reason; /* LINK_REVOKED */
	/* refusals are told as fast as people read */
	uint64_t refusals_at; /* link_refused()'s time of the last that counted */
	unsigned refusals;    /* that may be told now */
	uint32_t untold;
};

struct link link_new(int fd);

/* Tells the broker something that has no answer. Returns 0, or a negative errno: it is gone. */
int link_tell(struct link *link, const struct account_message *message);

/*
 * Sends QUESTION and remembers it; link_receive() fills in `answer`. Returns 0, -EBUSY while an
 * earlier one is unanswered, or another negative errno.
 */
int link_ask(struct link *link, const struct account_message *question);
/* Nobody waits for the answer any more. */
void link_abandon(struct link *link);

/* Remembers that the TPM session HANDLE is to be flushed, unless that is known, or there are more
 * such than a TPM has. */
void link_order(struct link *link, uint32_t handle);

/* Takes one message from the broker, which poll() says is there. */
enum link_event link_receive(struct link *link);

/* A TPM session is or was there: SESSION_END, SAVED, GONE. SESSION_END for 0: nothing came of it.
 */
int link_tell_session(struct link *link, enum account_type type, uint32_t handle);

/* Tells of a refusal at NOW (nanoseconds), unless there were too many. */
void link_refused(
	struct link *link, uint64_t now, uint32_t command, uint32_t code, const char *rule);
