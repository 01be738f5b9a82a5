/*
 * The policy, as a specification. A command is allowed where one policy of the session allows all
 * of it: the command by name, each handle by the use that the command makes of it, and the
 * parameters that carry handles or change what the command does.
 *
 *   handle's use           allowed for
 *   key, secret, sequence  an object that this policy let the session make or load; key, secret: a
 *                          persistent one in UseKey=
 *   secret                 sealed data: if made in this session, or with UnsealForeign=
 *   key_or_null            as key, or TPM_RH_NULL
 *   public                 as key, or a storage root key (StorageRootKey=); nothing is authorized
 *   parent, tpm_key, bind  as key, or a storage root key that is a restricted decryption key;
 *                          tpm_key, bind: or TPM_RH_NULL
 *   hierarchy              one of Hierarchies=
 *   owner, lockout, ...    that permanent handle exactly; never the platform, never an alias
 *   pcr                    a PCR in PCRs=; pcr_or_null: or TPM_RH_NULL
 *   nv_read, nv_write ...  an NV index in the range of that name, authorized by itself or the owner
 *   nv_public              any NV index: its public area is metadata
 *   entity                 an object as for key, or a hierarchy in PolicySecret=
 *   sessions               sessions of this descriptor, in the authorization area too
 *   context                what this descriptor owns; sessions need an account, or SavedSessions=
 *   evict                  an object of this session or a persistent handle in Evict=
 *
 * And for whatever needs an authorization: an object or NV index that is not known to be exempt
 * from dictionary attack protection (noDA) needs an account, because a wrong authorization of it
 * raises the counter that locks everybody out. The same for what a session is bound to, since any
 * later use of the session tries that authorization again. DictionaryAttack= does without.
 */
#include "relay/filter.h"

struct filter_question {
	const struct policy *policy;
	uint32_t bit; /* the policy's, among the session's */
	const struct account *account;
	const struct tpm_command *command;
};

#define REFUSED            (TPM_RC_LAYER | TPM_RC_DISABLED)
#define FILTER_GUESSES_MAX 5 /* wrong authorizations of hierarchies in one session */

static struct filter_verdict allow(void)
{
	return (struct filter_verdict){.kind = FILTER_ALLOW};
}

static struct filter_verdict refuse(const char *rule, uint32_t code)
{
	return (struct filter_verdict){.kind = FILTER_DENY, .code = code, .rule = rule};
}

static struct filter_verdict deny(const char *rule)
{
	return refuse(rule, REFUSED);
}

static struct filter_verdict allow_if(bool condition, const char *rule)
{
	return condition ? allow() : deny(rule);
}

static struct filter_verdict need_account(const char *rule, uint32_t code)
{
	return (struct filter_verdict){.kind = FILTER_ACCOUNT, .code = code, .rule = rule};
}

static struct filter_verdict need_public(uint32_t handle)
{
	return (struct filter_verdict){
		.kind = FILTER_QUERY, .code = REFUSED, .rule = "public-area", .query = handle};
}

/*
 * Of two verdicts that must both hold: a refusal is final, an unknown fact comes before an account
 * (the fact may make the refusal final), and only two permissions permit.
 */
static struct filter_verdict both(struct filter_verdict a, struct filter_verdict b)
{
	static const unsigned severity[] = {[FILTER_DENY] = 3,
		[FILTER_QUERY] = 2,
		[FILTER_ACCOUNT] = 1,
		[FILTER_ALLOW] = 0,
		[FILTER_LOCAL] = 0};

	return severity[b.kind] > severity[a.kind] ? b : a;
}

/* The bit of enum policy_hierarchy for HANDLE; 0 for every other handle, aliases included. */
static uint32_t hierarchy_bit(uint32_t handle)
{
	switch (handle) {
	case TPM_RH_OWNER:
		return POLICY_OWNER;
	case TPM_RH_ENDORSEMENT:
		return POLICY_ENDORSEMENT;
	case TPM_RH_NULL:
		return POLICY_NULL;
	case TPM_RH_LOCKOUT:
		return POLICY_LOCKOUT;
	default:
		return 0;
	}
}

static bool is_object(uint32_t handle)
{
	return handle >> 24 == TPM_HT_TRANSIENT || handle >> 24 == TPM_HT_PERSISTENT;
}

