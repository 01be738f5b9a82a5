#include "relay/account.h"

#include <errno.h>
#include <string.h>

struct account account_new(unsigned object_slots, unsigned session_slots)
{
	return (struct account){.object_slots = object_slots, .session_slots = session_slots};
}

static struct account_entity *object_slot(struct account *account, uint32_t handle)
{
	for (unsigned i = 0; i < account->object_slots; i++)
		if (account->objects[i].handle == handle)
			return &account->objects[i];
	return NULL;
}

static uint32_t *session_slot(struct account *account, uint32_t handle)
{
	for (unsigned i = 0; i < account->session_slots; i++)
		if (account->sessions[i] == handle)
			return &account->sessions[i];
	return NULL;
}

const struct account_entity *account_object(const struct account *account, uint32_t handle)
{
	for (unsigned i = 0; handle != 0 && i < account->object_slots; i++)
		if (account->objects[i].handle == handle)
			return &account->objects[i];
	return NULL;
}

bool account_has_session(const struct account *account, uint32_t handle)
{
	for (unsigned i = 0; handle != 0 && i < account->session_slots; i++)
		if (account->sessions[i] == handle)
			return true;
	return false;
}

bool account_objects_full(const struct account *account)
{
	for (unsigned i = 0; i < account->object_slots; i++)
		if (account->objects[i].handle == 0)
			return false;
	return true;
}

bool account_sessions_full(const struct account *account)
{
	for (unsigned i = 0; i < account->session_slots; i++)
		if (account->sessions[i] == 0)
			return false;
	return true;
}

const struct account_entity *account_entity(const struct account *account, uint32_t handle)
{
	if (handle >> 24 == TPM_HT_TRANSIENT)
		return account_object(account, handle);
	for (unsigned i = 0; handle != 0 && i < ACCOUNT_ENTITIES; i++)
		if (account->entities[i].handle == handle)
			return &account->entities[i];
	return NULL;
}

bool account_entity_is_no_da(const struct account_entity *entity)
{
	if (!entity->known)
		return false;
	if (entity->handle >> 24 == TPM_HT_NV_INDEX)
		return entity->attributes & TPMA_NV_NO_DA;
	return entity->sequence || (entity->attributes & TPMA_OBJECT_NO_DA);
}

bool account_entity_is_storage_key(const struct account_entity *entity)
{
	uint32_t kind = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_SIGN;

	return entity->known && !entity->sequence &&
	       (entity->type == TPM_ALG_RSA || entity->type == TPM_ALG_ECC ||
		       entity->type == TPM_ALG_SYMCIPHER) &&
	       (entity->attributes & kind) == (TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT);
}

bool account_entity_is_sealed(const struct account_entity *entity)
{
	return entity->known && !entity->sequence && entity->type == TPM_ALG_KEYEDHASH &&
	       !(entity->attributes & (TPMA_OBJECT_DECRYPT | TPMA_OBJECT_SIGN));
}

static bool is_sealed_here(const struct account *account, struct cursor unique)
{
	for (unsigned i = 0; unique.left > 0 && i < ACCOUNT_SEALED; i++) {
		const struct account_sealed *sealed = &account->sealed[i];

		if (sealed->size == unique.left &&
			memcmp(sealed->unique, unique.next, unique.left) == 0)
			return true;
	}
	return false;
}

static void remember_sealed(struct account *account, struct cursor unique)
{
	struct account_sealed *sealed = &account->sealed[account->next_sealed];

	if (unique.left == 0 || unique.left > sizeof sealed->unique ||
		is_sealed_here(account, unique))
		return;
	sealed->size = unique.left;
	memcpy(sealed->unique, unique.next, unique.left);
	account->next_sealed = (account->next_sealed + 1) % ACCOUNT_SEALED;
}

/* The `unique` field of a sealed object's TPMT_PUBLIC, after its attributes (Part 2, 12.2.4). */
static int parse_sealed_unique(struct cursor *public, struct cursor *ret_unique)
{
	struct cursor policy;
	uint16_t scheme;

	if (cursor_tpm2b(public, &policy) < 0 || cursor_u16(public, &scheme) < 0)
		return -EBADMSG;
	if (scheme != TPM_ALG_NULL) /* sealed data has no scheme */
		return -EBADMSG;
	return cursor_tpm2b(public, ret_unique);
}

/*
 * Reads the front of a TPMT_PUBLIC or TPMT_TEMPLATE into ENTITY: type, nameAlg, objectAttributes
 * (Part 2, section 12.2.4), and the `unique` field where it is sealed data (else it is empty).
 */
