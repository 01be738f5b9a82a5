/*
 * What a command may name, and the bytes of it that change on their way.
 */
#include "rm/handles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SLOTS 2

#define OBJECT  (SPACE_FIRST_HANDLE - 0)
#define OTHER   (SPACE_FIRST_HANDLE - 1)
#define HMAC    0x02000001u
#define POLICY  0x03000002u
#define FOREIGN 0x02000003u

#define H0 (TPM_RC_LAYER | TPM_RC_REFERENCE_H0)
#define S0 (TPM_RC_LAYER | TPM_RC_REFERENCE_S0)

static uint8_t memory[2 * SLOTS * SPACE_CONTEXT_SIZE];

/* One object (0x80000001 in the TPM) and an HMAC session; with ALL, an object and a policy more. */
static struct space new_space(bool all)
{
	struct space space;

	space_init(&space, SLOTS, SLOTS, memory);
	space_add_object(&space, 0x80000001, false);
	space_add_session(&space, HMAC);
	if (all) {
		space_add_object(&space, 0x80000002, false);
		space_add_session(&space, POLICY);
	}
	return space;
}

struct bytes {
	uint8_t bytes[128];
	size_t size;
};

/* A command with HANDLES, and SESSIONS (0 ends either list), and PARAMETERS. */
static struct bytes command_of(uint32_t code, const uint32_t *handles, const uint32_t *sessions,
	const void *parameters, size_t size)
{
	struct bytes command;
	struct writer writer = writer_new(command.bytes, sizeof command.bytes);
	uint32_t count = 0;

	while (sessions[count] != 0)
		count++;
	writer_u16(&writer, count > 0 ? TPM_ST_SESSIONS : TPM_ST_NO_SESSIONS);
	writer_u32(&writer, 0);
	writer_u32(&writer, code);
	for (; *handles != 0; handles++)
		writer_u32(&writer, *handles);
	if (count > 0)
		writer_u32(&writer, count * 9);
	for (; *sessions != 0; sessions++) {
		writer_u32(&writer, *sessions);
		writer_u16(&writer, 0);
		writer_u8(&writer, 1);
		writer_u16(&writer, 0);
	}
	writer_bytes(&writer, parameters, size);
	writer_patch_u32(&writer, 2, (uint32_t)writer.used);
	assert_false(writer.overflowed);
	command.size = writer.used;
	return command;
}

static struct tpm_command parse(const struct bytes *bytes)
{
	struct tpm_command command;

	assert_int_equal(tpm_command_parse(bytes->bytes, bytes->size, &command), TPM_RC_SUCCESS);
	return command;
}

#define CERTIFY           0x148u
#define GET_SESSION_AUDIT 0x14du
#define POLICY_SECRET     0x151u
#define POLICY_GET_DIGEST 0x189u
#define GET_RANDOM        0x17bu
#define LIST(...)                                                                                  \
	{                                                                                          \
		__VA_ARGS__, 0                                                                     \
	}

struct row {
	uint32_t code;
	uint32_t handles[4];
	uint32_t sessions[4];
	uint8_t parameters[16];
	uint32_t size;
	uint32_t expected;
};