static bool is_storage_root_handle(const struct policy *policy, uint32_t handle)
{
	return policy->flags & POLICY_STORAGE_ROOT_KEY &&
	       (handle == TPM_SRK_RSA || handle == TPM_SRK_ECC);
}

/* ---- handles, by use ------------------------------------------------------------------------ */

/*
 * An object of this session that this policy let it make: an endorsement key made under one profile
 * is not another profile's to sign with. Or a persistent one that the policy names.
 */
static struct filter_verdict check_key(const struct filter_question *q, uint32_t handle)
{
	const struct account_entity *object = account_object(q->account, handle);

	if (handle >> 24 == TPM_HT_TRANSIENT)
		return allow_if(object && object->policies & q->bit, "other-profile");
	return allow_if(handle >> 24 == TPM_HT_PERSISTENT &&
				policy_allows_handle(q->policy, handle, POLICY_USE_KEY),
		"persistent-handle");
}

static struct filter_verdict check_public(const struct filter_question *q, uint32_t handle)
{
	return is_storage_root_handle(q->policy, handle) ? allow() : check_key(q, handle);
}

/* Something below which keys are: the storage root key, if it is what its handle promises. */
static struct filter_verdict check_parent(const struct filter_question *q, uint32_t handle)
{
	const struct account_entity *entity;

	if (!is_storage_root_handle(q->policy, handle))
		return check_key(q, handle);
	entity = account_entity(q->account, handle);
	if (!entity)
		return need_public(handle);
	return allow_if(account_entity_is_storage_key(entity), "storage-root-key");
}

static struct filter_verdict check_secret(const struct filter_question *q, uint32_t handle)
{
	struct filter_verdict verdict = check_key(q, handle);
	const struct account_entity *entity = account_entity(q->account, handle);

	if (verdict.kind != FILTER_ALLOW || q->policy->flags & POLICY_UNSEAL_FOREIGN)
		return verdict;
	if (!entity || (!entity->known && !entity->unreadable))
		return need_public(handle);
	if (!entity->known || (account_entity_is_sealed(entity) && !entity->made_here))
		return need_account("sealed-data", REFUSED);
	return verdict;
}

static struct filter_verdict check_hierarchy(const struct filter_question *q, uint32_t handle)
{
	return allow_if(q->policy->hierarchies & hierarchy_bit(handle), "hierarchy");
}

static struct filter_verdict check_pcr(const struct filter_question *q, uint32_t handle)
{
	return allow_if(handle < 32 && q->policy->pcrs >> handle & 1, "pcr");
}

/* Whose authorization opens the index beside it: its own, or exactly the owner's. */
static struct filter_verdict check_nv_auth(const struct filter_question *q, unsigned i)
{
	uint32_t handle = q->command->handles[i];

	return allow_if(handle == TPM_RH_OWNER || handle == q->command->handles[i + 1], "nv-auth");
}

/* An index in a range of the policy; others are the caller's own at best, which an account knows.
 */
static struct filter_verdict check_nv(const struct filter_question *q, uint32_t index, uint32_t use)
{
	if (policy_allows_handle(q->policy, index, use))
		return allow();
	return need_account("nv-index", REFUSED);
}

static struct filter_verdict check_nv_authorize(const struct filter_question *q, unsigned i)
{
	uint32_t index = q->command->handles[i];

	if (policy_allows_handle(q->policy, index, POLICY_USE_NV_AUTHORIZE))
		return allow_if(q->command->handles[i - 1] == TPM_RH_OWNER, "nv-auth");
	return need_account("nv-index", REFUSED);
}

static struct filter_verdict check_entity(const struct filter_question *q, uint32_t handle)
{
	if (is_object(handle))
		return check_key(q, handle);
	if (handle >> 24 == TPM_HT_NV_INDEX)
		return need_account("nv-index", REFUSED);
	return allow_if(q->policy->secrets & hierarchy_bit(handle), "entity");
}

static struct filter_verdict check_bind(const struct filter_question *q, uint32_t handle)
{
	if (handle == TPM_RH_NULL)
		return allow();
	return is_object(handle) ? check_parent(q, handle) : deny("bind");
}

static struct filter_verdict check_saved_session(const struct filter_question *q)
{
	return q->policy->flags & POLICY_SAVED_SESSIONS ? allow()
							: need_account("saved-session", REFUSED);
}

