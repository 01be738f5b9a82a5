/*
 * Every rule that a relay can name has a reason and an advice: the sources are read for the rules.
 */
#include "common/rules.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LINE_MAX_SIZE 240 /* fits a line of advice below `Next` of tpmgate status */

/* Names as rules have them: small letters and hyphens. */
static bool looks_like_rule(const char *text)
{
	size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz-");

	return length > 1 && text[length] == '\0' && text[0] != '-' && text[length - 1] != '-';
}

static unsigned check_line(const char *path, const char *line)
{
	const char *quote = strchr(line, '"');
	unsigned found = 0;

	while (quote) {
		const char *end = strchr(quote + 1, '"');
		char text[128];

		if (!end)
			return found;
		snprintf(text, sizeof text, "%.*s", (int)(end - quote - 1), quote + 1);
		quote = strchr(end + 1, '"');
		if (!looks_like_rule(text))
			continue;
		found++;
		if (!rule_advice(text) || !rule_reason(text))
			fail_msg("%s names the rule \"%s\", which rules.c does not know", path,
				text);
	}
	return found;
}

/*
 * Whether the names in LINE are rules: all of those in the filter and of what is owed to accounts,
 * elsewhere those of a refusal that is made or logged.
 */
static bool names_rules(const char *name, const char *line, const char *previous)
{
	static const char *const marks[] = {"log_refusal(", "rule = ", "refuse(", "deny("};

	if (line[0] == '#')
		return false;
	if (strncmp(name, "filter", 6) == 0 || strcmp(name, "dues.c") == 0)
		return true;
	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
		if (strstr(line, marks[i]) ||
			(strstr(previous, marks[i]) && !strchr(previous, ';')))
			return true;
	return false;
}

static unsigned check_file(const char *directory, const char *name)
{
	char path[512];
	char line[256];
	char previous[256] = "";
	unsigned found = 0;
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof line, file)) {
		if (names_rules(name, line, previous))
			found += check_line(path, line);
		memcpy(previous, line, sizeof previous);
	}
	(void)fclose(file);
	return found;
}

static void test_rules_of_the_sources_are_known(void **state)
{
	static const char *const directories[] = {
		SOURCE_DIR "/helper/relay", SOURCE_DIR "/helper/broker"};
	unsigned found = 0;

	(void)state;
	for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
		DIR *directory = opendir(directories[i]);
		const struct dirent *entry;

		assert_non_null(directory);
		while ((entry = readdir(directory)) != NULL) {
			const char *dot = strrchr(entry->d_name, '.');

			if (dot && strcmp(dot, ".c") == 0)
				found += check_file(directories[i], entry->d_name);
		}
		closedir(directory);
	}
	assert_true(found > 30); /* or the sources are not where they were */
}

static void test_rules_read_well(void **state)
{
	size_t count = 0;

	(void)state;
	for (; rule_name(count); count++) {
		const char *name = rule_name(count);

		assert_true(looks_like_rule(name));
		for (size_t i = 0; i < count; i++)
			assert_string_not_equal(name, rule_name(i));
		assert_true(strlen(rule_reason(name)) > 10);
		assert_true(strlen(rule_advice(name)) > 10);
		assert_true(strlen(rule_advice(name)) < LINE_MAX_SIZE);
		assert_null(strchr(rule_advice(name), '\n'));
		assert_int_not_equal(rule_advice(name)[strlen(rule_advice(name)) - 1], '.');
	}
	assert_true(count > 30);
}

static void test_rule_unknown_is_null(void **state)
{
	(void)state;
	assert_null(rule_advice("no-such-rule"));
	assert_null(rule_reason(""));
	assert_null(rule_name(10000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_of_the_sources_are_known),
		cmocka_unit_test(test_rules_read_well),
		cmocka_unit_test(test_rule_unknown_is_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
