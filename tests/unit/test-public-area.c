/*
 * What `tpmgate adopt` records of a public area that a TPM gave.
 */
#include "cli/public-area.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t nv_response[] = {
	0x80,
	0x01, /* no sessions */
	0x00,
	0x00,
	0x00,
	0x3e, /* 62 bytes */
	0x00,
	0x00,
	0x00,
	0x00, /* success */
	0x00,
	0x10, /* TPM2B_NV_PUBLIC: 16 bytes */
	0x01,
	0x80,
	0x00,
	0x01, /* nvIndex */
	0x00,
	0x0b, /* SHA-256 */
	0x30,
	0x02,
	0x08,
	0x02, /* WRITTEN, READLOCKED, WRITELOCKED and others */
	0x00,
	0x02,
	0xaa,
	0xbb, /* authPolicy (too short for a digest) */
	0x01,
	0x00, /* 256 bytes of data */
	0x00,
	0x20, /* its Name */
	1,
	2,
	3,
	4,
	5,
	6,
	7,
	8,
	9,
	10,
	11,
	12,
	13,
	14,
	15,
	16,
	17,
	18,
	19,
	20,
	21,
	22,
	23,
	24,
	25,
	26,
	27,
	28,
	29,
	30,
	31,
	32,
};

static const uint8_t nv_recorded[] = {
	0x01,
	0x80,
	0x00,
	0x01,
	0x00,
	0x0b,
	0x00,
	0x02,
	0x00,
	0x02, /* the three are cleared */
	0x00,
	0x02,
	0xaa,
	0xbb,
	0x01,
	0x00,
};

static const uint8_t object_response[] = {
	0x80, 0x01,                         /* no sessions */
	0x00, 0x00, 0x00, 0x18,             /* 24 bytes */
	0x00, 0x00, 0x00, 0x00,             /* success */
	0x00, 0x02, 0xcc, 0xdd,             /* outPublic */
	0x00, 0x04, 0x00, 0x0b, 0xee, 0xff, /* its Name */
	0x00, 0x02, 0x11, 0x22,             /* qualifiedName */
};

#define NV_HANDLE     0x01800001
#define OBJECT_HANDLE 0x81000010

static void test_commands_read_the_right_area(void **state)
{
	static const uint8_t nv[] = {
		0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x69, 0x01, 0x80, 0x00, 0x01};
	static const uint8_t object[] = {
		0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x73, 0x81, 0x00, 0x00, 0x10};
	uint8_t command[PUBLIC_AREA_COMMAND];

	(void)state;
	public_area_command(NV_HANDLE, command);
	assert_memory_equal(command, nv, sizeof nv);
	public_area_command(OBJECT_HANDLE, command);
	assert_memory_equal(command, object, sizeof object);
}

static void test_nv_index_loses_what_its_use_changes(void **state)
{
	struct protocol_adopt adopt;

	(void)state;
	assert_int_equal(public_area_parse(NV_HANDLE, nv_response, sizeof nv_response, &adopt), 0);
	assert_int_equal(adopt.kind, PROTOCOL_KIND_NV);
	assert_int_equal(adopt.handle, NV_HANDLE);
	assert_int_equal(adopt.nv_size, 256);
	assert_int_equal(adopt.size, sizeof nv_recorded);
	assert_memory_equal(adopt.data, nv_recorded, sizeof nv_recorded);
	for (size_t i = adopt.size; i < sizeof adopt.data; i++)
		assert_int_equal(adopt.data[i], 0);
	/* another index than was asked for */
	assert_int_equal(public_area_parse(NV_HANDLE + 1, nv_response, sizeof nv_response, &adopt),
		-EBADMSG);
}

static void test_object_is_its_name(void **state)
{
	static const uint8_t name[] = {0x00, 0x0b, 0xee, 0xff};
	struct protocol_adopt adopt;

	(void)state;
	assert_int_equal(
		public_area_parse(OBJECT_HANDLE, object_response, sizeof object_response, &adopt),
		0);
	assert_int_equal(adopt.kind, PROTOCOL_KIND_PERSISTENT);
	assert_int_equal(adopt.nv_size, 0);
	assert_int_equal(adopt.size, sizeof name);
	assert_memory_equal(adopt.data, name, sizeof name);
}

