/*
 * What a client of rm-load has in the TPM: a primary key like nobody else's, objects below it with
 * passwords, policies and contents of their own, and sessions. All of it stays loaded, as far as
 * the client can tell.
 */
#include "rm-load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tss2/tss2_tctildr.h>

#define NONE          ESYS_TR_NONE
#define PASSWORD_SIZE 16
#define DATA_SIZE     32

/* The first is what sessions are bound to, so there always is one; RSA keys take long to make. */
static const enum load_kind kinds[] = {
	LOAD_SIGN, LOAD_SECRET, LOAD_HMAC, LOAD_DECRYPT, LOAD_SIGN, LOAD_SECRET, LOAD_SIGN};
#define KINDS (sizeof kinds / sizeof kinds[0])

void client_fail(const struct load_client *client, const char *what, TSS2_RC code)
{
	if (!atomic_flag_test_and_set(client->failed)) {
		printf("failed: seed %llu, client %u, round %lu, %s: %s",
			(unsigned long long)client->random.seed, client->number,
			client->random.round, client->doing, what);
		if (code != TSS2_RC_SUCCESS)
			printf(": 0x%08x", code);
		printf("\n");
	}
	exit(1);
}

void client_must(const struct load_client *client, const char *what, TSS2_RC code)
{
	if (code != TSS2_RC_SUCCESS)
		client_fail(client, what, code);
}

/* ---- sessions ------------------------------------------------------------------------------- */

static void start_session(struct load_client *client, struct load_session *session)
{
	static const TPMT_SYM_DEF cipher = {
		.algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};
	static const TPMT_SYM_DEF no_cipher = {.algorithm = TPM2_ALG_NULL};
	enum load_session_kind kind = session->kind;
	bool salted = kind == LOAD_SALTED || kind == LOAD_POLICY;
	TPMA_SESSION attributes = TPMA_SESSION_CONTINUESESSION;

	if (kind != LOAD_UNBOUND)
		attributes |= TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT;
	client_must(client, "StartAuthSession",
		Esys_StartAuthSession(client->esys, salted ? client->primary : NONE,
			kind == LOAD_BOUND ? client->objects[0].handle : NONE, NONE, NONE, NONE,
			NULL, kind == LOAD_POLICY ? TPM2_SE_POLICY : TPM2_SE_HMAC,
			kind == LOAD_UNBOUND ? &no_cipher : &cipher, TPM2_ALG_SHA256,
			&session->handle));
	client_must(client, "session attributes",
		Esys_TRSess_SetAttributes(client->esys, session->handle, attributes, 0xff));
	session->policy = crypto_policy_new();
}

void client_renew_session(struct load_client *client, struct load_session *session)
{
	client_must(client, "FlushContext of a session",
		Esys_FlushContext(client->esys, session->handle));
	start_session(client, session);
}

static struct load_session *any_session(struct load_client *client)
{
	if (client->session_count == 0)
		return NULL;
	return &client->sessions[storm_below(&client->random, client->session_count)];
}

static void run_policy(struct load_client *client, struct load_session *session, uint16_t pcrs)
{
	TPML_PCR_SELECTION selection = crypto_selection(pcrs);
	TPM2B_DIGEST any = {0};

	client_must(client, "PolicyRestart",
		Esys_PolicyRestart(client->esys, session->handle, NONE, NONE, NONE));
	client_must(client, "PolicyPCR",
		Esys_PolicyPCR(client->esys, session->handle, NONE, NONE, NONE, &any, &selection));
	client_must(client, "PolicyAuthValue",
		Esys_PolicyAuthValue(client->esys, session->handle, NONE, NONE, NONE));
	/* What it will be when it has authorized something. */
	session->policy = crypto_policy_new();
}

ESYS_TR client_authorize(struct load_client *client, const struct load_object *object)
{
	struct load_session *session = any_session(client);

	if (!session || storm_one_in(&client->random, 4))
		return ESYS_TR_PASSWORD;
	if (session->kind == LOAD_POLICY)
		run_policy(client, session, object->pcrs);
	return session->handle;
}

ESYS_TR client_encrypt(struct load_client *client)
{
	struct load_session *session = any_session(client);

	return session && (session->kind == LOAD_SALTED || session->kind == LOAD_BOUND)
		       ? session->handle
		       : NONE;
}

