/*
 * The broker's side of the account socket: what is recorded, and sessions of a broker before.
 */
#include "conversation-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* What is recorded of NV once all is recorded that was to be. */
static enum registry_state nv_state(void)
{
	const struct registry_entry *found;

	ask_nothing(&scene.registry);
	found = registry_find(scene.registry.registry, "tpm0", ACCOUNT_KIND_NV, NV);
	return found ? (enum registry_state)found->state : REGISTRY_NONE;
}

static void claim(struct relay *relay, enum account_answer answer)
{
	relay_ask_about(relay, ACCOUNT_CLAIM, NV, "area", 0);
	relay_expect(relay, answer);
}

static void confirm(struct relay *relay, bool success)
{
	relay_ask_about(relay, ACCOUNT_CONFIRM, NV, NULL, success);
	relay_expect(relay, ACCOUNT_YES);
}

static void expect_lookup(
	struct relay *relay, uint32_t handle, const char *data, enum account_answer answer)
{
	relay_ask_about(relay, ACCOUNT_LOOKUP, handle, data, 0);
	relay_expect(relay, answer);
}

static void test_conversation_claim_is_confirmed_and_found(void **state)
{
	struct relay alice;
	struct relay bob;

	(void)state;
	relay_begin(&alice, ALICE, false);
	relay_begin(&bob, BOB, false);
	claim(&alice, ACCOUNT_YES);
	assert_int_equal(nv_state(), REGISTRY_CLAIMED);
	expect_lookup(&alice, NV, "area", ACCOUNT_NO); /* not yet */
	expect_lookup(&alice, NV, NULL, ACCOUNT_NO);
	confirm(&alice, true);
	expect_lookup(&alice, NV, "area", ACCOUNT_YES);
	expect_lookup(&alice, NV, NULL, ACCOUNT_YES);
	expect_lookup(&alice, NV, "aria", ACCOUNT_NO); /* something else is there now */
	expect_lookup(&alice, NV + 1, "area", ACCOUNT_NO);
	expect_lookup(&bob, NV, "area", ACCOUNT_NO);
	expect_lookup(&bob, NV, NULL, ACCOUNT_NO);
	claim(&bob, ACCOUNT_TAKEN);
	relay_end(&alice);
	relay_end(&bob);
	assert_int_equal(nv_state(), REGISTRY_OWN);
}

static void test_conversation_claim_that_came_to_nothing(void **state)
{
	struct relay relay;

	(void)state;
	relay_begin(&relay, ALICE, false);
	claim(&relay, ACCOUNT_YES);
	confirm(&relay, false);
	assert_int_equal(nv_state(), REGISTRY_NONE);
	claim(&relay, ACCOUNT_YES); /* and another one */
	confirm(&relay, false);
	relay_end(&relay);
}

static void test_conversation_drop(void **state)
{
	struct relay alice;
	struct relay bob;

	(void)state;
	relay_begin(&alice, ALICE, false);
	relay_begin(&bob, BOB, false);
	claim(&alice, ACCOUNT_YES);
	confirm(&alice, true);
	relay_ask_about(&bob, ACCOUNT_DROP, NV, NULL, 0);
	relay_expect(&bob, ACCOUNT_NO);
	relay_ask_about(&alice, ACCOUNT_DROP, NV, NULL, 0);
	relay_expect(&alice, ACCOUNT_YES);
	expect_lookup(&alice, NV, "area", ACCOUNT_NO);
	confirm(&alice, false); /* it is still there */
	expect_lookup(&alice, NV, "area", ACCOUNT_YES);
	relay_ask_about(&alice, ACCOUNT_DROP, NV, NULL, 0);
	relay_expect(&alice, ACCOUNT_YES);
	confirm(&alice, true);
	assert_int_equal(nv_state(), REGISTRY_NONE);
	relay_end(&alice);
	relay_end(&bob);
}

static void test_conversation_sealed_data(void **state)
{
	struct relay alice;
	struct relay bob;

	(void)state;
	relay_begin(&alice, ALICE, false);
	relay_begin(&bob, BOB, false);
	claim(&alice, ACCOUNT_YES);
	relay_ask_about(&alice, ACCOUNT_CLAIM, 0, "unique", 0); /* with a claim unconfirmed */
	relay_expect(&alice, ACCOUNT_YES);
	confirm(&alice, true);
	expect_lookup(&alice, 0, "unique", ACCOUNT_YES);
	expect_lookup(&bob, 0, "unique", ACCOUNT_NO);
	expect_lookup(&alice, 0, "onique", ACCOUNT_NO);
	relay_end(&alice);
	relay_end(&bob);
}

