#include "broker-scene.h"

#include "broker/advice.h"
#include "broker/subuid.h"
#include "broker/text.h"

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

static void test_text_line_shows_everything(void **state)
{
	static const struct {
		const char *text;
		const char *line;
	} table[] = {
		{"plain text, \"quoted\" <b>", "plain text, \"quoted\" <b>"},
		{"two\nlines\r\n", "two?lines??"},
		{"\x1b[2Jclear", "?[2Jclear"},
		{"tab\there", "tab?here"},
		{"\x7f", "?"},
		{"right-to-left \xe2\x80\xae"
		 "override",
			"right-to-left ?override"},              /* U+202E */
		{"isolate \xe2\x81\xa6 x", "isolate ? x"},       /* U+2066 */
		{"zero\xe2\x80\x8bwidth", "zero?width"},         /* U+200B */
		{"line\xe2\x80\xa8separator", "line?separator"}, /* U+2028 */
		{"c1 \xc2\x9b", "c1 ?"},                         /* U+009B */
		{"b\xc3\xbc"
		 "cher",
			"b\xc3\xbc"
			"cher"},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		char line[64];

		text_line(table[i].text, line, sizeof line);
		assert_string_equal(line, table[i].line);
	}
}

static void test_text_line_makes_valid_utf8(void **state)
{
	char line[64];

	(void)state;
	text_line("a\xff\xc3(b", line, sizeof line);
	assert_true(g_utf8_validate(line, -1, NULL));
	assert_non_null(strchr(line, 'a'));
	assert_non_null(strchr(line, 'b'));
}

static void test_text_line_is_cut_at_a_character(void **state)
{
	char line[6];

	(void)state;
	text_line("\xc3\xbc\xc3\xbc\xc3\xbc", line, sizeof line);
	assert_string_equal(line, "\xc3\xbc\xc3\xbc");
	text_line("123456789", line, sizeof line);
	assert_string_equal(line, "12345");
}

static void test_text_name_stays_in_its_quotes(void **state)
{
	char name[65];
	char *longest = g_strnfill(5000, 'x');

	(void)state;
	text_name("x\xe2\x80\x9d asks for nothing, \xe2\x80\x9cy", name, sizeof name);
	assert_string_equal(name, "x? asks for nothing, ?y");
	text_name("\"<b>&amp;`", name, sizeof name);
	assert_string_equal(name, "??b??amp;?");
	text_name("   a    b\xc2\xa0\xc2\xa0 c", name, sizeof name);
	assert_string_equal(name, "a b c");
	text_name("", name, sizeof name);
	assert_string_equal(name, "?");
	text_name("a   ", name, sizeof name);
	assert_string_equal(name, "a");
	text_name("$(device)", name, sizeof name); /* polkit does not look into what it inserts */
	assert_string_equal(name, "$(device)");
	text_name(longest, name, sizeof name);
	assert_int_equal(strlen(name), 64);
	g_free(longest);
}

/* What looks like the end of the quotation, in whatever language the prompt is. */
static void test_text_name_has_no_quotation_mark(void **state)
{
	static const char *const marks[] = {"\"", "\u201c", "\u201d", "\u201e", "\u2057",
		"\U0001F677", "\u201a", "\u2018", "\u2019", "\u00ab", "\u00bb", "\u2039", "\u203a",
		"\u2e42", "\u301d", "\u301f", "\uff02", "\u2033", "\u02ba", "\u275e", "\u300d", "`",
		"<", ">", "&"};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(marks); i++) {
		g_autofree char *text = g_strdup_printf("a%sb", marks[i]);
		char name[65];

		text_name(text, name, sizeof name);
		assert_string_equal(name, "a?b");
	}
}

static void test_text_name_shows_something(void **state)
{
	static const char *const fillers[] = {"\u3164", "\u115f", "\uffa0", "\u2800", "\u034f",
		"\ufe0f", "\U000e0100", "\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad"};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(fillers); i++) {
		char name[65];

		text_name(fillers[i], name, sizeof name);
		assert_string_equal(name, "?");
	}
}

/* A mark is drawn over what is before it, be that the prompt's own words. */
static void test_text_name_marks_only_its_own(void **state)
{
	char name[65];

	(void)state;
	text_name("\u0338x", name, sizeof name);
	assert_string_equal(name, "?x");
	text_name("a \u0338", name, sizeof name);
	assert_string_equal(name, "a ?");
	text_name("a\u20e0", name, sizeof name);
	assert_string_equal(name, "a?");
	text_name("u\u0308", name, sizeof name);
	assert_string_equal(name, "\u00fc");
	text_name("q\u0300\u0301\u0302\u0303", name, sizeof name);
	assert_string_equal(name, "q\u0300\u0301?\u0303"); /* over the '?', which is its own */
}

