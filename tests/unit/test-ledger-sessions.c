#include "ledger-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* ---- room ---- */

static void test_room_of_a_uid(void **state)
{
	struct actor *a[2] = {actor_join(ALICE), actor_join(ALICE)};
	struct actor *b = actor_join(BOB);
	struct actor *elsewhere = actor_join_as(OTHER, ALICE, false);

	(void)state;
	config.tpm_sessions_per_user = 3;
	actor_make(a[0], HMAC(0)); /* a handle whose lower 24 bits are 0 is one, too */
	actor_make(a[1], HMAC(1));
	actor_make(a[1], POLICY(2));
	assert_int_equal(count_of(ALICE), 3);
	assert_int_equal(ledger_begin_session(a[0]->party, 0), ACCOUNT_LIMIT);
	assert_false(ledger_end_session(a[0]->party, HMAC(3)));
	assert_int_equal(count_of(ALICE), 3);
	actor_make(b, HMAC(3));
	actor_make(elsewhere, HMAC(0));
	actor_save(a[1], HMAC(1));
	assert_int_equal(count_of(ALICE), 3); /* saved, it counts as before */
	actor_load(a[1], HMAC(1));
	ledger_gone_session(a[0]->party, HMAC(0));
	assert_int_equal(count_of(ALICE), 2);
	actor_make(a[0], HMAC(0));
	config.tpm_sessions_per_user = 4; /* read anew */
	actor_make(a[0], HMAC(4));
	assert_int_equal(count_of(ALICE), 4);
	assert_int_equal(count_of(BOB), 1);
}

static void test_room_in_all(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);
	struct actor *elsewhere = actor_join_as(OTHER, CAROL, false);

	(void)state;
	config.tpm_sessions = 3;
	actor_make(a, HMAC(1));
	actor_make(a, HMAC(2));
	actor_make(b, HMAC(3));
	assert_int_equal(ledger_begin_session(b->party, 0), ACCOUNT_LIMIT);
	actor_make(elsewhere, HMAC(1));
	actor_leave(a);
	actor_make(b, HMAC(1));
	assert_int_equal(count_of(BOB), 2);
}

/* Two that ask at one time do not both get the last. */
static void test_room_is_reserved(void **state)
{
	struct actor *a[3] = {actor_join(ALICE), actor_join(ALICE), actor_join(ALICE)};
	struct actor *b = actor_join(BOB);

	(void)state;
	config.tpm_sessions_per_user = 2;
	config.tpm_sessions = 3;
	assert_int_equal(ledger_begin_session(a[0]->party, 0), ACCOUNT_YES);
	assert_int_equal(ledger_begin_session(a[1]->party, 0), ACCOUNT_YES);
	assert_int_equal(ledger_begin_session(a[2]->party, 0), ACCOUNT_LIMIT);
	assert_int_equal(ledger_begin_session(b->party, 0), ACCOUNT_YES);
	assert_int_equal(count_of(ALICE), 0);
	assert_true(ledger_end_session(a[0]->party, 0)); /* nothing came of it */
	assert_int_equal(ledger_begin_session(a[2]->party, 0), ACCOUNT_YES);
	assert_int_equal(ledger_begin_session(a[0]->party, 0), ACCOUNT_LIMIT);
	actor_leave(a[1]); /* and nothing will */
	assert_int_equal(ledger_begin_session(a[0]->party, 0), ACCOUNT_YES);
	assert_int_equal(ledger_begin_session(a[0]->party, 0), ACCOUNT_YES); /* one at a time */
	assert_true(ledger_end_session(a[0]->party, HMAC(1)));
	assert_false(ledger_end_session(a[0]->party, HMAC(2)));
	assert_false(ledger_end_session(a[0]->party, 0));
	assert_int_equal(count_of(ALICE), 1);
}

/* ---- room of saved ones ---- */

