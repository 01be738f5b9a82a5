#include "ledger-scene.h"

#include "common/events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define HOUR 3600

/* ---- charges ---- */

static void test_leave_with_token_is_charged(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_begin(a, ACCOUNT_HELD_DA);
	actor_end_da(a, false, 10);
	actor_begin(a, ACCOUNT_HELD_DA);
	actor_begin(b, ACCOUNT_HELD_DA);
	actor_leave(a);
	scene_settle();
	assert_int_equal(b->tokens, 1);
	assert_int_equal(report(ALICE).charge, 1);
	assert_int_equal(report(ALICE).charge_falls, 10);
	assert_false(ledger_is_clear(ledger));
	scene_pass(10);
	assert_int_equal(report(ALICE).charge, 0);
	assert_true(ledger_is_clear(ledger));
}

static void test_charge_falls_by_interval(void **state)
{
	struct actor *a = actor_join(ALICE);

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		actor_fail(a, 10);
	assert_int_equal(report(ALICE).charge, 3);
	assert_int_equal(report(BOB).charge, 0);
	scene_pass_ms(9999);
	assert_int_equal(report(ALICE).charge, 3);
	assert_int_equal(report(ALICE).charge_falls, 1);
	scene_pass_ms(1);
	assert_int_equal(report(ALICE).charge, 2);
	assert_int_equal(report(ALICE).charge_falls, 10);
	scene_pass(9);
	actor_fail(a, 10); /* begins anew */
	scene_pass(9);
	assert_int_equal(report(ALICE).charge, 3);
	scene_pass(11);
	assert_int_equal(report(ALICE).charge, 1);
	scene_pass(10);
	assert_int_equal(report(ALICE).charge, 0);
	assert_int_equal(report(ALICE).charge_falls, 0);
	scene_pass(1000);
	actor_fail(a, 10);
	assert_int_equal(report(ALICE).charge, 1);
}

static void test_charge_is_told_with_the_token(void **state)
{
	struct actor *a = actor_join(ALICE);

	(void)state;
	actor_fail(a, 10);
	actor_fail(a, 10);
	scene_pass(7);
	actor_begin(a, ACCOUNT_HELD_DA);
	assert_int_equal(a->charge, 2);
	assert_int_equal(a->age, 7);
	actor_end_da(a, false, 10);
	scene_pass(6); /* 13 since: one has fallen off, 3 count for the other */
	actor_begin(a, ACCOUNT_HELD_DA);
	assert_int_equal(a->charge, 1);
	assert_int_equal(a->age, 3);
}

static void test_charge_never_falls_without_interval(void **state)
{
	struct actor *a = actor_join(ALICE);

	(void)state;
	actor_fail(a, 0);
	scene_pass(1000000);
	assert_int_equal(report(ALICE).charge, 1);
	assert_int_equal(report(ALICE).charge_falls, 0);
	assert_true(ledger_is_clear(ledger)); /* this TPM counts nothing */
	/* an interval counts from when it is there */
	actor_begin(a, ACCOUNT_HELD_DA);
	assert_int_equal(a->age, 1000000);
	actor_end_da(a, false, 10);
	assert_int_equal(report(ALICE).charge, 1);
	scene_pass(10);
	assert_int_equal(report(ALICE).charge, 0);
}

static void test_charge_with_a_new_interval(void **state)
{
	struct actor *a = actor_join(ALICE);

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		actor_fail(a, 10);
	scene_pass(10);
	actor_begin(a, ACCOUNT_HELD_DA);
	assert_int_equal(a->charge, 3);
	scene_pass(10);
	actor_end_da(a, false, 100);
	assert_int_equal(report(ALICE).charge, 2); /* what has fallen off stays off */
	scene_pass(50);
	assert_int_equal(report(ALICE).charge, 2);
	actor_begin(a, ACCOUNT_HELD_DA);
	assert_int_equal(a->age, 50);
	actor_end_da(a, false, 40);
	assert_int_equal(report(ALICE).charge, 1);
}

