#pragma once
/*
 * Which objects and sessions are in the TPM at the moment. It has room for a few of each; what a
 * command needs is loaded before it, and what was used longest ago makes room when the TPM asks for
 * it. An object's context stays good when it is loaded, so that most objects are saved only once; a
 * session's is good for one load.
 *
 * All functions return a negative errno where the TPM is lost, with all that was in it.
 */
#include "relay/tpm-command.h"
#include "rm/orphan.h"
#include "rm/request.h"
#include "rm/space.h"

struct swap {
	struct request request;
	uint64_t clock; /* commands executed; what has this as `used` stays loaded */
	struct space *spaces;
	unsigned space_count;
	struct orphan_list orphans;
};

/*
 * Loads what COMMAND names, all of it of SPACE. *ret_code is TPM_RC_SUCCESS, or the response code
 * for the caller where something is lost or does not fit.
 */
int swap_in(struct swap *swap, struct space *space, const struct tpm_command *command,
	uint32_t *ret_code);

/* Executes SIZE bytes of a command, making room as long as that helps. */
int swap_execute(struct swap *swap, const uint8_t *command, size_t size,
	uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size);

/* The TPM has just given out the handle REAL: no record of before means the same thing. */
void swap_forget(struct swap *swap, uint32_t real);

/* Everything is gone, as after a reset of the TPM: objects and sessions are lost. */
void swap_forget_all(struct swap *swap);

/* Flushes all that SPACE has in the TPM, and empties it. */
int swap_flush_space(struct swap *swap, struct space *space);

/* Forgets the loaded objects that the TPM does not have any more. */
int swap_check_objects(struct swap *swap);

/* Flushes all loaded objects and sessions; where SAVED, the saved sessions too. */
int swap_flush_all(struct swap *swap, bool saved);

/* Flushes the orphans whose holders have contexts that the TPM does not take any more. */
int swap_flush_renewed(struct swap *swap);

/* Whether a space holds the session HANDLE. */
bool swap_holds_session(const struct swap *swap, uint32_t handle);