/* What was saved and left behind makes room, the oldest first; what is loaded does not. */
static void test_room_of_the_oldest_saved(void **state)
{
	struct actor *a[2] = {actor_join(ALICE), actor_join(ALICE)};
	struct actor *b = actor_join(BOB);

	(void)state;
	config.tpm_sessions_per_user = 2;
	actor_make(b, HMAC(9));
	actor_save(b, HMAC(9));
	actor_make(a[0], HMAC(1));
	actor_make(a[0], HMAC(2));
	actor_save(a[0], HMAC(2));
	actor_save(a[0], HMAC(1));
	assert_int_equal(ledger_begin_session(a[1]->party, 0), ACCOUNT_YES);
	scene_settle();
	assert_int_equal(a[1]->flushes, 1);
	assert_int_equal(a[1]->flush, HMAC(2));
	/* whoever loads it meanwhile has it, and the order is void */
	assert_int_equal(ledger_flush_session(a[0]->party, HMAC(2)), ACCOUNT_NO);
	assert_int_equal(ledger_flush_session(a[1]->party, HMAC(2)), ACCOUNT_YES);
	assert_int_equal(ledger_flush_session(a[1]->party, HMAC(2)), ACCOUNT_YES); /* asked again */
	assert_int_equal(ledger_begin_session(a[0]->party, HMAC(2)), ACCOUNT_LIMIT);
	ledger_gone_session(a[1]->party, HMAC(2));
	assert_true(ledger_end_session(a[1]->party, HMAC(3)));
	assert_int_equal(count_of(ALICE), 2);
	/* the other one was loaded before it was flushed */
	assert_int_equal(ledger_begin_session(a[1]->party, 0), ACCOUNT_YES);
	scene_settle();
	assert_int_equal(a[1]->flush, HMAC(1));
	assert_int_equal(ledger_begin_session(a[0]->party, HMAC(1)), ACCOUNT_LIMIT);
	assert_true(ledger_end_session(a[1]->party, 0)); /* nothing came of what took its room */
	actor_load(a[0], HMAC(1));
	assert_int_equal(ledger_flush_session(a[1]->party, HMAC(1)), ACCOUNT_NO);
	assert_int_equal(count_of(BOB), 1);
}

static void test_oldest_saved_one_makes_room(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *last = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	config.tpm_sessions_per_user = 3;
	for (uint32_t i = 0; i < 3; i++)
		actor_make(a, HMAC(i));
	actor_make(b, HMAC(8));
	actor_save(b, HMAC(8)); /* older, but Bob's */
	actor_save(a, HMAC(2));
	actor_save(a, HMAC(1));
	assert_int_equal(ledger_begin_session(last->party, 0), ACCOUNT_YES);
	assert_int_equal(last->flushes, 0);
	scene_settle();
	assert_int_equal(last->flushes, 1);
	assert_int_equal(last->flush, HMAC(2));
	assert_true(ledger_end_session(last->party, HMAC(3)));
	actor_make(last, HMAC(4));
	scene_settle();
	assert_int_equal(last->flushes, 2);
	assert_int_equal(last->flush, HMAC(1));
	assert_int_equal(ledger_begin_session(last->party, 0), ACCOUNT_LIMIT);
	assert_int_equal(a->flushes + b->flushes, 0);
	assert_int_equal(count_of(ALICE), 5); /* until they are gone */
	ledger_gone_session(last->party, HMAC(1));
	ledger_gone_session(last->party, HMAC(2));
	assert_int_equal(count_of(ALICE), 3);
	assert_int_equal(count_of(BOB), 1);
}

/* What gave its room away needs one again. */
static void test_ending_one_that_is_loaded(void **state)
{
	struct actor *a[2] = {actor_join(ALICE), actor_join(ALICE)};

	(void)state;
	config.tpm_sessions_per_user = 1;
	actor_make(a[0], HMAC(0));
	actor_save(a[0], HMAC(0));
	actor_make(a[1], HMAC(1));
	assert_int_equal(ledger_begin_session(a[0]->party, HMAC(0)), ACCOUNT_LIMIT);
	ledger_gone_session(a[1]->party, HMAC(1));
	config.tpm_sessions = 1; /* it has its room in all */
	actor_load(a[0], HMAC(0));
	assert_int_equal(ledger_begin_session(a[1]->party, 0), ACCOUNT_LIMIT);
	assert_int_equal(count_of(ALICE), 1);
	scene_settle();
	assert_int_equal(a[1]->flushes, 0); /* that order is out of date */
}

/* One that is loaded has its room until it is gone. */
static void test_old_loaded_one_makes_no_room(void **state)
{
	struct actor *a[2] = {actor_join(ALICE), actor_join(ALICE)};

	(void)state;
	config.tpm_sessions_per_user = 1;
	actor_make(a[0], HMAC(0));
	actor_saves(a[1], GAP);
	assert_int_equal(a[0]->flushes, 1);
	assert_int_equal(ledger_begin_session(a[1]->party, 0), ACCOUNT_LIMIT);
	actor_saves(a[0], 1);
	assert_int_equal(count_of(ALICE), 1);
}

