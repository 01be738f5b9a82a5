#include "relay/public-area.h"

#include "relay/tpm.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static const uint8_t sealed[] = {
	0x00, 0x08,             /* TPM_ALG_KEYEDHASH */
	0x00, 0x0b,             /* nameAlg: TPM_ALG_SHA256 */
	0x00, 0x00, 0x04, 0x00, /* noDA */
	0x00, 0x02, 0xaa, 0xbb, /* authPolicy */
	0x00, 0x10,             /* scheme: TPM_ALG_NULL */
	0x00, 0x03, 1, 2, 3,    /* unique */
};

static const uint8_t index_public[] = {
	0x01, 0x80, 0x00, 0x10, /* nvIndex */
	0x00, 0x0b,             /* nameAlg: TPM_ALG_SHA256 */
	0xff, 0xff, 0xff, 0xff, /* attributes */
	0x00, 0x02, 0xaa, 0xbb, /* authPolicy */
	0x00, 0x20,             /* dataSize */
};

static void test_public_sealed_data_has_neither_sign_nor_decrypt(void **state)
{
	(void)state;
	assert_true(public_is_sealed(TPM_ALG_KEYEDHASH, 0));
	assert_true(public_is_sealed(TPM_ALG_KEYEDHASH, TPMA_OBJECT_RESTRICTED));
	assert_false(public_is_sealed(TPM_ALG_KEYEDHASH, TPMA_OBJECT_SIGN));
	assert_false(public_is_sealed(TPM_ALG_KEYEDHASH, TPMA_OBJECT_DECRYPT));
	assert_false(public_is_sealed(TPM_ALG_RSA, 0));
	assert_false(public_is_sealed(TPM_ALG_SYMCIPHER, 0));
}

static void test_public_object_of_sealed_data(void **state)
{
	struct public_object object;

	(void)state;
	assert_int_equal(public_parse_object(cursor_new(sealed, sizeof sealed), &object), 0);
	assert_int_equal(object.type, TPM_ALG_KEYEDHASH);
	assert_int_equal(object.attributes, TPMA_OBJECT_NO_DA);
	assert_int_equal(object.unique.left, 3);
	assert_memory_equal(object.unique.next, sealed + 16, 3);
}

static void test_public_object_cut_short(void **state)
{
	struct public_object object = {.type = 0x7777};

	(void)state;
	for (size_t size = 0; size < 8; size++) {
		assert_int_equal(public_parse_object(cursor_new(sealed, size), &object), -EBADMSG);
		assert_int_equal(object.type, 0x7777);
	}
	/* what it is, is known; by what the registry knows it, is not */
	for (size_t size = 8; size < sizeof sealed; size++) {
		assert_int_equal(public_parse_object(cursor_new(sealed, size), &object), 0);
		assert_int_equal(object.type, TPM_ALG_KEYEDHASH);
		assert_int_equal(object.unique.left, 0);
	}
}

static void test_public_object_with_a_scheme_has_no_unique(void **state)
{
	uint8_t bytes[sizeof sealed];
	struct public_object object;

	(void)state;
	memcpy(bytes, sealed, sizeof bytes);
	bytes[13] = TPM_ALG_HMAC; /* details follow, which are not taken for `unique` */
	assert_int_equal(public_parse_object(cursor_new(bytes, sizeof bytes), &object), 0);
	assert_int_equal(object.unique.left, 0);
}

static void test_public_object_that_is_a_key_has_no_unique(void **state)
{
	uint8_t bytes[sizeof sealed];
	struct public_object object;

	(void)state;
	memcpy(bytes, sealed, sizeof bytes);
	bytes[5] = 0x04; /* sign */
	assert_int_equal(public_parse_object(cursor_new(bytes, sizeof bytes), &object), 0);
	assert_int_equal(object.attributes, TPMA_OBJECT_SIGN | TPMA_OBJECT_NO_DA);
	assert_int_equal(object.unique.left, 0);
	bytes[5] = 0;
	bytes[1] = TPM_ALG_RSA;
	assert_int_equal(public_parse_object(cursor_new(bytes, sizeof bytes), &object), 0);
	assert_int_equal(object.type, TPM_ALG_RSA);
	assert_int_equal(object.unique.left, 0);
}

static void test_public_nv_is_whole(void **state)
{
	uint8_t longer[sizeof index_public + 1] = {0};
	struct public_nv nv = {.index = 0x7777};

	(void)state;
	for (size_t size = 0; size < sizeof index_public; size++)
		assert_int_equal(public_parse_nv(cursor_new(index_public, size), &nv), -EBADMSG);
	memcpy(longer, index_public, sizeof index_public);
	assert_int_equal(public_parse_nv(cursor_new(longer, sizeof longer), &nv), -EBADMSG);
	assert_int_equal(nv.index, 0x7777);
	assert_int_equal(public_parse_nv(cursor_new(index_public, sizeof index_public), &nv), 0);
	assert_int_equal(nv.index, 0x01800010);
	assert_int_equal(nv.attributes, UINT32_MAX);
	assert_int_equal(nv.data_size, 32);
}

/* A TPMS_NV_PUBLIC with a policy of SIZE bytes. */
static struct cursor with_policy(uint8_t bytes[100], uint16_t size)
{
	struct writer writer = writer_new(bytes, 100);
	static const uint8_t policy[80];

	writer_bytes(&writer, index_public, 10);
	writer_u16(&writer, size);
	writer_bytes(&writer, policy, size);
	writer_u16(&writer, 32);
	return cursor_new(bytes, writer.used);
}

static void test_public_nv_policy_is_a_digest(void **state)
{
	uint8_t bytes[100];
	uint8_t known[PUBLIC_NV_MAX];
	struct public_nv nv;

	(void)state;
	assert_int_equal(public_parse_nv(with_policy(bytes, 0), &nv), 0);
	assert_int_equal(public_parse_nv(with_policy(bytes, 64), &nv), 0);
	assert_int_equal(public_normalize_nv(with_policy(bytes, 64), known), PUBLIC_NV_MAX);
	assert_int_equal(public_parse_nv(with_policy(bytes, 65), &nv), -EBADMSG);
	assert_int_equal(public_normalize_nv(with_policy(bytes, 65), known), -EBADMSG);
}

static void test_public_nv_is_known_by_what_does_not_change(void **state)
{
	uint8_t known[PUBLIC_NV_MAX];
	uint8_t expected[sizeof index_public];

	(void)state;
	memcpy(expected, index_public, sizeof expected);
	expected[6] = 0xcf; /* without WRITTEN, READLOCKED ... */
	expected[8] = 0xf7; /* ... WRITELOCKED */
	assert_int_equal(public_normalize_nv(cursor_new(index_public, sizeof index_public), known),
		sizeof expected);
	assert_memory_equal(known, expected, sizeof expected);
	assert_int_equal(public_normalize_nv(cursor_new(index_public, 5), known), -EBADMSG);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_public_sealed_data_has_neither_sign_nor_decrypt),
		cmocka_unit_test(test_public_object_of_sealed_data),
		cmocka_unit_test(test_public_object_cut_short),
		cmocka_unit_test(test_public_object_with_a_scheme_has_no_unique),
		cmocka_unit_test(test_public_object_that_is_a_key_has_no_unique),
		cmocka_unit_test(test_public_nv_is_whole),
		cmocka_unit_test(test_public_nv_policy_is_a_digest),
		cmocka_unit_test(test_public_nv_is_known_by_what_does_not_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