static void test_conversation_limits_of_records(void **state)
{
	struct relay relay;

	(void)state;
	scene.registry.config.nv_indices_per_user = 0;
	scene.registry.config.sealed_per_user = 0;
	relay_begin(&relay, ALICE, false);
	claim(&relay, ACCOUNT_LIMIT);
	claim(&relay, ACCOUNT_LIMIT); /* nothing is left to be told of */
	relay_ask_about(&relay, ACCOUNT_CLAIM, 0, "unique", 0);
	relay_expect(&relay, ACCOUNT_LIMIT);
	relay_end(&relay);
}

static void test_conversation_claims_out_of_turn(void **state)
{
	struct relay relay;

	(void)state;
	relay_begin(&relay, ALICE, false);
	claim(&relay, ACCOUNT_YES);
	relay_ask_about(&relay, ACCOUNT_CLAIM, NV + 1, "area", 0);
	relay_expect_ended(&relay, "it made a claim before it told of the last");
	relay_end(&relay);
	assert_int_equal(nv_state(), REGISTRY_DOUBTFUL);

	relay_begin(&relay, ALICE, false);
	relay_ask_about(&relay, ACCOUNT_CONFIRM, NV, NULL, 1);
	relay_expect_ended(&relay, "it told of a claim that it never made");
	relay_end(&relay);
	assert_int_equal(nv_state(), REGISTRY_DOUBTFUL);

	relay_begin(&relay, ALICE, false);
	claim(&relay, ACCOUNT_YES); /* the relay has seen that nothing is there */
	relay_ask_about(&relay, ACCOUNT_CONFIRM, NV + 1, NULL, 1);
	relay_expect_ended(&relay, "it told of a claim that it never made");
	relay_end(&relay);
}

static void test_conversation_lost_claims_are_doubted(void **state)
{
	struct relay relay;

	(void)state;
	relay_begin(&relay, ALICE, false);
	claim(&relay, ACCOUNT_YES);
	relay_end(&relay);
	assert_int_equal(nv_state(), REGISTRY_DOUBTFUL);
}

/* A session that ends before it is told to go on has claimed nothing. */
static void test_conversation_claim_without_answer_is_undone(void **state)
{
	struct relay relay;

	(void)state;
	relay_begin(&relay, ALICE, false);
	relay_ask_about(&relay, ACCOUNT_CLAIM, NV, "area", 0);
	relay_end(&relay);
	assert_int_equal(nv_state(), REGISTRY_NONE);
}

static void test_conversation_without_a_registry(void **state)
{
	static const enum account_type types[] = {ACCOUNT_CLAIM, ACCOUNT_DROP};
	struct relay relay;

	(void)state;
	scene.accounts.registry = NULL;
	relay_begin(&relay, ALICE, false);
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		relay_ask_about(&relay, types[i], NV, types[i] == ACCOUNT_CLAIM ? "area" : NULL, 0);
		relay_expect(&relay, ACCOUNT_UNAVAILABLE);
	}
	relay_ask_about(&relay, ACCOUNT_CLAIM, 0, "unique", 0);
	relay_expect(&relay, ACCOUNT_UNAVAILABLE);
	expect_lookup(&relay, NV, "area", ACCOUNT_NO);
	expect_lookup(&relay, NV, NULL, ACCOUNT_NO);
	expect_lookup(&relay, 0, "unique", ACCOUNT_NO);
	relay_end(&relay);
}

/* ---- sessions of a broker before this one ---- */

static void test_conversation_adopted_tells_what_it_holds(void **state)
{
	struct relay old;
	struct relay bob;

	(void)state;
	relay_begin(&old, ALICE, true);
	relay_begin(&bob, BOB, false);
	assert_int_equal(relay_await(&old).type, ACCOUNT_RESUME);
	relay_ask(&bob, ACCOUNT_DA_BEGIN, 0);
	relay_expect_nothing(&bob); /* the old one may have the token */
	relay_tell(&old, ACCOUNT_SESSION_END, 0, SESSION);
	relay_tell(&old, ACCOUNT_STATE, ACCOUNT_HELD_DA | ACCOUNT_HELD_TURN, 0);
	relay_expect_nothing(&bob); /* it has */
	relay_end_da(&old, false);
	relay_expect(&bob, ACCOUNT_YES);
	relay_tell(&old, ACCOUNT_TURN_END, 0, 0);
	relay_tell(&old, ACCOUNT_SAVED, 0, SESSION);
	assert_null(old.ended);
	relay_tell(&old, ACCOUNT_STATE, 0, 0); /* once */
	relay_expect_ended(&old, "it told unasked what it holds");
	relay_end(&old);
	relay_end(&bob);
}

