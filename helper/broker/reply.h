#pragma once
/*
 * The one packet that a connection gets.
 */
#include "common/protocol.h"

struct reply {
	uint32_t type; /* the request's; 0 where it was not understood */
	enum protocol_status status;
	const char *message;
	uint64_t session;
	const void *items; /* ITEM_COUNT times ITEM_SIZE bytes */
	uint32_t item_count;
	uint32_t item_size;
	int fd; /* -1: none */
};

/* How many items of ITEM_SIZE bytes one reply holds. */
uint32_t reply_room(uint32_t item_size);

/*
 * Sends REPLY over FD without waiting. Packets that nobody will read any more are thrown away
 * first, so that closing FD does not reset the connection under the reply. Returns 0 or a negative
 * errno.
 */
int reply_send(int fd, const struct reply *reply);

/*
 * Throws away packets that wait on FD, with what they bring: a connection that is closed while some
 * do is reset, and its client may not see the reply.
 */
void reply_drain(int fd);
