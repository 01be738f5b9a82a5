/*
 * What libcrypto says of the TPM's results, and the policy digests that a TPM computes.
 */
#include "rm-load.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

#define COORDINATE_SIZE 32
#define PCR_COUNT       16
#define RSA_EXPONENT    65537

static EVP_PKEY *key_from(const char *type, OSSL_PARAM_BLD *build)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY *key = NULL;

	if (!context || !parameters || EVP_PKEY_fromdata_init(context) != 1 ||
		EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
		key = NULL;
	OSSL_PARAM_free(parameters);
	EVP_PKEY_CTX_free(context);
	return key;
}

static EVP_PKEY *ecc_public(const TPMS_ECC_POINT *point)
{
	uint8_t bytes[1 + 2 * COORDINATE_SIZE] = {POINT_CONVERSION_UNCOMPRESSED};
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY *key = NULL;

	if (point->x.size <= COORDINATE_SIZE && point->y.size <= COORDINATE_SIZE) {
		memcpy(bytes + 1 + COORDINATE_SIZE - point->x.size, point->x.buffer, point->x.size);
		memcpy(bytes + sizeof bytes - point->y.size, point->y.buffer, point->y.size);
		OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
		OSSL_PARAM_BLD_push_octet_string(
			build, OSSL_PKEY_PARAM_PUB_KEY, bytes, sizeof bytes);
		key = key_from("EC", build);
	}
	OSSL_PARAM_BLD_free(build);
	return key;
}

static EVP_PKEY *rsa_public(const TPM2B_PUBLIC_KEY_RSA *modulus)
{
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	BIGNUM *n = BN_bin2bn(modulus->buffer, modulus->size, NULL);
	EVP_PKEY *key;

	OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n);
	OSSL_PARAM_BLD_push_ulong(build, OSSL_PKEY_PARAM_RSA_E, RSA_EXPONENT);
	key = key_from("RSA", build);
	BN_free(n);
	OSSL_PARAM_BLD_free(build);
	return key;
}

EVP_PKEY *crypto_public(const TPMT_PUBLIC *public)
{
	return public->type == TPM2_ALG_ECC ? ecc_public(&public->unique.ecc)
					    : rsa_public(&public->unique.rsa);
}

bool crypto_verify(EVP_PKEY *key, const TPM2B_DIGEST *digest, const TPMS_SIGNATURE_ECC *signature)
{
	BIGNUM *r = BN_bin2bn(signature->signatureR.buffer, signature->signatureR.size, NULL);
	BIGNUM *s = BN_bin2bn(signature->signatureS.buffer, signature->signatureS.size, NULL);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	ECDSA_SIG *pair = ECDSA_SIG_new();
	uint8_t *encoded = NULL;
	bool good = false;

	if (!pair || ECDSA_SIG_set0(pair, r, s) != 1) {
		BN_free(r);
		BN_free(s);
	} else {
		int size = i2d_ECDSA_SIG(pair, &encoded);

		good = size > 0 && EVP_PKEY_verify_init(context) == 1 &&
		       EVP_PKEY_verify(
			       context, encoded, (size_t)size, digest->buffer, digest->size) == 1;
	}
	OPENSSL_free(encoded);
	ECDSA_SIG_free(pair);
	EVP_PKEY_CTX_free(context);
	return good;
}

bool crypto_encrypt(EVP_PKEY *key, const uint8_t *bytes, size_t size, TPM2B_PUBLIC_KEY_RSA *ret_to)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	TPM2B_PUBLIC_KEY_RSA to = {0};
	size_t used = sizeof to.buffer;
	bool good = EVP_PKEY_encrypt_init(context) == 1 &&
		    EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
		    EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256()) == 1 &&
		    EVP_PKEY_encrypt(context, to.buffer, &used, bytes, size) == 1;

	EVP_PKEY_CTX_free(context);
	if (!good)
		return false;
	to.size = (UINT16)used;
	*ret_to = to;
	return true;
}

void crypto_hmac(const TPM2B_SENSITIVE_DATA *key, const uint8_t *bytes, size_t size,
	uint8_t ret_hmac[TPM2_SHA256_DIGEST_SIZE])
{
	unsigned int used = TPM2_SHA256_DIGEST_SIZE;

	if (!HMAC(EVP_sha256(), key->buffer, key->size, bytes, size, ret_hmac, &used))
		abort();
}

static size_t put_number(uint8_t *to, uint32_t number)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(number >> (24 - 8 * i));
	return sizeof number;
}

TPM2B_DIGEST crypto_policy_new(void)
{
	return (TPM2B_DIGEST){.size = TPM2_SHA256_DIGEST_SIZE};
}

TPML_PCR_SELECTION crypto_selection(uint16_t pcrs)
{
	return (TPML_PCR_SELECTION){.count = 1,
		.pcrSelections = {{.hash = TPM2_ALG_SHA256,
			.sizeofSelect = 3,
			.pcrSelect = {(uint8_t)pcrs, (uint8_t)(pcrs >> 8), 0}}}};
}

/* Part 3, section 23.7: of the old digest, the command code, the selection and the PCRs' digest. */
void crypto_policy_pcr(TPM2B_DIGEST *policy, uint16_t pcrs)
{
	static const uint8_t zero[PCR_COUNT * TPM2_SHA256_DIGEST_SIZE];
	const uint8_t selection[] = {
		0, 0, 0, 1, 0, TPM2_ALG_SHA256, 3, (uint8_t)pcrs, (uint8_t)(pcrs >> 8), 0};
	uint8_t bytes[2UL * TPM2_SHA256_DIGEST_SIZE + sizeof(uint32_t) + sizeof selection];
	size_t selected = 0;
	size_t used = TPM2_SHA256_DIGEST_SIZE;

	for (unsigned int i = 0; i < PCR_COUNT; i++)
		selected += pcrs >> i & 1;
	memcpy(bytes, policy->buffer, TPM2_SHA256_DIGEST_SIZE);
	used += put_number(bytes + used, TPM2_CC_PolicyPCR);
	memcpy(bytes + used, selection, sizeof selection);
	SHA256(zero, selected * TPM2_SHA256_DIGEST_SIZE, bytes + used + sizeof selection);
	SHA256(bytes, sizeof bytes, policy->buffer);
}

void crypto_policy_auth_value(TPM2B_DIGEST *policy)
{
	uint8_t bytes[TPM2_SHA256_DIGEST_SIZE + sizeof(uint32_t)];

	memcpy(bytes, policy->buffer, TPM2_SHA256_DIGEST_SIZE);
	put_number(bytes + TPM2_SHA256_DIGEST_SIZE, TPM2_CC_PolicyAuthValue);
	SHA256(bytes, sizeof bytes, policy->buffer);
}