static struct filter_verdict check_context(const struct filter_question *q, uint32_t handle)
{
	return handle >> 24 == TPM_HT_TRANSIENT ? allow() : check_saved_session(q);
}

static struct filter_verdict check_evict(const struct filter_question *q, uint32_t handle)
{
	if (handle >> 24 == TPM_HT_TRANSIENT ||
		policy_allows_handle(q->policy, handle, POLICY_USE_EVICT))
		return allow();
	return need_account("persistent-handle", REFUSED);
}

static struct filter_verdict check_use(const struct filter_question *q, unsigned i)
{
	uint32_t handle = q->command->handles[i];

	switch (q->command->info->handles[i].use) {
	case TPM_USE_KEY:
		return check_key(q, handle);
	case TPM_USE_KEY_OR_NULL:
		return handle == TPM_RH_NULL ? allow() : check_key(q, handle);
	case TPM_USE_SECRET:
		return check_secret(q, handle);
	case TPM_USE_PUBLIC:
		return check_public(q, handle);
	case TPM_USE_PARENT:
		return check_parent(q, handle);
	case TPM_USE_PARENT_OR_NULL:
	case TPM_USE_TPM_KEY:
		return handle == TPM_RH_NULL ? allow() : check_parent(q, handle);
	case TPM_USE_PARENT_OR_HIERARCHY:
		return is_object(handle) ? check_parent(q, handle) : check_hierarchy(q, handle);
	case TPM_USE_HIERARCHY:
		return check_hierarchy(q, handle);
	case TPM_USE_SEQUENCE:
		return allow_if(handle >> 24 == TPM_HT_TRANSIENT, "sequence");
	case TPM_USE_OWNER:
		return allow_if(handle == TPM_RH_OWNER, "hierarchy");
	case TPM_USE_ENDORSEMENT:
		return allow_if(handle == TPM_RH_ENDORSEMENT, "hierarchy");
	case TPM_USE_LOCKOUT:
		return allow_if(handle == TPM_RH_LOCKOUT, "hierarchy");
	case TPM_USE_BASE_HIERARCHY:
		return allow_if(
			handle == TPM_RH_OWNER || handle == TPM_RH_ENDORSEMENT, "hierarchy");
	case TPM_USE_ANY_HIERARCHY:
		return allow_if(handle == TPM_RH_OWNER || handle == TPM_RH_ENDORSEMENT ||
					handle == TPM_RH_LOCKOUT,
			"hierarchy");
	case TPM_USE_PCR:
		return check_pcr(q, handle);
	case TPM_USE_PCR_OR_NULL:
		return handle == TPM_RH_NULL ? allow() : check_pcr(q, handle);
	case TPM_USE_NV_AUTH:
		return check_nv_auth(q, i);
	case TPM_USE_NV_READ:
	case TPM_USE_NV_OWN: /* what may be read gives no more away when it is compared */
		return check_nv(q, handle, POLICY_USE_NV_READ);
	case TPM_USE_NV_WRITE:
		return check_nv(q, handle, POLICY_USE_NV_WRITE);
	case TPM_USE_NV_DEFINE:
		return check_nv(q, handle, POLICY_USE_NV_DEFINE);
	case TPM_USE_NV_PUBLIC:
		return allow_if(handle >> 24 == TPM_HT_NV_INDEX, "nv-index");
	case TPM_USE_NV_AUTHORIZE:
		return check_nv_authorize(q, i);
	case TPM_USE_POLICY_SESSION:
	case TPM_USE_HMAC_SESSION:
		return allow(); /* this session's own: checked before */
	case TPM_USE_ENTITY:
		return check_entity(q, handle);
	case TPM_USE_BIND:
		return check_bind(q, handle);
	case TPM_USE_CONTEXT:
		return check_context(q, handle);
	case TPM_USE_EVICT:
		return check_evict(q, handle);
	case TPM_USE_NEVER:
		break;
	}
	return deny("never");
}