/* Programs that come and go at once do not get one more each. */
static void test_orders_that_nobody_did(void **state)
{
	struct actor *a = actor_join(ALICE);

	(void)state;
	config.tpm_sessions_per_user = 2;
	for (uint32_t i = 0; i < 4; i++) {
		actor_make(a, HMAC(i));
		actor_save(a, HMAC(i));
		actor_leave(a);
		a = actor_join(ALICE);
	}
	assert_int_equal(count_of(ALICE), 4);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ledger_begin_session(a->party, 0), ACCOUNT_LIMIT);
		scene_settle();
		assert_int_equal(a->flushes, 2);
		actor_leave(a);
		a = actor_join(ALICE);
	}
	assert_int_equal(ledger_begin_session(a->party, 0), ACCOUNT_LIMIT);
	scene_settle();
	ledger_gone_session(a->party, HMAC(0)); /* done at last: there is room for the next */
	ledger_gone_session(a->party, HMAC(1));
	actor_make(a, HMAC(4));
	scene_settle();
	assert_int_equal(a->flushes, 3);
	config.tpm_sessions_per_user = 1;
	assert_int_equal(ledger_begin_session(a->party, HMAC(9)), ACCOUNT_LIMIT);
	scene_settle();
	assert_int_equal(a->flushes, 3); /* none is lost for nothing */
}

static void test_flush_is_asked_before_it_is_done(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(ALICE);

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		actor_make(a, HMAC(i));
	actor_save(a, HMAC(0));
	actor_save(a, HMAC(1));
	assert_int_equal(ledger_flush_session(b->party, HMAC(0)), ACCOUNT_NO);
	actor_saves(b, GAP);
	assert_int_equal(b->flushes, 2);
	assert_int_equal(a->flushes, 1);
	assert_int_equal(ledger_flush_session(a->party, HMAC(0)), ACCOUNT_NO);
	assert_int_equal(ledger_flush_session(a->party, HMAC(2)), ACCOUNT_NO); /* it is loaded */
	assert_int_equal(ledger_flush_session(b->party, POLICY(0)), ACCOUNT_YES);
	assert_int_equal(ledger_flush_session(b->party, HMAC(0)), ACCOUNT_YES);
	assert_int_equal(ledger_begin_session(a->party, HMAC(0)), ACCOUNT_LIMIT);
	actor_load(a, HMAC(1)); /* comes first */
	assert_int_equal(ledger_flush_session(b->party, HMAC(1)), ACCOUNT_NO);
	ledger_gone_session(b->party, HMAC(0));
	assert_int_equal(ledger_flush_session(b->party, HMAC(0)), ACCOUNT_NO);
	assert_int_equal(count_of(ALICE), 2);
}

static void test_flush_that_was_not_done(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(ALICE);

	(void)state;
	actor_make(a, HMAC(0));
	actor_save(a, HMAC(0));
	actor_saves(b, GAP);
	actor_leave(b);
	actor_load(a, HMAC(0));
}

/* ---- saved ones ---- */

static void test_load_of_own_takes_no_room(void **state)
{
	struct actor *a[2] = {actor_join(ALICE), actor_join(ALICE)};

	(void)state;
	config.tpm_sessions_per_user = 1;
	config.tpm_sessions = 1;
	actor_make(a[0], POLICY(7));
	actor_save(a[0], POLICY(7));
	assert_false(ledger_saved_session(a[0]->party, POLICY(7), true));
	actor_leave(a[0]);
	assert_int_equal(count_of(ALICE), 1);
	assert_false(ledger_is_clear(ledger));
	actor_load(a[1], HMAC(7)); /* as a TPM shows saved ones */
	assert_int_equal(count_of(ALICE), 1);
	assert_true(ledger_is_clear(ledger)); /* loaded, it goes with its party */
	assert_int_equal(ledger_begin_session(a[1]->party, 0), ACCOUNT_LIMIT);
	actor_leave(a[1]);
	assert_int_equal(count_of(ALICE), 0);
}

static void test_load_of_anothers_takes_room(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	config.tpm_sessions_per_user = 1;
	actor_make(a, POLICY(7));
	actor_make(b, POLICY(8));
	actor_save(a, POLICY(7));
	assert_int_equal(ledger_begin_session(b->party, POLICY(7)), ACCOUNT_LIMIT);
	assert_int_equal(ledger_begin_session(b->party, POLICY(9)), ACCOUNT_LIMIT);
	ledger_gone_session(b->party, POLICY(8));
	actor_load(b, POLICY(7)); /* whoever holds the blob has it */
	assert_int_equal(count_of(ALICE), 0);
	assert_int_equal(count_of(BOB), 1);
	actor_make(a, POLICY(8));
	assert_int_equal(count_of(ALICE), 1);
}

