/*
 * What a session learns: commands and the TPM's answers to them, whatever the TPM says. The first
 * two bytes are the numbers of slots; then come steps, each a byte and its pieces:
 *
 *   bits 0-1  0  a command and the response to it
 *             1  an answer to ReadPublic or NV_ReadPublic, about a handle that follows
 *             2  what the broker says about a handle that follows
 *             3  objects that are left after Clear; bit 2: all sessions are gone
 *   the rest  policies of the command, or what is said
 */
#include "relay/account.h"

#include "pieces.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct account account;

/* Everything is there once, and nothing beyond the slots. */
static void check_account(void)
{
	for (unsigned i = 0; i < POLICY_SLOTS_MAX; i++) {
		const struct account_entity *object = &account.objects[i];
		uint32_t session = account.sessions[i].handle;

		if ((i >= account.object_slots && object->handle != 0) ||
			(i >= account.session_slots && session != 0))
			abort();
		if (object->handle != 0 &&
			(object->handle >> 24 != TPM_HT_TRANSIENT ||
				account_object(&account, object->handle) != object))
			abort();
		if (session != 0 &&
			((session >> 24 != TPM_HT_HMAC_SESSION &&
				 session >> 24 != TPM_HT_POLICY_SESSION) ||
				account_session(&account, session) != &account.sessions[i]))
			abort();
		if (object->sealed_record.size > ACCOUNT_DATA_MAX ||
			object->handle_record.size > ACCOUNT_DATA_MAX ||
			(object->known && object->unreadable))
			abort();
	}
	for (unsigned i = 0; i < ACCOUNT_ENTITIES; i++) {
		const struct account_entity *entity = &account.entities[i];

		if (entity->sealed_record.size > ACCOUNT_DATA_MAX ||
			entity->handle_record.size > ACCOUNT_DATA_MAX)
			abort();
		if (entity->known && account_entity_is_sealed(entity) &&
			account_entity_is_storage_key(entity))
			abort();
	}
}

static void check_response(
	const struct tpm_command *command, const struct tpm_response *response, struct cursor bytes)
{
	pieces_check_inside(response->parameters, bytes.next, bytes.left);
	if (response->code != TPM_RC_SUCCESS &&
		(response->handle != 0 || response->parameters.left > 0))
		abort();
	if ((response->handle != 0) !=
		(response->code == TPM_RC_SUCCESS && tpm_command_returns_handle(command->info)))
		abort();
}

/* After success what was flushed is not there, and what was made is, if there was room. */
static void check_learnt(
	const struct tpm_command *command, const struct tpm_response *response, uint32_t policies)
{
	uint32_t handle = response->handle;

	if (response->code != TPM_RC_SUCCESS)
		return;
	if (command->info->code == TPM_CC_FLUSH_CONTEXT) {
		handle = (uint32_t)command->parameters[0].number;
		if (account_object(&account, handle) || account_session(&account, handle))
			abort();
	} else if (handle >> 24 == TPM_HT_TRANSIENT) {
		if (!account_object(&account, handle) ||
			account_object(&account, handle)->policies != policies)
			abort();
	} else if (handle != 0 && !account_session(&account, handle)) {
		abort();
	}
	account_sealed_record(response->parameters);
}

static void learn_command(struct cursor *input, uint32_t policies)
{
	struct cursor bytes = pieces_next(input, TPM_MESSAGE_MAX);
	struct cursor answer = pieces_next(input, TPM_MESSAGE_MAX);
	struct tpm_command command;
	struct tpm_response response;

	if (tpm_command_parse(bytes.next, bytes.left, &command) != TPM_RC_SUCCESS)
		return;
	if (tpm_response_parse(&command, answer.next, answer.left, &response) < 0)
		return;
	check_response(&command, &response, answer);
	if (account_learn(&account, &command, policies, &response) == 0)
		check_learnt(&command, &response, policies);
}

static void learn_public(struct cursor *input, uint32_t how)
{
	static const uint32_t codes[] = {
		TPM_RC_SUCCESS, TPM_RC_SEQUENCE, TPM_RC_HANDLE | 0x100, TPM_RC_FAILURE};
	uint32_t handle = pieces_u32(input);
	struct cursor bytes = pieces_next(input, TPM_MESSAGE_MAX);
	bool object = handle >> 24 == TPM_HT_TRANSIENT;
	const struct account_entity *entity;

	/* the relay asks about nothing else */
	if (!object && handle >> 24 != TPM_HT_PERSISTENT && handle >> 24 != TPM_HT_NV_INDEX)
		return;
	if (object && !account_object(&account, handle))
		return;
	account_learn_public(&account, handle, codes[how & 3], bytes);
	entity = account_entity(&account, handle);
	if (!entity || entity->known == entity->unreadable ||
		(entity->known && codes[how & 3] != TPM_RC_SUCCESS &&
			codes[how & 3] != TPM_RC_SEQUENCE) ||
		entity->absent != (codes[how & 3] == (TPM_RC_HANDLE | 0x100)))
		abort();
}

static void learn_ownership(struct cursor *input, uint32_t how)
{
	uint32_t handle = pieces_u32(input);
	enum account_kind kind = how & 1 ? ACCOUNT_KIND_SEALED : ACCOUNT_KIND_NV;
	const struct account_entity *entity;

	account_learn_ownership(&account, handle, kind, how & 2);
	entity = account_entity(&account, handle);
	if (entity && (how & 1 ? entity->sealed_own : entity->handle_own) !=
			      (how & 2 ? ACCOUNT_OWN : ACCOUNT_FOREIGN))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor input = cursor_new(data, size);
	unsigned objects = pieces_u8(&input) % (POLICY_SLOTS_MAX + 1);
	uint8_t step;

	account = account_new(objects, pieces_u8(&input) % (POLICY_SLOTS_MAX + 1));
	while (cursor_u8(&input, &step) == 0) {
		uint32_t how = step >> 2;

		switch (step & 3) {
		case 0:
			learn_command(&input, how);
			break;
		case 1:
			learn_public(&input, how);
			break;
		case 2:
			learn_ownership(&input, how);
			break;
		default:
			if (how & 1)
				account_forget_sessions(&account);
			else
				account_keep_objects(&account, pieces_next(&input, 64));
			account_forget_entities(&account);
			break;
		}
		check_account();
	}
	return 0;
}