/* RESPONSE cut to SIZE, with a header that agrees. */
static int64_t parse_cut(uint32_t handle, const uint8_t *response, size_t size)
{
	uint8_t bytes[128] = {0};
	struct protocol_adopt adopt;
	struct protocol_adopt untouched;
	int64_t r;

	memcpy(bytes, response, size);
	if (size >= 6)
		bytes[5] = (uint8_t)size;
	memset(&adopt, 0x5a, sizeof adopt);
	untouched = adopt;
	r = public_area_parse(handle, bytes, size, &adopt);
	if (r != 0)
		assert_memory_equal(&adopt, &untouched, sizeof adopt);
	return r;
}

static void test_cut_and_long_responses_are_refused(void **state)
{
	uint8_t longer[sizeof nv_response + 1] = {0};
	struct protocol_adopt adopt;

	(void)state;
	for (size_t size = 0; size < sizeof nv_response; size++)
		assert_int_equal(parse_cut(NV_HANDLE, nv_response, size), -EBADMSG);
	for (size_t size = 0; size < sizeof object_response; size++)
		assert_int_equal(parse_cut(OBJECT_HANDLE, object_response, size), -EBADMSG);
	memcpy(longer, nv_response, sizeof nv_response);
	assert_int_equal(parse_cut(NV_HANDLE, longer, sizeof longer), -EBADMSG);
	/* more than the header says */
	assert_int_equal(public_area_parse(NV_HANDLE, longer, sizeof longer, &adopt), -EBADMSG);
	memcpy(longer, nv_response, sizeof nv_response);
	longer[11] = 0x11; /* the area takes a byte of the Name's size */
	assert_int_equal(parse_cut(NV_HANDLE, longer, sizeof nv_response), -EBADMSG);
}

static void test_area_that_is_too_large_is_refused(void **state)
{
	uint8_t response[10 + 2 + 2 + 81 + 2] = {0x80, 0x01, 0, 0, 0, sizeof response};
	struct protocol_adopt adopt;

	(void)state;
	response[13] = 81; /* bytes of a Name, of which no algorithm makes so many */
	assert_int_equal(
		public_area_parse(OBJECT_HANDLE, response, sizeof response, &adopt), -EBADMSG);
	response[13] = 80;
	response[5]--;
	assert_int_equal(
		public_area_parse(OBJECT_HANDLE, response, sizeof response - 1, &adopt), 0);
	assert_int_equal(adopt.size, 80);
}

static void test_errors_are_told(void **state)
{
	static const uint8_t error[] = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x8b};
	static const uint8_t layer[] = {0x80, 0x01, 0, 0, 0, 10, 0, 0x0b, 0x01, 0x20};
	static const uint8_t high[] = {0x80, 0x01, 0, 0, 0, 10, 0xff, 0xff, 0xff, 0xff};
	static const uint8_t more[] = {0x80, 0x01, 0, 0, 0, 11, 0, 0, 0x01, 0x8b, 0};
	struct protocol_adopt adopt;

	(void)state;
	assert_int_equal(public_area_parse(NV_HANDLE, error, sizeof error, &adopt), 0x18b);
	assert_int_equal(public_area_parse(NV_HANDLE, layer, sizeof layer, &adopt), 0xb0120);
	assert_true(public_area_parse(NV_HANDLE, high, sizeof high, &adopt) == 0xffffffff);
	assert_int_equal(public_area_parse(NV_HANDLE, more, sizeof more, &adopt), -EBADMSG);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands_read_the_right_area),
		cmocka_unit_test(test_nv_index_loses_what_its_use_changes),
		cmocka_unit_test(test_object_is_its_name),
		cmocka_unit_test(test_cut_and_long_responses_are_refused),
		cmocka_unit_test(test_area_that_is_too_large_is_refused),
		cmocka_unit_test(test_errors_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
