#include "filter-oracle.h"

#include "pieces.h"

#include <stdlib.h>
#include <string.h>

#define RULE_MAX 31 /* letters of a rule's name, as the broker takes it */

static bool is_object(uint32_t handle)
{
	return tpm_handle_kind(handle) & (TPM_KIND_TRANSIENT | TPM_KIND_PERSISTENT);
}

static bool is_session(uint32_t handle)
{
	return tpm_handle_kind(handle) & (TPM_KIND_HMAC_SESSION | TPM_KIND_POLICY_SESSION);
}

/* Whether one of the policies that allow the command has HANDLE in a range, for whatever. */
static bool is_named(
	const struct policy_image *image, const struct filter_verdict *verdict, uint32_t handle)
{
	for (unsigned i = 0; i < image->policy_count; i++) {
		const struct policy *policy = &image->policies[i];

		if (!(verdict->policies >> i & 1))
			continue;
		for (uint32_t j = 0; j < policy->range_count; j++)
			if (handle >= policy->ranges[j].first && handle <= policy->ranges[j].last)
				return true;
		if (policy->flags & POLICY_STORAGE_ROOT_KEY &&
			(handle == TPM_SRK_RSA || handle == TPM_SRK_ECC))
			return true;
	}
	return false;
}

static bool is_recorded(const struct account *account, uint32_t handle)
{
	const struct account_entity *entity = account_entity(account, handle);

	return entity && entity->known && entity->handle_own == ACCOUNT_OWN;
}

static bool has_flag(
	const struct policy_image *image, const struct filter_verdict *verdict, uint32_t flag)
{
	for (unsigned i = 0; i < image->policy_count; i++)
		if (verdict->policies >> i & 1 && image->policies[i].flags & flag)
			return true;
	return false;
}

static uint32_t hierarchies(
	const struct policy_image *image, const struct filter_verdict *verdict, bool secrets)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < image->policy_count; i++)
		if (verdict->policies >> i & 1)
			bits |= secrets ? image->policies[i].secrets
					: image->policies[i].hierarchies;
	return bits;
}

/* An object of another's is never used, nor one that only another policy could have made. */
static void check_object(const struct policy_image *image, const struct account *account,
	const struct tpm_command *command, unsigned i, const struct filter_verdict *verdict)
{
	uint32_t handle = command->handles[i];
	enum tpm_use use = command->info->handles[i].use;
	const struct account_entity *object = account_object(account, handle);

	if (handle >> 24 == TPM_HT_PERSISTENT) {
		DEMAND(is_named(image, verdict, handle) || is_recorded(account, handle));
		return;
	}
	DEMAND(object != NULL);
	DEMAND(use == TPM_USE_SEQUENCE || use == TPM_USE_CONTEXT ||
		object->policies & verdict->policies);
}

static void check_sealed(const struct policy_image *image, const struct account *account,
	const struct tpm_command *command, unsigned i, const struct filter_verdict *verdict)
{
	const struct account_entity *entity = account_entity(account, command->handles[i]);

	if (command->info->handles[i].use != TPM_USE_SECRET ||
		has_flag(image, verdict, POLICY_UNSEAL_FOREIGN))
		return;
	DEMAND(entity && entity->known);
	DEMAND(!account_entity_is_sealed(entity) || entity->sealed_own == ACCOUNT_OWN);
}

