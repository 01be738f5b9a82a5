#include "honest-tpm.h"

#include "relay/tpm-command.h"
#include "relay/tpm-response.h"

#include <string.h>

#define TPM_ALG_SHA256 0x000bu

#define MOOD_NO_DA  1 /* public areas have noDA */
#define MOOD_SEALED 2 /* objects are sealed data, otherwise storage keys */
#define MOOD_HERE   4 /* NV indices and persistent objects are there */
#define MOOD_FULL   8 /* the failure counter is at its maximum */

static void write_bytes(struct writer *writer, uint8_t value, uint16_t size)
{
	writer_u16(writer, size);
	for (uint16_t i = 0; i < size; i++)
		writer_u8(writer, value);
}

/* TPM2B_PUBLIC */
static void write_public(struct writer *writer, uint8_t mood)
{
	size_t start = writer->used;
	uint32_t attributes = mood & MOOD_NO_DA ? TPMA_OBJECT_NO_DA : 0;

	writer_u16(writer, 0); /* size, below */
	if (mood & MOOD_SEALED) {
		writer_u16(writer, TPM_ALG_KEYEDHASH);
		writer_u16(writer, TPM_ALG_SHA256);
		writer_u32(writer, attributes);
		write_bytes(writer, 0, 0); /* authPolicy */
		writer_u16(writer, TPM_ALG_NULL);
		write_bytes(writer, mood, 32);
	} else {
		writer_u16(writer, TPM_ALG_ECC);
		writer_u16(writer, TPM_ALG_SHA256);
		writer_u32(writer, attributes | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT);
	}
	writer->start[start + 1] = (uint8_t)(writer->used - start - sizeof(uint16_t));
}

/* TPM2B_NV_PUBLIC, nvName */
static void write_nv_public(struct writer *writer, uint32_t index, uint8_t mood)
{
	writer_u16(writer, 14);
	writer_u32(writer, index);
	writer_u16(writer, TPM_ALG_SHA256);
	writer_u32(writer, 0x00040004 | (mood & MOOD_NO_DA ? TPMA_NV_NO_DA : 0));
	writer_u16(writer, 0);
	writer_u16(writer, 8);
	write_bytes(writer, 0x5a, 34);
}

static uint32_t property_value(uint32_t property, uint8_t mood)
{
	switch (property) {
	case TPM_PT_CONTEXT_GAP_MAX:
		return mood & MOOD_FULL ? 255 : 65535;
	case TPM_PT_LOCKOUT_COUNTER:
		return mood & MOOD_FULL ? 32 : 0;
	case TPM_PT_MAX_AUTH_FAIL:
		return 32;
	case TPM_PT_LOCKOUT_INTERVAL:
		return 600;
	default:
		return 7;
	}
}

static void write_capability(struct writer *writer, const struct tpm_command *command, uint8_t mood)
{
	uint32_t first = (uint32_t)command->parameters[1].number;
	uint32_t count = (uint32_t)command->parameters[2].number;
	bool properties = command->parameters[0].number == TPM_CAP_TPM_PROPERTIES;

	writer_u8(writer, 0);
	writer_u32(writer, (uint32_t)command->parameters[0].number);
	if (properties && count <= 16) {
		writer_u32(writer, count);
		for (uint32_t i = 0; i < count; i++) {
			writer_u32(writer, first + i);
			writer_u32(writer, property_value(first + i, mood));
		}
	} else if (!properties && mood & MOOD_HERE && first < 0x81fffff0) {
		writer_u32(writer, 2);
		writer_u32(writer, first);
		writer_u32(writer, first + 9);
	} else {
		writer_u32(writer, 0);
	}
}

static void write_parameters(struct writer *writer, const struct tpm_command *command, uint8_t mood)
{
	switch (command->info->code) {
	case TPM_CC_GET_CAPABILITY:
		write_capability(writer, command, mood);
		break;
	case TPM_CC_READ_PUBLIC:
		write_public(writer, mood);
		write_bytes(writer, mood, 34); /* name */
		write_bytes(writer, mood, 34);
		break;
	case TPM_CC_NV_READ_PUBLIC:
		write_nv_public(writer, command->handles[0], mood);
		break;
	case TPM_CC_CREATE:
	case TPM_CC_CREATE_LOADED:
		write_bytes(writer, 0x11, 40); /* outPrivate */
		write_public(writer, mood);
		break;
	default:
		break;
	}
}

/* Of the kind that COMMAND makes. */
static uint32_t next_handle(struct honest_tpm *tpm, const struct tpm_command *command)
{
	if (command->info->code == TPM_CC_CONTEXT_LOAD && tpm_command_makes_session(command))
		return (uint32_t)command->parameters[1].number;
	tpm->last++;
	if (command->info->code != TPM_CC_START_AUTH_SESSION)
		return TPM_HT_TRANSIENT << 24 | (tpm->last & 0xffffff);
	return (command->parameters[2].number == TPM_SE_HMAC ? TPM_HT_HMAC_SESSION
							     : TPM_HT_POLICY_SESSION)
		       << 24 |
	       (tpm->last & 0xffffff);
}

/* What is not there has no public area. */
static uint32_t missing(const struct tpm_command *command, uint8_t mood)
{
	if (mood & MOOD_HERE || command->handle_count == 0 ||
		command->handles[0] >> 24 == TPM_HT_TRANSIENT)
		return TPM_RC_SUCCESS;
	if (command->info->code == TPM_CC_NV_READ_PUBLIC ||
		command->info->code == TPM_CC_READ_PUBLIC)
		return tpm_rc_at(TPM_RC_HANDLE, 0);
	return TPM_RC_SUCCESS;
}

size_t honest_tpm_execute(struct honest_tpm *tpm, const uint8_t *command, size_t size, uint8_t mood,
	uint8_t response[TPM_MESSAGE_MAX])
{
	struct writer writer = writer_new(response, TPM_MESSAGE_MAX);
	struct tpm_command parsed;
	uint32_t code = tpm_command_parse(command, size, &parsed);
	size_t parameters = 0;

	if (code == TPM_RC_SUCCESS)
		code = missing(&parsed, mood);
	if (code != TPM_RC_SUCCESS)
		return tpm_response_error(code, response);
	writer_u16(&writer, parsed.authorization_count > 0 ? TPM_ST_SESSIONS : TPM_ST_NO_SESSIONS);
	writer_u32(&writer, 0); /* size, below */
	writer_u32(&writer, TPM_RC_SUCCESS);
	if (tpm_command_returns_handle(parsed.info))
		writer_u32(&writer, next_handle(tpm, &parsed));
	if (parsed.authorization_count > 0) {
		parameters = writer.used;
		writer_u32(&writer, 0); /* size, below */
	}
	write_parameters(&writer, &parsed, mood);
	if (parameters > 0)
		writer_patch_u32(&writer, parameters,
			(uint32_t)(writer.used - parameters - sizeof(uint32_t)));
	writer_patch_u32(&writer, sizeof(uint16_t), (uint32_t)writer.used);
	return writer.used;
}