/* What authorizes the use of the primary key, which has no policy. */
static ESYS_TR authorize_parent(struct load_client *client)
{
	struct load_session *session = any_session(client);

	return session && session->kind != LOAD_POLICY ? session->handle : ESYS_TR_PASSWORD;
}

/* ---- objects -------------------------------------------------------------------------------- */

static TPM2B_PUBLIC public_of(TPMI_ALG_PUBLIC type, TPMA_OBJECT attributes)
{
	TPM2B_PUBLIC public = {
		.publicArea =
			{
				.type = type,
				.nameAlg = TPM2_ALG_SHA256,
				.objectAttributes = attributes | TPMA_OBJECT_FIXEDTPM |
						    TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA |
						    TPMA_OBJECT_USERWITHAUTH,
			},
	};

	return public;
}

static TPM2B_PUBLIC ecc_key(TPMA_OBJECT attributes)
{
	TPM2B_PUBLIC public = public_of(TPM2_ALG_ECC, attributes | TPMA_OBJECT_SENSITIVEDATAORIGIN);
	TPMS_ECC_PARMS *parameters = &public.publicArea.parameters.eccDetail;

	parameters->symmetric.algorithm = TPM2_ALG_NULL;
	parameters->scheme.scheme = TPM2_ALG_NULL;
	if (attributes & TPMA_OBJECT_RESTRICTED) {
		parameters->symmetric.algorithm = TPM2_ALG_AES;
		parameters->symmetric.keyBits.aes = 128;
		parameters->symmetric.mode.aes = TPM2_ALG_CFB;
	} else {
		parameters->scheme.scheme = TPM2_ALG_ECDSA;
		parameters->scheme.details.anySig.hashAlg = TPM2_ALG_SHA256;
	}
	parameters->curveID = TPM2_ECC_NIST_P256;
	parameters->kdf.scheme = TPM2_ALG_NULL;
	return public;
}

static TPM2B_PUBLIC rsa_key(void)
{
	TPM2B_PUBLIC public =
		public_of(TPM2_ALG_RSA, TPMA_OBJECT_DECRYPT | TPMA_OBJECT_SENSITIVEDATAORIGIN);
	TPMS_RSA_PARMS *parameters = &public.publicArea.parameters.rsaDetail;

	parameters->symmetric.algorithm = TPM2_ALG_NULL;
	parameters->scheme.scheme = TPM2_ALG_OAEP;
	parameters->scheme.details.oaep.hashAlg = TPM2_ALG_SHA256;
	parameters->keyBits = 2048;
	return public;
}

static TPM2B_PUBLIC keyed_hash(bool hmac)
{
	TPM2B_PUBLIC public =
		public_of(TPM2_ALG_KEYEDHASH, hmac ? (TPMA_OBJECT)TPMA_OBJECT_SIGN_ENCRYPT : 0);
	TPMT_KEYEDHASH_SCHEME *scheme = &public.publicArea.parameters.keyedHashDetail.scheme;

	scheme->scheme = hmac ? TPM2_ALG_HMAC : TPM2_ALG_NULL;
	if (hmac)
		scheme->details.hmac.hashAlg = TPM2_ALG_SHA256;
	return public;
}

static TPM2B_PUBLIC template_of(enum load_kind kind)
{
	switch (kind) {
	case LOAD_DECRYPT:
		return rsa_key();
	case LOAD_SECRET:
	case LOAD_HMAC:
		return keyed_hash(kind == LOAD_HMAC);
	case LOAD_SIGN:
		break;
	}
	return ecc_key(TPMA_OBJECT_SIGN_ENCRYPT);
}

static void make_primary(struct load_client *client)
{
	TPM2B_SENSITIVE_CREATE create = {0};
	TPM2B_PUBLIC public = ecc_key(TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT);
	TPM2B_ECC_PARAMETER *unique = &public.publicArea.unique.ecc.x;
	TPM2B_DATA outside = {0};
	TPML_PCR_SELECTION pcrs = {0};

	/* One template gives one key; with a number of its own each client has another. */
	unique->size = DATA_SIZE;
	storm_fill(&client->random, unique->buffer, DATA_SIZE);
	client_must(client, "CreatePrimary",
		Esys_CreatePrimary(client->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, NONE, NONE,
			&create, &public, &outside, &pcrs, &client->primary, NULL, NULL, NULL,
			NULL));
}

