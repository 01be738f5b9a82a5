#include "ledger-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* ---- ages ---- */

static void test_old_saved_one_is_flushed_by_who_saves(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_make(a, POLICY(1));
	actor_make(b, HMAC(2));
	actor_save(a, POLICY(1));
	actor_saves(b, GAP / 2);
	assert_int_equal(a->flushes, 0);
	actor_saves(b, 1);
	assert_int_equal(a->flushes, 1); /* there is one of its uid */
	assert_int_equal(a->flush, POLICY(1));
	assert_int_equal(b->flushes, 0);
	actor_saves(b, GAP / 8); /* ordered once */
	assert_int_equal(a->flushes + b->flushes, 1);
	actor_saves(a, GAP);
	assert_int_equal(a->flushes + b->flushes, 2); /* Bob's own, idle by now */
	assert_int_equal(b->flush, HMAC(2));
	ledger_gone_session(a->party, POLICY(1)); /* as ordered */
	ledger_gone_session(b->party, HMAC(2));
	assert_int_equal(count_of(ALICE), 0);
	assert_int_equal(count_of(BOB), 0);
}

/* Others flush what is saved only when nobody of its uid is there and it gets serious. */
static void test_old_saved_one_of_nobody_is_flushed_later(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_make(a, POLICY(1));
	actor_save(a, POLICY(1));
	actor_leave(a);
	actor_saves(b, GAP / 4 * 3);
	assert_int_equal(b->flushes, 0);
	actor_saves(b, 4);
	assert_int_equal(b->flushes, 1);
	assert_int_equal(b->flush, POLICY(1));
	ledger_gone_session(b->party, POLICY(1)); /* as ordered */
	assert_int_equal(count_of(ALICE), 0);
}

/* Whoever does not flush what is in everybody's way has it flushed by others. */
static void test_order_that_is_neglected(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);
	struct actor *c = actor_join(CAROL);

	(void)state;
	actor_make(a, POLICY(1));
	actor_save(a, POLICY(1));
	actor_saves(b, GAP / 2 + 1);
	assert_int_equal(a->flushes, 1);
	actor_saves(b, GAP / 4 + 4); /* Alice's does nothing */
	assert_int_equal(a->flushes, 1);
	assert_int_equal(b->flushes, 1);
	assert_int_equal(ledger_flush_session(a->party, POLICY(1)), ACCOUNT_NO);
	assert_int_equal(ledger_flush_session(b->party, POLICY(1)), ACCOUNT_YES);
	scene_pass(340); /* Bob's may have it on its way to the TPM */
	scene_sleep(3600);
	actor_saves(c, 1);
	assert_int_equal(c->flushes, 0);
	scene_pass(1);
	actor_saves(c, 1);
	assert_int_equal(c->flushes, 1);
	assert_int_equal(ledger_flush_session(b->party, POLICY(1)), ACCOUNT_NO);
	assert_int_equal(ledger_flush_session(c->party, POLICY(1)), ACCOUNT_YES);
	assert_int_equal(a->flushes + b->flushes, 2);
}

/* No relay counts so many before it tells, and no TPM's gap shrinks. */
static void test_saves_that_cannot_be(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_make(a, HMAC(1));
	assert_true(ledger_saves(b->party, 1, GAP));
	assert_false(ledger_saves(b->party, GAP, GAP));
	assert_false(ledger_saves(b->party, UINT32_MAX, GAP));
	for (int i = 0; i < 100; i++)
		assert_true(ledger_saves(b->party, 200, 255));
	scene_settle();
	assert_int_equal(a->flushes, 0);
}

/* What comes together, as after a broker that was stopped, is no more than there was. */
static void test_saves_that_come_together(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_make(a, HMAC(1));
	for (int i = 0; i < 1000; i++)
		assert_true(ledger_saves(b->party, 1024, GAP));
	scene_settle();
	assert_int_equal(a->flushes, 1); /* of which none is lost */
	assert_true(ledger_saves(a->party, 1, GAP));
	actor_saves(b, GAP / 2);
	assert_int_equal(a->flushes, 1);
}

static void renews(struct actor *actor, uint32_t handle)
{
	(void)handle;
	assert_true(ledger_saves(actor->party, 1, GAP));
}

/* What one uid says gives others no more to do than its TPM could. */
static void test_saves_that_cannot_be_so_many(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	a->on_flush = renews;
	actor_make(a, HMAC(1));
	for (int i = 0; i < 1000; i++) {
		assert_true(ledger_saves(b->party, 8191, GAP));
		scene_settle();
	}
	assert_in_range(a->flushes, 1, 8);
	a->flushes = 0;
	for (int i = 0; i < 1000; i++) {
		assert_true(ledger_saves(b->party, 8191, GAP));
		scene_pass_ms(10);
		scene_settle();
	}
	assert_in_range(a->flushes, 5, 10); /* in as many seconds */
}

