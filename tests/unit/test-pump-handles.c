/*
 * GetCapability of handles, which the pump answers by itself.
 */
#include "pump-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <cmocka.h>

static const uint8_t start_session[] = {0x80, 0x01, 0, 0, 0, 27, 0, 0, 0x01, 0x76, 0x40, 0, 0, 7,
	0x40, 0, 0, 7, 0, 0, 0, 0, 0x01, 0, 0x10, 0, 0x0b};

#define PUT(fd, bytes) assert_int_equal(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes))

static void ask_handles(struct scene *s, uint32_t property)
{
	uint8_t bytes[22];
	struct writer writer = writer_new(bytes, sizeof bytes);

	writer_u16(&writer, TPM_ST_NO_SESSIONS);
	writer_u32(&writer, sizeof bytes);
	writer_u32(&writer, TPM_CC_GET_CAPABILITY);
	writer_u32(&writer, TPM_CAP_HANDLES);
	writer_u32(&writer, property);
	writer_u32(&writer, 8);
	PUT(s->client, bytes);
}

/* Takes the next response, a list of handles. */
static uint32_t take_handles(struct scene *s, uint32_t handles[8], uint8_t *ret_more)
{
	uint8_t bytes[TPM_MESSAGE_MAX] = {0};
	struct cursor cursor = cursor_new(bytes, sizeof bytes);
	struct cursor skipped;
	struct tpm_header header;
	uint32_t capability;
	uint32_t count;

	assert_int_equal(recv(s->client, bytes, TPM_HEADER_SIZE, MSG_WAITALL), TPM_HEADER_SIZE);
	assert_int_equal(tpm_header_parse(bytes, TPM_HEADER_SIZE, &header), 0);
	assert_int_equal(header.code, 0);
	assert_int_equal(recv(s->client, bytes + TPM_HEADER_SIZE, header.size - TPM_HEADER_SIZE,
				 MSG_WAITALL),
		header.size - TPM_HEADER_SIZE);
	cursor_bytes(&cursor, TPM_HEADER_SIZE, &skipped);
	cursor_u8(&cursor, ret_more);
	cursor_u32(&cursor, &capability);
	cursor_u32(&cursor, &count);
	assert_int_equal(header.size, TPM_HEADER_SIZE + 9 + 4 * count);
	for (uint32_t i = 0; i < count && i < 8; i++)
		cursor_u32(&cursor, &handles[i]);
	return count;
}

static void test_pump_own_session_is_listed_used_and_flushed(void **state)
{
	static const uint8_t flush[] = {0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x65, 0x03, 0, 0, 5};
	const struct step steps[] = {
		told_refused(0x000b01cb, "not-own"),
		asked(ACCOUNT_SESSION_BEGIN, 0, ACCOUNT_YES),
		tpm(TPM_CC_START_AUTH_SESSION, response_of_handle(0x03000005)),
		told(ACCOUNT_SESSION_END, 0, 0x03000005),
		tpm(TPM_CC_FLUSH_CONTEXT, response_of(0)),
		told(ACCOUNT_GONE, 0, 0x03000005),
		told_refused(0x000b01cb, "not-own"),
	};
	struct scene *s = *state;
	uint32_t handles[8];
	uint8_t more;

	PUT(s->client, flush); /* not own yet */
	PUT(s->client, start_session);
	ask_handles(s, 0x02000000);
	PUT(s->client, flush);
	PUT(s->client, flush);
	ask_handles(s, 0x02000000);
	PLAY(s, steps);
	scene_run(s);
	assert_int_equal(scene_take(s), 0x000b01cb);
	assert_int_equal(scene_take(s), 0);
	assert_int_equal(take_handles(s, handles, &more), 1);
	assert_int_equal(handles[0], 0x03000005);
	assert_int_equal(more, 0);
	assert_int_equal(scene_take(s), 0);
	assert_int_equal(scene_take(s), 0x000b01cb); /* flushed: no longer own */
	assert_int_equal(take_handles(s, handles, &more), 0);
	scene_played(s);
}

static void test_pump_persistent_handles_of_others_are_not_listed(void **state)
{
	static const struct bytes nothing;
	static const uint8_t list[] = {0x80, 0x01, 0, 0, 0, 35, 0, 0, 0, 0, /* success */
		0,                                                          /* moreData */
		0, 0, 0, 1, 0, 0, 0, 4,                                     /* HANDLES, count */
		0x81, 0, 0, 0, 0x81, 0, 0, 1, 0x81, 0, 0, 5, 0x81, 1, 0, 1};
	struct scene *s = *state;
	uint32_t handles[8];
	uint8_t more;

	const struct step steps[] = {
		tpm(TPM_CC_GET_CAPABILITY, bytes_of(list, sizeof list)),
		asked_about(
			ACCOUNT_LOOKUP, ACCOUNT_KIND_PERSISTENT, 0x81000000, nothing, ACCOUNT_NO),
		/* the storage root key is everybody's */
		asked_about(
			ACCOUNT_LOOKUP, ACCOUNT_KIND_PERSISTENT, 0x81000005, nothing, ACCOUNT_YES),
		asked_about(ACCOUNT_LOOKUP, ACCOUNT_KIND_PERSISTENT, 0x81010001, nothing,
			ACCOUNT_UNAVAILABLE),
	};

	ask_handles(s, 0x81000000);
	PLAY(s, steps);
	scene_run(s);
	assert_int_equal(take_handles(s, handles, &more), 2);
	assert_int_equal(handles[0], 0x81000001);
	assert_int_equal(handles[1], 0x81000005);
	assert_int_equal(more, 0);
	scene_played(s);
}

static void test_pump_handle_list_that_runs_backwards_is_a_lie(void **state)
{
	static const uint8_t list[] = {0x80, 0x01, 0, 0, 0, 27, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,
		2, 0x81, 0, 0, 5, 0x81, 0, 0, 1};
	struct scene *s = *state;

	ask_handles(s, 0x81000000);
	PUT(s->tpm, list);
	scene_run(s);
	assert_int_equal(scene_take(s), 0x000b0101);
}

#define PUMP_TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		PUMP_TEST(test_pump_own_session_is_listed_used_and_flushed),
		PUMP_TEST(test_pump_persistent_handles_of_others_are_not_listed),
		PUMP_TEST(test_pump_handle_list_that_runs_backwards_is_a_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
