#pragma once
/*
 * The resource manager: spaces of sessions in one TPM, and the commands that they send.
 *
 * What a session sees is what /dev/tpmrm0 shows, with more room: virtual handles for its objects,
 * nothing of anybody else's, TPM sessions that survive it where they were saved (Part 1, section
 * 30, and the TCG's TAB and Resource Manager specification).
 */
#include "rm/swap.h"

struct manager {
	struct swap swap;
	unsigned object_slots;
	unsigned session_slots;
	uint8_t *memory; /* contexts of all spaces */
	size_t memory_size;
	uint8_t response[TPM_MESSAGE_MAX];
};

/*
 * Reserves all memory that it will ever use, for SPACES sessions with so many slots each (at most
 * POLICY_SLOTS_MAX); what is not used costs nothing. BACKEND must outlive it. Returns 0 or -ENOMEM.
 */
int manager_init(struct manager *manager, struct backend *backend, unsigned spaces,
	unsigned object_slots, unsigned session_slots);
void manager_done(struct manager *manager);

/*
 * All others return a negative errno where the TPM is lost: it is gone, hangs, or gives responses
 * that make no sense.
 */

/* Starts the TPM and flushes what others have left in it; where SAVED, their saved sessions too. */
int manager_start(struct manager *manager, bool saved);
/* Flushes what nobody could load any more. */
int manager_stop(struct manager *manager);

/* A free space, or NULL. */
struct space *manager_take(struct manager *manager);
/* Flushes all of SPACE, which is free from here on. */
int manager_leave(struct manager *manager, struct space *space);

/*
 * Answers the command that SPACE's session has sent: the first SIZE bytes of COMMAND, which are
 * changed. The response is in `response`, of *ret_size bytes.
 */
int manager_execute(struct manager *manager, struct space *space, uint8_t command[TPM_MESSAGE_MAX],
	size_t size, size_t *ret_size);
