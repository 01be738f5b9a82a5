#pragma once
/*
 * What this session owns in the TPM, learnt from the commands that went through and their
 * responses. The filter judges by it; nothing here does I/O.
 *
 * A resource manager has room for so many transient objects and sessions of one descriptor, the
 * kernel's and a TPM itself for 3. One more is refused before it is sent, because the kernel
 * answers it by flushing all sessions of the descriptor.
 */
#include "common/policy.h"
#include "relay/tpm-response.h"

#define ACCOUNT_ENTITIES 8  /* more than the handles of one command */
#define ACCOUNT_SEALED   16 /* sealed data made in this session and remembered */

/* What is known about an object or an NV index, from its public area. */
struct account_entity {
	uint32_t handle;     /* 0: the slot is free */
	bool known;          /* the rest is filled in */
	bool unreadable;     /* the TPM did not give the public area; it is not asked again */
	bool sequence;       /* a hash, HMAC or signature sequence; it has no public area */
	bool made_here;      /* sealed data of this session's making */
	uint32_t policies;   /* transient: which policies let it be made or loaded, as bits */
	uint16_t type;       /* TPM_ALG_ID; 0 for an NV index */
	uint32_t attributes; /* TPMA_OBJECT or TPMA_NV */
};

struct account_sealed {
	size_t size; /* 0: the slot is free */
	uint8_t unique[TPM_DIGEST_MAX];
};

struct account {
	unsigned object_slots;  /* of `objects`, those that may be used */
	unsigned session_slots; /* of `sessions` */
	struct account_entity objects[POLICY_SLOTS_MAX];
	uint32_t sessions[POLICY_SLOTS_MAX]; /* 0: the slot is free */
	struct account_entity entities[ACCOUNT_ENTITIES];
	unsigned next_entity; /* the slot to be reused next */
	struct account_sealed sealed[ACCOUNT_SEALED];
	unsigned next_sealed;
	uint32_t spent; /* policies with POLICY_ONCE that have had their turn, as bits */
	unsigned failed_hierarchies; /* wrong authorizations of hierarchies */
};

/* An account that owns nothing, of a session with so many slots (at most POLICY_SLOTS_MAX). */
struct account account_new(unsigned object_slots, unsigned session_slots);

/* The record of the transient object HANDLE, or NULL where it is not this session's. */
const struct account_entity *account_object(const struct account *account, uint32_t handle);
bool account_has_session(const struct account *account, uint32_t handle);
bool account_objects_full(const struct account *account);
bool account_sessions_full(const struct account *account);

/* What is known about HANDLE: a transient object, persistent object or NV index; NULL: nothing. */
const struct account_entity *account_entity(const struct account *account, uint32_t handle);

/* Authorizing this entity cannot raise the TPM's failure counter. */
bool account_entity_is_no_da(const struct account_entity *entity);
/* A restricted decryption key: a storage root key, where it is a primary. */
bool account_entity_is_storage_key(const struct account_entity *entity);
/* KEYEDHASH without sign and decrypt. */
bool account_entity_is_sealed(const struct account_entity *entity);

/*
 * Learns from RESPONSE to COMMAND, which was forwarded because POLICIES (bits) allow it. Returns 0,
 * or -EBADMSG where the TPM claims to have made something that it cannot have made.
 */
int account_learn(struct account *account, const struct tpm_command *command, uint32_t policies,
	const struct tpm_response *response);

/*
 * Forgets what was read of persistent objects and NV indices. For each command it is read anew:
 * whoever may remove them can put something else in their place.
 */
void account_forget_entities(struct account *account);

/* Forgets the transient objects that are not among the u32 in HANDLES: Clear flushes some. */
void account_keep_objects(struct account *account, struct cursor handles);

/* Whether CODE says that an authorization was wrong, by whatever method. */
bool account_is_wrong_authorization(uint32_t code);

/*
 * Learns the public area of HANDLE from what ReadPublic or NV_ReadPublic answered (PARAMETERS), or
 * that there is none to be had (CODE is not TPM_RC_SUCCESS).
 */
void account_learn_public(
	struct account *account, uint32_t handle, uint32_t code, struct cursor parameters);

/* All sessions of the descriptor are gone, as after an error of the kernel's resource manager. */
void account_forget_sessions(struct account *account);
