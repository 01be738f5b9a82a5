#pragma once
/*
 * Who asks: what the kernel vouches for, and what the process shows of itself.
 */
#include "common/peer.h"
#include "common/protocol.h"

struct identity {
	struct peer peer;
	bool proven;      /* peer.pidfd is the process that connected */
	char program[65]; /* what it calls itself, fit for a prompt; set by identity_describe() */
	char sandbox[65]; /* the sandboxed application it belongs to; empty: none */
	struct protocol_nonce nonce;
};

enum {
	IDENTITY_E_GONE = 1, /* the process that connected is no more */
	IDENTITY_E_UNKNOWN,  /* /proc does not say what it is */
	IDENTITY_E_MISMATCH, /* what came back is not the nonce, or is somebody else's */
};

/* Reads the peer of FD. Returns 0, IDENTITY_E_GONE or a negative errno. */
int identity_read(int fd, struct identity *ret_identity);
void identity_done(struct identity *identity);

/*
 * Fills in `program` and `sandbox`. Returns 0, IDENTITY_E_GONE or IDENTITY_E_UNKNOWN. Callers from
 * another pid namespace cannot be described and have no sandbox that could be seen.
 */
int identity_describe(struct identity *identity);

/*
 * Sends the nonce over FD. Where identity_check_nonce() then returns 0 for the packet that came
 * back, with the credentials that the kernel stamped on it, the identity is proven.
 */
int identity_send_nonce(struct identity *identity, int fd);
int identity_check_nonce(
	struct identity *identity, const void *packet, size_t size, pid_t pid, uid_t uid);
