#include "relay/tpm-command.h"

#include <errno.h>

enum tpm_kind tpm_handle_kind(uint32_t handle)
{
	switch (handle >> 24) {
	case TPM_HT_PCR:
		return TPM_KIND_PCR;
	case TPM_HT_NV_INDEX:
		return TPM_KIND_NV;
	case TPM_HT_HMAC_SESSION:
		return TPM_KIND_HMAC_SESSION;
	case TPM_HT_POLICY_SESSION:
		return TPM_KIND_POLICY_SESSION;
	case TPM_HT_EXTERNAL_NV:
		return TPM_KIND_NV_EXTERNAL;
	case TPM_HT_PERMANENT_NV:
		return TPM_KIND_NV_PERMANENT;
	case TPM_HT_TRANSIENT:
		return TPM_KIND_TRANSIENT;
	case TPM_HT_PERSISTENT:
		return TPM_KIND_PERSISTENT;
	case TPM_HT_AC:
		return TPM_KIND_AC;
	case TPM_HT_PERMANENT:
		break;
	default:
		return TPM_KIND_NONE;
	}
	switch (handle) {
	case TPM_RH_OWNER:
		return TPM_KIND_OWNER;
	case TPM_RH_NULL:
		return TPM_KIND_NULL;
	case TPM_RS_PW:
		return TPM_KIND_PASSWORD;
	case TPM_RH_LOCKOUT:
		return TPM_KIND_LOCKOUT;
	case TPM_RH_ENDORSEMENT:
		return TPM_KIND_ENDORSEMENT;
	case TPM_RH_PLATFORM:
	case TPM_RH_PLATFORM_NV:
		return TPM_KIND_PLATFORM;
	default:
		break;
	}
	if (handle >= 0x40000010u && handle <= 0x4000010fu)
		return TPM_KIND_VENDOR_AUTH;
	if (handle >= 0x40000110u && handle <= 0x4000011fu)
		return TPM_KIND_ACT;
	if ((handle >= 0x40000140u && handle <= 0x40000143u) ||
		(handle >= 0x40010000u && handle <= 0x4004ffffu))
		return TPM_KIND_ALIAS; /* other names of the base hierarchies */
	return TPM_KIND_NONE;
}

int tpm_header_parse(const uint8_t *bytes, size_t size, struct tpm_header *ret_header)
{
	struct cursor cursor = cursor_new(bytes, size);
	struct tpm_header header;

	if (cursor_u16(&cursor, &header.tag) < 0 || cursor_u32(&cursor, &header.size) < 0 ||
		cursor_u32(&cursor, &header.code) < 0)
		return -EBADMSG;
	*ret_header = header;
	return 0;
}

static uint32_t parse_handles(struct cursor *cursor, struct tpm_command *command)
{
	const struct tpm_command_info *info = command->info;

	command->handle_count = tpm_command_handle_count(info);
	for (unsigned i = 0; i < command->handle_count; i++) {
		if (cursor_u32(cursor, &command->handles[i]) < 0)
			return tpm_rc_at(TPM_RC_INSUFFICIENT, i);
		if (!(info->handles[i].kinds & tpm_handle_kind(command->handles[i])))
			return tpm_rc_at(TPM_RC_VALUE, i);
	}
	return TPM_RC_SUCCESS;
}

/* One entry: sessionHandle, nonce, sessionAttributes, hmac (TPMS_AUTH_COMMAND, Part 2, 10.13.2). */
static uint32_t parse_authorization(struct cursor *area, struct tpm_command *command)
{
	unsigned i = command->authorization_count;

	if (i == TPM_SESSIONS_MAX)
		return tpm_rc_at(TPM_RC_SIZE | TPM_RC_S, i);

	struct tpm_authorization *entry = &command->authorizations[i];
	struct cursor nonce;
	struct cursor hmac;

	if (cursor_u32(area, &entry->handle) < 0)
		return tpm_rc_at(TPM_RC_INSUFFICIENT | TPM_RC_S, i);

	enum tpm_kind kind = tpm_handle_kind(entry->handle);

	if (kind != TPM_KIND_PASSWORD && kind != TPM_KIND_HMAC_SESSION &&
		kind != TPM_KIND_POLICY_SESSION)
		return tpm_rc_at(TPM_RC_VALUE | TPM_RC_S, i);
	if (cursor_tpm2b(area, &nonce) < 0 || cursor_u8(area, &entry->attributes) < 0)
		return tpm_rc_at(TPM_RC_INSUFFICIENT | TPM_RC_S, i);
	if (entry->attributes & TPMA_SESSION_RESERVED)
		return tpm_rc_at(TPM_RC_RESERVED_BITS | TPM_RC_S, i);
	if (cursor_tpm2b(area, &hmac) < 0)
		return tpm_rc_at(TPM_RC_INSUFFICIENT | TPM_RC_S, i);
	entry->value = hmac.left > 0;
	/* A password authorizes a handle; beyond those there is nothing that it could stand for. */
	if (kind == TPM_KIND_PASSWORD && i >= tpm_command_authorization_count(command->info))
		return tpm_rc_at(TPM_RC_HANDLE | TPM_RC_S, i);
	command->authorization_count++;
	return TPM_RC_SUCCESS;
}

static uint32_t parse_authorization_area(
	struct cursor *cursor, uint16_t tag, struct tpm_command *command)
{
	unsigned needed = tpm_command_authorization_count(command->info);
	uint32_t size;
	struct cursor area;
	uint32_t code = TPM_RC_SUCCESS;

