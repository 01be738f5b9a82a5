#pragma once
/*
 * A broker for the tests of the clients: it listens on a socket of its own and answers from a
 * thread exactly what it is told, however wrong. Everything but the counters is set between
 * fake_broker_init() and fake_broker_start(), and read after fake_broker_join().
 */
#include "common/protocol.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define FAKE_BROKER_FDS 253

struct fake_broker {
	char directory[32];
	char path[64];
	int listen_fd;
	pthread_t thread;
	bool running;

	/* the script */
	unsigned connections; /* to serve, 1 unless set */
	bool skip_request;    /* answer when it is there, without reading it, and close */
	bool at_once;         /* with skip_request: even before it is there */
	unsigned nonces;      /* before the reply */
	bool silent;          /* no reply: wait until the client goes */
	bool no_reply;        /* close instead of a reply */
	unsigned char reply[2 * PROTOCOL_REPLY_MAX];
	size_t reply_size;
	struct fake_broker_kept {
		unsigned char *reply;
		size_t size;
	} kept[16];               /* by the request's type; in place of the reply above */
	int fds[FAKE_BROKER_FDS]; /* to send along with the reply */
	size_t fd_count;

	/* what happened in the last connection */
	struct protocol_request request;
	struct protocol_adopt adopt; /* what followed it, if anything */
	ssize_t request_size;
	unsigned nonces_returned; /* unchanged */
	unsigned served;
};

void fake_broker_init(struct fake_broker *broker);
void fake_broker_start(struct fake_broker *broker);
void fake_broker_join(struct fake_broker *broker); /* waits for the last connection's end */
void fake_broker_done(struct fake_broker *broker);

/* Sets the reply's header, without items. */
void fake_broker_reply(struct fake_broker *broker, enum protocol_type type,
	enum protocol_status status, const char *message);
/* Adds an item: ITEM's SIZE bytes, in a field of ITEM_SIZE of which the rest is 0xff. */
void fake_broker_item(struct fake_broker *broker, const void *item, size_t size, size_t item_size);

/* The reply made so far is for requests of its type, the next one for all others. */
void fake_broker_keep(struct fake_broker *broker);

/* An OK reply to OPEN with the end of a socket pair of TYPE. Returns the other end. */
int fake_broker_session(struct fake_broker *broker, int type);

/* An OK reply to EVENTLOG with a file of TEXT, open as FLAGS (for open()) say. */
void fake_broker_file(struct fake_broker *broker, const char *text, int flags);

/* How many descriptors this process has open. */
size_t fake_broker_count_fds(void);
