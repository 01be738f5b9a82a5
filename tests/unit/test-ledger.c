#include "ledger-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* ---- the token ---- */

static void test_token_is_granted_once(void **state)
{
	struct actor *a = actor_join(ALICE);

	(void)state;
	assert_true(ledger_begin(a->party, ACCOUNT_HELD_DA));
	assert_int_equal(a->tokens, 0); /* from the main loop only */
	assert_false(ledger_begin(a->party, ACCOUNT_HELD_DA));
	scene_settle();
	assert_int_equal(a->tokens, 1);
	assert_int_equal(a->charge, 0);
	assert_int_equal(a->age, 0);
	assert_false(ledger_begin(a->party, ACCOUNT_HELD_DA));
	actor_end_da(a, false, 10);
	assert_false(ledger_end_da(a->party, true, NULL));
	assert_int_equal(report(ALICE).charge, 0);
	assert_int_equal(a->tokens, 1);
}

static void test_begin_knows_token_and_turn_only(void **state)
{
	struct actor *a = actor_join(ALICE);

	(void)state;
	assert_false(ledger_begin(a->party, (enum account_held)0));
	assert_false(ledger_begin(a->party, ACCOUNT_HELD_ALL));
	assert_false(ledger_end_turn(a->party, false));
	assert_false(ledger_end_da(a->party, false, NULL));
}

static void test_token_is_for_one_of_a_tpm(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);
	struct actor *elsewhere = actor_join_as(OTHER, ALICE, false);

	(void)state;
	actor_begin(a, ACCOUNT_HELD_DA);
	actor_begin(b, ACCOUNT_HELD_DA);
	actor_begin(elsewhere, ACCOUNT_HELD_DA);
	assert_int_equal(a->tokens, 1);
	assert_int_equal(b->tokens, 0);
	assert_int_equal(elsewhere->tokens, 1);
	assert_false(ledger_end_da(b->party, true, NULL));
	assert_int_equal(report(BOB).charge, 0);
	actor_end_da(a, false, 10);
	assert_int_equal(b->tokens, 1);
}

static void test_token_comes_in_order(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);
	struct actor *c = actor_join(CAROL);

	(void)state;
	actor_begin(c, ACCOUNT_HELD_DA);
	actor_begin(b, ACCOUNT_HELD_DA);
	actor_begin(a, ACCOUNT_HELD_DA);
	actor_end_da(c, false, 0);
	assert_int_equal(b->order, 2);
	actor_end_da(b, false, 0);
	assert_int_equal(a->order, 3);
}

/* Alice's sessions ask first, and more often; Bob and Carol get it in between all the same. */
static void test_token_not_twice_while_another_waits(void **state)
{
	struct actor *a[4];
	struct actor *b = actor_join(BOB);
	struct actor *c = actor_join(CAROL);

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		a[i] = actor_join(ALICE);
		actor_begin(a[i], ACCOUNT_HELD_DA);
	}
	actor_begin(b, ACCOUNT_HELD_DA);
	actor_begin(c, ACCOUNT_HELD_DA);
	actor_end_da(a[0], false, 0);
	assert_int_equal(b->tokens, 1);
	actor_begin(a[0], ACCOUNT_HELD_DA); /* behind those of its own uid */
	actor_end_da(b, false, 0);
	actor_begin(b, ACCOUNT_HELD_DA);
	assert_int_equal(c->tokens, 1);
	actor_end_da(c, false, 0);
	assert_int_equal(a[1]->tokens, 1);
	actor_end_da(a[1], false, 0);
	assert_int_equal(b->tokens, 2);
	actor_end_da(b, false, 0);
	assert_int_equal(a[2]->tokens, 1);
	actor_end_da(a[2], false, 0);
	assert_int_equal(a[3]->tokens, 1);
	actor_end_da(a[3], false, 0);
	assert_int_equal(a[0]->tokens, 2);
}

/* A uid whose last session closes is not new when it comes back while another waits. */
static void test_token_remembers_who_came_back(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);
	struct actor *c = actor_join(CAROL);

	(void)state;
	actor_begin(a, ACCOUNT_HELD_DA);
	actor_begin(b, ACCOUNT_HELD_DA);
	actor_begin(c, ACCOUNT_HELD_DA);
	assert_true(ledger_end_da(a->party, false, NULL));
	actor_leave(a);
	a = actor_join(ALICE);
	actor_begin(a, ACCOUNT_HELD_DA);
	assert_int_equal(b->tokens, 1);
	actor_end_da(b, false, 0);
	assert_int_equal(c->tokens, 1);
	assert_int_equal(a->tokens, 0);
}

static void test_leave_while_waiting(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);
	struct actor *c = actor_join(CAROL);

	(void)state;
	actor_begin(a, ACCOUNT_HELD_DA);
	actor_begin(b, ACCOUNT_HELD_DA);
	actor_begin(c, ACCOUNT_HELD_DA);
	actor_leave(b);
	actor_end_da(a, false, 0);
	assert_int_equal(b->tokens, 0);
	assert_int_equal(c->tokens, 1);
	assert_int_equal(report(BOB).charge, 0);
}