	if (tag == TPM_ST_NO_SESSIONS)
		return needed > 0 ? TPM_RC_AUTH_MISSING : TPM_RC_SUCCESS;
	if (!command->info->sessions)
		return TPM_RC_AUTH_CONTEXT;
	if (cursor_u32(cursor, &size) < 0)
		return TPM_RC_INSUFFICIENT;
	if (size < 9 || cursor_bytes(cursor, size, &area) < 0)
		return TPM_RC_SIZE;
	while (code == TPM_RC_SUCCESS && area.left > 0)
		code = parse_authorization(&area, command);
	if (code == TPM_RC_SUCCESS && command->authorization_count < needed)
		code = TPM_RC_AUTH_MISSING;
	return code;
}

/* TPML_PCR_SELECTION (Part 2, section 10.9.7): the entries are of different sizes. */
static int parse_pcr_selection(struct cursor *cursor, struct cursor *ret_bytes)
{
	struct cursor ahead = *cursor;
	uint32_t count;

	if (cursor_u32(&ahead, &count) < 0)
		return -EBADMSG;
	for (uint32_t i = 0; i < count; i++) {
		uint16_t hash;
		uint8_t size;
		struct cursor select;

		if (cursor_u16(&ahead, &hash) < 0 || cursor_u8(&ahead, &size) < 0 ||
			cursor_bytes(&ahead, size, &select) < 0)
			return -EBADMSG;
	}
	return cursor_bytes(cursor, cursor->left - ahead.left, ret_bytes);
}

/* TPML_CC (Part 2, section 10.9.1) */
static int parse_command_codes(struct cursor *cursor, struct cursor *ret_bytes)
{
	struct cursor ahead = *cursor;
	uint32_t count;

	if (cursor_u32(&ahead, &count) < 0 || count > ahead.left / sizeof(uint32_t))
		return -EBADMSG;
	return cursor_bytes(cursor, sizeof count + count * sizeof(uint32_t), ret_bytes);
}

static int parse_integer(struct cursor *cursor, size_t size, uint64_t *ret_number)
{
	struct cursor bytes;
	uint64_t number = 0;
	uint8_t byte;

	if (cursor_bytes(cursor, size, &bytes) < 0)
		return -EBADMSG;
	while (cursor_u8(&bytes, &byte) == 0)
		number = number << 8 | byte;
	*ret_number = number;
	return 0;
}

static int parse_parameter(struct cursor *cursor, char layout, struct tpm_parameter *parameter)
{
	switch (layout) {
	case '1':
	case '2':
	case '4':
	case '8':
		return parse_integer(cursor, (size_t)(layout - '0'), &parameter->number);
	case 'B':
		return cursor_tpm2b(cursor, &parameter->bytes);
	case 'S':
		return parse_pcr_selection(cursor, &parameter->bytes);
	case 'L':
		return parse_command_codes(cursor, &parameter->bytes);
	case '*':
		return cursor_bytes(cursor, cursor->left, &parameter->bytes);
	default:
		return -EBADMSG;
	}
}

static uint32_t parse_parameters(struct cursor *cursor, struct tpm_command *command)
{
	for (const char *layout = command->info->parameters; *layout; layout++) {
		unsigned i = command->parameter_count;

		if (i == TPM_PARAMETERS_MAX ||
			parse_parameter(cursor, *layout, &command->parameters[i]) < 0)
			return tpm_rc_at(TPM_RC_INSUFFICIENT | TPM_RC_P, i);
		command->parameter_count++;
	}
	return cursor->left > 0 ? TPM_RC_SIZE : TPM_RC_SUCCESS;
}

uint32_t tpm_command_parse(const uint8_t *bytes, size_t size, struct tpm_command *ret_command)
{
	struct tpm_command command = {0};
	struct tpm_header header;
	struct cursor cursor = cursor_new(bytes, size);
	struct cursor skipped;
	uint32_t code;

	if (tpm_header_parse(bytes, size, &header) < 0 || header.size != size ||
		cursor_bytes(&cursor, TPM_HEADER_SIZE, &skipped) < 0)
		return TPM_RC_COMMAND_SIZE;
	if (header.tag != TPM_ST_NO_SESSIONS && header.tag != TPM_ST_SESSIONS)
		return TPM_RC_VALUE;
	command.info = tpm_table_by_code(header.code);
	if (!command.info)
		return TPM_RC_LAYER | TPM_RC_COMMAND_CODE;
	code = parse_handles(&cursor, &command);
	if (code == TPM_RC_SUCCESS)
		code = parse_authorization_area(&cursor, header.tag, &command);
	if (code == TPM_RC_SUCCESS)
		code = parse_parameters(&cursor, &command);
	if (code == TPM_RC_SUCCESS)
		*ret_command = command;
	return code;
}

bool tpm_command_makes_session(const struct tpm_command *command)
{
	if (command->info->code == TPM_CC_CONTEXT_LOAD) /* of the handle that was saved */
		return command->parameters[1].number >> 24 != TPM_HT_TRANSIENT;
	return command->info->code == TPM_CC_START_AUTH_SESSION;
}

static bool authorizes_hierarchy(const struct tpm_command *command, unsigned i)
{
	return command->info->handles[i].role != TPM_ROLE_NONE &&
	       command->handles[i] >> 24 == TPM_HT_PERMANENT && command->handles[i] != TPM_RH_NULL;
}

bool tpm_command_authorizes_hierarchy(const struct tpm_command *command)
{
	for (unsigned i = 0; i < command->handle_count; i++)
		if (authorizes_hierarchy(command, i))
			return true;
	return false;
}

bool tpm_command_guesses_hierarchy(const struct tpm_command *command)
{
	/* handles that are authorized come first, in the order of their authorizations */
	for (unsigned i = 0; i < command->handle_count; i++)
		if (authorizes_hierarchy(command, i) && command->authorizations[i].value)
			return true;
	return false;
}
