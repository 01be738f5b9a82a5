#pragma once
/*
 * Answers of GetCapability(TPM_CAP_HANDLES) (Part 3, section 30.2): one that a TPM gave, and one
 * that is made here because the TPM knows more than the caller may see.
 */
#include "common/cursor.h"
#include "relay/tpm.h"

struct tpm_handles {
	uint32_t handles[TPM_CAP_MAX_HANDLES];
	uint32_t count;
	uint32_t wanted; /* at most so many, of the lowest numbers */
	bool more;       /* there are more than wanted */
};

/* An empty list for a caller who asks for COUNT handles. */
struct tpm_handles tpm_handles_new(uint32_t count);

/* Adds HANDLE in the order of their numbers, whatever kind of session the first byte says. */
void tpm_handles_add(struct tpm_handles *list, uint32_t handle);

/* Writes the response, without sessions. Returns its size. */
size_t tpm_handles_write(const struct tpm_handles *list, uint8_t response[TPM_MESSAGE_MAX]);

/*
 * Reads PARAMETERS of a TPM's answer: the handles as u32, and whether there are more. Returns 0 or
 * -EBADMSG.
 */
int tpm_handles_parse(struct cursor parameters, struct cursor *ret_handles, bool *ret_more);