static void check_permanent(const struct policy_image *image, const struct tpm_command *command,
	unsigned i, const struct filter_verdict *verdict)
{
	uint32_t handle = command->handles[i];
	enum tpm_use use = command->info->handles[i].use;

	DEMAND(tpm_handle_kind(handle) &
		(TPM_KIND_OWNER | TPM_KIND_ENDORSEMENT | TPM_KIND_LOCKOUT | TPM_KIND_NULL));
	if (use == TPM_USE_HIERARCHY || use == TPM_USE_PARENT_OR_HIERARCHY)
		DEMAND((handle == TPM_RH_OWNER &&
			       hierarchies(image, verdict, false) & POLICY_OWNER) ||
			(handle == TPM_RH_ENDORSEMENT &&
				hierarchies(image, verdict, false) & POLICY_ENDORSEMENT) ||
			(handle == TPM_RH_LOCKOUT &&
				hierarchies(image, verdict, false) & POLICY_LOCKOUT) ||
			(handle == TPM_RH_NULL &&
				hierarchies(image, verdict, false) & POLICY_NULL));
	if (use == TPM_USE_ENTITY)
		DEMAND(hierarchies(image, verdict, true) != 0);
	if (use == TPM_USE_BIND || use == TPM_USE_TPM_KEY)
		DEMAND(handle == TPM_RH_NULL);
}

static void check_handle(const struct policy_image *image, const struct account *account,
	const struct tpm_command *command, unsigned i, const struct filter_verdict *verdict)
{
	uint32_t handle = command->handles[i];

	DEMAND(command->info->handles[i].use != TPM_USE_NEVER);
	if (is_object(handle)) {
		check_object(image, account, command, i, verdict);
		check_sealed(image, account, command, i, verdict);
	} else if (is_session(handle)) {
		DEMAND(account_session(account, handle) != NULL);
	} else if (handle >> 24 == TPM_HT_PERMANENT) {
		check_permanent(image, command, i, verdict);
	} else if (handle >> 24 == TPM_HT_NV_INDEX) {
		DEMAND(command->info->handles[i].use == TPM_USE_NV_PUBLIC ||
			is_named(image, verdict, handle) || is_recorded(account, handle));
	} else {
		DEMAND(handle < 32); /* a PCR */
	}
}

static void check_flush(const struct account *account, const struct tpm_command *command)
{
	uint64_t handle = command->parameters[0].number;

	DEMAND(handle <= UINT32_MAX && (account_object(account, (uint32_t)handle) ||
					       account_session(account, (uint32_t)handle)));
}

/* Whoever could raise the TPM's failure counter owes the token. */
static void check_token(const struct account *account, const struct tpm_command *command,
	const struct filter_verdict *verdict)
{
	for (unsigned i = 0; i < command->handle_count; i++) {
		const struct account_entity *entity = account_entity(account, command->handles[i]);
		uint32_t handle = command->handles[i];

		if (command->info->handles[i].role != TPM_ROLE_NONE &&
			handle >> 24 == TPM_HT_PERMANENT && handle != TPM_RH_NULL)
			DEMAND(!command->authorizations[i].value ||
				verdict->dues & FILTER_DUE_TURN);
		if (command->info->handles[i].role == TPM_ROLE_NONE ||
			(!is_object(handle) && handle >> 24 != TPM_HT_NV_INDEX))
			continue;
		/* whoever owns a persistent handle can have put another object there */
		if (handle >> 24 == TPM_HT_PERSISTENT && handle != TPM_SRK_RSA &&
			handle != TPM_SRK_ECC) {
			DEMAND(verdict->dues & FILTER_DUE_DA);
			continue;
		}
		DEMAND(entity != NULL);
		DEMAND(account_entity_is_no_da(entity) || verdict->dues & FILTER_DUE_DA);
	}
	for (unsigned i = 0; i < command->authorization_count; i++) {
		const struct account_session *session =
			account_session(account, command->authorizations[i].handle);

		DEMAND(!session || !session->dictionary_attack || verdict->dues & FILTER_DUE_DA);
	}
}

