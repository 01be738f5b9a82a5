#include "broker/refusals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define EVERYBODY UINT32_MAX

static struct refusals *refusals;

static int setup(void **state)
{
	(void)state;
	refusals = refusals_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	refusals_free(refusals);
	return 0;
}

static struct refusal a_refusal(uint32_t uid, uint32_t command)
{
	return (struct refusal){.time = 1700000000,
		.session = 1ull << 40,
		.uid = uid,
		.command = command,
		.response = 0x000b0120,
		.untold = 2,
		.rule = "hierarchy"};
}

static void add(uint32_t uid, uint32_t command)
{
	struct refusal refusal = a_refusal(uid, command);

	assert_true(refusals_add(refusals, &refusal));
}

struct seen {
	unsigned count;
	uint32_t uids[REFUSALS_UIDS * REFUSALS_OF_UID];
	uint32_t commands[REFUSALS_UIDS * REFUSALS_OF_UID];
	struct refusal last;
};

static void on_each(const struct refusal *refusal, void *context)
{
	struct seen *seen = context;

	assert_true(seen->count < REFUSALS_UIDS * REFUSALS_OF_UID);
	seen->uids[seen->count] = refusal->uid;
	seen->commands[seen->count++] = refusal->command;
	seen->last = *refusal;
}

static struct seen look(uint32_t uid)
{
	struct seen seen = {0};

	refusals_each(refusals, uid, on_each, &seen);
	return seen;
}

static void test_refusals_add_keeps_all_of_it(void **state)
{
	struct refusal refusal = a_refusal(1000, 0x126);
	struct seen seen;

	(void)state;
	assert_int_equal(look(EVERYBODY).count, 0);
	assert_true(refusals_add(refusals, &refusal));
	seen = look(1000);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.last.time, 1700000000);
	assert_true(seen.last.session == 1ull << 40);
	assert_int_equal(seen.last.uid, 1000);
	assert_int_equal(seen.last.command, 0x126);
	assert_int_equal(seen.last.response, 0x000b0120);
	assert_int_equal(seen.last.untold, 2);
	assert_string_equal(seen.last.rule, "hierarchy");
}

static void test_refusals_of_a_uid_the_last_ones(void **state)
{
	struct seen seen;

	(void)state;
	for (uint32_t i = 0; i < 3 * REFUSALS_OF_UID + 7; i++) {
		add(1000, i);
		if (i % 5 == 0)
			add(1001, i);
		seen = look(1000);
		assert_int_equal(
			seen.count, i + 1 < REFUSALS_OF_UID ? i + 1 : (uint32_t)REFUSALS_OF_UID);
		for (uint32_t j = 0; j < seen.count; j++)
			assert_int_equal(seen.commands[j], i + 1 - seen.count + j);
	}
	assert_int_equal(look(1001).count, 14);
	assert_int_equal(look(1002).count, 0);
	assert_int_equal(look(EVERYBODY).count, 14 + REFUSALS_OF_UID);
}

static void test_refusals_each_of_everybody(void **state)
{
	static const uint32_t uids[] = {1001, 1000, 1000};
	static const uint32_t commands[] = {2, 1, 3};
	struct seen seen;

	(void)state;
	add(1000, 1);
	add(1001, 2);
	add(1000, 3);
	seen = look(EVERYBODY);
	assert_int_equal(seen.count, 3);
	assert_memory_equal(seen.uids, uids, sizeof uids);
	assert_memory_equal(seen.commands, commands, sizeof commands);
}

/* The uid goes whose newest refusal is oldest, however long it has been known. */
static void test_refusals_uids_are_bounded(void **state)
{
	(void)state;
	for (uint32_t uid = 0; uid < REFUSALS_UIDS; uid++)
		add(uid, uid);
	add(0, 100);
	assert_int_equal(look(EVERYBODY).count, REFUSALS_UIDS + 1);
	add(5000, 1);
	assert_int_equal(look(0).count, 2);
	assert_int_equal(look(1).count, 0);
	assert_int_equal(look(2).count, 1);
	assert_int_equal(look(5000).count, 1);
	for (uint32_t uid = 6000; uid < 6000 + REFUSALS_UIDS; uid++)
		for (uint32_t i = 0; i < REFUSALS_OF_UID + 1; i++)
			add(uid, i);
	assert_int_equal(look(EVERYBODY).count, REFUSALS_UIDS * REFUSALS_OF_UID);
	assert_int_equal(look(5000).count, 0);
}

static void test_refusal_set_rule(void **state)
{
	static const struct {
		const char *text;
		size_t size;
		bool good;
	} rules[] = {
		{"a", 1, true},
		{"nv-index", 8, true},
		{"-09az", 5, true},
		{"abcdefghijklmnopqrstuvwxyz01234", 31, true},
		{"abcdefghijklmnopqrstuvwxyz012345", 32, false},
		{"", 0, false},
		{"nv_index", 8, false},
		{"Nv", 2, false},
		{"a b", 3, false},
		{"a\0b", 3, false},
		{"a\x1b[2J", 5, false},
		{"\xc3\xa4", 2, false},
		{"a\n", 2, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		struct refusal refusal = {.rule = "what-was-there-before-it"};

		assert_int_equal(
			refusal_set_rule(&refusal, rules[i].text, rules[i].size), rules[i].good);
		assert_string_equal(
			refusal.rule, rules[i].good ? rules[i].text : "what-was-there-before-it");
		if (rules[i].good)
			assert_int_equal(strlen(refusal.rule), rules[i].size);
	}
}

static void test_refusals_add_refuses(void **state)
{
	struct refusal refusal = a_refusal(1000, 1);

	(void)state;
	refusal.rule[0] = '\0';
	assert_false(refusals_add(refusals, &refusal));
	memcpy(refusal.rule, "Bad", 4);
	assert_false(refusals_add(refusals, &refusal));
	memset(refusal.rule, 'a', sizeof refusal.rule); /* without an end */
	assert_false(refusals_add(refusals, &refusal));
	refusal.rule[sizeof refusal.rule - 1] = '\0';
	assert_true(refusals_add(refusals, &refusal));
	refusal.uid = UINT32_MAX;
	assert_false(refusals_add(refusals, &refusal));
	assert_int_equal(look(EVERYBODY).count, 1);
	refusals_free(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_refusals_add_keeps_all_of_it),
		TEST(test_refusals_of_a_uid_the_last_ones),
		TEST(test_refusals_each_of_everybody),
		TEST(test_refusals_uids_are_bounded),
		TEST(test_refusal_set_rule),
		TEST(test_refusals_add_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
