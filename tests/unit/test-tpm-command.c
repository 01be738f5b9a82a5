#include "relay/tpm-command.h"
#include "relay/tpm-response.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define PARSE(bytes, command) tpm_command_parse(bytes, sizeof(bytes), command)

static const uint8_t get_random[] = {
	0x80, 0x01,             /* TPM_ST_NO_SESSIONS */
	0x00, 0x00, 0x00, 0x0c, /* size */
	0x00, 0x00, 0x01, 0x7b, /* TPM_CC_GetRandom */
	0x00, 0x08,             /* bytesRequested */
};

static const uint8_t clear[] = {
	0x80, 0x02,             /* TPM_ST_SESSIONS */
	0x00, 0x00, 0x00, 0x1b, /* size */
	0x00, 0x00, 0x01, 0x26, /* TPM_CC_Clear */
	0x40, 0x00, 0x00, 0x0a, /* TPM_RH_LOCKOUT */
	0x00, 0x00, 0x00, 0x09, /* authorizationSize */
	0x40, 0x00, 0x00, 0x09, /* TPM_RS_PW */
	0x00, 0x00,             /* nonce */
	0x01,                   /* continueSession */
	0x00, 0x00,             /* hmac */
};

static const uint8_t hash[] = {
	0x80, 0x01,                /* TPM_ST_NO_SESSIONS */
	0x00, 0x00, 0x00, 0x15,    /* size */
	0x00, 0x00, 0x01, 0x7d,    /* TPM_CC_Hash */
	0x00, 0x03, 'a', 'b', 'c', /* data */
	0x00, 0x0b,                /* TPM_ALG_SHA256 */
	0x40, 0x00, 0x00, 0x07,    /* TPM_RH_NULL */
};

static void test_parse_takes_a_command_apart(void **state)
{
	struct tpm_command command;

	(void)state;
	assert_int_equal(PARSE(get_random, &command), TPM_RC_SUCCESS);
	assert_string_equal(command.info->name, "GetRandom");
	assert_int_equal(command.handle_count, 0);
	assert_int_equal(command.authorization_count, 0);
	assert_int_equal(command.parameter_count, 1);
	assert_true(command.parameters[0].number == 8);

	assert_int_equal(PARSE(clear, &command), TPM_RC_SUCCESS);
	assert_string_equal(command.info->name, "Clear");
	assert_int_equal(command.handles[0], TPM_RH_LOCKOUT);
	assert_int_equal(command.authorization_count, 1);
	assert_int_equal(command.authorizations[0].handle, TPM_RS_PW);
	assert_int_equal(command.authorizations[0].attributes, TPMA_SESSION_CONTINUE);

	assert_int_equal(PARSE(hash, &command), TPM_RC_SUCCESS);
	assert_int_equal(command.parameters[0].bytes.left, 3);
	assert_memory_equal(command.parameters[0].bytes.next, "abc", 3);
	assert_true(command.parameters[1].number == 0x0b);
	assert_true(command.parameters[2].number == TPM_RH_NULL);
}

/* Every truncation, and every size in the header that is not the real one, is refused. */
static void test_parse_size_must_be_exact(void **state)
{
	static const struct {
		const uint8_t *bytes;
		size_t size;
	} commands[] = {
		{get_random, sizeof get_random}, {clear, sizeof clear}, {hash, sizeof hash}};
	struct tpm_command command;

	(void)state;
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		uint8_t bytes[64] = {0};

		memcpy(bytes, commands[i].bytes, commands[i].size);
		for (size_t size = 0; size < commands[i].size; size++) {
			assert_int_not_equal(
				tpm_command_parse(bytes, size, &command), TPM_RC_SUCCESS);
			if (size < TPM_HEADER_SIZE)
				continue;
			bytes[5] = (uint8_t)size; /* the header agrees, the content is cut */
			assert_int_not_equal(
				tpm_command_parse(bytes, size, &command), TPM_RC_SUCCESS);
		}
		for (size_t more = 1; more <= 4; more++) {
			bytes[5] = (uint8_t)(commands[i].size + more);
			assert_int_equal(
				tpm_command_parse(bytes, commands[i].size + more, &command),
				TPM_RC_SIZE); /* trailing bytes */
		}
	}
}

struct change {
	const uint8_t *bytes;
	size_t size;
	size_t offset;
	uint8_t value;
	uint32_t code;
};

