#pragma once
/*
 * From bytes to a command that the filter can judge: the one parse of a TPM command (Part 1,
 * section 18). What it accepts, it has accounted for to the last byte; the bytes that were parsed
 * are the bytes that are forwarded.
 */
#include "common/cursor.h"
#include "relay/tpm-table.h"
#include "relay/tpm.h"

struct tpm_authorization {
	uint32_t handle;    /* session handle or TPM_RS_PW */
	uint8_t attributes; /* TPMA_SESSION */
	bool value;         /* a password or HMAC that is not empty */
};

/* An integer, or the bytes of a TPM2B, a list (with its count) or of the rest. */
struct tpm_parameter {
	uint64_t number;
	struct cursor bytes;
};

struct tpm_command {
	const struct tpm_command_info *info;
	unsigned handle_count;
	uint32_t handles[TPM_HANDLES_MAX];
	unsigned authorization_count;
	struct tpm_authorization authorizations[TPM_SESSIONS_MAX];
	unsigned parameter_count;
	struct tpm_parameter parameters[TPM_PARAMETERS_MAX];
};

struct tpm_header {
	uint16_t tag;
	uint32_t size; /* of the whole command or response, this header included */
	uint32_t code; /* command or response code */
};

/* Returns 0, or -EBADMSG where SIZE is below TPM_HEADER_SIZE. */
int tpm_header_parse(const uint8_t *bytes, size_t size, struct tpm_header *ret_header);

/*
 * Parses the SIZE bytes of a command, whose header must say SIZE. BYTES must outlive the result.
 * Returns TPM_RC_SUCCESS, or the response code that refuses the command: for malformed ones the
 * code that a TPM gives, for unknown ones TPM_RC_COMMAND_CODE in the resource manager's layer.
 */
uint32_t tpm_command_parse(const uint8_t *bytes, size_t size, struct tpm_command *ret_command);

/* Whether what the command makes, if it makes something, is a session and no object. */
bool tpm_command_makes_session(const struct tpm_command *command);

/* Whether a handle is a hierarchy, lockout included, that the command authorizes. */
bool tpm_command_authorizes_hierarchy(const struct tpm_command *command);

/*
 * Whether it does so with an authorization value that is not empty: a password, or an HMAC, of
 * which only the TPM knows what value is in it.
 */
bool tpm_command_guesses_hierarchy(const struct tpm_command *command);

/* The kind of HANDLE; TPM_KIND_NONE for what the specification does not know. */
enum tpm_kind tpm_handle_kind(uint32_t handle);