static void test_withdraw(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);
	struct actor *c = actor_join(CAROL);

	(void)state;
	assert_false(ledger_withdraw(a->party, ACCOUNT_HELD_DA));
	actor_begin(a, ACCOUNT_HELD_DA);
	assert_false(ledger_withdraw(a->party, ACCOUNT_HELD_DA)); /* it has it */
	actor_begin(b, ACCOUNT_HELD_DA);
	actor_begin(c, ACCOUNT_HELD_DA);
	assert_false(ledger_withdraw(b->party, ACCOUNT_HELD_TURN));
	assert_true(ledger_withdraw(b->party, ACCOUNT_HELD_DA));
	assert_false(ledger_withdraw(b->party, ACCOUNT_HELD_DA));
	actor_end_da(a, false, 0);
	assert_int_equal(b->tokens, 0);
	assert_int_equal(c->tokens, 1);
	actor_begin(b, ACCOUNT_HELD_DA);
	actor_end_da(c, false, 0);
	assert_int_equal(b->tokens, 1);
}

static void test_leave_before_the_call(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	assert_true(ledger_begin(a->party, ACCOUNT_HELD_DA));
	assert_true(ledger_begin(b->party, ACCOUNT_HELD_DA));
	actor_leave(a);
	scene_settle();
	assert_int_equal(b->tokens, 1);
	assert_int_equal(report(ALICE).charge, 0);
	ledger_leave(NULL);
}

/* ---- turns ---- */

static void test_turn_one_of_a_uid(void **state)
{
	struct actor *a[2] = {actor_join(ALICE), actor_join(ALICE)};
	struct actor *b = actor_join(BOB);
	struct actor *elsewhere = actor_join_as(OTHER, ALICE, false);

	(void)state;
	actor_begin(a[0], ACCOUNT_HELD_TURN);
	actor_begin(a[1], ACCOUNT_HELD_TURN);
	actor_begin(b, ACCOUNT_HELD_TURN);
	actor_begin(elsewhere, ACCOUNT_HELD_TURN);
	assert_int_equal(a[0]->turns, 1);
	assert_int_equal(a[1]->turns, 0);
	assert_int_equal(b->turns, 1);
	assert_int_equal(elsewhere->turns, 1);
	assert_false(ledger_end_turn(a[1]->party, false));
	actor_begin(a[0], ACCOUNT_HELD_DA); /* has nothing to do with it */
	assert_int_equal(a[0]->tokens, 1);
	assert_true(ledger_end_turn(a[0]->party, false));
	scene_settle();
	assert_int_equal(a[1]->turns, 1);
	assert_false(ledger_end_turn(a[0]->party, false));
}

static void test_turn_comes_in_order(void **state)
{
	struct actor *a[3] = {actor_join(ALICE), actor_join(ALICE), actor_join(ALICE)};

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		actor_begin(a[i], ACCOUNT_HELD_TURN);
	assert_true(ledger_end_turn(a[0]->party, false));
	assert_true(ledger_begin(a[0]->party, ACCOUNT_HELD_TURN));
	scene_settle();
	assert_int_equal(a[1]->turns, 1);
	actor_leave(a[1]); /* holding it: that costs nothing */
	scene_settle();
	assert_int_equal(a[2]->turns, 1);
	actor_leave(a[2]);
	scene_settle();
	assert_int_equal(a[0]->turns, 2);
	assert_int_equal(report(ALICE).charge, 0);
}

/* ---- a broker before ---- */

static void test_unsettled_blocks_its_tpm(void **state)
{
	struct actor *old = actor_join_as(TPM, ALICE, true);
	struct actor *older = actor_join_as(TPM, CAROL, true);
	struct actor *b = actor_join(BOB);
	struct actor *elsewhere = actor_join_as(OTHER, BOB, false);

	(void)state;
	actor_begin(b, ACCOUNT_HELD_DA);
	actor_begin(b, ACCOUNT_HELD_TURN);
	actor_begin(elsewhere, ACCOUNT_HELD_DA);
	actor_begin(elsewhere, ACCOUNT_HELD_TURN);
	assert_int_equal(elsewhere->tokens + elsewhere->turns, 2);
	assert_true(ledger_settle(old->party, 0));
	scene_settle();
	assert_int_equal(b->tokens + b->turns, 0);
	assert_false(ledger_settle(old->party, ACCOUNT_HELD_ALL));
	actor_leave(older);
	scene_settle();
	assert_int_equal(b->tokens, 1);
	assert_int_equal(b->turns, 1);
	assert_int_equal(report(CAROL).charge, 0);
	assert_false(ledger_settle(b->party, 0));
}