/* Whether an authorization of HANDLE may raise the failure counter of the whole TPM. */
static struct filter_verdict check_dictionary_attack(
	const struct filter_question *q, uint32_t handle)
{
	const struct account_entity *entity = account_entity(q->account, handle);

	if (!is_object(handle) && handle >> 24 != TPM_HT_NV_INDEX)
		return allow(); /* PCRs and hierarchies do not; lockout is a profile's own matter */
	if (q->policy->flags & POLICY_DICTIONARY_ATTACK)
		return allow();
	if (!entity || (!entity->known && !entity->unreadable))
		return need_public(handle);
	if (account_entity_is_no_da(entity))
		return allow();
	return need_account("dictionary-attack", TPM_RC_LAYER | TPM_RC_LOCKOUT);
}

static struct filter_verdict check_handle(const struct filter_question *q, unsigned i)
{
	struct filter_verdict verdict = check_use(q, i);
	const struct tpm_handle_info *info = &q->command->info->handles[i];

	if (verdict.kind == FILTER_DENY)
		return verdict;
	if (info->role == TPM_ROLE_NONE &&
		!(info->use == TPM_USE_BIND && q->command->handles[i] != TPM_RH_NULL))
		return verdict;
	return both(verdict, check_dictionary_attack(q, q->command->handles[i]));
}

/* ---- parameters ----------------------------------------------------------------------------- */

/* A hierarchy that only chooses whose proof value makes a ticket: any of the caller's kind. */
static struct filter_verdict check_ticket_hierarchy(uint64_t handle)
{
	return allow_if(
		handle == TPM_RH_OWNER || handle == TPM_RH_ENDORSEMENT || handle == TPM_RH_NULL,
		"hierarchy");
}

/* TPMS_CONTEXT (Part 2, section 14.5): sequence, savedHandle, hierarchy, contextBlob. */
static struct filter_verdict check_context_load(const struct filter_question *q)
{
	uint64_t saved = q->command->parameters[1].number;

	switch (saved >> 24) {
	case TPM_HT_TRANSIENT:
		return check_hierarchy(q, (uint32_t)q->command->parameters[2].number);
	case TPM_HT_HMAC_SESSION:
	case TPM_HT_POLICY_SESSION:
		return check_saved_session(q);
	default:
		return deny("context");
	}
}

/* TPM2B_NV_PUBLIC starts with the index; TPM2B_NV_PUBLIC_2 with the handle type before it. */
static struct filter_verdict check_nv_public(const struct filter_question *q, bool typed)
{
	struct cursor public = q->command->parameters[1].bytes;
	uint8_t type = TPM_HT_NV_INDEX;
	uint32_t index;

	if ((typed && cursor_u8(&public, &type) < 0) || cursor_u32(&public, &index) < 0 ||
		type != TPM_HT_NV_INDEX)
		return deny("nv-index");
	return check_nv(q, index, POLICY_USE_NV_DEFINE);
}

static struct filter_verdict check_evict_handle(const struct filter_question *q)
{
	uint32_t handle = (uint32_t)q->command->parameters[0].number;

	if (policy_allows_handle(q->policy, handle, POLICY_USE_EVICT))
		return allow();
	return need_account("persistent-handle", REFUSED);
}

static struct filter_verdict check_capability(const struct filter_question *q)
{
	uint64_t capability = q->command->parameters[0].number;
	uint64_t property = q->command->parameters[1].number;

	if (capability >= POLICY_CAPABILITIES || !(q->policy->capabilities >> capability & 1))
		return deny("capability");
	if (capability != TPM_CAP_HANDLES)
		return allow();
	switch (property >> 24) {
	case TPM_HT_PCR:
	case TPM_HT_PERMANENT:
		return allow(); /* the same on every TPM */
	case TPM_HT_NV_INDEX:
	case TPM_HT_PERSISTENT:
	case TPM_HT_TRANSIENT:
	case TPM_HT_HMAC_SESSION:
	case TPM_HT_POLICY_SESSION:
		/* The relay answers from what this session may see. It cannot make the HMAC that
		 * a response with sessions needs. */
		if (q->command->authorization_count > 0)
			return deny("capability-session");
		return (struct filter_verdict){.kind = FILTER_LOCAL};
	default:
		return deny("capability");
	}
}

static struct filter_verdict check_parameters(const struct filter_question *q)
{
	const struct tpm_parameter *parameters = q->command->parameters;

