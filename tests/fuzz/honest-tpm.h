#pragma once
/*
 * What a TPM may well answer to a command, without being one: success, with handles of the right
 * kind, public areas and properties. It remembers nothing but the last number that it gave out.
 */
#include "relay/tpm.h"

#include <stddef.h>
#include <stdint.h>

struct honest_tpm {
	uint32_t last; /* handle */
};

/*
 * Writes the answer to the SIZE bytes of COMMAND to RESPONSE and returns its size. MOOD, whatever
 * it is, chooses between answers that are all proper.
 */
size_t honest_tpm_execute(struct honest_tpm *tpm, const uint8_t *command, size_t size, uint8_t mood,
	uint8_t response[TPM_MESSAGE_MAX]);
