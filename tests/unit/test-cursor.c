#include "common/cursor.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_cursor_numbers_are_big_endian(void **state)
{
	static const uint8_t bytes[] = {
		0x01,                                           /* u8 */
		0x02, 0x03,                                     /* u16 */
		0x04, 0x05, 0x06, 0x07,                         /* u32 */
		0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, /* u64 */
	};
	struct cursor cursor = cursor_new(bytes, sizeof bytes);
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;

	(void)state;
	assert_int_equal(cursor_u8(&cursor, &u8), 0);
	assert_int_equal(cursor_u16(&cursor, &u16), 0);
	assert_int_equal(cursor_u32(&cursor, &u32), 0);
	assert_int_equal(cursor_u64(&cursor, &u64), 0);
	assert_int_equal(u8, 0x01);
	assert_int_equal(u16, 0x0203);
	assert_int_equal(u32, 0x04050607);
	assert_true(u64 == UINT64_C(0x08090a0b0c0d0e0f));
	assert_int_equal(cursor.left, 0);
	assert_int_equal(cursor_u8(&cursor, &u8), -EBADMSG);
}

static void test_cursor_short_read_changes_nothing(void **state)
{
	static const uint8_t bytes[] = {0xff, 0xff, 0xff};
	struct cursor cursor = cursor_new(bytes, sizeof bytes);
	struct cursor part = cursor_new(NULL, 7);
	uint32_t value = 42;

	(void)state;
	assert_int_equal(cursor_u32(&cursor, &value), -EBADMSG);
	assert_int_equal(value, 42);
	assert_int_equal(cursor_bytes(&cursor, 4, &part), -EBADMSG);
	assert_int_equal(cursor_bytes(&cursor, SIZE_MAX, &part), -EBADMSG);
	assert_int_equal(cursor_tpm2b(&cursor, &part), -EBADMSG);
	assert_int_equal(part.left, 7);
	assert_ptr_equal(cursor.next, bytes);
	assert_int_equal(cursor.left, sizeof bytes);
}

static void test_cursor_tpm2b_takes_what_its_size_says(void **state)
{
	static const uint8_t bytes[] = {0x00, 0x02, 'a', 'b', 0x00, 0x00, 'c'};
	struct cursor cursor = cursor_new(bytes, sizeof bytes);
	struct cursor part;

	(void)state;
	assert_int_equal(cursor_tpm2b(&cursor, &part), 0);
	assert_int_equal(part.left, 2);
	assert_memory_equal(part.next, "ab", 2);
	assert_int_equal(cursor_tpm2b(&cursor, &part), 0);
	assert_int_equal(part.left, 0);
	assert_int_equal(cursor.left, 1);
}

static void test_writer_overflow_is_remembered(void **state)
{
	uint8_t bytes[8] = {0};
	struct writer writer = writer_new(bytes, 7);

	(void)state;
	writer_u16(&writer, 0x8001);
	writer_u32(&writer, 10);
	assert_false(writer.overflowed);
	writer_u16(&writer, 0xffff);
	assert_true(writer.overflowed);
	writer_u8(&writer, 0xff); /* would fit, but something before it is missing */
	assert_int_equal(writer.used, 6);
	assert_int_equal(bytes[6], 0);
	assert_int_equal(bytes[7], 0);
}

static void test_writer_patch_stays_within_what_was_written(void **state)
{
	uint8_t bytes[16] = {0};
	struct writer writer = writer_new(bytes, sizeof bytes);

	(void)state;
	writer_u32(&writer, 0);
	writer_u16(&writer, 0x0102);
	writer_patch_u32(&writer, 0, 0x0a0b0c0d);
	assert_false(writer.overflowed);
	assert_memory_equal(bytes, "\x0a\x0b\x0c\x0d\x01\x02", 6);
	writer_patch_u32(&writer, 3, 1);
	assert_true(writer.overflowed);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cursor_numbers_are_big_endian),
		cmocka_unit_test(test_cursor_short_read_changes_nothing),
		cmocka_unit_test(test_cursor_tpm2b_takes_what_its_size_says),
		cmocka_unit_test(test_writer_overflow_is_remembered),
		cmocka_unit_test(test_writer_patch_stays_within_what_was_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