static void test_old_loaded_one_is_renewed_where_it_is(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_make(a, POLICY(1));
	actor_make(b, HMAC(2));
	assert_true(ledger_begin(a->party, ACCOUNT_HELD_DA));
	actor_saves(b, GAP / 2 + 1);
	assert_int_equal(a->flushes, 1);
	assert_int_equal(a->flush, POLICY(1));
	assert_int_equal(b->flushes, 0);
	assert_int_equal(a->tokens, 1);
}

static void test_order_that_is_not_obeyed(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);
	uint64_t order;

	(void)state;
	actor_make(a, HMAC(1));
	actor_make(a, HMAC(2));
	actor_save(a, HMAC(2));
	actor_make(b, HMAC(3));
	assert_int_equal(ledger_unobeyed_order(a->party), 0);
	actor_saves(b, GAP / 2 + 1);
	assert_int_equal(a->flushes, 2);
	order = ledger_unobeyed_order(a->party);
	assert_int_not_equal(order, 0);
	assert_int_equal(ledger_unobeyed_order(b->party), 0);
	scene_pass(341);
	actor_saves(b, 1);
	assert_int_equal(a->flushes, 4); /* given again, it is the same */
	assert_int_equal(ledger_unobeyed_order(a->party), order);
	ledger_gone_session(a->party, HMAC(1));
	assert_int_equal(ledger_unobeyed_order(a->party), 0); /* others can flush what is saved */
	actor_make(a, HMAC(1));
	actor_saves(b, GAP / 2 + 1);
	assert_true(ledger_unobeyed_order(a->party) > order);
	actor_saves(a, 1); /* it was busy, and what it has is young again */
	assert_int_equal(ledger_unobeyed_order(a->party), 0);
}

static void test_saves_make_own_ones_young(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_make(a, HMAC(1));
	for (unsigned i = 0; i < 10; i++) {
		actor_saves(b, GAP / 2);
		actor_saves(a, 1);
	}
	assert_int_equal(a->flushes, 0);
	actor_saves(b, GAP / 2 + 1);
	assert_int_equal(a->flushes, 1);
	actor_saves(a, 1); /* it was busy, and what it has is young again */
	actor_saves(b, GAP / 2 + 1);
	assert_int_equal(a->flushes, 2);
}

static void test_saving_and_loading_make_young(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_make(a, HMAC(1));
	actor_saves(b, GAP / 2);
	actor_save(a, HMAC(1));
	actor_saves(b, GAP / 2);
	actor_load(a, HMAC(1));
	actor_saves(b, GAP / 2);
	assert_int_equal(a->flushes + b->flushes, 0);
	/* an order that has not been given yet is out of date */
	ledger_saves(b->party, 1, GAP);
	actor_save(a, HMAC(1));
	scene_settle();
	assert_int_equal(a->flushes + b->flushes, 0);
}

/* The counter of a TPM has 64 bits: sums of a message's 32 do not come back to the start. */
static void test_ages_do_not_wrap(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_make(a, HMAC(1));
	actor_saves(b, UINT32_MAX);
	assert_int_equal(a->flushes, 1);
	actor_make(a, HMAC(2));
	actor_saves(b, 1);
	assert_int_equal(a->flushes, 1);
	actor_saves(b, GAP / 2);
	assert_int_equal(a->flushes, 2);
	assert_int_equal(a->flush, HMAC(2));
}

static void test_gap_of_small_tpms(void **state)
{
	static const struct {
		const char *device;
		uint32_t gap;
		uint32_t half;
	} gaps[] = {{"a", 0, 32767}, {"b", 65535, 32767}, {"c", 255, 127}, {"d", 1, 127},
		{"e", UINT32_MAX, 32767}, {"f", 65536, 32767}};

	(void)state;
	for (unsigned i = 0; i < sizeof gaps / sizeof gaps[0]; i++) {
		struct actor *a = actor_join_as(gaps[i].device, ALICE, false);
		struct actor *b = actor_join_as(gaps[i].device, BOB, false);
		uint32_t left = gaps[i].half;

		actor_make(a, HMAC(i));
		while (left > 0) { /* no relay tells of more at once */
			uint32_t some = MIN(left, gaps[i].half / 8 + 1);

			assert_true(ledger_saves(b->party, some, gaps[i].gap));
			left -= some;
		}
		scene_settle();
		assert_int_equal(a->flushes, 0);
		assert_true(ledger_saves(b->party, 1, gaps[i].gap));
		scene_settle();
		assert_int_equal(a->flushes, 1);
		assert_int_equal(a->flush, HMAC(i));
	}
}