static void test_settled_holds_what_it_says(void **state)
{
	struct actor *old = actor_join_as(TPM, ALICE, true);
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	actor_begin(b, ACCOUNT_HELD_DA);
	actor_begin(b, ACCOUNT_HELD_TURN);
	actor_begin(a, ACCOUNT_HELD_TURN);
	assert_true(ledger_settle(old->party, ACCOUNT_HELD_ALL | 4));
	scene_settle();
	assert_int_equal(b->tokens, 0);
	assert_int_equal(b->turns, 1); /* another uid's */
	assert_int_equal(a->turns, 0);
	assert_false(ledger_begin(old->party, ACCOUNT_HELD_DA));
	assert_true(ledger_end_turn(old->party, false));
	scene_settle();
	assert_int_equal(a->turns, 1);
	actor_leave(old); /* with the token */
	scene_settle();
	assert_int_equal(b->tokens, 1);
	assert_int_equal(report(ALICE).charge, 1);
}

/* What was sent while there was no broker comes before STATE. */
static void test_unsettled_ends_what_it_had(void **state)
{
	struct actor *old = actor_join_as(TPM, ALICE, true);

	(void)state;
	actor_end_da(old, true, 10);
	assert_int_equal(report(ALICE).charge, 1);
	assert_true(ledger_end_turn(old->party, false));
	actor_begin(old, ACCOUNT_HELD_DA);
	assert_int_equal(old->tokens, 0);
	assert_true(ledger_settle(old->party, 0));
	scene_settle();
	assert_int_equal(old->tokens, 1);
	assert_int_equal(old->charge, 1);
}

static void test_settled_with_what_it_waits_for(void **state)
{
	struct actor *old = actor_join_as(TPM, ALICE, true);

	(void)state;
	actor_begin(old, ACCOUNT_HELD_DA);
	actor_begin(old, ACCOUNT_HELD_TURN);
	assert_true(ledger_settle(old->party, ACCOUNT_HELD_ALL));
	scene_settle();
	assert_int_equal(old->tokens + old->turns, 0);
	actor_end_da(old, false, 10);
	assert_true(ledger_end_turn(old->party, false));
	assert_false(ledger_end_turn(old->party, false));
	scene_settle();
	assert_int_equal(old->tokens + old->turns, 0);
}

/* ---- callbacks that call ---- */

static struct actor *second;

static void again(struct actor *actor, enum account_held what)
{
	if (grants >= 8)
		return;
	if (what == ACCOUNT_HELD_DA)
		assert_true(ledger_end_da(actor->party, true, NULL));
	else
		assert_true(ledger_end_turn(actor->party, false));
	assert_true(ledger_begin(actor->party, what));
}

static void test_callback_begins_anew(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	a->on_granted = again;
	b->on_granted = again;
	assert_true(ledger_begin(a->party, ACCOUNT_HELD_DA));
	assert_true(ledger_begin(b->party, ACCOUNT_HELD_DA));
	scene_settle();
	assert_int_equal(grants, 8);
	assert_int_equal(a->tokens, 4);
	assert_int_equal(b->tokens, 4);
	assert_int_equal(report(ALICE).charge, 4);
}

static void leave_both(struct actor *actor, enum account_held what)
{
	(void)what;
	actor_leave(actor);
	actor_leave(second);
}

static void test_callback_leaves(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *c = actor_join(CAROL);

	(void)state;
	second = actor_join(BOB);
	a->on_granted = leave_both;
	assert_true(ledger_begin(a->party, ACCOUNT_HELD_DA));
	assert_true(ledger_begin(second->party, ACCOUNT_HELD_DA));
	assert_true(ledger_begin(second->party, ACCOUNT_HELD_TURN));
	assert_true(ledger_begin(c->party, ACCOUNT_HELD_DA));
	scene_settle();
	assert_int_equal(grants, 2);
	assert_int_equal(c->tokens, 1);
	assert_int_equal(report(ALICE).charge, 1);
	assert_int_equal(report(BOB).charge, 0);
}

static void end_ledger(struct actor *actor, enum account_held what)
{
	(void)actor;
	(void)what;
	ledger_free(ledger);
	ledger = NULL;
}

static void test_callback_ends_the_ledger(void **state)
{
	struct actor *a = actor_join(ALICE);
	struct actor *b = actor_join(BOB);

	(void)state;
	a->on_granted = end_ledger;
	assert_true(ledger_begin(a->party, ACCOUNT_HELD_DA));
	assert_true(ledger_begin(b->party, ACCOUNT_HELD_TURN));
	scene_settle();
	assert_int_equal(grants, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_token_is_granted_once),
		TEST(test_begin_knows_token_and_turn_only),
		TEST(test_token_is_for_one_of_a_tpm),
		TEST(test_token_comes_in_order),
		TEST(test_token_not_twice_while_another_waits),
		TEST(test_token_remembers_who_came_back),
		TEST(test_leave_while_waiting),
		TEST(test_withdraw),
		TEST(test_leave_before_the_call),
		TEST(test_turn_one_of_a_uid),
		TEST(test_turn_comes_in_order),
		TEST(test_unsettled_blocks_its_tpm),
		TEST(test_settled_holds_what_it_says),
		TEST(test_unsettled_ends_what_it_had),
		TEST(test_settled_with_what_it_waits_for),
		TEST(test_callback_begins_anew),
		TEST(test_callback_leaves),
		TEST(test_callback_ends_the_ledger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
