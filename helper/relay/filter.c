/*
 * The policy, as a specification. A command is allowed where one policy of the session allows all
 * of it: the command by name, each handle by the use that the command makes of it
 * (filter-handle.c), and the parameters that matter (filter-parameter.c). What an allowed command
 * owes to the accounts is in filter-dues.c.
 *
 * Whatever the policies say: objects and sessions must be this descriptor's own.
 */
#include "relay/filter.h"

#include "relay/filter-rules.h"

/* What the session owns, whatever its policies say: codes are those that a TPM gives. */
static struct filter_verdict check_ownership(
	const struct account *account, const struct tpm_command *command)
{
	for (unsigned i = 0; i < command->handle_count; i++) {
		uint32_t handle = command->handles[i];
		uint32_t kind = tpm_handle_kind(handle);

		if ((kind == TPM_KIND_TRANSIENT && !account_object(account, handle)) ||
			(kind & (TPM_KIND_HMAC_SESSION | TPM_KIND_POLICY_SESSION) &&
				!account_session(account, handle)))
			return refuse("not-own", TPM_RC_LAYER | (TPM_RC_REFERENCE_H0 + i));
	}
	for (unsigned i = 0; i < command->authorization_count; i++) {
		uint32_t handle = command->authorizations[i].handle;

		if (handle != TPM_RS_PW && !account_session(account, handle))
			return refuse("not-own", TPM_RC_LAYER | (TPM_RC_REFERENCE_S0 + i));
	}
	if (command->info->code == TPM_CC_FLUSH_CONTEXT) {
		uint64_t handle = command->parameters[0].number;

		if (!account_object(account, (uint32_t)handle) &&
			!account_session(account, (uint32_t)handle))
			return refuse(
				"not-own", TPM_RC_LAYER | tpm_rc_at(TPM_RC_HANDLE | TPM_RC_P, 0));
	}
	return allow();
}

/* A fourth object or session, which the kernel would answer by flushing every session. */
static struct filter_verdict check_slots(
	const struct account *account, const struct tpm_command *command)
{
	if (!tpm_command_returns_handle(command->info))
		return allow();
	if (tpm_command_makes_session(command))
		return account_sessions_full(account)
			       ? refuse("session-slots", TPM_RC_LAYER | TPM_RC_SESSION_MEMORY)
			       : allow();
	return account_objects_full(account)
		       ? refuse("object-slots", TPM_RC_LAYER | TPM_RC_OBJECT_MEMORY)
		       : allow();
}

static struct filter_verdict check_policy(const struct filter_question *q)
{
	struct filter_verdict verdict = allow();

	if (q->command->handle_count == 0)
		return filter_parameters(q);
	for (unsigned i = 0; i < q->command->handle_count; i++)
		verdict = both(verdict, filter_handle(q, i));
	return both(verdict, filter_parameters(q));
}

/* What a policy allows by itself comes before what it allows because it is own: it owes less. */
static bool is_better(const struct filter_verdict *verdict, const struct filter_verdict *best)
{
	if (verdict->kind == FILTER_ALLOW && best->kind == FILTER_ALLOW)
		return best->own && !verdict->own;
	return verdict->kind >= best->kind;
}

static struct filter_verdict check_policies(const struct policy_image *image,
	const struct account *account, const struct tpm_command *command)
{
	struct filter_verdict best = deny("command");
	uint32_t allowing = 0;

	for (unsigned i = 0; i < image->policy_count; i++) {
		const struct policy *policy = &image->policies[i];
		struct filter_question q = {policy, 1u << i, account, command};
		struct filter_verdict verdict;

		if (!policy_allows_command(policy, command->info->code))
			continue;
		if (account->spent & q.bit && tpm_command_authorizes_hierarchy(command))
			verdict = deny("spent");
		else
			verdict = check_policy(&q);
		if (verdict.kind == FILTER_ALLOW)
			allowing |= q.bit;
		if (is_better(&verdict, &best))
			best = verdict;
	}
	best.policies = allowing;
	return best;
}

struct filter_verdict filter_check(const struct policy_image *image, const struct account *account,
	const struct tpm_command *command)
{
	struct filter_verdict verdict;

	if (command->info->scope == TPM_SCOPE_LOCAL)
		return (struct filter_verdict){.kind = FILTER_LOCAL};
	if (command->info->scope != TPM_SCOPE_PROFILE)
		return deny("never");
	/* One rule at a time, the most telling first: a profile that does not name the command says
	 * more to its user than a handle that is not there. */
	verdict = deny("command");
	for (unsigned i = 0; i < image->policy_count; i++)
		if (policy_allows_command(&image->policies[i], command->info->code))
			verdict = allow();
	if (verdict.kind == FILTER_ALLOW)
		verdict = check_ownership(account, command);
	if (verdict.kind == FILTER_ALLOW)
		verdict = check_policies(image, account, command);
	if (verdict.kind == FILTER_ALLOW) {
		struct filter_verdict slots = check_slots(account, command);

		if (slots.kind != FILTER_ALLOW)
			return slots;
		return filter_dues(account, command, verdict);
	}
	return verdict;
}

bool filter_spends(const struct policy_image *image, unsigned index,
	const struct tpm_command *command, uint32_t code)
{
	if (!(image->policies[index].flags & POLICY_ONCE) ||
		!tpm_command_authorizes_hierarchy(command))
		return false;
	return code == TPM_RC_SUCCESS || account_is_wrong_authorization(code);
}

bool filter_shows_handle(const struct policy_image *image, uint32_t handle)
{
	for (unsigned i = 0; i < image->policy_count; i++) {
		const struct policy *policy = &image->policies[i];

		if (filter_is_storage_root(policy, handle) ||
			policy_allows_handle(policy, handle, POLICY_USE_KEY) ||
			policy_allows_handle(policy, handle, POLICY_USE_EVICT) ||
			policy_allows_handle(policy, handle, POLICY_USE_NV_READ) ||
			policy_allows_handle(policy, handle, POLICY_USE_NV_DEFINE))
			return true;
	}
	return false;
}