/* Whoever cannot tell says nothing about it. */
static void test_gap_that_is_not_known(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_make(a, HMAC(1));
	assert_true(ledger_saves(b->party, 1, 255));
	assert_true(ledger_saves(b->party, 1, 0));
	assert_true(ledger_saves(b->party, 126, 255));
	scene_settle();
	assert_int_equal(a->flushes, 1);
}

/* While somebody has it loaded, or tries to with what is no context of it. */
static void test_old_one_is_flushed_while_it_is_asked_for(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);
	struct actor *c = actor_join(CAROL);

	(void)state;
	actor_make(a, HMAC(1));
	actor_save(a, HMAC(1));
	actor_leave(a);
	actor_saves(b, GAP / 4 * 3 + 4);
	assert_int_equal(ledger_begin_session(c->party, HMAC(1)), ACCOUNT_YES);
	assert_int_equal(ledger_flush_session(b->party, HMAC(1)), ACCOUNT_YES);
}

/* One uid's word does not make all sessions young for ever, nor those of others old. */
static void test_gap_that_others_know_better(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);
	struct actor *c = actor_join(CAROL);

	(void)state;
	assert_true(ledger_saves(a->party, 1, 255));
	assert_true(ledger_saves(b->party, 1, 255));
	assert_true(ledger_saves(c->party, 1, UINT32_MAX));
	actor_make(c, HMAC(1));
	assert_true(ledger_saves(b->party, 128, 255));
	scene_settle();
	assert_int_equal(c->flushes, 1);
	a = actor_join_as(OTHER, ALICE, false);
	b = actor_join_as(OTHER, BOB, false);
	c = actor_join_as(OTHER, CAROL, false);
	assert_true(ledger_saves(a->party, 1, GAP));
	assert_true(ledger_saves(b->party, 1, GAP));
	actor_make(a, HMAC(1));
	assert_true(ledger_saves(c->party, 4000, 255));
	scene_settle();
	assert_int_equal(a->flushes, 0);
}

static void test_another_tpm_has_its_own_counter(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *elsewhere = actor_join_as(OTHER, BOB, false);

	(void)state;
	actor_make(a, HMAC(1));
	actor_saves(elsewhere, GAP);
	assert_int_equal(a->flushes, 0);
}

/* Whom an order went to may leave before it is done. */
static void test_order_is_given_anew(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b[3] = {actor_join(ALICE), actor_join(ALICE), actor_join(ALICE)};

	(void)state;
	actor_make(a, POLICY(1));
	actor_save(a, POLICY(1));
	actor_saves(b[0], GAP);
	assert_int_equal(b[0]->flushes, 1);
	actor_leave(b[0]);
	ledger_saves(b[1]->party, 1, GAP);
	actor_leave(b[1]); /* before it was called */
	scene_settle();
	assert_int_equal(b[1]->flushes, 0);
	actor_saves(b[2], 1);
	assert_int_equal(b[2]->flushes, 1);
	assert_int_equal(b[2]->flush, POLICY(1));
}

static void flush_is_done(struct actor *actor, uint32_t handle)
{
	ledger_gone_session(actor->party, handle);
	if (actor->flushes == 3)
		actor_leave(actor);
}

static void test_callback_ends_sessions(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(ALICE);

	(void)state;
	b->on_flush = flush_is_done;
	for (uint32_t i = 0; i < 5; i++) {
		actor_make(a, HMAC(i));
		actor_save(a, HMAC(i));
	}
	actor_saves(b, GAP);
	assert_int_equal(b->flushes, 3);
	assert_int_equal(count_of(ALICE), 2);
	a->on_flush = flush_is_done;
	actor_saves(a, 1);
	assert_int_equal(a->flushes, 2);
	assert_int_equal(count_of(ALICE), 0);
	assert_true(ledger_is_clear(ledger));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_old_saved_one_is_flushed_by_who_saves),
		TEST(test_old_saved_one_of_nobody_is_flushed_later),
		TEST(test_order_that_is_neglected),
		TEST(test_saves_that_cannot_be),
		TEST(test_saves_that_come_together),
		TEST(test_saves_that_cannot_be_so_many),
		TEST(test_old_loaded_one_is_renewed_where_it_is),
		TEST(test_order_that_is_not_obeyed),
		TEST(test_saves_make_own_ones_young),
		TEST(test_saving_and_loading_make_young),
		TEST(test_ages_do_not_wrap),
		TEST(test_gap_of_small_tpms),
		TEST(test_gap_that_is_not_known),
		TEST(test_old_one_is_flushed_while_it_is_asked_for),
		TEST(test_gap_that_others_know_better),
		TEST(test_another_tpm_has_its_own_counter),
		TEST(test_order_is_given_anew),
		TEST(test_callback_ends_sessions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
