#pragma once
/*
 * The resource manager: one tpmgate-rm for a TPM that has none of its own, started when the first
 * session needs it, and gone with the last.
 *
 *	NONE --acquire--> STARTING --READY--> RUNNING --last release--> LEAVING --exit--> NONE
 *
 * Its exit leads to NONE from everywhere. If it came without CLEAN, the next one is told to flush
 * the TPM sessions that it may have had saved.
 */
#include "broker/config.h"
#include "broker/notify.h"
#include "broker/wait.h"

struct rm;

/* What a session has of a manager. */
struct rm_lease {
	unsigned manager;       /* its number, for rm_release() */
	unsigned object_slots;  /* of the session */
	unsigned session_slots; /* of the session */
};

/* PROGRAM serves the TPM at SPEC (tpmgate-rm(8)). All arguments outlive it. */
struct rm *rm_new(
	const char *program, const char *spec, const struct config *config, struct notify *notify);
/* Lets go of the manager, which stays as long as it has sessions. */
void rm_free(struct rm *rm);

/*
 * Waits for a manager, at most WAIT_MS. DONE is called once, from the main loop, unless the wait is
 * cancelled; after WAIT_GRANTED with a descriptor on which the manager serves one session, of which
 * rm_lease() says more.
 */
struct wait *rm_acquire(struct rm *rm, wait_done done, void *context);
struct rm_lease rm_lease(const struct rm *rm);
void rm_release(struct rm *rm, unsigned manager);

/* Takes over the manager of the broker before this one, and its descriptors. */
void rm_adopt(struct rm *rm, const struct rm_lease *lease, int control, int pidfd);
/* A session was taken over. Returns the number of its manager, 0 where that is gone. */
unsigned rm_hold(struct rm *rm);
/* All sessions were taken over: without any, the manager ends. */
void rm_settle(struct rm *rm);