static void test_load_of_unknown_takes_room(void **state)
{
	struct actor *a = actor_join(ALICE);

	(void)state;
	config.tpm_sessions_per_user = 2;
	actor_load(a, POLICY(9));
	actor_make(a, POLICY(10));
	assert_int_equal(ledger_begin_session(a->party, POLICY(11)), ACCOUNT_LIMIT);
	assert_int_equal(count_of(ALICE), 2);
}

static void test_load_that_fails(void **state)
{
	struct actor *a = actor_join(ALICE);

	(void)state;
	actor_make(a, POLICY(7));
	actor_save(a, POLICY(7));
	assert_int_equal(ledger_begin_session(a->party, POLICY(7)), ACCOUNT_YES);
	assert_true(ledger_end_session(a->party, 0));
	assert_int_equal(count_of(ALICE), 1); /* saved as before */
	assert_int_equal(ledger_begin_session(a->party, POLICY(7)), ACCOUNT_YES);
	assert_false(ledger_end_session(a->party, POLICY(8))); /* that is not what it asked for */
	assert_int_equal(count_of(ALICE), 1);
}

/* ---- whose ---- */

/* The TPM gave the number out anew: whatever had it is gone. */
static void test_handle_that_is_given_anew(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_make(a, HMAC(1));
	actor_save(a, HMAC(1));
	actor_make(b, POLICY(1));
	assert_int_equal(count_of(ALICE), 0);
	assert_int_equal(count_of(BOB), 1);
	assert_false(ledger_saved_session(a->party, HMAC(1), true));
	ledger_gone_session(a->party, HMAC(1)); /* comes late, and is about nothing */
	assert_int_equal(count_of(BOB), 1);
	/* but what is loaded nobody else's word takes away */
	assert_int_equal(ledger_begin_session(a->party, 0), ACCOUNT_YES);
	assert_true(ledger_end_session(a->party, HMAC(1)));
	assert_int_equal(count_of(ALICE), 0);
	assert_false(ledger_saved_session(a->party, HMAC(1), true));
	assert_int_equal(count_of(BOB), 1);
	actor_leave(a);
	assert_int_equal(count_of(BOB), 1);
	actor_save(b, HMAC(1));
	actor_make(b, POLICY(1));
	assert_int_equal(count_of(BOB), 1);
}

static void test_gone_is_about_own_only(void **state)
{
	struct actor *a[2] = {actor_join(ALICE), actor_join(ALICE)};
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_make(a[0], HMAC(1));
	ledger_gone_session(b->party, HMAC(1));
	ledger_gone_session(a[1]->party, HMAC(1)); /* loaded elsewhere */
	assert_int_equal(count_of(ALICE), 1);
	actor_save(a[0], HMAC(1));
	ledger_gone_session(b->party, HMAC(1));
	assert_int_equal(count_of(ALICE), 1);
	ledger_gone_session(a[1]->party, POLICY(1));
	assert_int_equal(count_of(ALICE), 0);
	ledger_gone_session(a[1]->party, POLICY(1));
	assert_int_equal(count_of(ALICE), 0);
}

static void test_saved_only_where_it_is_loaded(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *other = actor_join(ALICE);

	(void)state;
	assert_false(ledger_saved_session(a->party, HMAC(1), true));
	actor_make(a, HMAC(1));
	assert_false(ledger_saved_session(other->party, HMAC(1), true));
	actor_save(a, HMAC(1));
}

static void test_leave_takes_the_loaded(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_make(a, HMAC(1));
	actor_make(a, HMAC(2));
	actor_make(b, HMAC(3));
	actor_save(a, HMAC(2));
	actor_leave(a);
	assert_int_equal(count_of(ALICE), 1);
	assert_int_equal(count_of(BOB), 1);
	assert_false(ledger_is_clear(ledger));
}

/* ---- a broker before ---- */

static void test_unsettled_tells_what_it_has(void **state)
{
	struct actor *old = actor_join_as(TPM, ALICE, true);

	(void)state;
	config.tpm_sessions_per_user = 2;
	/* a question of before the restart is read first, and is asked once more at the end */
	assert_int_equal(ledger_begin_session(old->party, POLICY(9)), ACCOUNT_YES);
	for (uint32_t i = 0; i < 3; i++)
		assert_true(ledger_end_session(old->party, HMAC(i)));
	assert_true(ledger_settle(old->party, 0));
	assert_int_equal(count_of(ALICE), 3);
	assert_int_equal(ledger_begin_session(old->party, POLICY(9)), ACCOUNT_LIMIT);
	assert_false(ledger_end_session(old->party, POLICY(9)));
}