static int parse_public(
	struct cursor public, struct account_entity *entity, struct cursor *ret_unique)
{
	uint16_t name_algorithm;

	if (cursor_u16(&public, &entity->type) < 0 || cursor_u16(&public, &name_algorithm) < 0 ||
		cursor_u32(&public, &entity->attributes) < 0)
		return -EBADMSG;
	entity->known = true;
	*ret_unique = cursor_new(NULL, 0);
	if (account_entity_is_sealed(entity) && parse_sealed_unique(&public, ret_unique) < 0)
		*ret_unique = cursor_new(NULL, 0);
	return 0;
}

/* What the public area in the command says of the object that the command made. */
static struct account_entity describe_object(
	const struct account *account, const struct tpm_command *command, uint32_t handle)
{
	struct account_entity entity = {.handle = handle};
	struct cursor unique;

	switch (command->info->code) {
	case TPM_CC_CREATE_PRIMARY:
	case TPM_CC_CREATE_LOADED:
		if (parse_public(command->parameters[1].bytes, &entity, &unique) == 0)
			entity.made_here = account_entity_is_sealed(&entity);
		break;
	case TPM_CC_LOAD:
	case TPM_CC_LOAD_EXTERNAL:
		if (parse_public(command->parameters[1].bytes, &entity, &unique) == 0)
			entity.made_here = is_sealed_here(account, unique);
		break;
	case TPM_CC_CONTEXT_LOAD:
		/* 0x80000001 stands for a sequence object (Part 2, section 14.3), and the TPM
		 * checked it with the blob; of others nothing is known yet */
		entity.sequence = entity.known = command->parameters[1].number == 0x80000001u;
		break;
	default: /* HMAC_Start, HashSequenceStart and their like */
		entity.sequence = entity.known = true;
		break;
	}
	return entity;
}

/* Sealed data that Create or CreateLoaded returned: outPrivate, then outPublic in clear. */
static void learn_sealed(struct account *account, struct cursor parameters)
{
	struct account_entity entity = {0};
	struct cursor private;
	struct cursor public;
	struct cursor unique;

	if (cursor_tpm2b(&parameters, &private) == 0 && cursor_tpm2b(&parameters, &public) == 0 &&
		parse_public(public, &entity, &unique) == 0)
		remember_sealed(account, unique);
}

static int learn_handle(struct account *account, const struct tpm_command *command,
	uint32_t policies, uint32_t handle)
{
	if (handle >> 24 == TPM_HT_TRANSIENT) {
		struct account_entity *slot = object_slot(account, 0);

		if (!slot || account_object(account, handle))
			return -EBADMSG;
		*slot = describe_object(account, command, handle);
		slot->policies = policies;
		return 0;
	}

	uint32_t *slot = session_slot(account, 0);

	/* a handle that is given out again was lost without a word, as after a reset of the TPM */
	if (account_has_session(account, handle))
		return 0;
	if (!slot)
		return -EBADMSG;
	*slot = handle;
	return 0;
}

static void forget(struct account *account, uint32_t handle)
{
	struct account_entity *object = handle != 0 ? object_slot(account, handle) : NULL;
	uint32_t *session = handle != 0 ? session_slot(account, handle) : NULL;

	if (object)
		*object = (struct account_entity){0};
	if (session)
		*session = 0;
}

/* What success took away: flushed handles, sessions that were not to continue, saved sessions. */
static void learn_losses(struct account *account, const struct tpm_command *command)
{
	if (tpm_command_flushes(command->info))
		for (unsigned i = 0; i < command->handle_count; i++)
			if (command->info->handles[i].use == TPM_USE_SEQUENCE)
				forget(account, command->handles[i]);
	if (command->info->code == TPM_CC_CONTEXT_SAVE &&
		command->handles[0] >> 24 != TPM_HT_TRANSIENT)
		forget(account, command->handles[0]); /* it belongs to whoever holds the blob */
	for (unsigned i = 0; i < command->authorization_count; i++)
		if (!(command->authorizations[i].attributes & TPMA_SESSION_CONTINUE))
			forget(account, command->authorizations[i].handle);
}

bool account_is_wrong_authorization(uint32_t code)
{
	uint32_t error = code & 0xbf; /* format-one codes without what they are about */

	return code == TPM_RC_LOCKOUT ||
	       (code & 0x80 && (error == TPM_RC_AUTH_FAIL || error == TPM_RC_BAD_AUTH));
}

