/*
 * The parser: any bytes as a command. What it accepts must add up to the last byte.
 */
#include "relay/tpm-command.h"

#include "pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t layout_size(const struct tpm_command *command, unsigned i)
{
	char layout = command->info->parameters[i];

	if (layout >= '1' && layout <= '8')
		return (size_t)(layout - '0');
	return command->parameters[i].bytes.left + (layout == 'B' ? sizeof(uint16_t) : 0);
}

/* Handles, authorization area and parameters, in this order and without a gap. */
static void check_sum(const struct tpm_command *command, const uint8_t *data, size_t size)
{
	size_t at = TPM_HEADER_SIZE + command->handle_count * sizeof(uint32_t);
	struct cursor cursor = cursor_new(data, size);
	struct cursor skipped;
	uint16_t tag;
	uint32_t area = 0;

	if (cursor_u16(&cursor, &tag) < 0 || size < at)
		abort();
	if (tag == TPM_ST_SESSIONS) {
		if (cursor_bytes(&cursor, at - sizeof tag, &skipped) < 0 ||
			cursor_u32(&cursor, &area) < 0 || area < 9 * command->authorization_count)
			abort();
		at += sizeof area + area;
	}
	if ((tag == TPM_ST_SESSIONS) != (command->authorization_count > 0))
		abort();
	for (unsigned i = 0; i < command->parameter_count; i++) {
		pieces_check_inside(command->parameters[i].bytes, data, size);
		at += layout_size(command, i);
	}
	if (at != size)
		abort();
}

static void check_handles(const struct tpm_command *command)
{
	unsigned authorized = tpm_command_authorization_count(command->info);

	if (command->handle_count != tpm_command_handle_count(command->info) ||
		command->authorization_count > TPM_SESSIONS_MAX ||
		command->authorization_count < authorized)
		abort();
	for (unsigned i = 0; i < command->handle_count; i++)
		if (!(command->info->handles[i].kinds & tpm_handle_kind(command->handles[i])))
			abort();
	for (unsigned i = 0; i < command->authorization_count; i++) {
		enum tpm_kind kind = tpm_handle_kind(command->authorizations[i].handle);

		if (kind != TPM_KIND_HMAC_SESSION && kind != TPM_KIND_POLICY_SESSION &&
			(kind != TPM_KIND_PASSWORD || i >= authorized))
			abort();
		if (command->authorizations[i].attributes & TPMA_SESSION_RESERVED)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tpm_command command = {.info = NULL};
	struct tpm_header header;

	if (tpm_command_parse(data, size, &command) != TPM_RC_SUCCESS) {
		if (command.info)
			abort(); /* outputs are left alone where it fails */
		return 0;
	}
	if (tpm_header_parse(data, size, &header) < 0 || header.size != size ||
		header.code != command.info->code)
		abort();
	check_handles(&command);
	check_sum(&command, data, size);
	return 0;
}
