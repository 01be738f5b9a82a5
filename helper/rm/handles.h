#pragma once
/*
 * Handles on their way in and out: what a command may name, and the virtual handles that real ones
 * stand for. Only transient handles are ever changed, and only in the handle areas: they enter
 * authorization HMACs by their Names (Part 1, section 16), and no response HMAC covers them.
 */
#include "relay/tpm-command.h"
#include "rm/space.h"

/*
 * Whether COMMAND may go to the TPM for SPACE. Returns TPM_RC_SUCCESS, or the response code that
 * refuses it, in the resource manager's layer: a handle or session that is not of this space, or no
 * free slot for what it makes.
 */
uint32_t handles_check(struct space *space, const struct tpm_command *command);

/* Puts real handles into BYTES, COMMAND's own, all of whose objects are loaded. */
void handles_enter(struct space *space, const struct tpm_command *command, uint8_t *bytes);

/* Puts HANDLE in place of the handle that a successful RESPONSE returns. */
void handles_leave(uint8_t response[TPM_MESSAGE_MAX], uint32_t handle);
