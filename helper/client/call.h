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
	int fd; /* the session; -1 for requests other than OPEN */
};

/*
 * Asks the broker at PATH. Items of the reply have at least ITEM_SIZE bytes each. Returns 0, and
 * the caller ends the reply with call_reply_done(); or an enum tpmgate_error, with MESSAGE set.
 */
int call_broker(const char *path, const struct protocol_request *request, size_t item_size,
	struct deadline deadline, struct tpmgate_message *message, struct call_reply *ret_reply);
void call_reply_done(struct call_reply *reply); /* accepts a zeroed one whose fd is -1 */

/* Sets MESSAGE, where there is one, to the formatted and cleaned text, and returns ERROR. */
int call_fail(struct tpmgate_message *message, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
