#include "rm/handles.h"

static bool is_session(uint32_t handle)
{
	return handle >> 24 == TPM_HT_HMAC_SESSION || handle >> 24 == TPM_HT_POLICY_SESSION;
}

static uint32_t check_handle(struct space *space, uint32_t handle, unsigned i)
{
	if ((handle >> 24 == TPM_HT_TRANSIENT && !space_object(space, handle)) ||
		(is_session(handle) && !space_session(space, handle)))
		return TPM_RC_LAYER | (TPM_RC_REFERENCE_H0 + i);
	return TPM_RC_SUCCESS;
}

static uint32_t check_slots(const struct space *space, const struct tpm_command *command)
{
	if (!tpm_command_returns_handle(command->info))
		return TPM_RC_SUCCESS;
	if (tpm_command_makes_session(command))
		return space_sessions_full(space) ? TPM_RC_LAYER | TPM_RC_SESSION_MEMORY
						  : TPM_RC_SUCCESS;
	return space_objects_full(space) ? TPM_RC_LAYER | TPM_RC_OBJECT_MEMORY : TPM_RC_SUCCESS;
}

uint32_t handles_check(struct space *space, const struct tpm_command *command)
{
	uint32_t code = TPM_RC_SUCCESS;

	for (unsigned i = 0; code == TPM_RC_SUCCESS && i < command->handle_count; i++)
		code = check_handle(space, command->handles[i], i);
	for (unsigned i = 0; code == TPM_RC_SUCCESS && i < command->authorization_count; i++)
		if (command->authorizations[i].handle != TPM_RS_PW &&
			!space_session(space, command->authorizations[i].handle))
			code = TPM_RC_LAYER | (TPM_RC_REFERENCE_S0 + i);
	return code == TPM_RC_SUCCESS ? check_slots(space, command) : code;
}

void handles_enter(struct space *space, const struct tpm_command *command, uint8_t *bytes)
{
	size_t area = command->handle_count * sizeof(uint32_t);
	struct writer writer = writer_new(bytes, TPM_HEADER_SIZE + area);

	writer.used = TPM_HEADER_SIZE;
	for (unsigned i = 0; i < command->handle_count; i++) {
		const struct space_object *object = space_object(space, command->handles[i]);

		writer_u32(&writer, object ? object->real : command->handles[i]);
	}
}

void handles_leave(uint8_t response[TPM_MESSAGE_MAX], uint32_t handle)
{
	struct writer writer = writer_new(response, TPM_HEADER_SIZE + sizeof handle);

	writer.used = TPM_HEADER_SIZE;
	writer_u32(&writer, handle);
}