/* TPM_RC_REFERENCE_H0.. and _S0..: a session or object that the TPM no longer has. */
static void learn_missing(struct account *account, const struct tpm_command *command, uint32_t code)
{
	code &= ~TPM_RC_LAYER; /* a resource manager says the same of what it has lost */
	for (unsigned i = 0; i < command->handle_count; i++)
		if (code == TPM_RC_REFERENCE_H0 + i)
			forget(account, command->handles[i]);
	for (unsigned i = 0; i < command->authorization_count; i++)
		if (code == TPM_RC_REFERENCE_S0 + i)
			forget(account, command->authorizations[i].handle);
}

static void learn_failure(struct account *account, const struct tpm_command *command, uint32_t code)
{
	learn_missing(account, command, code);
	if (tpm_command_authorizes_hierarchy(command) && account_is_wrong_authorization(code))
		account->failed_hierarchies++;
}

int account_learn(struct account *account, const struct tpm_command *command, uint32_t policies,
	const struct tpm_response *response)
{
	uint32_t code = command->info->code;

	if (code == TPM_CC_FLUSH_CONTEXT) {
		/* gone already is gone too: Clear and a reset flush objects behind our back */
		if (response->code == TPM_RC_SUCCESS ||
			response->code == tpm_rc_at(TPM_RC_HANDLE | TPM_RC_P, 0))
			forget(account, (uint32_t)command->parameters[0].number);
		return 0;
	}
	if (response->code != TPM_RC_SUCCESS) {
		learn_failure(account, command, response->code);
		return 0;
	}
	learn_losses(account, command);
	if (code == TPM_CC_CREATE || code == TPM_CC_CREATE_LOADED)
		learn_sealed(account, response->parameters);
	if (response->handle == 0)
		return 0;
	return learn_handle(account, command, policies, response->handle);
}

static struct account_entity *entity_slot(struct account *account, uint32_t handle)
{
	if (handle >> 24 == TPM_HT_TRANSIENT)
		return object_slot(account, handle);
	for (unsigned i = 0; i < ACCOUNT_ENTITIES; i++)
		if (account->entities[i].handle == handle)
			return &account->entities[i];

	struct account_entity *slot = &account->entities[account->next_entity];

	account->next_entity = (account->next_entity + 1) % ACCOUNT_ENTITIES;
	return slot;
}

/* The front of a TPMS_NV_PUBLIC: nvIndex, nameAlg, attributes (Part 2, section 13.5). */
static int parse_nv_public(struct cursor public, struct account_entity *entity)
{
	uint32_t index;
	uint16_t name_algorithm;

	if (cursor_u32(&public, &index) < 0 || index != entity->handle ||
		cursor_u16(&public, &name_algorithm) < 0 ||
		cursor_u32(&public, &entity->attributes) < 0)
		return -EBADMSG;
	entity->known = true;
	return 0;
}

void account_learn_public(
	struct account *account, uint32_t handle, uint32_t code, struct cursor parameters)
{
	struct account_entity *slot = entity_slot(account, handle);
	struct account_entity entity = {.handle = handle};
	struct cursor public;
	struct cursor unique;

	if (!slot)
		return;
	entity.policies = slot->policies;
	if (code == TPM_RC_SEQUENCE) {
		entity.sequence = entity.known = true;
	} else if (code == TPM_RC_SUCCESS && cursor_tpm2b(&parameters, &public) == 0) {
		if (handle >> 24 == TPM_HT_NV_INDEX)
			parse_nv_public(public, &entity);
		else if (parse_public(public, &entity, &unique) == 0)
			entity.made_here = is_sealed_here(account, unique);
	}
	entity.unreadable = !entity.known;
	*slot = entity;
}

void account_forget_sessions(struct account *account)
{
	memset(account->sessions, 0, sizeof account->sessions);
}

void account_forget_entities(struct account *account)
{
	memset(account->entities, 0, sizeof account->entities);
	account->next_entity = 0;
}

void account_keep_objects(struct account *account, struct cursor handles)
{
	bool kept[POLICY_SLOTS_MAX] = {false};
	uint32_t handle;

	while (cursor_u32(&handles, &handle) == 0)
		for (unsigned i = 0; i < account->object_slots; i++)
			kept[i] = kept[i] || account->objects[i].handle == handle;
	for (unsigned i = 0; i < account->object_slots; i++)
		if (!kept[i])
			account->objects[i] = (struct account_entity){0};
}
