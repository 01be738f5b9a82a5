#pragma once
/*
 * One call to the broker: connect, one request packet, one reply packet.
 */
#include "client/deadline.h"
#include "client/tpmgate.h"
#include "common/protocol.h"

#include <stddef.h>
#include <stdint.h>

struct call_reply {
	struct protocol_reply header; /* status is PROTOCOL_OK */
	const uint8_t *items;         /* header.item_count of header.item_size bytes, in `packet` */
	uint8_t *packet;
	int fd; /* the session, or the file of EVENTLOG; -1 for all other requests */
};

/* What is asked. */
struct call_question {
	struct protocol_request request;
	struct protocol_adopt adopt; /* sent with the request ADOPT only */
	size_t item_size;            /* bytes that each item of the reply must have at least */
};

/*
 * Asks the broker at PATH. Returns 0, and the caller ends the reply with call_reply_done(); or an
 * enum tpmgate_error, with MESSAGE set.
 */
int call_broker(const char *path, const struct call_question *question, struct deadline deadline,
	struct tpmgate_message *message, struct call_reply *ret_reply);
void call_reply_done(struct call_reply *reply); /* accepts a zeroed one whose fd is -1 */

/* Sets MESSAGE, where there is one, to the formatted and cleaned text, and returns ERROR. */
int call_fail(struct tpmgate_message *message, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