/* What is made here has room, and what it is made of was paid for. */
static void check_making(const struct account *account, const struct tpm_command *command,
	const struct filter_verdict *verdict)
{
	uint32_t code = command->info->code;

	if (tpm_command_returns_handle(command->info)) {
		bool session = tpm_command_makes_session(command);

		DEMAND(session ? !account_sessions_full(account) : !account_objects_full(account));
		DEMAND(!session || verdict->dues & FILTER_DUE_SESSION);
	}
	if (code == TPM_CC_CREATE || code == TPM_CC_CREATE_PRIMARY || code == TPM_CC_CREATE_LOADED)
		DEMAND(verdict->dues & FILTER_DUE_TURN);
	if (verdict->dues & (FILTER_DUE_CLAIM | FILTER_DUE_DROP)) {
		enum account_kind kind;
		uint32_t handle = filter_claimed_handle(command, &kind);

		DEMAND(handle >> 24 ==
			(kind == ACCOUNT_KIND_NV ? TPM_HT_NV_INDEX : TPM_HT_PERSISTENT));
		/* what is claimed is free, what is dropped is one's own */
		DEMAND(verdict->dues & FILTER_DUE_DROP ? is_recorded(account, handle)
						       : account_entity(account, handle)->absent);
	}
}

static void check_policies(const struct policy_image *image, const struct account *account,
	const struct tpm_command *command, const struct filter_verdict *verdict)
{
	DEMAND(verdict->policies != 0 && verdict->policies >> image->policy_count == 0);
	for (unsigned i = 0; i < image->policy_count; i++) {
		if (!(verdict->policies >> i & 1))
			continue;
		DEMAND(policy_allows_command(&image->policies[i], command->info->code));
		DEMAND(!(account->spent >> i & 1) || !tpm_command_authorizes_hierarchy(command));
	}
}

static void check_allowed(const struct policy_image *image, const struct account *account,
	const struct tpm_command *command, const struct filter_verdict *verdict)
{
	DEMAND(command->info->scope == TPM_SCOPE_PROFILE);
	check_policies(image, account, command, verdict);
	for (unsigned i = 0; i < command->handle_count; i++)
		check_handle(image, account, command, i, verdict);
	for (unsigned i = 0; i < command->authorization_count; i++)
		DEMAND(command->authorizations[i].handle == TPM_RS_PW ||
			account_session(account, command->authorizations[i].handle));
	if (command->info->code == TPM_CC_FLUSH_CONTEXT)
		check_flush(account, command);
	check_token(account, command, verdict);
	check_making(account, command, verdict);
}

/* A handle that the command names, in its handle area or as what it makes or removes. */
static void check_query(const struct tpm_command *command, const struct filter_verdict *verdict)
{
	enum account_kind kind;
	bool named = filter_claimed_handle(command, &kind) == verdict->query;

	DEMAND(verdict->fact != FILTER_FACT_NONE);
	DEMAND(is_object(verdict->query) || verdict->query >> 24 == TPM_HT_NV_INDEX);
	for (unsigned i = 0; i < command->handle_count; i++)
		named = named || command->handles[i] == verdict->query;
	DEMAND(named);
}

static void check_refusal(const struct filter_verdict *verdict)
{
	DEMAND(verdict->rule && verdict->rule[0] && strlen(verdict->rule) <= RULE_MAX);
	DEMAND(strspn(verdict->rule, "abcdefghijklmnopqrstuvwxyz0123456789-") ==
		strlen(verdict->rule));
	DEMAND(verdict->code & TPM_RC_LAYER && (verdict->code & 0xffff) != TPM_RC_RETRY);
}

void oracle_check(const struct policy_image *image, const struct account *account,
	const struct tpm_command *command, const struct filter_verdict *verdict)
{
	switch (verdict->kind) {
	case FILTER_ALLOW:
		check_allowed(image, account, command, verdict);
		break;
	case FILTER_LOCAL:
		DEMAND(command->info->scope == TPM_SCOPE_LOCAL ||
			(command->info->code == TPM_CC_GET_CAPABILITY &&
				command->parameters[0].number == TPM_CAP_HANDLES &&
				command->authorization_count == 0));
		break;
	case FILTER_QUERY:
		check_query(command, verdict);
		check_refusal(verdict);
		break;
	case FILTER_DENY:
		check_refusal(verdict);
		break;
	default:
		abort();
	}
}