static void test_charge_before_anything_was_read(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);
	struct ledger_lockout unread = {0};

	(void)state;
	actor_begin(a, ACCOUNT_HELD_DA);
	assert_true(ledger_end_da(a->party, true, &unread));
	scene_pass(100);
	assert_int_equal(report(ALICE).charge, 1);
	assert_int_equal(report(ALICE).lockout.maximum, 0);
	actor_begin(b, ACCOUNT_HELD_DA); /* whoever reads it first tells for all */
	actor_end_da(b, false, 50);
	assert_int_equal(report(ALICE).charge, 0);
	assert_int_equal(report(ALICE).lockout.maximum, 32);
	assert_int_equal(report(ALICE).lockout.counter, 1);
	assert_int_equal(report(ALICE).lockout.interval, 50);
	actor_begin(b, ACCOUNT_HELD_DA);
	assert_true(ledger_end_da(b->party, false, &unread));
	assert_int_equal(report(ALICE).lockout.interval, 50);
}

/* A day, while nobody has read it: then it need not be remembered any more. */
static void test_charge_falls_by_an_unknown_interval(void **state)
{
	struct actor *a = actor_join(ALICE);

	(void)state;
	ledger_failed(a->party);
	actor_begin(a, ACCOUNT_HELD_DA);
	actor_leave(a); /* lost with the token */
	assert_int_equal(report(ALICE).charge, 2);
	scene_pass(24 * HOUR - 1);
	assert_int_equal(report(ALICE).charge, 2);
	assert_int_equal(report(ALICE).charge_falls, 1);
	scene_pass(1);
	assert_int_equal(report(ALICE).charge, 1);
	scene_pass(24 * HOUR - 1);
	assert_int_equal(report(ALICE).charge, 1);
	assert_false(ledger_is_clear(ledger));
	scene_pass(1);
	assert_true(ledger_is_clear(ledger));
	assert_int_equal(report(ALICE).charge, 0);
}

/* What has fallen off before an interval is read stays off, and the rest falls by that. */
static void test_charge_with_the_first_interval(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		ledger_failed(a->party);
	scene_pass(24 * HOUR + 50);
	assert_int_equal(report(ALICE).charge, 2);
	actor_begin(b, ACCOUNT_HELD_DA);
	actor_end_da(b, false, 100);
	assert_int_equal(report(ALICE).charge, 2);
	assert_int_equal(report(ALICE).charge_falls, 50);
	actor_begin(b, ACCOUNT_HELD_DA);
	actor_end_da(b, false, 0); /* no more others' to say */
	scene_pass(50);
	assert_int_equal(report(ALICE).charge, 1);
}

/* A relay that was taken over says what it likes: of another uid's charge it has no say. */
static void test_charge_is_not_others_to_shorten(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_fail(a, 1000);
	actor_begin(b, ACCOUNT_HELD_DA);
	actor_end_da(b, false, 1);
	scene_pass(100);
	assert_int_equal(report(ALICE).charge, 1);
	assert_int_equal(report(ALICE).charge_falls, 900);
}

/* ---- NV writes ---- */

static void test_nv_writes_refill_by_the_hour(void **state)
{
	struct actor *a[2] = {actor_join(ALICE), actor_join(ALICE)};
	struct actor *b = actor_join(BOB);
	struct actor *elsewhere = actor_join_as(OTHER, ALICE, false);

	(void)state;
	assert_int_equal(config.nv_writes_per_hour, 10);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(ledger_charge(a[i % 2]->party), ACCOUNT_YES);
	assert_int_equal(ledger_charge(a[0]->party), ACCOUNT_LIMIT);
	assert_int_equal(report(ALICE).nv_writes, 0);
	assert_int_equal(report(BOB).nv_writes, 10);
	assert_int_equal(ledger_charge(b->party), ACCOUNT_YES);
	assert_int_equal(ledger_charge(elsewhere->party), ACCOUNT_YES);
	scene_pass_ms(HOUR * 100 - 1);
	assert_int_equal(ledger_charge(a[0]->party), ACCOUNT_LIMIT);
	scene_pass_ms(1); /* refused ones cost nothing */
	assert_int_equal(report(ALICE).nv_writes, 1);
	assert_int_equal(ledger_charge(a[1]->party), ACCOUNT_YES);
	assert_int_equal(ledger_charge(a[1]->party), ACCOUNT_LIMIT);
	scene_pass(HOUR - 1);
	assert_false(ledger_is_clear(ledger));
	assert_int_equal(report(ALICE).nv_writes, 9);
	scene_pass(1);
	assert_true(ledger_is_clear(ledger));
	scene_pass(INT64_C(100) * HOUR);
	assert_int_equal(report(ALICE).nv_writes, 10);
}

