#pragma once
/*
 * Responses: those that the relay makes itself, and the check of those that the TPM makes.
 */
#include "relay/tpm-command.h"

/* Writes the 10-byte response with CODE (Part 1, section 18.2) to BYTES; returns its size. */
size_t tpm_response_error(uint32_t code, uint8_t bytes[TPM_HEADER_SIZE]);

struct tpm_response {
	uint32_t code;
	uint32_t handle;          /* where the command returns one and succeeded, otherwise 0 */
	struct cursor parameters; /* the first may be encrypted, if there are sessions */
};

/*
 * Parses the SIZE bytes that the TPM answered to COMMAND. BYTES must outlive the result. Returns 0,
 * or -EBADMSG for what no TPM answers to it: a wrong size or tag, a handle of the wrong kind.
 */
int tpm_response_parse(const struct tpm_command *command, const uint8_t *bytes, size_t size,
	struct tpm_response *ret_response);
