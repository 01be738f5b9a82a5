/*
 *   handle's use           allowed for
 *   key, secret, sequence  an object that this policy let the session make or load; key, secret: a
 *                          persistent one in UseKey=, or the uid's own
 *   secret                 sealed data: the uid's own, or any with UnsealForeign=
 *   key_or_null            as key, or TPM_RH_NULL
 *   public                 as key, a storage root key (StorageRootKey=), or one in Evict= that is
 *                          not the machine's identity; nothing is authorized
 *   parent, tpm_key, bind  as key, or a storage root key that is a restricted decryption key;
 *                          tpm_key, bind: or TPM_RH_NULL
 *   hierarchy              one of Hierarchies=
 *   owner, lockout, ...    that permanent handle exactly; never the platform, never an alias
 *   pcr                    a PCR in PCRs=; pcr_or_null: or TPM_RH_NULL
 *   nv_read, nv_write ...  an NV index in the range of that name, or the uid's own, authorized by
 *                          itself or the owner
 *   nv_authorize           an index in NvAuthorize=, by the owner; or the uid's own
 *   nv_public              any NV index: its public area is metadata
 *   entity                 an object as for key, an own NV index, or a hierarchy in PolicySecret=
 *   sessions               sessions of this descriptor, in the authorization area too
 *   context                what this descriptor owns
 *   evict                  an object of this session, or a persistent handle in Evict= or own
 */
#include "relay/filter-rules.h"

uint32_t filter_hierarchy_bit(uint32_t handle)
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

bool filter_is_storage_root(const struct policy *policy, uint32_t handle)
{
	return policy->flags & POLICY_STORAGE_ROOT_KEY &&
	       (handle == TPM_SRK_RSA || handle == TPM_SRK_ECC);
}

static bool is_asked(const struct account_entity *entity)
{
	return entity && (entity->known || entity->unreadable);
}

/* What the registry says of an entity whose public area was read. */
static struct filter_verdict check_own_handle(const struct account_entity *entity, const char *rule)
{
	if (entity->handle_own == ACCOUNT_OWN_UNKNOWN)
		return need(FILTER_FACT_HANDLE_OWN, entity->handle);
	return entity->handle_own == ACCOUNT_OWN ? allow_own() : deny(rule);
}

struct filter_verdict filter_own_persistent(const struct filter_question *q, uint32_t handle)
{
	const struct account_entity *entity = account_entity(q->account, handle);

	if (!is_asked(entity))
		return need(FILTER_FACT_PUBLIC, handle);
	if (!entity->known)
		return deny("persistent-handle");
	return check_own_handle(entity, "persistent-handle");
}

struct filter_verdict filter_own_nv(const struct filter_question *q, uint32_t index, unsigned i)
{
	const struct account_entity *entity = account_entity(q->account, index);

	if (index >> 24 != TPM_HT_NV_INDEX) /* outside of the TPM, or permanent: nobody's own */
		return deny("nv-index");
	if (!is_asked(entity))
		return need(FILTER_FACT_PUBLIC, index);
	if (!entity->known) /* there is none: what a TPM says */
		return refuse("nv-index", TPM_RC_LAYER | tpm_rc_at(TPM_RC_HANDLE, i));
	return check_own_handle(entity, "nv-index");
}

/*
 * An object of this session that this policy let it make: an endorsement key made under one profile
 * is not another profile's to sign with. Or a persistent one that the policy names, or that the
 * registry has for this uid.
 */
static struct filter_verdict check_key(const struct filter_question *q, uint32_t handle)
{
	const struct account_entity *object = account_object(q->account, handle);

	if (handle >> 24 == TPM_HT_TRANSIENT)
		return allow_if(object && object->policies & q->bit, "other-profile");
	if (policy_allows_handle(q->policy, handle, POLICY_USE_KEY))
		return allow();
	return filter_own_persistent(q, handle);
}

/* Endorsement keys and IDevID keys, by convention: they identify the machine for good. */
static bool is_identity(uint32_t handle)
{
	return handle >= 0x81010000u && handle <= 0x8102ffffu;
}

static struct filter_verdict check_public(const struct filter_question *q, uint32_t handle)
{
	if (filter_is_storage_root(q->policy, handle))
		return allow();
	/* who may remove a key may see which it is */
	if (policy_allows_handle(q->policy, handle, POLICY_USE_EVICT) && !is_identity(handle))
		return allow();
	return check_key(q, handle);
}

/* Something below which keys are: the storage root key, if it is what its handle promises. */
static struct filter_verdict check_parent(const struct filter_question *q, uint32_t handle)
{
	const struct account_entity *entity;