static void test_nv_writes_of_another_configuration(void **state)
{
	struct actor *a = actor_join(ALICE);

	(void)state;
	config.nv_writes_per_hour = 1000000;
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(ledger_charge(a->party), ACCOUNT_YES);
	config.nv_writes_per_hour = 2;
	assert_int_equal(report(ALICE).nv_writes, 0);
	assert_int_equal(ledger_charge(a->party), ACCOUNT_LIMIT);
	scene_pass(HOUR / 2);
	assert_int_equal(ledger_charge(a->party), ACCOUNT_YES);
	assert_int_equal(ledger_charge(a->party), ACCOUNT_LIMIT);
	scene_pass(HOUR);
	assert_true(ledger_is_clear(ledger));
}

/* ---- tables ---- */

static void test_report_of_nobody(void **state)
{
	struct ledger_report nobody = report(ALICE);

	(void)state;
	assert_int_equal(nobody.lockout.maximum, 0);
	assert_int_equal(nobody.charge, 0);
	assert_int_equal(nobody.charge_falls, 0);
	assert_int_equal(nobody.tpm_sessions, 0);
	assert_int_equal(nobody.nv_writes, 10);
	assert_true(ledger_is_clear(ledger));
}

/* What was read of a TPM is forgotten with its table. */
static void test_tables_are_freed(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_fail(a, 10);
	assert_int_equal(ledger_charge(b->party), ACCOUNT_YES);
	actor_leave(a);
	actor_leave(b);
	assert_int_equal(report(CAROL).lockout.maximum, 32);
	scene_pass(10);
	assert_int_equal(report(CAROL).lockout.maximum, 32);
	scene_pass(HOUR / 10 - 11);
	assert_int_equal(report(BOB).nv_writes, 9);
	assert_int_equal(report(CAROL).lockout.maximum, 32);
	scene_pass(1);
	assert_int_equal(report(CAROL).lockout.maximum, 0);
}

/* Counted by the TPM though nobody held the token: that uid's all the same. */
static void test_failure_without_token_is_charged(void **state)
{
	struct actor *a = actor_join(ALICE);

	(void)state;
	ledger_failed(a->party);
	ledger_failed(a->party);
	assert_int_equal(report(ALICE).charge, 2);
	assert_int_equal(report(BOB).charge, 0);
}

/* Guesses at hierarchies, which no TPM counts, outlive the session and fall off slowly. */
static void test_failures_at_hierarchies(void **state)
{
	struct actor *a = actor_join(ALICE);

	(void)state;
	for (int i = 0; i < 9; i++)
		ledger_failed_hierarchy(a->party);
	actor_leave(a);
	assert_int_equal(ledger_hierarchy_failures(ledger, TPM, ALICE), 5);
	assert_int_equal(ledger_hierarchy_failures(ledger, TPM, BOB), 0);
	assert_int_equal(ledger_hierarchy_failures(ledger, OTHER, ALICE), 0);
	assert_false(ledger_is_clear(ledger));
	scene_pass(599);
	assert_int_equal(ledger_hierarchy_failures(ledger, TPM, ALICE), 5);
	scene_pass(1);
	assert_int_equal(ledger_hierarchy_failures(ledger, TPM, ALICE), 4);
	scene_pass(2400);
	assert_int_equal(ledger_hierarchy_failures(ledger, TPM, ALICE), 0);
	assert_true(ledger_is_clear(ledger));
}

/* All sessions of a uid have one allowance, and a guess that is lost counts. */
static void test_guesses_of_one_uid(void **state)
{
	struct actor *a[2] = {actor_join(ALICE), actor_join(ALICE)};
	struct actor *b = actor_join(BOB);

	(void)state;
	assert_false(ledger_begin_guess(a[0]->party)); /* without the turn */
	for (unsigned i = 0; i < 5; i++) {
		struct actor *one = a[i % 2];

		actor_begin(one, ACCOUNT_HELD_TURN);
		assert_true(ledger_begin_guess(one->party));
		assert_true(ledger_end_turn(one->party, false)); /* a right one is none */
		actor_begin(one, ACCOUNT_HELD_TURN);
		assert_true(ledger_begin_guess(one->party));
		assert_int_equal(ledger_hierarchy_failures(ledger, TPM, ALICE), i);
		if (i < 4)
			assert_true(ledger_end_turn(one->party, true));
	}
	actor_leave(a[0]); /* with the turn of the fifth */
	assert_int_equal(ledger_hierarchy_failures(ledger, TPM, ALICE), 5);
	actor_begin(a[1], ACCOUNT_HELD_TURN);
	assert_false(ledger_begin_guess(a[1]->party));
	actor_begin(b, ACCOUNT_HELD_TURN);
	assert_true(ledger_begin_guess(b->party));
	scene_pass(600);
	assert_true(ledger_begin_guess(a[1]->party));
	assert_true(ledger_end_turn(a[1]->party, true));
	actor_begin(a[1], ACCOUNT_HELD_TURN);
	assert_false(ledger_begin_guess(a[1]->party));
	actor_leave(a[1]); /* with a turn for nothing of that kind */
	assert_int_equal(ledger_hierarchy_failures(ledger, TPM, ALICE), 5);
}

