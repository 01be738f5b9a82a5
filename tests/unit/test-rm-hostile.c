/*
 * The manager with a TPM that lies, and with clients that send what is no command.
 */
#include "rm-scene.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

struct lie {
	const char *what;
	uint32_t code;
	uint8_t answer[32];
	uint8_t size;
};

static void test_manager_hostile_responses_end_it(void **state)
{
	static const struct lie lies[] = {
		{"a persistent handle", TPM_CC_HASH_SEQUENCE_START,
			{0x80, 0x01, 0, 0, 0, 14, 0, 0, 0, 0, 0x81, 0, 0, 0}, 14},
		{"a session for an object", TPM_CC_HASH_SEQUENCE_START,
			{0x80, 0x01, 0, 0, 0, 14, 0, 0, 0, 0, 0x02, 0, 0, 0}, 14},
		{"no handle", TPM_CC_HASH_SEQUENCE_START, {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0},
			10},
		{"sessions that were not asked for", TPM_CC_HASH_SEQUENCE_START,
			{0x80, 0x02, 0, 0, 0, 18, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0}, 18},
		{"an error with a body", TPM_CC_HASH_SEQUENCE_START,
			{0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x43, 0, 0, 0, 0}, 14},
		{"a size below that of a header", TPM_CC_HASH_SEQUENCE_START,
			{0x80, 0x01, 0, 0, 0, 9, 0, 0, 0, 0}, 10},
		{"more than it says", TPM_CC_HASH_SEQUENCE_START,
			{0x80, 0x01, 0, 0, 0, 14, 0, 0, 0, 0, 0x80, 0, 0, 0, 0}, 15},
	};
	struct rm_scene *scene = *state;
	uint32_t handle;

	for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
		rm_tpm_lie(scene, lies[i].code, lies[i].answer, lies[i].size);
		assert_int_equal(rm_sequence_start(scene, 0, &handle), UINT32_MAX);
		assert_int_equal(scene->result, -EBADMSG);
	}
}

static void test_manager_hostile_session_kinds(void **state)
{
	/* a policy session where an HMAC session was asked for */
	static const uint8_t kind[] = {0x80, 0x01, 0, 0, 0, 16, 0, 0, 0, 0, 0x03, 0, 0, 1, 0, 0};
	struct rm_scene *scene = *state;
	uint32_t handle;
	uint32_t number;

	rm_tpm_lie(scene, TPM_CC_START_AUTH_SESSION, kind, sizeof kind);
	assert_int_equal(rm_session_start(scene, 0, RM_SE_HMAC, &handle, &number), UINT32_MAX);
	assert_int_equal(scene->result, -EBADMSG);
}

/* Another handle than that of the session that is loaded. */
static void test_manager_hostile_context_load(void **state)
{
	static const uint8_t other[] = {0x80, 0x01, 0, 0, 0, 14, 0, 0, 0, 0, 0x03, 0, 0, 0x2a};
	struct rm_scene *scene = *state;
	uint32_t sessions[4];
	uint32_t told[2];

	start_four(scene, 0, sessions);
	rm_tpm_lie(scene, TPM_CC_CONTEXT_LOAD, other, sizeof other);
	assert_int_equal(rm_digest(scene, 0, sessions[0], told), UINT32_MAX);
	assert_int_equal(scene->result, -EBADMSG);
}

/* A handle that is taken becomes the new owner's alone. */
static void test_manager_hostile_taken_handles(void **state)
{
	static const uint8_t object[] = {0x80, 0x01, 0, 0, 0, 14, 0, 0, 0, 0, 0x80, 0, 0, 0};
	static const uint8_t session[] = {
		0x80, 0x01, 0, 0, 0, 20, 0, 0, 0, 0, 0x03, 0, 0, 0, 0, 4, 0, 0, 0, 9};
	struct rm_scene *scene = *state;
	uint32_t handles[2];
	uint32_t sessions[2];
	uint32_t number;
	uint32_t told[2];

	OK(rm_sequence_start(scene, 0, &handles[0]));
	OK(rm_session_start(scene, 0, RM_SE_POLICY, &sessions[0], &number));
	rm_tpm_lie(scene, TPM_CC_HASH_SEQUENCE_START, object, sizeof object);
	OK(rm_sequence_start(scene, 1, &handles[1]));
	assert_int_equal(rm_sequence_complete(scene, 0, handles[0], told), RC_LOST_H0);
	OK(rm_sequence_complete(scene, 1, handles[1], told));
	rm_tpm_lie(scene, TPM_CC_START_AUTH_SESSION, session, sizeof session);
	OK(rm_session_start(scene, 1, RM_SE_POLICY, &sessions[1], &number));
	assert_int_equal(sessions[1], sessions[0]);
	assert_int_equal(rm_digest(scene, 0, sessions[0], told), RC_LOST_H0);
	OK(rm_digest(scene, 1, sessions[1], told));
}

