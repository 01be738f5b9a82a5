#pragma once
/*
 * The parts of rm-load: rm-load.c starts clients and has each run its operations, rm-load-client.c
 * is what a client has in the TPM, rm-load-crypto.c is what libcrypto says of the results.
 */
#include "storm.h"

#include <stdatomic.h>

#include <openssl/evp.h>
#include <tss2/tss2_esys.h>

#define LOAD_OBJECTS_MAX  31 /* the primary key is another one */
#define LOAD_SESSIONS_MAX 16
#define LOAD_RANDOM_SIZE  32

enum load_kind { LOAD_SIGN, LOAD_SECRET, LOAD_HMAC, LOAD_DECRYPT };

/* A child of the primary key, and everything that is needed to notice that it became another. */
struct load_object {
	enum load_kind kind;
	ESYS_TR handle;
	uint16_t pcrs; /* which its policy names; PolicyAuthValue follows */
	TPM2B_AUTH auth;
	TPM2B_SENSITIVE_DATA data; /* what was sealed, or the key of an HMAC */
	TPM2B_PRIVATE *private;
	TPM2B_PUBLIC *public;
	TPM2B_NAME *name;
	EVP_PKEY *key; /* the public one of LOAD_SIGN and LOAD_DECRYPT */
};

enum load_session_kind { LOAD_SALTED, LOAD_UNBOUND, LOAD_POLICY, LOAD_BOUND, LOAD_SESSION_KINDS };

struct load_session {
	enum load_session_kind kind;
	ESYS_TR handle;
	TPM2B_DIGEST policy; /* of LOAD_POLICY: what PolicyGetDigest must say */
};

struct load_client {
	unsigned int number;
	const char *doing; /* for the message of client_fail */
	struct storm random;
	TSS2_TCTI_CONTEXT *tcti;
	ESYS_CONTEXT *esys;
	ESYS_TR primary;
	struct load_object objects[LOAD_OBJECTS_MAX];
	struct load_session sessions[LOAD_SESSIONS_MAX];
	unsigned int object_count;
	unsigned int session_count;
	uint8_t last_random[LOAD_RANDOM_SIZE];
	atomic_flag *failed; /* shared by all clients: one has said what failed */
};

/* Ends the process, with one line by the first that fails. CODE 0: a wrong result. */
_Noreturn void client_fail(const struct load_client *client, const char *what, TSS2_RC code);
void client_must(const struct load_client *client, const char *what, TSS2_RC code);

/* Opens TCTI, and makes the primary key, OBJECTS and SESSIONS, all of which stay. */
void client_start(
	struct load_client *client, const char *tcti, unsigned int objects, unsigned int sessions);
/* Flushes everything and closes the TCTI. */
void client_finish(struct load_client *client);

/*
 * What authorizes the next command on OBJECT: its password, or one of the sessions, which for a
 * policy session has run the object's policy by then.
 */
ESYS_TR client_authorize(struct load_client *client, const struct load_object *object);
/* A session that encrypts what an unauthorized command carries, or ESYS_TR_NONE. */
ESYS_TR client_encrypt(struct load_client *client);

/* Flushes SESSION and starts one of its kind in its place. */
void client_renew_session(struct load_client *client, struct load_session *session);
/* Flushes OBJECT and brings it back: by Load, and by ContextSave and ContextLoad. */
void client_reload(struct load_client *client, struct load_object *object);
void client_swap(struct load_client *client, struct load_object *object);

/* All of these are about SHA-256. NULL, false: libcrypto would not, or it is not so. */
EVP_PKEY *crypto_public(const TPMT_PUBLIC *public);
bool crypto_verify(EVP_PKEY *key, const TPM2B_DIGEST *digest, const TPMS_SIGNATURE_ECC *signature);
bool crypto_encrypt(EVP_PKEY *key, const uint8_t *bytes, size_t size, TPM2B_PUBLIC_KEY_RSA *ret_to);
void crypto_hmac(const TPM2B_SENSITIVE_DATA *key, const uint8_t *bytes, size_t size,
	uint8_t ret_hmac[TPM2_SHA256_DIGEST_SIZE]);

/* Policy digests: the first, and as PolicyPCR (of PCRs that are zero) and PolicyAuthValue go on. */
TPM2B_DIGEST crypto_policy_new(void);
void crypto_policy_pcr(TPM2B_DIGEST *policy, uint16_t pcrs);
void crypto_policy_auth_value(TPM2B_DIGEST *policy);
/* PCRS of the SHA-256 bank. */
TPML_PCR_SELECTION crypto_selection(uint16_t pcrs);
