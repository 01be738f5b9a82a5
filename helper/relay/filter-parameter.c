/*
 *   command                 allowed for
 *   Hash, SequenceComplete, a hierarchy that is not the platform's, to make a ticket with
 *   LoadExternal
 *   HierarchyControl        owner and endorsement
 *   Rewrap                  a policy with UnsealForeign=
 *   ContextLoad             objects of a hierarchy in Hierarchies=; any TPM session: the TPM's own
 *                           check of the blob is the proof
 *   NV_DefineSpace, ...2    an index in NvDefine=; or one that is free, in the range of own
 *                           indices, with noDA and nothing that is the platform's; no PIN
 *                           index, which each wrong authorization writes to
 *   EvictControl            a persistent handle in Evict=; or one that is free, in the range of own
 *                           keys; or the own one that is removed
 *   GetCapability           capabilities in Capabilities=; handles are answered by the relay
 */
#include "relay/filter-rules.h"
#include "relay/public-area.h"

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
	uint64_t hierarchy = q->command->parameters[2].number;

	switch (saved >> 24) {
	case TPM_HT_TRANSIENT:
		return allow_if(q->policy->hierarchies & filter_hierarchy_bit((uint32_t)hierarchy),
			"hierarchy");
	case TPM_HT_HMAC_SESSION:
	case TPM_HT_POLICY_SESSION:
		return allow();
	default:
		return deny("context");
	}
}

/* The handle must be free, so that a claim that is never resolved is about nobody else's. */
static struct filter_verdict check_free(const struct filter_question *q, uint32_t handle)
{
	const struct account_entity *entity = account_entity(q->account, handle);

	if (!entity || (!entity->known && !entity->unreadable))
		return need(FILTER_FACT_PUBLIC, handle);
	if (entity->known)
		return refuse("handle-taken", TPM_RC_LAYER | TPM_RC_NV_DEFINED);
	return entity->absent ? allow_own() : deny("unknown-fact");
}

static struct filter_verdict check_own_nv_public(
	const struct filter_question *q, const struct public_nv *nv)
{
	static const uint32_t forbidden = TPMA_NV_PPWRITE | TPMA_NV_PPREAD |
					  TPMA_NV_PLATFORMCREATE | TPMA_NV_POLICY_DELETE |
					  TPMA_NV_GLOBALLOCK;

	if (nv->index < ACCOUNT_NV_FIRST || nv->index > ACCOUNT_NV_LAST)
		return deny("nv-range");
	if (nv->attributes & forbidden || !(nv->attributes & TPMA_NV_NO_DA) ||
		public_nv_counts_pins(nv->attributes))
		return deny("nv-attributes");
	return check_free(q, nv->index);
}

/* TPM2B_NV_PUBLIC; TPM2B_NV_PUBLIC_2 has the handle type before the rest. */
static struct filter_verdict check_nv_public(const struct filter_question *q, bool typed)
{
	struct cursor public = q->command->parameters[1].bytes;
	uint8_t type = TPM_HT_NV_INDEX;
	struct public_nv nv;

	if ((typed && cursor_u8(&public, &type) < 0) || type != TPM_HT_NV_INDEX ||
		public_parse_nv(public, &nv) < 0)
		return deny("nv-attributes");
	if (policy_allows_handle(q->policy, nv.index, POLICY_USE_NV_DEFINE))
		return allow();
	return check_own_nv_public(q, &nv);
}

static struct filter_verdict check_evict_handle(const struct filter_question *q)
{
	uint32_t object = q->command->handles[1];
	uint32_t handle = (uint32_t)q->command->parameters[0].number;

	if (object >> 24 == TPM_HT_PERSISTENT) /* what is removed must be what was judged */
		return allow_if(handle == object, "persistent-range");
	if (policy_allows_handle(q->policy, handle, POLICY_USE_EVICT))
		return allow();
	if (handle < ACCOUNT_PERSISTENT_FIRST || handle > ACCOUNT_PERSISTENT_LAST)
		return deny("persistent-range");
	return check_free(q, handle);
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

struct filter_verdict filter_parameters(const struct filter_question *q)
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
	case TPM_CC_GET_CAPABILITY:
		return check_capability(q);
	default:
		return allow();
	}
}
