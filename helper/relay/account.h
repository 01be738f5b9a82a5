#pragma once
/*
 * What this session owns in the TPM, learnt from the commands that went through and their
 * responses. The filter judges by it; nothing here does I/O.
 *
 * A resource manager has room for so many transient objects and sessions of one descriptor, the
 * kernel's and a TPM itself for 3. One more is refused before it is sent, because the kernel
 * answers it by flushing all sessions of the descriptor.
 */
#include "common/account-protocol.h"
#include "common/policy.h"
#include "relay/tpm-response.h"

#define ACCOUNT_ENTITIES 8 /* more than the handles of one command */

/* Whether something is recorded for the session's uid; the broker knows. */
enum account_ownership {
	ACCOUNT_OWN_UNKNOWN = 0,
	ACCOUNT_OWN,
	ACCOUNT_FOREIGN,
};

/* Bytes by which the registry knows something. */
struct account_record {
	uint32_t size; /* 0: none */
	uint8_t bytes[ACCOUNT_DATA_MAX];
};

/* What is known about an object or an NV index, from its public area. */
struct account_entity {
	uint32_t handle;     /* 0: the slot is free */
	bool known;          /* the rest is filled in */
	bool unreadable;     /* the TPM did not give the public area; it is not asked again */
	bool absent;         /* because there is nothing of that handle */
	bool sequence;       /* a hash, HMAC or signature sequence; it has no public area */
	uint32_t policies;   /* transient: which policies let it be made or loaded, as bits */
	uint16_t type;       /* TPM_ALG_ID; 0 for an NV index */
	uint32_t attributes; /* TPMA_OBJECT or TPMA_NV */
	enum account_ownership handle_own; /* NV index, persistent: the handle */
	enum account_ownership sealed_own; /* sealed data: what is in it */
	struct account_record
		handle_record; /* NV index: public area; object: Name, if it was read */
	struct account_record sealed_record; /* sealed data: `unique` */
};

struct account_session {
	uint32_t handle; /* 0: the slot is free */
	/* bound to something whose authorization can raise the failure counter, or perhaps so */
	bool dictionary_attack;
};

struct account {
	unsigned object_slots;  /* of `objects`, those that may be used */
	unsigned session_slots; /* of `sessions` */
	struct account_entity objects[POLICY_SLOTS_MAX];
	struct account_session sessions[POLICY_SLOTS_MAX];
	struct account_entity entities[ACCOUNT_ENTITIES];
	unsigned next_entity; /* the slot to be reused next */
	uint32_t spent;       /* policies with POLICY_ONCE that have had their turn, as bits */
};

/* An account that owns nothing, of a session with so many slots (at most POLICY_SLOTS_MAX). */
struct account account_new(unsigned object_slots, unsigned session_slots);

/* The record of the transient object HANDLE, or NULL where it is not this session's. */
const struct account_entity *account_object(const struct account *account, uint32_t handle);
/* The record of the TPM session HANDLE, or NULL where it is not this session's. */
const struct account_session *account_session(const struct account *account, uint32_t handle);
bool account_objects_full(const struct account *account);
bool account_sessions_full(const struct account *account);

/* What is known about HANDLE: a transient object, persistent object or NV index; NULL: nothing. */
const struct account_entity *account_entity(const struct account *account, uint32_t handle);

/*
 * Whether HANDLE may name another object when a command reaches the TPM than when it was judged:
 * whoever may make keys persistent can replace one at any moment. Nothing that was read of it is
 * certain.
 */
bool account_is_replaceable(uint32_t handle);

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

/* Any use of COMMAND's TPM sessions is taken for an authorization that can be counted. */
void account_distrust_sessions(struct account *account, const struct tpm_command *command);

/* HANDLE, a transient object or TPM session, is gone. */
void account_forget(struct account *account, uint32_t handle);

/* Whether CODE says that an authorization was wrong, by whatever method. */
bool account_is_wrong_authorization(uint32_t code);

/* Whether CODE says that the TPM counted a wrong authorization (Part 1, section 19.8). */
bool account_is_counted_failure(uint32_t code);

/*
 * Learns the public area of HANDLE from what ReadPublic or NV_ReadPublic answered (PARAMETERS), or
 * that there is none to be had (CODE is not TPM_RC_SUCCESS).
 */
void account_learn_public(
	struct account *account, uint32_t handle, uint32_t code, struct cursor parameters);

/* Learns what the broker says: whether HANDLE itself, or the sealed data in it, is the uid's. */
void account_learn_ownership(
	struct account *account, uint32_t handle, enum account_kind kind, bool own);

/*
 * The `unique` of sealed data that Create or CreateLoaded returned in PARAMETERS; empty where what
 * they made is no sealed data.
 */
struct account_record account_sealed_record(struct cursor parameters);

/* All sessions of the descriptor are gone, as after an error of the kernel's resource manager. */
void account_forget_sessions(struct account *account);
