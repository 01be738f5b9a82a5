/*
 * What of a foreign text reaches a terminal, and how it is written as JSON.
 */
#include "cli/json.h"
#include "client/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_text_clean_keeps_what_is_harmless(void **state)
{
	static const struct {
		const char *given;
		const char *expected;
	} rows[] = {
		{"", ""}, {"plain ~text", "plain ~text"},
		{"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\x91",
			"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\x91"},
		{"a\x01\x1f\x7f"
		 "b",
			"a   b"},
		{"\xc2\x85|\xe2\x80\xa8|\xe2\x81\xa6|\xd8\x9c|\xef\xbb\xbf", " | | | | "},
		{"\xc0\xaf", "??"},           /* overlong */
		{"\xed\xa0\x80", "???"},      /* a surrogate */
		{"\xf4\x90\x80\x80", "????"}, /* beyond the last code point */
		{"\xe2\x82", "??"},           /* cut */
		{"\x80x", "?x"},              /* nothing begins so */
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		text_clean(rows[i].given, strlen(rows[i].given), text, sizeof text);
		assert_string_equal(text, rows[i].expected);
	}
}

static void test_text_clean_cuts_between_characters(void **state)
{
	static const char euros[] = "\xe2\x82\xac\xe2\x82\xac";
	static const char *const expected[] = {
		NULL, "", "", "", "\xe2\x82\xac", "\xe2\x82\xac", "\xe2\x82\xac", euros};
	char text[8];

	(void)state;
	for (size_t size = 1; size < sizeof text; size++) {
		memset(text, 'x', sizeof text);
		text_clean(euros, sizeof euros, text, size);
		assert_string_equal(text, expected[size]);
		assert_int_equal(text[size], 'x'); /* not touched */
	}
	text_clean("abc", 2, text, sizeof text); /* a field without a NUL */
	assert_string_equal(text, "ab");
}

static char *written;
static size_t written_size;

static struct json json_begin(void)
{
	return (struct json){.stream = open_memstream(&written, &written_size)};
}

static void assert_json(struct json *json, const char *expected)
{
	assert_int_equal(fclose(json->stream), 0);
	assert_string_equal(written, expected);
	free(written);
}

static void test_json_sets_commas(void **state)
{
	struct json json = json_begin();

	(void)state;
	json_open(&json, NULL, '{');
	json_number(&json, "a", -5);
	json_open(&json, "b", '[');
	json_close(&json, ']');
	json_open(&json, "c", '[');
	json_bool(&json, NULL, true);
	json_open(&json, NULL, '{');
	json_close(&json, '}');
	json_text(&json, NULL, NULL);
	json_close(&json, ']');
	json_bool(&json, "d", false);
	json_close(&json, '}');
	assert_json(&json, "{\"a\":-5,\"b\":[],\"c\":[true,{},null],\"d\":false}");
}

static void test_json_escapes_text(void **state)
{
	struct json json = json_begin();

	(void)state;
	json_text(&json, NULL, "\"\\/\n\x01\x7f \xc3\xa9 \xc2\x9b \xe2\x80\xa8 \xff \xed\xa0\x80");
	assert_json(&json, "\"\\\"\\\\/\\u000a\\u0001\\u007f \xc3\xa9 \\u009b \\u2028 \\ufffd "
			   "\\ufffd\\ufffd\\ufffd\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_clean_keeps_what_is_harmless),
		cmocka_unit_test(test_text_clean_cuts_between_characters),
		cmocka_unit_test(test_json_sets_commas),
		cmocka_unit_test(test_json_escapes_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