/* It was told YES before the restart. */
static void test_settled_ends_what_it_had_begun(void **state)
{
	struct actor *old = actor_join_as(TPM, ALICE, true);

	(void)state;
	assert_true(ledger_settle(old->party, 0));
	assert_true(ledger_end_session(old->party, HMAC(1)));
	assert_false(ledger_end_session(old->party, HMAC(2)));
	assert_int_equal(count_of(ALICE), 1);
}

static void test_unsettled_does_not_fill_the_table(void **state)
{
	struct actor *old = actor_join_as(TPM, ALICE, true);

	(void)state;
	for (uint32_t i = 0; i < 64; i++)
		assert_true(ledger_end_session(old->party, HMAC(i)));
	assert_false(ledger_end_session(old->party, HMAC(64)));
	assert_true(ledger_end_session(old->party, 0));
	assert_int_equal(count_of(ALICE), 64);
}

/* The TPM may have saved what its relay has had no time to tell of. */
static void test_session_that_is_being_saved_is_not_lost(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_make(a, HMAC(1));
	actor_make(a, HMAC(2));
	assert_false(ledger_saved_session(b->party, HMAC(1), false));
	assert_true(ledger_saved_session(a->party, HMAC(1), false));
	assert_int_equal(count_of(ALICE), 2);
	actor_leave(a);
	assert_int_equal(count_of(ALICE), 1);
	assert_false(ledger_is_clear(ledger));
	/* one of its uid may load it, or flush it where it is in the way */
	a = actor_join(ALICE);
	actor_load(a, HMAC(1));
	actor_leave(a);
	assert_int_equal(count_of(ALICE), 0);
}

/* Of those who were ordered to make room each has lost its order. */
static void test_lost_orders_are_not_for_ever(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(ALICE);

	(void)state;
	for (uint32_t i = 1; i <= 12; i++) {
		actor_make(a, HMAC(i));
		actor_save(a, HMAC(i));
	}
	for (uint32_t i = 13; i <= 14; i++)
		actor_make(b, HMAC(i));
	scene_settle();
	assert_int_equal(b->flushes, 2);
	assert_int_equal(ledger_begin_session(b->party, 0), ACCOUNT_LIMIT);
	scene_pass(340);
	assert_int_equal(ledger_begin_session(b->party, 0), ACCOUNT_LIMIT);
	scene_pass(1);
	assert_int_equal(ledger_begin_session(b->party, 0), ACCOUNT_LIMIT); /* two are too many */
	scene_settle();
	assert_int_equal(b->flushes, 4);
}

/* A flush may be on its way to the TPM when its relay is lost: the number is not to be loaded. */
static void test_flush_that_was_begun_outlives_its_party(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_make(a, HMAC(1));
	actor_save(a, HMAC(1));
	actor_leave(a);
	actor_saves(b, GAP / 4 * 3 + 4);
	assert_int_equal(ledger_flush_session(b->party, HMAC(1)), ACCOUNT_YES);
	actor_leave(b);
	a = actor_join(ALICE);
	assert_int_equal(ledger_begin_session(a->party, HMAC(1)), ACCOUNT_LIMIT);
	scene_pass(341);
	actor_load(a, HMAC(1));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_room_of_a_uid),
		TEST(test_room_in_all),
		TEST(test_room_is_reserved),
		TEST(test_room_of_the_oldest_saved),
		TEST(test_oldest_saved_one_makes_room),
		TEST(test_ending_one_that_is_loaded),
		TEST(test_old_loaded_one_makes_no_room),
		TEST(test_session_that_is_being_saved_is_not_lost),
		TEST(test_lost_orders_are_not_for_ever),
		TEST(test_flush_that_was_begun_outlives_its_party),
		TEST(test_orders_that_nobody_did),
		TEST(test_flush_is_asked_before_it_is_done),
		TEST(test_flush_that_was_not_done),
		TEST(test_load_of_own_takes_no_room),
		TEST(test_load_of_anothers_takes_room),
		TEST(test_load_of_unknown_takes_room),
		TEST(test_load_that_fails),
		TEST(test_handle_that_is_given_anew),
		TEST(test_gone_is_about_own_only),
		TEST(test_saved_only_where_it_is_loaded),
		TEST(test_leave_takes_the_loaded),
		TEST(test_unsettled_tells_what_it_has),
		TEST(test_settled_ends_what_it_had_begun),
		TEST(test_unsettled_does_not_fill_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