static void test_subuid_text_contains(void **state)
{
	static const char text[] = "# comment\nalice:100000:65536\n1001:300000:1\n\n"
				   "broken\nmore:broken\nx:y:z\nnegative:-5:10\ncarol:400000:0\n"
				   "a:500000:1:2\nlast:4294967290:10\n";

	(void)state;
	assert_false(subuid_text_contains(text, 99999));
	assert_true(subuid_text_contains(text, 100000));
	assert_true(subuid_text_contains(text, 165535));
	assert_false(subuid_text_contains(text, 165536));
	assert_true(subuid_text_contains(text, 300000));
	assert_false(subuid_text_contains(text, 300001));
	assert_false(subuid_text_contains(text, 400000));
	assert_false(subuid_text_contains(text, 500000));
	assert_true(subuid_text_contains(text, 4294967295u));
	assert_false(subuid_text_contains("", 0));
	assert_true(subuid_text_contains("no:100:1", 100)); /* no newline at the end */
}

static void test_subuid_contains_reads_changes(void **state)
{
	struct subuid *subuid = subuid_new();
	g_autofree char *path = NULL;

	(void)state;
	scene_begin();
	path = scene_path("subuid");
	assert_false(subuid_contains(subuid, path, 100000)); /* no file, no ranges */
	g_free(scene_write("subuid", "alice:100000:65536\n", 0644));
	assert_true(subuid_contains(subuid, path, 100000));
	assert_false(subuid_contains(subuid, path, 1000));
	g_free(scene_write("subuid", "alice:200000:1\n", 0644));
	assert_false(subuid_contains(subuid, path, 100000));
	assert_true(subuid_contains(subuid, path, 200000));
	/* what cannot be known is refused; root is not */
	assert_int_equal(remove(path), 0);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_true(subuid_contains(subuid, path, 1000));
	assert_false(subuid_contains(subuid, path, 0));
	subuid_free(subuid);
	scene_end();
}

static void test_advice_names_what_helps(void **state)
{
	struct advice advice = {
		.verdict = PERMIT_NO_AGENT,
		.name = "keys",
		.action = "io.github.tpmgate.keys",
		.group = "tpmgate-users",
		.uid = 1000,
		.user = "alice",
	};
	g_autofree char *named = advice_text(&advice);
	g_autofree char *unnamed = NULL;
	g_autofree char *sandboxed = NULL;

	(void)state;
	assert_int_equal(advice_status(advice.verdict), PROTOCOL_WOULD_PROMPT);
	assert_non_null(strstr(named, "'keys'"));
	assert_non_null(strstr(named, "sudo gpasswd -a alice tpmgate-users, then log in again"));
	assert_true(strlen(named) < sizeof((struct protocol_reply *)0)->message);
	advice.user = NULL;
	unnamed = advice_text(&advice);
	assert_non_null(strstr(unnamed, "uid 1000"));
	assert_null(strstr(unnamed, "gpasswd"));
	/* no group opens a sandbox */
	advice.user = "alice";
	advice.sandbox = "org.example.App";
	sandboxed = advice_text(&advice);
	assert_non_null(strstr(sandboxed, "org.example.App"));
	assert_null(strstr(sandboxed, "gpasswd"));
}

static void test_advice_has_a_status_for_every_refusal(void **state)
{
	(void)state;
	for (int verdict = PERMIT_NO; verdict <= PERMIT_FAULT; verdict++) {
		struct advice advice = {
			.verdict = (enum permit_verdict)verdict, .name = "keys", .action = "x"};
		g_autofree char *text = advice_text(&advice);

		if (verdict == PERMIT_YES)
			continue;
		assert_int_not_equal(advice_status(advice.verdict), PROTOCOL_OK);
		assert_non_null(strstr(text, "'keys'"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_line_shows_everything),
		cmocka_unit_test(test_text_line_makes_valid_utf8),
		cmocka_unit_test(test_text_line_is_cut_at_a_character),
		cmocka_unit_test(test_text_name_stays_in_its_quotes),
		cmocka_unit_test(test_text_name_has_no_quotation_mark),
		cmocka_unit_test(test_text_name_shows_something),
		cmocka_unit_test(test_text_name_marks_only_its_own),
		cmocka_unit_test(test_subuid_text_contains),
		cmocka_unit_test(test_subuid_contains_reads_changes),
		cmocka_unit_test(test_advice_names_what_helps),
		cmocka_unit_test(test_advice_has_a_status_for_every_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
