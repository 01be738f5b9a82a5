#include "relay/tpm-response.h"

#include <errno.h>

size_t tpm_response_error(uint32_t code, uint8_t bytes[TPM_HEADER_SIZE])
{
	struct writer writer = writer_new(bytes, TPM_HEADER_SIZE);

	writer_u16(&writer, TPM_ST_NO_SESSIONS);
	writer_u32(&writer, TPM_HEADER_SIZE);
	writer_u32(&writer, code);
	return writer.used;
}

/* Whether HANDLE is what COMMAND can have made. */
static bool handle_is_plausible(const struct tpm_command *command, uint32_t handle)
{
	switch (command->info->code) {
	case TPM_CC_START_AUTH_SESSION:
		return handle >> 24 == (command->parameters[2].number == TPM_SE_HMAC
						       ? TPM_HT_HMAC_SESSION
						       : TPM_HT_POLICY_SESSION);
	case TPM_CC_CONTEXT_LOAD:
		/* a session comes back under the handle that it was saved under */
		if (command->parameters[1].number >> 24 == TPM_HT_TRANSIENT)
			return handle >> 24 == TPM_HT_TRANSIENT;
		return handle == command->parameters[1].number;
	default:
		return handle >> 24 == TPM_HT_TRANSIENT;
	}
}

int tpm_response_parse(const struct tpm_command *command, const uint8_t *bytes, size_t size,
	struct tpm_response *ret_response)
{
	struct tpm_response response = {0};
	struct cursor cursor = cursor_new(bytes, size);
	struct cursor skipped;
	struct tpm_header header;
	uint16_t tag = command->authorization_count > 0 ? TPM_ST_SESSIONS : TPM_ST_NO_SESSIONS;

	if (tpm_header_parse(bytes, size, &header) < 0 || header.size != size ||
		cursor_bytes(&cursor, TPM_HEADER_SIZE, &skipped) < 0)
		return -EBADMSG;
	response.code = header.code;
	if (header.code != TPM_RC_SUCCESS) {
		if (header.tag != TPM_ST_NO_SESSIONS || size != TPM_HEADER_SIZE)
			return -EBADMSG;
		*ret_response = response;
		return 0;
	}
	if (header.tag != tag)
		return -EBADMSG;
	if (tpm_command_returns_handle(command->info) &&
		(cursor_u32(&cursor, &response.handle) < 0 ||
			!handle_is_plausible(command, response.handle)))
		return -EBADMSG;
	response.parameters = cursor;
	if (tag == TPM_ST_SESSIONS) {
		uint32_t parameter_size;

		if (cursor_u32(&cursor, &parameter_size) < 0 ||
			cursor_bytes(&cursor, parameter_size, &response.parameters) < 0)
			return -EBADMSG;
	}
	*ret_response = response;
	return 0;
}