	switch (q->command->info->code) {
	case TPM_CC_SEQUENCE_COMPLETE:
		return check_ticket_hierarchy(parameters[1].number);
	case TPM_CC_HASH:
	case TPM_CC_LOAD_EXTERNAL:
		return check_ticket_hierarchy(parameters[2].number);
	case TPM_CC_HIERARCHY_CONTROL: /* the platform's hierarchies are nobody's here */
		return allow_if(parameters[0].number == TPM_RH_OWNER ||
					parameters[0].number == TPM_RH_ENDORSEMENT,
			"hierarchy");
	case TPM_CC_REWRAP:
		/* What comes out under another parent, or none, is the sensitive area of whatever
		 * was wrapped: nothing in the command says whose or what. */
		return allow_if(q->policy->flags & POLICY_UNSEAL_FOREIGN, "rewrap");
	case TPM_CC_CONTEXT_LOAD:
		return check_context_load(q);
	case TPM_CC_NV_DEFINE_SPACE:
		return check_nv_public(q, false);
	case TPM_CC_NV_DEFINE_SPACE_2:
		return check_nv_public(q, true);
	case TPM_CC_EVICT_CONTROL:
		return check_evict_handle(q);
	default:
		return allow();
	}
}

/* ---- the whole command ---------------------------------------------------------------------- */

/* What the session owns, whatever its policies say: codes are those that a TPM gives. */
static struct filter_verdict check_ownership(
	const struct account *account, const struct tpm_command *command)
{
	for (unsigned i = 0; i < command->handle_count; i++) {
		uint32_t handle = command->handles[i];
		uint32_t kind = tpm_handle_kind(handle);

		if ((kind == TPM_KIND_TRANSIENT && !account_object(account, handle)) ||
			(kind & (TPM_KIND_HMAC_SESSION | TPM_KIND_POLICY_SESSION) &&
				!account_has_session(account, handle)))
			return refuse("not-own", TPM_RC_LAYER | (TPM_RC_REFERENCE_H0 + i));
	}
	for (unsigned i = 0; i < command->authorization_count; i++) {
		uint32_t handle = command->authorizations[i].handle;

		if (handle != TPM_RS_PW && !account_has_session(account, handle))
			return refuse("not-own", TPM_RC_LAYER | (TPM_RC_REFERENCE_S0 + i));
	}
	if (command->info->code == TPM_CC_FLUSH_CONTEXT) {
		uint64_t handle = command->parameters[0].number;

		if (!account_object(account, (uint32_t)handle) &&
			!account_has_session(account, (uint32_t)handle))
			return refuse(
				"not-own", TPM_RC_LAYER | tpm_rc_at(TPM_RC_HANDLE | TPM_RC_P, 0));
	}
	return allow();
}

/*
 * A TPM lets anybody guess at the owner's and the endorsement authorization without end, and tells
 * nobody.
 */
static struct filter_verdict check_guesses(
	const struct account *account, const struct tpm_command *command)
{
	if (tpm_command_authorizes_hierarchy(command) &&
		account->failed_hierarchies >= FILTER_GUESSES_MAX)
		return refuse("hierarchy-guesses", TPM_RC_LAYER | TPM_RC_LOCKOUT);
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

	for (unsigned i = 0; i < q->command->handle_count; i++)
		verdict = both(verdict, check_handle(q, i));
	return both(verdict, check_parameters(q));
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
		else if (command->info->code == TPM_CC_GET_CAPABILITY)
			verdict = check_capability(&q);
		else
			verdict = check_policy(&q);
		if (verdict.kind == FILTER_ALLOW)
			allowing |= q.bit;
		if (verdict.kind >= best.kind)
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
		verdict = check_guesses(account, command);
	if (verdict.kind == FILTER_ALLOW)
		verdict = check_policies(image, account, command);
	if (verdict.kind == FILTER_ALLOW) {
		struct filter_verdict slots = check_slots(account, command);

		if (slots.kind != FILTER_ALLOW)
			return slots;
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

		if (is_storage_root_handle(policy, handle) ||
			policy_allows_handle(policy, handle, POLICY_USE_KEY) ||
			policy_allows_handle(policy, handle, POLICY_USE_EVICT) ||
			policy_allows_handle(policy, handle, POLICY_USE_NV_READ) ||
			policy_allows_handle(policy, handle, POLICY_USE_NV_DEFINE))
			return true;
	}
	return false;
}
