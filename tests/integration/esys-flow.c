/*
 * esys-flow TCTI: what programs on tpm2-tss do with several commands in one session.
 *
 * A salted HMAC session with parameter encryption in both directions, keys that sign, decrypt and
 * agree, a secret sealed and unsealed, and the same behind a policy on PCRs. Prints "ok WHAT" for
 * each step and ends with 1 at the first that fails.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>

#define NONE ESYS_TR_NONE

static const char secret[] = "nobody else's business";

struct flow {
	TSS2_TCTI_CONTEXT *tcti;
	ESYS_CONTEXT *esys;
	ESYS_TR primary;
	ESYS_TR session; /* HMAC, salted by the primary key, AES-CFB both ways */
};

static void fail(const char *what, TSS2_RC code)
{
	printf("failed: %s: 0x%08x\n", what, code);
	exit(1);
}

static void must(TSS2_RC code, const char *what)
{
	if (code != TSS2_RC_SUCCESS)
		fail(what, code);
}

static void done(const char *what)
{
	printf("ok %s\n", what);
	(void)fflush(stdout);
}

static TPM2B_PUBLIC public_of(TPMI_ALG_PUBLIC type, TPMA_OBJECT attributes)
{
	TPM2B_PUBLIC public = {
		.publicArea =
			{
				.type = type,
				.nameAlg = TPM2_ALG_SHA256,
				.objectAttributes = attributes | TPMA_OBJECT_FIXEDTPM |
						    TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA,
			},
	};

	return public;
}

static TPM2B_PUBLIC ecc_key(TPMA_OBJECT attributes, TPMI_ALG_ASYM_SCHEME scheme)
{
	TPM2B_PUBLIC public = public_of(TPM2_ALG_ECC,
		attributes | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH);
	TPMS_ECC_PARMS *parameters = &public.publicArea.parameters.eccDetail;

	parameters->symmetric.algorithm = TPM2_ALG_NULL;
	if (attributes & TPMA_OBJECT_RESTRICTED) {
		parameters->symmetric.algorithm = TPM2_ALG_AES;
		parameters->symmetric.keyBits.aes = 128;
		parameters->symmetric.mode.aes = TPM2_ALG_CFB;
	}
	parameters->scheme.scheme = scheme;
	parameters->scheme.details.anySig.hashAlg = TPM2_ALG_SHA256;
	parameters->curveID = TPM2_ECC_NIST_P256;
	parameters->kdf.scheme = TPM2_ALG_NULL;
	return public;
}

static TPM2B_PUBLIC rsa_decryption_key(void)
{
	TPM2B_PUBLIC public = public_of(TPM2_ALG_RSA,
		TPMA_OBJECT_DECRYPT | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH);
	TPMS_RSA_PARMS *parameters = &public.publicArea.parameters.rsaDetail;

	parameters->symmetric.algorithm = TPM2_ALG_NULL;
	parameters->scheme.scheme = TPM2_ALG_RSAES;
	parameters->keyBits = 2048;
	return public;
}

static TPM2B_PUBLIC sealed_data(TPMA_OBJECT attributes)
{
	TPM2B_PUBLIC public = public_of(TPM2_ALG_KEYEDHASH, attributes);

	public.publicArea.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
	return public;
}

static TPM2B_SENSITIVE_CREATE sensitive(const char *password, const char *data)
{
	TPM2B_SENSITIVE_CREATE create = {0};

	create.sensitive.userAuth.size = (UINT16)strlen(password);
	memcpy(create.sensitive.userAuth.buffer, password, strlen(password));
	create.sensitive.data.size = (UINT16)strlen(data);
	memcpy(create.sensitive.data.buffer, data, strlen(data));
	return create;
}

static TPML_PCR_SELECTION selection(void)
{
	TPML_PCR_SELECTION pcrs = {.count = 1,
		.pcrSelections = {
			{.hash = TPM2_ALG_SHA256, .sizeofSelect = 3, .pcrSelect = {0, 0, 1}}}};

	return pcrs;
}

static void flush(struct flow *flow, ESYS_TR object)
{
	must(Esys_FlushContext(flow->esys, object), "FlushContext");
}