static void test_conversation_adopted_without_a_word_is_ended(void **state)
{
	gint64 begun = g_get_monotonic_time();
	struct relay relay;

	(void)state;
	relay_begin(&relay, ALICE, true);
	while (!relay.ended)
		g_main_context_iteration(NULL, TRUE);
	relay_expect_ended(&relay, "it did not tell within 2 seconds what it holds");
	assert_true(g_get_monotonic_time() - begun >= 1900000);
	relay_end(&relay);
}

/* Nobody is called back who is gone. */
static void test_conversation_adopted_that_leaves_at_once(void **state)
{
	gpointer gone;
	struct relay relay;
	struct relay bob;

	(void)state;
	relay_begin(&relay, ALICE, true);
	gone = relay.conversation;
	assert_non_null(g_main_context_find_source_by_user_data(NULL, gone));
	relay_end(&relay);
	assert_null(g_main_context_find_source_by_user_data(NULL, gone));
	relay_begin(&bob, BOB, false);
	relay_ask(&bob, ACCOUNT_DA_BEGIN, 0);
	relay_expect(&bob, ACCOUNT_YES);
	relay_end(&bob);
}

/* Its question comes once more, after what it holds. */
static void test_conversation_adopted_waits_on(void **state)
{
	struct relay relay;

	(void)state;
	relay_begin(&relay, ALICE, true);
	assert_int_equal(relay_await(&relay).type, ACCOUNT_RESUME);
	relay_tell(&relay, ACCOUNT_STATE, ACCOUNT_HELD_TURN, 0);
	relay.serial = 41;
	relay_ask(&relay, ACCOUNT_DA_BEGIN, 0);
	relay_expect(&relay, ACCOUNT_YES);
	relay_end(&relay);
}

/* The broker before wrote the claim; its outcome comes to this one. */
static void test_conversation_adopted_confirms_an_earlier_claim(void **state)
{
	struct registry_entry entry = {.device = "tpm0",
		.uid = ALICE,
		.kind = ACCOUNT_KIND_NV,
		.handle = NV,
		.nv_size = 32,
		.size = 4,
		.data = "area"};
	struct relay relay;

	(void)state;
	assert_int_equal(ask_claim(&scene.registry, &entry), ACCOUNT_YES);
	registry_scene_reopen(&scene.registry);
	scene.accounts.registry = scene.registry.registry;
	assert_int_equal(nv_state(), REGISTRY_DOUBTFUL);
	relay_begin(&relay, ALICE, true);
	assert_int_equal(relay_await(&relay).type, ACCOUNT_RESUME);
	relay_tell(&relay, ACCOUNT_STATE, 0, 0);
	confirm(&relay, true);
	assert_int_equal(nv_state(), REGISTRY_OWN);
	expect_lookup(&relay, NV, "area", ACCOUNT_YES);
	relay_end(&relay);
	assert_int_equal(nv_state(), REGISTRY_OWN);
}

#define CONVERSATION_TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CONVERSATION_TEST(test_conversation_claim_is_confirmed_and_found),
		CONVERSATION_TEST(test_conversation_claim_that_came_to_nothing),
		CONVERSATION_TEST(test_conversation_drop),
		CONVERSATION_TEST(test_conversation_sealed_data),
		CONVERSATION_TEST(test_conversation_limits_of_records),
		CONVERSATION_TEST(test_conversation_claims_out_of_turn),
		CONVERSATION_TEST(test_conversation_lost_claims_are_doubted),
		CONVERSATION_TEST(test_conversation_claim_without_answer_is_undone),
		CONVERSATION_TEST(test_conversation_without_a_registry),
		CONVERSATION_TEST(test_conversation_adopted_tells_what_it_holds),
		CONVERSATION_TEST(test_conversation_adopted_without_a_word_is_ended),
		CONVERSATION_TEST(test_conversation_adopted_that_leaves_at_once),
		CONVERSATION_TEST(test_conversation_adopted_waits_on),
		CONVERSATION_TEST(test_conversation_adopted_confirms_an_earlier_claim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