	if (!filter_is_storage_root(q->policy, handle))
		return check_key(q, handle);
	entity = account_entity(q->account, handle);
	if (!is_asked(entity))
		return need(FILTER_FACT_PUBLIC, handle);
	return allow_if(account_entity_is_storage_key(entity), "storage-root-key");
}

/* Sealed data, however it was loaded, is for whoever sealed it. */
static struct filter_verdict check_sealed(const struct filter_question *q, uint32_t handle)
{
	const struct account_entity *entity = account_entity(q->account, handle);

	if (!is_asked(entity))
		return need(FILTER_FACT_PUBLIC, handle);
	if (!entity->known)
		return deny("sealed-data");
	if (!account_entity_is_sealed(entity))
		return allow();
	if (entity->sealed_own == ACCOUNT_OWN_UNKNOWN)
		return need(FILTER_FACT_SEALED_OWN, handle);
	return allow_if(entity->sealed_own == ACCOUNT_OWN, "sealed-data");
}

static struct filter_verdict check_secret(const struct filter_question *q, uint32_t handle)
{
	struct filter_verdict verdict = check_key(q, handle);

	if (q->policy->flags & POLICY_UNSEAL_FOREIGN)
		return verdict;
	return both(verdict, check_sealed(q, handle));
}

static struct filter_verdict check_hierarchy(const struct filter_question *q, uint32_t handle)
{
	return allow_if(q->policy->hierarchies & filter_hierarchy_bit(handle), "hierarchy");
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

/* An index in a range of the policy, or the uid's own. */
static struct filter_verdict check_nv(const struct filter_question *q, unsigned i, uint32_t use)
{
	uint32_t index = q->command->handles[i];

	return policy_allows_handle(q->policy, index, use) ? allow() : filter_own_nv(q, index, i);
}

static struct filter_verdict check_nv_authorize(const struct filter_question *q, unsigned i)
{
	uint32_t index = q->command->handles[i];

	if (policy_allows_handle(q->policy, index, POLICY_USE_NV_AUTHORIZE))
		return allow_if(q->command->handles[i - 1] == TPM_RH_OWNER, "nv-auth");
	return filter_own_nv(q, index, i);
}

static struct filter_verdict check_entity(const struct filter_question *q, unsigned i)
{
	uint32_t handle = q->command->handles[i];

	if (is_object(handle))
		return check_key(q, handle);
	if (handle >> 24 == TPM_HT_NV_INDEX)
		return filter_own_nv(q, handle, i);
	return allow_if(q->policy->secrets & filter_hierarchy_bit(handle), "entity");
}

/* What a session is bound to must be known: whether its use can raise the failure counter. */
static struct filter_verdict check_bind(const struct filter_question *q, uint32_t handle)
{
	if (handle == TPM_RH_NULL)
		return allow();
	if (!is_object(handle))
		return deny("bind");
	if (!is_asked(account_entity(q->account, handle)))
		return both(need(FILTER_FACT_PUBLIC, handle), check_parent(q, handle));
	return check_parent(q, handle);
}

static struct filter_verdict check_evict(const struct filter_question *q, uint32_t handle)
{
	/* what is persistent may be another object by the time that it is used */
	if (handle >> 24 == TPM_HT_TRANSIENT)
		return check_secret(q, handle);
	if (policy_allows_handle(q->policy, handle, POLICY_USE_EVICT))
		return allow();
	return filter_own_persistent(q, handle);
}

struct filter_verdict filter_handle(const struct filter_question *q, unsigned i)
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
		return handle >> 24 == TPM_HT_TRANSIENT ? check_key(q, handle) : deny("sequence");
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
		return check_nv(q, i, POLICY_USE_NV_READ);
	case TPM_USE_NV_WRITE:
		return check_nv(q, i, POLICY_USE_NV_WRITE);
	case TPM_USE_NV_DEFINE:
		return check_nv(q, i, POLICY_USE_NV_DEFINE);
	case TPM_USE_NV_PUBLIC:
		return allow_if(handle >> 24 == TPM_HT_NV_INDEX, "nv-index");
	case TPM_USE_NV_AUTHORIZE:
		return check_nv_authorize(q, i);
	case TPM_USE_POLICY_SESSION:
	case TPM_USE_HMAC_SESSION:
	case TPM_USE_CONTEXT:
		return allow(); /* this descriptor's own: checked before */
	case TPM_USE_ENTITY:
		return check_entity(q, i);
	case TPM_USE_BIND:
		return check_bind(q, handle);
	case TPM_USE_EVICT:
		return check_evict(q, handle);
	case TPM_USE_NEVER:
		break;
	}
	return deny("never");
}
