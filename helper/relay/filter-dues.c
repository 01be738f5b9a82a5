/*
 *   due          owed by
 *   session      whatever makes one more TPM session
 *   turn         what makes keys, a full self-test, and RSA private key operations; and what tries
 *                an authorization value of a hierarchy, which a TPM lets anybody do without end,
 *                and tells nobody: one after the other, the broker counts the wrong ones
 *   da           any authorization of an object or NV index that is not known to be noDA, and any
 *                command with a session that is bound to such a thing or was saved: each wrong one
 *                raises the counter that locks everybody out. The storage root key is no
 *                exception; of other persistent objects nothing is certain, see
 *                account_is_replaceable()
 *   charge       what writes an own NV index, and what authorizes a PIN index, which that writes to
 *   claim, drop  what makes or removes an own NV index or persistent key
 *   record       Create and CreateLoaded of sealed data
 */
#include "relay/filter-rules.h"
#include "relay/public-area.h"

/* Whether handle I is authorized, and a wrong authorization may be counted. */
static struct filter_verdict check_counted(const struct account *account,
	const struct tpm_command *command, unsigned i, bool *ret_counted)
{
	uint32_t handle = command->handles[i];
	const struct account_entity *entity;

	*ret_counted = false;
	if (command->info->handles[i].role == TPM_ROLE_NONE)
		return allow();
	if (account_is_replaceable(handle)) {
		*ret_counted = true;
		return allow();
	}
	if (!is_object(handle) && handle >> 24 != TPM_HT_NV_INDEX)
		return allow(); /* PCRs and hierarchies are not; lockout is a profile's own matter
				 */
	entity = account_entity(account, handle);
	if (!entity || (!entity->known && !entity->unreadable))
		return need(FILTER_FACT_PUBLIC, handle);
	*ret_counted = !account_entity_is_no_da(entity);
	return allow();
}

static struct filter_verdict add_dictionary_attack(const struct account *account,
	const struct tpm_command *command, struct filter_verdict verdict)
{
	for (unsigned i = 0; i < command->handle_count; i++) {
		bool counted;
		struct filter_verdict known = check_counted(account, command, i, &counted);

		if (known.kind != FILTER_ALLOW)
			return known;
		if (counted)
			verdict.dues |= FILTER_DUE_DA;
	}
	for (unsigned i = 0; i < command->authorization_count; i++) {
		const struct account_session *session =
			account_session(account, command->authorizations[i].handle);

		if (session && session->dictionary_attack)
			verdict.dues |= FILTER_DUE_DA;
	}
	return verdict;
}

/* Whether the private part of the key in handle I does something slow. */
static bool is_slow_key(
	const struct account *account, const struct tpm_command *command, unsigned i)
{
	const struct account_entity *entity = account_entity(account, command->handles[i]);

	switch (command->info->handles[i].use) {
	case TPM_USE_KEY:
	case TPM_USE_KEY_OR_NULL:
	case TPM_USE_TPM_KEY:
		break;
	case TPM_USE_PARENT:
		if (command->info->code != TPM_CC_IMPORT)
			return false;
		break;
	default:
		return false;
	}
	if (!is_object(command->handles[i]))
		return false;
	return !entity || !entity->known || (entity->type == TPM_ALG_RSA && !entity->sequence);
}

static bool takes_long(const struct account *account, const struct tpm_command *command)
{
	switch (command->info->code) {
	case TPM_CC_CREATE_PRIMARY:
	case TPM_CC_CREATE:
	case TPM_CC_CREATE_LOADED:
	case TPM_CC_INCREMENTAL_SELF_TEST:
		return true;
	case TPM_CC_SELF_TEST:
		return command->parameters[0].number != 0; /* fullTest */
	default:
		break;
	}
	for (unsigned i = 0; i < command->handle_count; i++)
		if (is_slow_key(account, command, i))
			return true;
	return false;
}

static bool makes_sealed_data(const struct tpm_command *command)
{
	struct public_object object;

	if (command->info->code != TPM_CC_CREATE && command->info->code != TPM_CC_CREATE_LOADED)
		return false;
	/* what the template does not say for sure may be sealed data */
	return public_parse_object(command->parameters[1].bytes, &object) < 0 ||
	       public_is_sealed(object.type, object.attributes);
}

/* What own NV indices and persistent keys owe. A claim or drop is charged by the broker. */
static uint32_t own_dues(const struct tpm_command *command)
{
	switch (command->info->code) {
	case TPM_CC_NV_DEFINE_SPACE:
	case TPM_CC_NV_DEFINE_SPACE_2:
		return FILTER_DUE_CLAIM;
	case TPM_CC_NV_UNDEFINE_SPACE:
		return FILTER_DUE_DROP;
	case TPM_CC_EVICT_CONTROL:
		return command->handles[1] >> 24 == TPM_HT_PERSISTENT ? FILTER_DUE_DROP
								      : FILTER_DUE_CLAIM;
	default:
		break;
	}
	for (unsigned i = 0; i < command->handle_count; i++)
		if (command->info->handles[i].use == TPM_USE_NV_WRITE)
			return FILTER_DUE_CHARGE;
	return 0;
}

/* Whether an authorization by itself writes to an NV index, as that of an adopted PIN index does.
 */
static bool writes_by_authorization(
	const struct account *account, const struct tpm_command *command)
{
	for (unsigned i = 0; i < command->handle_count; i++) {
		const struct account_entity *entity = account_entity(account, command->handles[i]);

		if (command->info->handles[i].role != TPM_ROLE_NONE && entity &&
			command->handles[i] >> 24 == TPM_HT_NV_INDEX &&
			public_nv_counts_pins(entity->attributes))
			return true;
	}
	return false;
}

uint32_t filter_claimed_handle(const struct tpm_command *command, enum account_kind *ret_kind)
{
	struct cursor public = command->parameters[1].bytes;
	struct cursor skipped;
	uint32_t index = 0;

	*ret_kind = ACCOUNT_KIND_NV;
	switch (command->info->code) {
	case TPM_CC_NV_DEFINE_SPACE_2:
		cursor_bytes(&public, 1, &skipped);
		/* fall through */
	case TPM_CC_NV_DEFINE_SPACE:
		return cursor_u32(&public, &index) < 0 ? 0 : index;
	case TPM_CC_NV_UNDEFINE_SPACE:
		return command->handles[1];
	case TPM_CC_EVICT_CONTROL:
		*ret_kind = ACCOUNT_KIND_PERSISTENT;
		return (uint32_t)command->parameters[0].number;
	default:
		return 0;
	}
}

struct filter_verdict filter_dues(const struct account *account, const struct tpm_command *command,
	struct filter_verdict verdict)
{
	if (tpm_command_returns_handle(command->info) && tpm_command_makes_session(command))
		verdict.dues |= FILTER_DUE_SESSION;
	if (takes_long(account, command) || tpm_command_guesses_hierarchy(command))
		verdict.dues |= FILTER_DUE_TURN;
	if (makes_sealed_data(command))
		verdict.dues |= FILTER_DUE_RECORD;
	if (verdict.own)
		verdict.dues |= own_dues(command);
	if (writes_by_authorization(account, command))
		verdict.dues |= FILTER_DUE_CHARGE;
	return add_dictionary_attack(account, command, verdict);
}
