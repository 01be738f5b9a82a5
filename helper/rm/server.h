#pragma once
/*
 * Sessions and their turns. Each session is one end of a SOCK_SEQPACKET pair: a packet is a
 * command, and is answered by one packet. Of the sessions with a command waiting each gets one
 * executed, then each the next: nobody waits for more than one command of each of the others.
 *
 * A session whose other end is closed is over when its command is, and what it had is flushed.
 */
#include "rm/manager.h"

#include <poll.h>

struct server {
	struct manager *manager;
	int backend; /* descriptor that tells of the TPM's end, or -1 */
	unsigned limit;
	unsigned next; /* the session whose turn it is, of those that have a command waiting */
	unsigned count;
	struct server_client *clients; /* `limit` of them, `count` in use */
	struct pollfd *fds;            /* `limit`, and two more */
	bool control_open;
};

/* Room for LIMIT sessions. Returns 0 or -ENOMEM. */
int server_init(struct server *server, struct manager *manager, int backend, unsigned limit);
void server_done(struct server *server);

/*
 * Serves until the broker wants no more sessions and the last is over. Returns 0, or a negative
 * errno where the TPM is lost.
 */
int server_run(struct server *server);