static void make_primary(struct flow *flow)
{
	TPM2B_SENSITIVE_CREATE create = sensitive("", "");
	TPM2B_PUBLIC public = ecc_key(TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT, TPM2_ALG_NULL);
	TPM2B_DATA outside = {0};
	TPML_PCR_SELECTION pcrs = {0};

	must(Esys_CreatePrimary(flow->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, NONE, NONE, &create,
		     &public, &outside, &pcrs, &flow->primary, NULL, NULL, NULL, NULL),
		"CreatePrimary");
	done("CreatePrimary");
}

static ESYS_TR start(
	struct flow *flow, ESYS_TR salt, ESYS_TR bind, TPM2_SE type, TPMA_SESSION attributes)
{
	TPMT_SYM_DEF symmetric = {
		.algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};
	ESYS_TR session = NONE;

	must(Esys_StartAuthSession(flow->esys, salt, bind, NONE, NONE, NONE, NULL, type, &symmetric,
		     TPM2_ALG_SHA256, &session),
		"StartAuthSession");
	must(Esys_TRSess_SetAttributes(flow->esys, session, attributes, 0xff), "attributes");
	return session;
}

/* Creates and loads a child of the primary key, everything through the encrypted session. */
static ESYS_TR make(struct flow *flow, const TPM2B_PUBLIC *public, const char *password,
	const char *data, TPM2B_PUBLIC **ret_public)
{
	TPM2B_SENSITIVE_CREATE create = sensitive(password, data);
	TPM2B_DATA outside = {0};
	TPML_PCR_SELECTION pcrs = {0};
	TPM2B_PRIVATE *private = NULL;
	TPM2B_PUBLIC *made = NULL;
	TPM2B_AUTH auth = create.sensitive.userAuth;
	ESYS_TR object = NONE;

	must(Esys_Create(flow->esys, flow->primary, flow->session, NONE, NONE, &create, public,
		     &outside, &pcrs, &private, &made, NULL, NULL, NULL),
		"Create");
	must(Esys_Load(
		     flow->esys, flow->primary, flow->session, NONE, NONE, private, made, &object),
		"Load");
	must(Esys_TR_SetAuth(flow->esys, object, &auth), "password");
	Esys_Free(private);
	if (ret_public)
		*ret_public = made;
	else
		Esys_Free(made);
	return object;
}

static void sign_and_verify(struct flow *flow)
{
	TPM2B_PUBLIC public = ecc_key(TPMA_OBJECT_SIGN_ENCRYPT, TPM2_ALG_ECDSA);
	ESYS_TR key = make(flow, &public, "password", "", NULL);
	TPM2B_DIGEST digest = {.size = 32, .buffer = "exactly thirty-two bytes, all in"};
	TPMT_SIG_SCHEME scheme = {0};
	TPMT_TK_HASHCHECK ticket = {.tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL};
	TPMT_SIGNATURE *signature = NULL;
	TPMT_TK_VERIFIED *verified = NULL;

	scheme.scheme = TPM2_ALG_NULL;
	must(Esys_Sign(flow->esys, key, flow->session, NONE, NONE, &digest, &scheme, &ticket,
		     &signature),
		"Sign");
	must(Esys_VerifySignature(flow->esys, key, NONE, NONE, NONE, &digest, signature, &verified),
		"VerifySignature");
	done("Sign and VerifySignature");
	digest.buffer[0] ^= 1;
	if (Esys_VerifySignature(flow->esys, key, NONE, NONE, NONE, &digest, signature, NULL) == 0)
		fail("VerifySignature of another digest", 0);
	Esys_Free(signature);
	Esys_Free(verified);
	flush(flow, key);
}

