#pragma once
/*
 * What one session has in the TPM: its objects under virtual handles, and its TPM sessions under
 * their own (they enter HMACs, so they cannot have others). Records only; nothing here does I/O.
 *
 *   object    loaded (real handle), saved (context), or both: what does not change need not be
 *             saved twice. Neither: it is lost, as after a reset of the TPM
 *   session   loaded, or saved: a saved one is loaded once (Part 1, section 30)
 */
#include "common/policy.h"
#include "relay/tpm-handles.h"

/* The first virtual handle; others count down from it, as those of the kernel do. */
#define SPACE_FIRST_HANDLE 0x80ffffffu
#define SPACE_CONTEXT_SIZE                                                                         \
	TPM_MESSAGE_MAX /* bytes for a TPMS_CONTEXT, which a response carried                      \
			 */

struct space_object {
	uint32_t handle; /* virtual; 0: the slot is free */
	uint32_t real;   /* 0: not loaded */
	bool sequence;   /* it changes whenever it is used */
	uint64_t used;   /* by struct manager's clock */
	size_t saved;    /* bytes of its context; 0: there is none */
};

struct space_session {
	uint32_t handle; /* 0: the slot is free */
	uint64_t used;
	uint64_t number; /* the context's `sequence`: when it was saved, as the TPM counts */
	size_t saved;    /* bytes of its context; 0: it is loaded */
};

struct space {
	bool taken; /* by a session of tpmgate */
	unsigned object_slots;
	unsigned session_slots;
	struct space_object objects[POLICY_SLOTS_MAX];
	struct space_session sessions[POLICY_SLOTS_MAX];
	uint8_t *memory; /* SPACE_CONTEXT_SIZE for each slot, objects first */
};

/* An empty space. MEMORY has SPACE_CONTEXT_SIZE for each of the slots, and outlives it. */
void space_init(
	struct space *space, unsigned object_slots, unsigned session_slots, uint8_t *memory);

/* Where the context of an object or session of SPACE is kept. */
uint8_t *space_object_context(struct space *space, const struct space_object *object);
uint8_t *space_session_context(struct space *space, const struct space_session *session);

/* NULL where HANDLE is not of this space. */
struct space_object *space_object(struct space *space, uint32_t handle);
struct space_session *space_session(struct space *space, uint32_t handle);

/* A record of what was just loaded or started; NULL where no slot is free. */
struct space_object *space_add_object(struct space *space, uint32_t real, bool sequence);
struct space_session *space_add_session(struct space *space, uint32_t handle);

/*
 * Whether A and B are one TPM session: TPMs tell them apart by the lower 24 bits, and some take and
 * show a policy session by the handle type of HMAC sessions.
 */
bool space_same_session(uint32_t a, uint32_t b);

bool space_objects_full(const struct space *space);
bool space_sessions_full(const struct space *space);

/* Adds to LIST the handles from PROPERTY on that are of its type, transient or session. */
void space_list(const struct space *space, uint32_t property, struct tpm_handles *list);