/* What a turn is for that a broker before this one gave is not known. */
static void test_turn_from_before_counts_as_guess(void **state)
{
	struct actor *old = actor_join_as(TPM, ALICE, true);
	struct actor *other = actor_join_as(TPM, BOB, true);

	(void)state;
	assert_true(ledger_settle(old->party, ACCOUNT_HELD_TURN));
	actor_leave(old);
	assert_int_equal(ledger_hierarchy_failures(ledger, TPM, ALICE), 1);
	assert_true(ledger_end_turn(other->party, true)); /* sent while there was no broker */
	assert_true(ledger_settle(other->party, 0));
	assert_int_equal(ledger_hierarchy_failures(ledger, TPM, BOB), 1);
	actor_leave(other);
	assert_int_equal(ledger_hierarchy_failures(ledger, TPM, BOB), 1);
}

/* ---- what the log is told ---- */

static unsigned lockouts_told;

static GLogWriterOutput count_lockouts(
	GLogLevelFlags level, const GLogField *fields, gsize count, gpointer data)
{
	(void)level;
	(void)data;
	for (gsize i = 0; i < count; i++)
		if (strcmp(fields[i].key, "MESSAGE_ID") == 0 &&
			strcmp(fields[i].value, EVENT_LOCKOUT_NEAR) == 0)
			lockouts_told++;
	return G_LOG_WRITER_HANDLED;
}

static unsigned told_of(struct actor *actor, uint32_t counter, uint32_t maximum, uint32_t interval)
{
	struct ledger_lockout lockout = {
		.counter = counter, .maximum = maximum, .interval = interval};

	lockouts_told = 0;
	actor_begin(actor, ACCOUNT_HELD_DA);
	assert_true(ledger_end_da(actor->party, false, &lockout));
	return lockouts_told;
}

static void test_near_lockout_is_told_once(void **state)
{
	struct actor *a = actor_join(ALICE);

	(void)state;
	assert_int_equal(told_of(a, 0, 0, 0), 0); /* nothing was read */
	assert_int_equal(told_of(a, 15, 32, 10), 0);
	assert_int_equal(told_of(a, 16, 32, 10), 1);
	assert_int_equal(told_of(a, 17, 32, 10), 0);
	assert_int_equal(told_of(a, 15, 32, 10), 0);
	assert_int_equal(told_of(a, 31, 32, 0), 0); /* it counts nothing */
	assert_int_equal(told_of(a, 1, 3, 10), 1);
}

int main(void)
{
	g_log_set_writer_func(count_lockouts, NULL, NULL);
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_failure_without_token_is_charged),
		TEST(test_failures_at_hierarchies),
		TEST(test_guesses_of_one_uid),
		TEST(test_turn_from_before_counts_as_guess),
		TEST(test_leave_with_token_is_charged),
		TEST(test_charge_falls_by_interval),
		TEST(test_charge_is_told_with_the_token),
		TEST(test_charge_never_falls_without_interval),
		TEST(test_charge_with_a_new_interval),
		TEST(test_charge_before_anything_was_read),
		TEST(test_charge_falls_by_an_unknown_interval),
		TEST(test_charge_with_the_first_interval),
		TEST(test_charge_is_not_others_to_shorten),
		TEST(test_nv_writes_refill_by_the_hour),
		TEST(test_nv_writes_of_another_configuration),
		TEST(test_near_lockout_is_told_once),
		TEST(test_report_of_nobody),
		TEST(test_tables_are_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