/* The codes are those that a software TPM gives; an integration test compares them. */
static void test_parse_one_byte_wrong_gets_the_code_of_a_tpm(void **state)
{
	static const struct change changes[] = {
		{get_random, sizeof get_random, 1, 0x03, TPM_RC_VALUE},        /* tag */
		{get_random, sizeof get_random, 0, 0x00, TPM_RC_VALUE},        /* tag */
		{get_random, sizeof get_random, 9, 0x23, 0x000b0143},          /* a hole */
		{get_random, sizeof get_random, 6, 0x20, 0x000b0143},          /* vendor */
		{get_random, sizeof get_random, 6, 0x80, 0x000b0143},          /* reserved */
		{get_random, sizeof get_random, 7, 0x01, 0x000b0143},          /* reserved */
		{get_random, sizeof get_random, 1, 0x02, TPM_RC_INSUFFICIENT}, /* no area */
		{clear, sizeof clear, 1, 0x01, TPM_RC_AUTH_MISSING},           /* unauthorized */
		{clear, sizeof clear, 17, 0x00, TPM_RC_SIZE},                  /* empty area */
		{clear, sizeof clear, 17, 0x08, TPM_RC_SIZE},                  /* too short */
		{clear, sizeof clear, 17, 0x0a, TPM_RC_SIZE},                  /* past the end */
		{clear, sizeof clear, 18, 0x80, 0x984}, /* an object in the authorization area */
		{clear, sizeof clear, 21, 0x07, 0x984}, /* TPM_RH_NULL there */
		{clear, sizeof clear, 23, 0x01, 0x99a}, /* nonce past the end of the area */
		{clear, sizeof clear, 24, 0x08, 0x9a1}, /* reserved attribute */
		{clear, sizeof clear, 24, 0x10, 0x9a1}, /* reserved attribute */
		{clear, sizeof clear, 26, 0x01, 0x99a}, /* hmac past the end of the area */
		{clear, sizeof clear, 10, 0x80, 0x184}, /* not a kind that Clear can take */
		{clear, sizeof clear, 13, 0x01, 0x184}, /* TPM_RH_OWNER neither */
		{hash, sizeof hash, 11, 0x0a, 0x1da},   /* data past the end */
	};
	struct tpm_command command;

	(void)state;
	for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
		uint8_t bytes[64];

		memcpy(bytes, changes[i].bytes, changes[i].size);
		bytes[changes[i].offset] = changes[i].value;
		assert_int_equal(
			tpm_command_parse(bytes, changes[i].size, &command), changes[i].code);
	}
}

static void put_entry(struct writer *writer, uint32_t handle)
{
	writer_u32(writer, handle);
	writer_u16(writer, 0); /* nonce */
	writer_u8(writer, TPMA_SESSION_CONTINUE);
	writer_u16(writer, 0); /* hmac */
}

/* GetRandom with COUNT sessions. */
static size_t random_with_sessions(uint8_t bytes[128], unsigned count, uint32_t handle)
{
	struct writer writer = writer_new(bytes, 128);

	writer_u16(&writer, TPM_ST_SESSIONS);
	writer_u32(&writer, 0);
	writer_u32(&writer, 0x17b);
	writer_u32(&writer, 9 * count);
	for (unsigned i = 0; i < count; i++)
		put_entry(&writer, handle + i);
	writer_u16(&writer, 8);
	writer_patch_u32(&writer, 2, (uint32_t)writer.used);
	return writer.used;
}

static void test_parse_authorization_area_limits(void **state)
{
	struct tpm_command command;
	uint8_t bytes[128];
	size_t size = random_with_sessions(bytes, 3, 0x02000000);

	(void)state;
	assert_int_equal(tpm_command_parse(bytes, size, &command), TPM_RC_SUCCESS);
	assert_int_equal(command.authorization_count, 3);
	assert_int_equal(command.authorizations[2].handle, 0x02000002);
	size = random_with_sessions(bytes, 4, 0x02000000);
	assert_int_equal(tpm_command_parse(bytes, size, &command), 0xc95);
	size = random_with_sessions(bytes, 1, TPM_RS_PW); /* a password for nothing */
	assert_int_equal(tpm_command_parse(bytes, size, &command), 0x98b);
}

static void test_parse_no_sessions_where_none_are_allowed(void **state)
{
	static const uint8_t flush[] = {
		0x80, 0x02,                                           /* TPM_ST_SESSIONS */
		0x00, 0x00, 0x00, 0x1b,                               /* size */
		0x00, 0x00, 0x01, 0x65,                               /* TPM_CC_FlushContext */
		0x00, 0x00, 0x00, 0x09,                               /* authorizationSize */
		0x40, 0x00, 0x00, 0x09, 0x00, 0x00, 0x01, 0x00, 0x00, /* password */
		0x80, 0x00, 0x00, 0x00,                               /* flushHandle */
	};
	struct tpm_command command;

	(void)state;
	assert_int_equal(PARSE(flush, &command), TPM_RC_AUTH_CONTEXT);
}

static void test_parse_every_command_of_the_table_survives_every_prefix(void **state)
{
	(void)state;
	for (size_t i = 0; i < tpm_table_size; i++) {
		uint8_t bytes[256];

		for (size_t size = TPM_HEADER_SIZE; size < sizeof bytes; size++) {
			struct writer writer = writer_new(bytes, sizeof bytes);
			struct tpm_command command;

			memset(bytes, 0xff, sizeof bytes);
			writer_u16(&writer, size & 1 ? TPM_ST_SESSIONS : TPM_ST_NO_SESSIONS);
			writer_u32(&writer, (uint32_t)size);
			writer_u32(&writer, tpm_table[i].code);
			if (tpm_command_parse(bytes, size, &command) == TPM_RC_SUCCESS)
				assert_ptr_equal(command.info, &tpm_table[i]);
		}
	}
}

