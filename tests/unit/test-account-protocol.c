#include "common/account-protocol.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int decode(const struct account_message *message, enum account_sender sender)
{
	struct account_message decoded;
	int r = account_message_decode(message, sizeof *message, sender, &decoded);

	if (r == 0)
		assert_memory_equal(&decoded, message, sizeof decoded);
	return r;
}

static struct account_message question(enum account_type type)
{
	struct account_message message = account_message_new(type, 0);

	message.serial = 7;
	return message;
}

static struct account_message claim(enum account_kind kind, uint32_t handle)
{
	struct account_message message = question(ACCOUNT_CLAIM);

	message.kind = kind;
	message.handle = handle;
	assert_int_equal(account_message_set_data(&message, "area", 4), 0);
	return message;
}

static void test_decode_each_side_says_its_own(void **state)
{
	static const enum account_type from_broker[] = {
		ACCOUNT_REVOKE, ACCOUNT_ANSWER, ACCOUNT_FLUSH, ACCOUNT_RESUME};

	(void)state;
	for (uint32_t type = 0; type < 80; type++) {
		struct account_message message = account_message_new((enum account_type)type, 0);
		int broker = 0;

		for (size_t i = 0; i < sizeof from_broker / sizeof from_broker[0]; i++)
			broker |= type == from_broker[i];
		if (type == ACCOUNT_REVOKE)
			message.argument = ACCOUNT_REASON_REVOKED;
		if (account_is_question(type) || type == ACCOUNT_ANSWER)
			message.serial = 1;
		if (type >= ACCOUNT_CLAIM && type <= ACCOUNT_LOOKUP) {
			message.kind = ACCOUNT_KIND_NV;
			message.handle = 0x01800000;
		}
		if (type == ACCOUNT_CLAIM || type == ACCOUNT_LOOKUP)
			assert_int_equal(account_message_set_data(&message, "x", 1), 0);
		if (broker)
			assert_int_equal(decode(&message, ACCOUNT_FROM_BROKER), 0);
		else
			assert_int_equal(decode(&message, ACCOUNT_FROM_BROKER), -EBADMSG);
		if (broker)
			assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), -EBADMSG);
	}
}

static void test_decode_other_sizes_are_refused(void **state)
{
	struct account_message messages[2] = {account_message_new(ACCOUNT_READY, 0)};
	struct account_message decoded;

	(void)state;
	assert_int_equal(
		account_message_decode(messages, sizeof messages[0], ACCOUNT_FROM_RELAY, &decoded),
		0);
	for (size_t size = 0; size < sizeof messages; size++)
		if (size != sizeof messages[0])
			assert_int_equal(account_message_decode(
						 messages, size, ACCOUNT_FROM_RELAY, &decoded),
				-EBADMSG);
}

static void test_decode_unused_fields_are_zero(void **state)
{
	struct account_message message = account_message_new(ACCOUNT_REVOKED, 0);

	(void)state;
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), 0);
	for (size_t i = 2 * sizeof(uint32_t); i < sizeof message; i++) {
		struct account_message changed = message;

		((uint8_t *)&changed)[i] = 1;
		assert_int_equal(decode(&changed, ACCOUNT_FROM_RELAY), -EBADMSG);
	}
}

static void test_decode_questions_have_a_number(void **state)
{
	struct account_message message = question(ACCOUNT_DA_BEGIN);

	(void)state;
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), 0);
	message.serial = 0;
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), -EBADMSG);
}

static void test_decode_claims_name_a_thing(void **state)
{
	struct account_message message = claim(ACCOUNT_KIND_NV, 0x01800000);

	(void)state;
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), 0);
	message.handle = 0;
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), -EBADMSG);
	message = claim(ACCOUNT_KIND_SEALED, 0);
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), 0);
	message.handle = 0x81000100;
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), -EBADMSG);
	message = claim(ACCOUNT_KIND_NONE, 0x01800000);
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), -EBADMSG);
	message = claim((enum account_kind)4, 0x01800000);
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), -EBADMSG);
	message = claim(ACCOUNT_KIND_PERSISTENT, 0x81000100);
	message.size = 0; /* bytes that are there and not counted */
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), -EBADMSG);
	message.size = ACCOUNT_DATA_MAX + 1;
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), -EBADMSG);
}

static void test_decode_arguments_are_bounded(void **state)
{
	struct account_message message = account_message_new(ACCOUNT_REVOKE, 0);

	(void)state;
	assert_int_equal(decode(&message, ACCOUNT_FROM_BROKER), -EBADMSG);
	message.argument = ACCOUNT_REASON_DEVICE_GONE + 1;
	assert_int_equal(decode(&message, ACCOUNT_FROM_BROKER), -EBADMSG);
	message = account_message_new(ACCOUNT_STATE, ACCOUNT_HELD_ALL);
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), 0);
	message.argument++;
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), -EBADMSG);
	message = account_message_new(ACCOUNT_DA_END, 2);
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), -EBADMSG);
	message = account_message_new(ACCOUNT_TURN_END, 2);
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), -EBADMSG);
	message = question(ACCOUNT_TURN_BEGIN);
	message.argument = 2;
	assert_int_equal(decode(&message, ACCOUNT_FROM_RELAY), -EBADMSG);
}

static void test_set_data_has_an_end(void **state)
{
	struct account_message message = question(ACCOUNT_LOOKUP);
	uint8_t bytes[ACCOUNT_DATA_MAX + 1] = {1};

	(void)state;
	assert_int_equal(account_message_set_data(&message, bytes, sizeof bytes), -EMSGSIZE);
	assert_int_equal(message.size, 0);
	assert_int_equal(account_message_set_data(&message, bytes, ACCOUNT_DATA_MAX), 0);
	assert_int_equal(account_message_set_data(&message, NULL, 0), 0);
	assert_int_equal(message.data[0], 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decode_each_side_says_its_own),
		cmocka_unit_test(test_decode_other_sizes_are_refused),
		cmocka_unit_test(test_decode_unused_fields_are_zero),
		cmocka_unit_test(test_decode_questions_have_a_number),
		cmocka_unit_test(test_decode_claims_name_a_thing),
		cmocka_unit_test(test_decode_arguments_are_bounded),
		cmocka_unit_test(test_set_data_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