/* The same when the manager loads an object. */
static void test_manager_hostile_taken_handle_by_loading(void **state)
{
	static const uint8_t taken[] = {0x80, 0x01, 0, 0, 0, 14, 0, 0, 0, 0, 0x80, 0, 0, 0};
	struct rm_scene *scene = *state;
	uint32_t objects[3];
	uint32_t sequence;
	uint32_t number;
	uint32_t told[2];

	for (unsigned i = 0; i < FAKE_TPM_OBJECTS; i++)
		OK(rm_create(scene, 0, &objects[i], &number));
	OK(rm_sequence_start(scene, 1, &sequence)); /* where the first was */
	OK(rm_flush(scene, 0, objects[2]));
	rm_tpm_lie(scene, TPM_CC_CONTEXT_LOAD, taken, sizeof taken);
	rm_public(scene, 0, objects[0], &number);
	assert_int_equal(rm_sequence_complete(scene, 1, sequence, told), RC_LOST_H0);
}

/* A command that needs more than fits is refused; what it needs does not make room for itself. */
static void test_manager_needed_objects_make_no_room(void **state)
{
	static const uint8_t full[] = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x02};
	struct rm_scene *scene = *state;
	uint32_t handles[2];
	uint32_t numbers[2];
	uint32_t others[3];
	uint32_t number;
	uint32_t told[2];

	for (unsigned i = 0; i < 2; i++)
		OK(rm_create(scene, 0, &handles[i], &numbers[i]));
	for (unsigned i = 0; i < 3; i++)
		OK(rm_create(scene, 1, &others[i], &number));
	for (unsigned i = 0; i < 3; i++)
		OK(rm_flush(scene, 1, others[i]));
	assert_public(scene, 0, handles[0], numbers[0]); /* the only one that is loaded */
	rm_tpm_lie(scene, TPM_CC_CONTEXT_LOAD, full, sizeof full);
	assert_int_equal(rm_certify(scene, 0, handles, told), TPM_RC_OBJECT_MEMORY);
	OK(rm_certify(scene, 0, handles, told));
	assert_memory_equal(told, numbers, sizeof told);
}

/* What is refused does not reach the TPM. */
static void test_manager_malformed_commands(void **state)
{
	static const uint8_t bytes[][12] = {
		{0x80, 0x01, 0, 0, 0, 11, 0, 0, 0x01, 0x7b, 0, 4}, /* another size */
		{0x80, 0x03, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 4}, /* no tag */
		{0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x00, 0x01, 0, 4}, /* no such command */
	};
	static const uint32_t codes[] = {
		TPM_RC_COMMAND_SIZE, TPM_RC_VALUE, TPM_RC_LAYER | TPM_RC_COMMAND_CODE};
	struct rm_scene *scene = *state;

	shutdown(scene->backend.fd, SHUT_RDWR);
	for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
		struct rm_command command = {.size = sizeof bytes[i]};

		memcpy(command.bytes, bytes[i], sizeof bytes[i]);
		assert_int_equal(rm_execute(scene, 0, command), codes[i]);
		command.size = i;
		assert_int_equal(rm_execute(scene, 0, command), TPM_RC_COMMAND_SIZE);
	}
	/* and where there is no TPM, it ends */
	assert_int_equal(rm_clear(scene, 0), UINT32_MAX);
	assert_int_equal(scene->result, -EPIPE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rm_scene_setup, rm_scene_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_manager_hostile_responses_end_it),
		TEST(test_manager_hostile_session_kinds),
		TEST(test_manager_hostile_context_load),
		TEST(test_manager_hostile_taken_handles),
		TEST(test_manager_hostile_taken_handle_by_loading),
		TEST(test_manager_needed_objects_make_no_room),
		TEST(test_manager_malformed_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