static void test_handle_kind_aliases_are_not_the_base_hierarchies(void **state)
{
	(void)state;
	assert_int_equal(tpm_handle_kind(0x40000001), TPM_KIND_OWNER);
	assert_int_equal(tpm_handle_kind(0x4000000c), TPM_KIND_PLATFORM);
	assert_int_equal(tpm_handle_kind(0x4000000d), TPM_KIND_PLATFORM);
	for (uint32_t handle = 0x40000140; handle <= 0x40000143; handle++)
		assert_int_equal(tpm_handle_kind(handle), TPM_KIND_ALIAS);
	assert_int_equal(tpm_handle_kind(0x40010000), TPM_KIND_ALIAS);
	assert_int_equal(tpm_handle_kind(0x4004ffff), TPM_KIND_ALIAS);
	assert_int_equal(tpm_handle_kind(0x40050000), TPM_KIND_NONE);
	assert_int_equal(tpm_handle_kind(0x40000000), TPM_KIND_NONE);
	assert_int_equal(tpm_handle_kind(0xffffffff), TPM_KIND_NONE);
}

/* A response to GetRandom, or with a handle to LoadExternal. */
static int check_response(const uint8_t *command_bytes, size_t command_size, const uint8_t *bytes,
	size_t size, struct tpm_response *ret_response)
{
	struct tpm_command command;

	assert_int_equal(tpm_command_parse(command_bytes, command_size, &command), TPM_RC_SUCCESS);
	return tpm_response_parse(&command, bytes, size, ret_response);
}

static void test_response_lies_are_noticed(void **state)
{
	static const uint8_t good[] = {0x80, 0x01, 0, 0, 0, 0x0e, 0, 0, 0, 0, 0, 2, 0xaa, 0xbb};
	static const uint8_t error[] = {0x80, 0x01, 0, 0, 0, 0x0a, 0, 0, 0x09, 0x22};
	uint8_t bad[16] = {0};
	struct tpm_response response;

	(void)state;
#define CHECK(bytes, size) check_response(get_random, sizeof get_random, bytes, size, &response)
	assert_int_equal(CHECK(good, sizeof good), 0);
	assert_int_equal(response.parameters.left, 4);
	assert_int_equal(CHECK(error, sizeof error), 0);
	assert_int_equal(response.code, 0x922);
	for (size_t size = 0; size < sizeof good; size++)
		assert_int_equal(CHECK(good, size), -EBADMSG);
	memcpy(bad, good, sizeof good);
	bad[1] = 0x02; /* sessions that the command did not have */
	assert_int_equal(CHECK(bad, sizeof good), -EBADMSG);
	memcpy(bad, error, sizeof error);
	bad[5] = 0x0c; /* an error with something behind it */
	assert_int_equal(CHECK(bad, 12), -EBADMSG);
#undef CHECK
}

static void test_response_handle_of_the_wrong_kind_is_noticed(void **state)
{
	static const uint8_t start_session[] = {
		0x80, 0x01,             /* TPM_ST_NO_SESSIONS */
		0x00, 0x00, 0x00, 0x1b, /* size */
		0x00, 0x00, 0x01, 0x76, /* TPM_CC_StartAuthSession */
		0x40, 0x00, 0x00, 0x07, /* tpmKey */
		0x40, 0x00, 0x00, 0x07, /* bind */
		0x00, 0x00,             /* nonceCaller */
		0x00, 0x00,             /* encryptedSalt */
		0x01,                   /* TPM_SE_POLICY */
		0x00, 0x10,             /* symmetric: TPM_ALG_NULL */
		0x00, 0x0b,             /* TPM_ALG_SHA256 */
	};
	uint8_t answer[] = {0x80, 0x01, 0, 0, 0, 0x10, 0, 0, 0, 0, 0x03, 0, 0, 0, 0, 0};
	struct tpm_response response;

	(void)state;
	assert_int_equal(check_response(start_session, sizeof start_session, answer, sizeof answer,
				 &response),
		0);
	assert_int_equal(response.handle, 0x03000000);
	answer[10] = 0x02; /* an HMAC session */
	assert_int_equal(check_response(start_session, sizeof start_session, answer, sizeof answer,
				 &response),
		-EBADMSG);
	answer[10] = 0x80;
	assert_int_equal(check_response(start_session, sizeof start_session, answer, sizeof answer,
				 &response),
		-EBADMSG);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_takes_a_command_apart),
		cmocka_unit_test(test_parse_size_must_be_exact),
		cmocka_unit_test(test_parse_one_byte_wrong_gets_the_code_of_a_tpm),
		cmocka_unit_test(test_parse_authorization_area_limits),
		cmocka_unit_test(test_parse_no_sessions_where_none_are_allowed),
		cmocka_unit_test(test_parse_every_command_of_the_table_survives_every_prefix),
		cmocka_unit_test(test_handle_kind_aliases_are_not_the_base_hierarchies),
		cmocka_unit_test(test_response_lies_are_noticed),
		cmocka_unit_test(test_response_handle_of_the_wrong_kind_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
