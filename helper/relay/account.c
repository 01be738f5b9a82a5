#include "relay/account.h"

#include "relay/public-area.h"

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

static struct account_session *session_slot(struct account *account, uint32_t handle)
{
	for (unsigned i = 0; i < account->session_slots; i++)
		if (account->sessions[i].handle == handle)
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

const struct account_session *account_session(const struct account *account, uint32_t handle)
{
	for (unsigned i = 0; handle != 0 && i < account->session_slots; i++)
		if (account->sessions[i].handle == handle)
			return &account->sessions[i];
	return NULL;
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
		if (account->sessions[i].handle == 0)
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
	return entity->known && !entity->sequence &&
	       public_is_sealed(entity->type, entity->attributes);
}

static struct account_record make_record(struct cursor bytes)
{
	struct account_record record = {0};

	if (bytes.left > sizeof record.bytes)
		return record;
	record.size = (uint32_t)bytes.left;
	if (bytes.left > 0)
		memcpy(record.bytes, bytes.next, bytes.left);
	return record;
}

/* Reads the front of a TPMT_PUBLIC or TPMT_TEMPLATE into ENTITY. */
static int describe_public(struct cursor public, struct account_entity *entity)
{
	struct public_object object;

	if (public_parse_object(public, &object) < 0)
		return -EBADMSG;
	entity->known = true;
	entity->type = object.type;
	entity->attributes = object.attributes;
	entity->sealed_record = make_record(object.unique);
	return 0;
}

/* What the public area in the command says of the object that the command made. */
static struct account_entity describe_object(const struct tpm_command *command, uint32_t handle)
{
	struct account_entity entity = {.handle = handle};