static void encrypt_and_decrypt(struct flow *flow)
{
	TPM2B_PUBLIC public = rsa_decryption_key();
	ESYS_TR key = make(flow, &public, "", "", NULL);
	TPM2B_PUBLIC_KEY_RSA message = {.size = sizeof secret};
	TPMT_RSA_DECRYPT scheme = {0};
	TPM2B_DATA label = {0};
	TPM2B_PUBLIC_KEY_RSA *encrypted = NULL;
	TPM2B_PUBLIC_KEY_RSA *decrypted = NULL;

	scheme.scheme = TPM2_ALG_NULL;
	memcpy(message.buffer, secret, sizeof secret);
	must(Esys_RSA_Encrypt(flow->esys, key, flow->session, NONE, NONE, &message, &scheme, &label,
		     &encrypted),
		"RSA_Encrypt");
	must(Esys_RSA_Decrypt(flow->esys, key, flow->session, NONE, NONE, encrypted, &scheme,
		     &label, &decrypted),
		"RSA_Decrypt");
	if (decrypted->size != sizeof secret ||
		memcmp(decrypted->buffer, secret, sizeof secret) != 0)
		fail("RSA_Decrypt: another message", 0);
	done("RSA_Encrypt and RSA_Decrypt");
	Esys_Free(encrypted);
	Esys_Free(decrypted);
	flush(flow, key);
}

static void agree(struct flow *flow)
{
	TPM2B_PUBLIC public = ecc_key(TPMA_OBJECT_DECRYPT, TPM2_ALG_NULL);
	ESYS_TR key = make(flow, &public, "", "", NULL);
	TPM2B_ECC_POINT *ours = NULL;
	TPM2B_ECC_POINT *theirs = NULL;
	TPM2B_ECC_POINT *shared = NULL;

	must(Esys_ECDH_KeyGen(flow->esys, key, NONE, NONE, NONE, &shared, &theirs), "ECDH_KeyGen");
	must(Esys_ECDH_ZGen(flow->esys, key, flow->session, NONE, NONE, theirs, &ours),
		"ECDH_ZGen");
	if (ours->point.x.size != shared->point.x.size ||
		memcmp(ours->point.x.buffer, shared->point.x.buffer, ours->point.x.size) != 0)
		fail("ECDH: different secrets", 0);
	done("ECDH_KeyGen and ECDH_ZGen");
	Esys_Free(ours);
	Esys_Free(theirs);
	Esys_Free(shared);
	flush(flow, key);
}

static void must_unseal(struct flow *flow, ESYS_TR object, ESYS_TR session, const char *what)
{
	TPM2B_SENSITIVE_DATA *data = NULL;

	must(Esys_Unseal(flow->esys, object, session, NONE, NONE, &data), what);
	if (data->size != strlen(secret) || memcmp(data->buffer, secret, data->size) != 0)
		fail("Unseal: another secret", 0);
	done(what);
	Esys_Free(data);
}

static void seal_and_unseal(struct flow *flow)
{
	TPM2B_PUBLIC public = sealed_data(TPMA_OBJECT_USERWITHAUTH);
	ESYS_TR object = make(flow, &public, "password", secret, NULL);
	TPM2B_AUTH wrong = {.size = 5, .buffer = "guess"};

	must_unseal(flow, object, flow->session, "Unseal with a password");
	must(Esys_TR_SetAuth(flow->esys, object, &wrong), "password");
	if (Esys_Unseal(flow->esys, object, flow->session, NONE, NONE,
		    &(TPM2B_SENSITIVE_DATA *){NULL}) == 0)
		fail("Unseal with a wrong password", 0);
	flush(flow, object);
}

static void policy_pcr(struct flow *flow, ESYS_TR session, TPM2B_DIGEST **ret_digest)
{
	TPML_PCR_SELECTION pcrs = selection();
	TPM2B_DIGEST empty = {0};

	must(Esys_PolicyPCR(flow->esys, session, NONE, NONE, NONE, &empty, &pcrs), "PolicyPCR");
	must(Esys_PolicyGetDigest(flow->esys, session, NONE, NONE, NONE, ret_digest),
		"PolicyGetDigest");
}