static void test_handles_check_whose_they_are(void **state)
{
	static const struct row rows[] = {
		/* objects */
		{TPM_CC_READ_PUBLIC, LIST(OBJECT), {0}, {0}, 0, TPM_RC_SUCCESS},
		{TPM_CC_READ_PUBLIC, LIST(0x81000001), {0}, {0}, 0, TPM_RC_SUCCESS},
		{TPM_CC_READ_PUBLIC, LIST(OTHER), {0}, {0}, 0, H0},
		{TPM_CC_READ_PUBLIC, LIST(0x80000001), {0}, {0}, 0, H0}, /* the real one */
		{TPM_CC_READ_PUBLIC, LIST(0x80000000), {0}, {0}, 0, H0},
		{CERTIFY, LIST(OBJECT, OBJECT), LIST(TPM_RS_PW, TPM_RS_PW), {0, 0, 0, 0x10}, 4,
			TPM_RC_SUCCESS},
		{CERTIFY, LIST(OBJECT, TPM_RH_NULL), LIST(TPM_RS_PW, TPM_RS_PW), {0, 0, 0, 0x10}, 4,
			TPM_RC_SUCCESS},
		{CERTIFY, LIST(OBJECT, OTHER), LIST(TPM_RS_PW, TPM_RS_PW), {0, 0, 0, 0x10}, 4,
			H0 + 1},
		{CERTIFY, LIST(OTHER, OBJECT), LIST(TPM_RS_PW, TPM_RS_PW), {0, 0, 0, 0x10}, 4, H0},
		/* sessions as handles */
		{TPM_CC_CONTEXT_SAVE, LIST(HMAC), {0}, {0}, 0, TPM_RC_SUCCESS},
		{TPM_CC_CONTEXT_SAVE, LIST(FOREIGN), {0}, {0}, 0, H0},
		{TPM_CC_CONTEXT_SAVE, LIST(0x03000001), {0}, {0}, 0, H0}, /* of the other kind */
		{POLICY_GET_DIGEST, LIST(POLICY), {0}, {0}, 0, H0},
		{POLICY_SECRET, LIST(TPM_RH_OWNER, POLICY), LIST(TPM_RS_PW),
			{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 10, H0 + 1},
		{GET_SESSION_AUDIT, LIST(TPM_RH_ENDORSEMENT, OBJECT, HMAC),
			LIST(TPM_RS_PW, TPM_RS_PW), {0, 0, 0, 0x10}, 4, TPM_RC_SUCCESS},
		{GET_SESSION_AUDIT, LIST(TPM_RH_ENDORSEMENT, OTHER, HMAC),
			LIST(TPM_RS_PW, TPM_RS_PW), {0, 0, 0, 0x10}, 4, H0 + 1},
		{GET_SESSION_AUDIT, LIST(TPM_RH_ENDORSEMENT, OBJECT, FOREIGN),
			LIST(TPM_RS_PW, TPM_RS_PW), {0, 0, 0, 0x10}, 4, H0 + 2},
		/* sessions in the authorization area */
		{CERTIFY, LIST(OBJECT, OBJECT), LIST(TPM_RS_PW, HMAC), {0, 0, 0, 0x10}, 4,
			TPM_RC_SUCCESS},
		{CERTIFY, LIST(OBJECT, OBJECT), LIST(FOREIGN, HMAC), {0, 0, 0, 0x10}, 4, S0},
		{CERTIFY, LIST(OBJECT, OBJECT), LIST(HMAC, POLICY), {0, 0, 0, 0x10}, 4, S0 + 1},
		{CERTIFY, LIST(OBJECT, OBJECT), LIST(TPM_RS_PW, TPM_RS_PW, FOREIGN),
			{0, 0, 0, 0x10}, 4, S0 + 2},
		{GET_RANDOM, {0}, LIST(HMAC), {0, 4}, 2, TPM_RC_SUCCESS},
		{GET_RANDOM, {0}, LIST(FOREIGN), {0, 4}, 2, S0},
		/* handles come first */
		{CERTIFY, LIST(OBJECT, OTHER), LIST(FOREIGN, HMAC), {0, 0, 0, 0x10}, 4, H0 + 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct space space = new_space(false);
		struct bytes bytes = command_of(rows[i].code, rows[i].handles, rows[i].sessions,
			rows[i].parameters, rows[i].size);
		struct tpm_command command = parse(&bytes);

		if (handles_check(&space, &command) != rows[i].expected)
			print_error("row %zu\n", i);
		assert_int_equal(handles_check(&space, &command), rows[i].expected);
	}
}

static void test_handles_check_slots(void **state)
{
	static const uint8_t loads_object[] = {
		0, 0, 0, 0, 0, 0, 0, 1, 0x80, 0, 0, 0, 0x40, 0, 0, 1, 0, 0};
	static const uint8_t loads_session[] = {
		0, 0, 0, 0, 0, 0, 0, 1, 0x03, 0, 0, 0, 0x40, 0, 0, 7, 0, 0};
	static const uint8_t starts[] = {0, 0, 0, 0, 0, 0, 0x10, 0, 0x0b};
	static const uint8_t hash[] = {0, 0, 0, 0x0b};
	static const uint32_t none[] = {0};
	static const uint32_t nulls[] = {TPM_RH_NULL, TPM_RH_NULL, 0};
	static const uint32_t object[] = {OBJECT, 0};
	const struct bytes makers[] = {
		command_of(TPM_CC_HASH_SEQUENCE_START, none, none, hash, sizeof hash),
		command_of(TPM_CC_CONTEXT_LOAD, none, none, loads_object, sizeof loads_object),
		command_of(TPM_CC_START_AUTH_SESSION, nulls, none, starts, sizeof starts),
		command_of(TPM_CC_CONTEXT_LOAD, none, none, loads_session, sizeof loads_session),
		command_of(TPM_CC_READ_PUBLIC, object, none, NULL, 0),
	};
	static const uint32_t codes[] = {TPM_RC_LAYER | TPM_RC_OBJECT_MEMORY,
		TPM_RC_LAYER | TPM_RC_OBJECT_MEMORY, TPM_RC_LAYER | TPM_RC_SESSION_MEMORY,
		TPM_RC_LAYER | TPM_RC_SESSION_MEMORY, TPM_RC_SUCCESS};

	(void)state;
	for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++) {
		struct tpm_command command = parse(&makers[i]);
		struct space space = new_space(false);

		assert_int_equal(handles_check(&space, &command), TPM_RC_SUCCESS);
		space = new_space(true);
		assert_int_equal(handles_check(&space, &command), codes[i]);
	}
	/* slots of one kind only */
	for (unsigned kind = 0; kind < 2; kind++) {
		struct tpm_command objects = parse(&makers[0]);
		struct tpm_command sessions = parse(&makers[2]);
		struct space space = new_space(false);

		if (kind == 0)
			space_add_object(&space, 0x80000002, false);
		else
			space_add_session(&space, POLICY);
		assert_int_equal(handles_check(&space, &objects), kind == 0 ? codes[0] : 0);
		assert_int_equal(handles_check(&space, &sessions), kind == 1 ? codes[2] : 0);
	}
}

/* Session handles, persistent and permanent ones stay, and all bytes behind the handle area. */
static void test_handles_enter_changes_objects_only(void **state)
{
	static const struct {
		struct row row;
		uint32_t entered[3];
	} rows[] = {
		{{TPM_CC_READ_PUBLIC, LIST(OTHER), {0}, {0}, 0, 0}, {0x80000002}},
		{{TPM_CC_READ_PUBLIC, LIST(0x81000001), {0}, {0}, 0, 0}, {0x81000001}},
		{{CERTIFY, LIST(OTHER, OBJECT), LIST(HMAC, POLICY), {0, 0, 0, 0x10}, 4, 0},
			{0x80000002, 0x80000001}},
		{{GET_SESSION_AUDIT, LIST(TPM_RH_ENDORSEMENT, OBJECT, HMAC),
			 LIST(TPM_RS_PW, TPM_RS_PW), {0, 0, 0, 0x10}, 4, 0},
			{TPM_RH_ENDORSEMENT, 0x80000001, HMAC}},
		/* what looks like a handle in a parameter is none */
		{{TPM_CC_HASH_SEQUENCE_START, {0}, {0}, {0, 4, 0x80, 0xff, 0xff, 0xff, 0, 0x0b}, 8,
			 0},
			{0}},
		{{TPM_CC_CONTEXT_SAVE, LIST(POLICY), {0}, {0}, 0, 0}, {POLICY}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct space space = new_space(true);
		struct bytes before = command_of(rows[i].row.code, rows[i].row.handles,
			rows[i].row.sessions, rows[i].row.parameters, rows[i].row.size);
		struct bytes after = before;
		struct tpm_command command = parse(&before);
		struct writer writer = writer_new(before.bytes, before.size);

		handles_enter(&space, &command, after.bytes);
		writer.used = TPM_HEADER_SIZE;
		for (unsigned k = 0; k < command.handle_count; k++)
			writer_u32(&writer, rows[i].entered[k]);
		assert_memory_equal(after.bytes, before.bytes, before.size);
	}
}

static void test_handles_leave_changes_the_handle_only(void **state)
{
	uint8_t response[TPM_MESSAGE_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof response; i++)
		response[i] = (uint8_t)(i * 7);
	handles_leave(response, 0x80fffffe);
	for (size_t i = 0; i < sizeof response; i++)
		if (i < TPM_HEADER_SIZE || i >= TPM_HEADER_SIZE + 4)
			assert_int_equal(response[i], (uint8_t)(i * 7));
	assert_int_equal(response[10], 0x80);
	assert_int_equal(response[11], 0xff);
	assert_int_equal(response[12], 0xff);
	assert_int_equal(response[13], 0xfe);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handles_check_whose_they_are),
		cmocka_unit_test(test_handles_check_slots),
		cmocka_unit_test(test_handles_enter_changes_objects_only),
		cmocka_unit_test(test_handles_leave_changes_the_handle_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