	switch (command->info->code) {
	case TPM_CC_CREATE_PRIMARY:
	case TPM_CC_CREATE_LOADED:
		describe_public(command->parameters[1].bytes, &entity);
		/* made from what the caller sent: the template's `unique` is not the object's */
		entity.sealed_own = ACCOUNT_OWN;
		break;
	case TPM_CC_LOAD:
	case TPM_CC_LOAD_EXTERNAL:
		describe_public(command->parameters[1].bytes, &entity);
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

struct account_record account_sealed_record(struct cursor parameters)
{
	struct public_object object;
	struct cursor private;
	struct cursor public;

	/* outPrivate, which may be encrypted, then outPublic in clear */
	if (cursor_tpm2b(&parameters, &private) < 0 || cursor_tpm2b(&parameters, &public) < 0 ||
		public_parse_object(public, &object) < 0)
		return (struct account_record){0};
	return make_record(object.unique);
}

bool account_is_replaceable(uint32_t handle)
{
	return handle >> 24 == TPM_HT_PERSISTENT && handle != TPM_SRK_RSA && handle != TPM_SRK_ECC;
}

/*
 * Whether a wrong authorization through the session that COMMAND makes can raise the failure
 * counter: what it is bound to is tried with each use (Part 1, section 19.6.10). Of a saved session
 * nobody knows what it is bound to.
 */
static bool is_bound_to_counter(const struct account *account, const struct tpm_command *command)
{
	const struct account_entity *entity;

	if (command->info->code != TPM_CC_START_AUTH_SESSION)
		return true;
	if (command->handles[1] == TPM_RH_NULL)
		return false;
	if (account_is_replaceable(command->handles[1]))
		return true;
	entity = account_entity(account, command->handles[1]);
	return !entity || !account_entity_is_no_da(entity);
}

static int learn_handle(struct account *account, const struct tpm_command *command,
	uint32_t policies, uint32_t handle)
{
	if (handle >> 24 == TPM_HT_TRANSIENT) {
		struct account_entity *slot = object_slot(account, 0);

		if (!slot || account_object(account, handle))
			return -EBADMSG;
		*slot = describe_object(command, handle);
		slot->policies = policies;
		return 0;
	}

	struct account_session *slot = session_slot(account, handle);

	/* a handle that is given out again was lost without a word, as after a reset of the TPM */
	if (!slot)
		slot = session_slot(account, 0);
	if (!slot)
		return -EBADMSG;
	slot->handle = handle;
	slot->dictionary_attack = is_bound_to_counter(account, command);
	return 0;
}

void account_forget(struct account *account, uint32_t handle)
{
	struct account_entity *object = handle != 0 ? object_slot(account, handle) : NULL;
	struct account_session *session = handle != 0 ? session_slot(account, handle) : NULL;

	if (object)
		*object = (struct account_entity){0};
	if (session)
		*session = (struct account_session){0};
}

/* What success took away: flushed handles, sessions that were not to continue, saved sessions. */
static void learn_losses(struct account *account, const struct tpm_command *command)
{
	if (tpm_command_flushes(command->info))
		for (unsigned i = 0; i < command->handle_count; i++)
			if (command->info->handles[i].use == TPM_USE_SEQUENCE)
				account_forget(account, command->handles[i]);
	if (command->info->code == TPM_CC_CONTEXT_SAVE &&
		command->handles[0] >> 24 != TPM_HT_TRANSIENT)
		account_forget(
			account, command->handles[0]); /* it belongs to whoever holds the blob */
	for (unsigned i = 0; i < command->authorization_count; i++)
		if (!(command->authorizations[i].attributes & TPMA_SESSION_CONTINUE))
			account_forget(account, command->authorizations[i].handle);
}

bool account_is_wrong_authorization(uint32_t code)
{
	uint32_t error = code & 0xbf; /* format-one codes without what they are about */

	return code == TPM_RC_LOCKOUT ||
	       (code & 0x80 && (error == TPM_RC_AUTH_FAIL || error == TPM_RC_BAD_AUTH));
}

void account_distrust_sessions(struct account *account, const struct tpm_command *command)
{
	for (unsigned i = 0; i < command->authorization_count; i++) {
		uint32_t handle = command->authorizations[i].handle;
		struct account_session *session =
			handle != 0 ? session_slot(account, handle) : NULL;

		if (session)
			session->dictionary_attack = true;
	}
}

bool account_is_counted_failure(uint32_t code)
{
	return (code & 0xbf) == TPM_RC_AUTH_FAIL;
}

/* TPM_RC_REFERENCE_H0.. and _S0..: a session or object that the TPM no longer has. */
static void learn_missing(struct account *account, const struct tpm_command *command, uint32_t code)
{
	code &= ~TPM_RC_LAYER; /* a resource manager says the same of what it has lost */
	for (unsigned i = 0; i < command->handle_count; i++)
		if (code == TPM_RC_REFERENCE_H0 + i)
			account_forget(account, command->handles[i]);
	for (unsigned i = 0; i < command->authorization_count; i++)
		if (code == TPM_RC_REFERENCE_S0 + i)
			account_forget(account, command->authorizations[i].handle);
}

int account_learn(struct account *account, const struct tpm_command *command, uint32_t policies,
	const struct tpm_response *response)
{
	uint32_t code = command->info->code;

	if (code == TPM_CC_FLUSH_CONTEXT) {
		/* gone already is gone too: Clear and a reset flush objects behind our back */
		if (response->code == TPM_RC_SUCCESS ||
			response->code == tpm_rc_at(TPM_RC_HANDLE | TPM_RC_P, 0))
			account_forget(account, (uint32_t)command->parameters[0].number);
		return 0;
	}
	if (response->code != TPM_RC_SUCCESS) {
		learn_missing(account, command, response->code);
		return 0;
	}
	learn_losses(account, command);
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

/* TPM2B_NV_PUBLIC, nvName */
static void describe_nv(struct cursor parameters, struct account_entity *entity)
{
	uint8_t bytes[PUBLIC_NV_MAX];
	struct public_nv nv;
	struct cursor public;
	int size;

	if (cursor_tpm2b(&parameters, &public) < 0 || public_parse_nv(public, &nv) < 0 ||
		nv.index != entity->handle)
		return;
	size = public_normalize_nv(public, bytes);
	if (size < 0)
		return;
	entity->known = true;
	entity->attributes = nv.attributes;
	entity->handle_record = make_record(cursor_new(bytes, (size_t)size));
}

/* TPM2B_PUBLIC, name, qualifiedName */
static void describe_read_object(struct cursor parameters, struct account_entity *entity)
{
	struct cursor public;
	struct cursor name;

	if (cursor_tpm2b(&parameters, &public) < 0 || cursor_tpm2b(&parameters, &name) < 0 ||
		describe_public(public, entity) < 0)
		return;
	entity->handle_record = make_record(name);
}

void account_learn_public(
	struct account *account, uint32_t handle, uint32_t code, struct cursor parameters)
{
	struct account_entity *slot = entity_slot(account, handle);
	struct account_entity entity = {.handle = handle};

	if (!slot)
		return;
	entity.policies = slot->policies;
	entity.sealed_own = slot->handle == handle ? slot->sealed_own : ACCOUNT_OWN_UNKNOWN;
	if (code == TPM_RC_SEQUENCE)
		entity.sequence = entity.known = true;
	else if (code == TPM_RC_SUCCESS && handle >> 24 == TPM_HT_NV_INDEX)
		describe_nv(parameters, &entity);
	else if (code == TPM_RC_SUCCESS)
		describe_read_object(parameters, &entity);
	entity.unreadable = !entity.known;
	entity.absent = code == tpm_rc_at(TPM_RC_HANDLE, 0);
	*slot = entity;
}

void account_learn_ownership(
	struct account *account, uint32_t handle, enum account_kind kind, bool own)
{
	struct account_entity *slot = entity_slot(account, handle);
	enum account_ownership ownership = own ? ACCOUNT_OWN : ACCOUNT_FOREIGN;

	if (!slot || slot->handle != handle)
		return;
	if (kind == ACCOUNT_KIND_SEALED)
		slot->sealed_own = ownership;
	else
		slot->handle_own = ownership;
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