static void seal_to_pcrs(struct flow *flow)
{
	TPM2B_PUBLIC public = sealed_data(0);
	ESYS_TR trial = start(flow, NONE, NONE, TPM2_SE_TRIAL, TPMA_SESSION_CONTINUESESSION);
	TPM2B_DIGEST *policy = NULL;
	TPM2B_DIGEST *again = NULL;
	ESYS_TR object;
	ESYS_TR session;

	policy_pcr(flow, trial, &policy);
	flush(flow, trial);
	done("PolicyPCR and PolicyGetDigest on trial");
	public.publicArea.authPolicy = *policy;
	object = make(flow, &public, "", secret, NULL);
	if (Esys_Unseal(flow->esys, object, flow->session, NONE, NONE,
		    &(TPM2B_SENSITIVE_DATA *){NULL}) == 0)
		fail("Unseal without the policy", 0);
	/* Without `continue`: the TPM ends the session with its success, and the relay knows. */
	session = start(flow, flow->primary, NONE, TPM2_SE_POLICY, TPMA_SESSION_ENCRYPT);
	policy_pcr(flow, session, &again);
	if (again->size != policy->size || memcmp(again->buffer, policy->buffer, policy->size) != 0)
		fail("the policy's digest differs from the trial's", 0);
	must_unseal(flow, object, session, "Unseal by PolicyPCR");
	Esys_Free(policy);
	Esys_Free(again);
	flush(flow, object);
}

/* As PKCS#11 modules start theirs: salted by their primary key and bound to it. */
static void bound_session(struct flow *flow)
{
	ESYS_TR session = start(flow, flow->primary, flow->primary, TPM2_SE_HMAC,
		TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_ENCRYPT);
	TPM2B_DIGEST *digest = NULL;

	must(Esys_GetRandom(flow->esys, session, NONE, NONE, 16, &digest), "GetRandom, encrypted");
	done("session bound to the primary key");
	Esys_Free(digest);
	flush(flow, session);
}

/* More sessions than there are slots, if those that end did not free theirs. */
static void end_sessions(struct flow *flow)
{
	TPM2B_DIGEST *digest = NULL;

	for (int i = 0; i < 8; i++) {
		ESYS_TR session = start(flow, NONE, NONE, TPM2_SE_HMAC, TPMA_SESSION_AUDIT);

		must(Esys_GetRandom(flow->esys, session, NONE, NONE, 8, &digest),
			"GetRandom, audited");
		Esys_Free(digest);
		session = start(
			flow, flow->primary, NONE, TPM2_SE_POLICY, TPMA_SESSION_CONTINUESESSION);
		flush(flow, session);
	}
	done("sessions that end by themselves and by FlushContext");
}

static void save_and_load(struct flow *flow)
{
	TPM2B_PUBLIC public = ecc_key(TPMA_OBJECT_SIGN_ENCRYPT, TPM2_ALG_ECDSA);
	ESYS_TR key = make(flow, &public, "", "", NULL);
	ESYS_TR loaded = NONE;
	TPMS_CONTEXT *context = NULL;
	TPM2B_PUBLIC *made = NULL;

	must(Esys_ContextSave(flow->esys, key, &context), "ContextSave");
	flush(flow, key);
	must(Esys_ContextLoad(flow->esys, context, &loaded), "ContextLoad");
	must(Esys_ReadPublic(flow->esys, loaded, NONE, NONE, NONE, &made, NULL, NULL),
		"ReadPublic of what was loaded");
	done("ContextSave and ContextLoad");
	Esys_Free(context);
	Esys_Free(made);
	flush(flow, loaded);
}

int main(int argc, char **argv)
{
	struct flow flow = {.primary = NONE, .session = NONE};

	if (argc != 2) {
		fprintf(stderr, "usage: esys-flow TCTI\n");
		return 2;
	}
	must(Tss2_TctiLdr_Initialize(argv[1], &flow.tcti), "TCTI");
	must(Esys_Initialize(&flow.esys, flow.tcti, NULL), "Esys_Initialize");
	if (Esys_Startup(flow.esys, TPM2_SU_CLEAR) != TPM2_RC_SUCCESS)
		fail("Startup of a started TPM", 0); /* ESYS takes 0x100 for success */
	done("Startup");
	make_primary(&flow);
	flow.session = start(&flow, flow.primary, NONE, TPM2_SE_HMAC,
		TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT);
	done("salted session with parameter encryption");
	sign_and_verify(&flow);
	encrypt_and_decrypt(&flow);
	agree(&flow);
	seal_and_unseal(&flow);
	seal_to_pcrs(&flow);
	save_and_load(&flow);
	bound_session(&flow);
	end_sessions(&flow);
	flush(&flow, flow.session);
	flush(&flow, flow.primary);
	Esys_Finalize(&flow.esys);
	Tss2_TctiLdr_Finalize(&flow.tcti);
	done("all");
	return 0;
}