static void load_object(struct load_client *client, struct load_object *object)
{
	client_must(client, "Load",
		Esys_Load(client->esys, client->primary, authorize_parent(client), NONE, NONE,
			object->private, object->public, &object->handle));
	client_must(client, "password of an object",
		Esys_TR_SetAuth(client->esys, object->handle, &object->auth));
}

static void make_object(struct load_client *client, struct load_object *object)
{
	TPM2B_PUBLIC public = template_of(object->kind);
	TPM2B_SENSITIVE_CREATE create = {0};
	TPM2B_DATA outside = {0};
	TPML_PCR_SELECTION pcrs = {0};
	TPM2B_DIGEST policy = crypto_policy_new();

	object->auth.size = PASSWORD_SIZE;
	storm_fill(&client->random, object->auth.buffer, PASSWORD_SIZE);
	if (object->kind == LOAD_SECRET || object->kind == LOAD_HMAC) {
		object->data.size = DATA_SIZE;
		storm_fill(&client->random, object->data.buffer, DATA_SIZE);
	}
	object->pcrs = (uint16_t)(1 + storm_below(&client->random, UINT16_MAX));
	crypto_policy_pcr(&policy, object->pcrs);
	crypto_policy_auth_value(&policy);
	public.publicArea.authPolicy = policy;
	create.sensitive.userAuth = object->auth;
	create.sensitive.data = object->data;
	client_must(client, "Create",
		Esys_Create(client->esys, client->primary, authorize_parent(client), NONE, NONE,
			&create, &public, &outside, &pcrs, &object->private, &object->public, NULL,
			NULL, NULL));
	if (object->kind == LOAD_SIGN || object->kind == LOAD_DECRYPT) {
		object->key = crypto_public(&object->public->publicArea);
		if (!object->key)
			client_fail(client, "a public key that libcrypto does not take", 0);
	}
	load_object(client, object);
	client_must(client, "Name of an object",
		Esys_TR_GetName(client->esys, object->handle, &object->name));
}

void client_reload(struct load_client *client, struct load_object *object)
{
	client_must(client, "FlushContext", Esys_FlushContext(client->esys, object->handle));
	load_object(client, object);
}

void client_swap(struct load_client *client, struct load_object *object)
{
	TPMS_CONTEXT *context = NULL;

	client_must(
		client, "ContextSave", Esys_ContextSave(client->esys, object->handle, &context));
	client_must(client, "FlushContext", Esys_FlushContext(client->esys, object->handle));
	client_must(
		client, "ContextLoad", Esys_ContextLoad(client->esys, context, &object->handle));
	client_must(client, "password of an object",
		Esys_TR_SetAuth(client->esys, object->handle, &object->auth));
	Esys_Free(context);
}

/* ---- the client ----------------------------------------------------------------------------- */

void client_start(
	struct load_client *client, const char *tcti, unsigned int objects, unsigned int sessions)
{
	client->doing = "start";
	client_must(client, "TCTI", Tss2_TctiLdr_Initialize(tcti, &client->tcti));
	client_must(client, "ESYS", Esys_Initialize(&client->esys, client->tcti, NULL));
	make_primary(client);
	for (; client->object_count < objects; client->object_count++) {
		struct load_object *object = &client->objects[client->object_count];
		enum load_kind kind = kinds[client->object_count % KINDS];

		object->kind =
			kind == LOAD_DECRYPT && client->object_count > KINDS ? LOAD_HMAC : kind;
		make_object(client, object);
	}
	for (; client->session_count < sessions; client->session_count++) {
		struct load_session *session = &client->sessions[client->session_count];

		session->kind =
			(enum load_session_kind)(client->session_count % LOAD_SESSION_KINDS);
		start_session(client, session);
	}
}

void client_finish(struct load_client *client)
{
	client->doing = "finish";
	for (unsigned int i = 0; i < client->session_count; i++)
		client_must(client, "FlushContext of a session",
			Esys_FlushContext(client->esys, client->sessions[i].handle));
	for (unsigned int i = 0; i < client->object_count; i++) {
		struct load_object *object = &client->objects[i];

		client_must(
			client, "FlushContext", Esys_FlushContext(client->esys, object->handle));
		Esys_Free(object->private);
		Esys_Free(object->public);
		Esys_Free(object->name);
		EVP_PKEY_free(object->key);
	}
	client_must(client, "FlushContext of the primary key",
		Esys_FlushContext(client->esys, client->primary));
	Esys_Finalize(&client->esys);
	Tss2_TctiLdr_Finalize(&client->tcti);
}
