/*
 * What a relay's word can do no more than: the token for a while, guesses over sessions, records of
 * its own uid; and what a broker that ends leaves to the next.
 */
#include "conversation-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

static enum registry_state nv_state(void)
{
	const struct registry_entry *found =
		registry_find(scene.accounts.registry, "tpm0", ACCOUNT_KIND_NV, NV);

	return found ? (enum registry_state)found->state : REGISTRY_NONE;
}

static void make_nv(struct relay *relay)
{
	relay_ask_about(relay, ACCOUNT_CLAIM, NV, "area", 0);
	relay_expect(relay, ACCOUNT_YES);
	relay_ask_about(relay, ACCOUNT_CONFIRM, NV, NULL, 1);
	relay_expect(relay, ACCOUNT_YES);
}

static void wait_for_end(struct relay *relay)
{
	while (!relay->ended)
		g_main_context_iteration(NULL, TRUE);
}

static void tell_absent(struct relay *relay)
{
	struct account_message message = account_message_new(ACCOUNT_ABSENT, 0);

	message.kind = ACCOUNT_KIND_NV;
	message.handle = NV;
	relay_say(relay, &message);
}

static void test_conversation_token_is_kept_for_too_long(void **state)
{
	struct relay alice;
	struct relay bob;

	(void)state;
	relay_begin(&alice, ALICE, false);
	relay_begin(&bob, BOB, false);
	relay_ask(&alice, ACCOUNT_DA_BEGIN, 0);
	relay_expect(&alice, ACCOUNT_YES);
	relay_end_da(&alice, false);
	relay_ask(&bob, ACCOUNT_DA_BEGIN, 0);
	relay_expect(&bob, ACCOUNT_YES);
	wait_for_end(&bob);
	relay_expect_ended(&bob, "it kept the token for too long");
	assert_null(alice.ended); /* it had given it back, before Bob's had it */
	relay_end(&alice);
	relay_end(&bob);
}

static void test_conversation_adopted_keeps_the_token_for_too_long(void **state)
{
	struct relay relay;

	(void)state;
	relay_begin(&relay, ALICE, true);
	assert_int_equal(relay_take(&relay).type, ACCOUNT_RESUME);
	relay_tell(&relay, ACCOUNT_STATE, ACCOUNT_HELD_DA, 0);
	assert_null(relay.ended);
	wait_for_end(&relay);
	relay_expect_ended(&relay, "it kept the token for too long");
	relay_end(&relay);
}

static void make_session(struct relay *relay, uint32_t handle)
{
	relay_ask(relay, ACCOUNT_SESSION_BEGIN, 0);
	relay_expect(relay, ACCOUNT_YES);
	relay_tell(relay, ACCOUNT_SESSION_END, 0, handle);
}

static void expect_order(struct relay *relay, uint32_t handle)
{
	struct account_message flush = relay_await(relay);

	assert_int_equal(flush.type, ACCOUNT_FLUSH);
	assert_int_equal(flush.handle, handle);
}

/* So many that all TPM sessions of others are old. */
static void tell_saves(struct relay *relay)
{
	struct account_message saves = account_message_new(ACCOUNT_SAVES, 150);

	saves.values[0] = 255; /* TPM_PT_CONTEXT_GAP_MAX */
	relay_say(relay, &saves);
}

static void test_conversation_order_is_not_obeyed(void **state)
{
	struct relay alice;
	struct relay bob;
	struct relay saver;
	int64_t ordered;

	(void)state;
	relay_begin(&alice, ALICE, false);
	relay_begin(&bob, BOB, false);
	relay_begin(&saver, BOB, false);
	make_session(&alice, SESSION);
	make_session(&bob, SESSION + 1);
	tell_saves(&saver);
	expect_order(&alice, SESSION);
	expect_order(&bob, SESSION + 1);
	relay_tell(&bob, ACCOUNT_GONE, 0, SESSION + 1);
	make_session(&bob, SESSION + 2);
	tell_saves(&saver);
	expect_order(&bob, SESSION + 2);
	ordered = g_get_monotonic_time();
	wait_for_end(&alice);
	relay_expect_ended(&alice, "it did not renew a TPM session that is too old");
	assert_null(saver.ended);
	wait_for_end(&bob); /* whose first was obeyed, and whose second has a time of its own */
	relay_expect_ended(&bob, "it did not renew a TPM session that is too old");
	assert_true(g_get_monotonic_time() - ordered > 450000); /* us */
	relay_end(&alice);
	relay_end(&bob);
	relay_end(&saver);
}

static void test_conversation_failures_without_token(void **state)
{
	struct relay relay;
	struct account_message answer;

	(void)state;
	relay_begin(&relay, ALICE, false);
	relay_tell(&relay, ACCOUNT_FAILED, ACCOUNT_FAILURE_COUNTED, 0);
	relay_tell(&relay, ACCOUNT_FAILED, ACCOUNT_FAILURE_HIERARCHY, 0);
	relay_tell(&relay, ACCOUNT_FAILED, ACCOUNT_FAILURE_HIERARCHY, 0);
	assert_null(relay.ended);
	relay_ask(&relay, ACCOUNT_DA_BEGIN, 0);
	answer = relay_answer(&relay);
	assert_int_equal(answer.argument, ACCOUNT_YES);
	assert_int_equal(answer.values[0], 1);
	relay_end_da(&relay, false);
	relay_end(&relay);
	assert_int_equal(ledger_hierarchy_failures(scene.accounts.ledger, "tpm0", ALICE), 2);
	assert_int_equal(ledger_hierarchy_failures(scene.accounts.ledger, "tpm0", BOB), 0);
}

static void ask_guess(struct relay *relay)
{
	struct account_message message = relay_question(relay, ACCOUNT_TURN_BEGIN);

	message.argument = 1;
	relay_say(relay, &message);
}

/* However many sessions guess at a hierarchy at one time: five wrong ones are all. */
static void test_conversation_guesses_of_all_sessions(void **state)
{
	struct relay relays[8];
	unsigned tried = 0;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		relay_begin(&relays[i], ALICE, false);
		ask_guess(&relays[i]);
	}
	for (unsigned i = 0; i < 8; i++) {
		struct account_message answer = relay_answer(&relays[i]);

		if (answer.argument == ACCOUNT_YES) {
			tried++;
			for (unsigned j = i + 1; j < 8; j++)
				relay_expect_nothing(&relays[j]);
			relay_tell(&relays[i], ACCOUNT_TURN_END, 1, 0);
		} else {
			assert_int_equal(answer.argument, ACCOUNT_LIMIT);
		}
	}
	assert_int_equal(tried, 5);
	relay_ask(&relays[0], ACCOUNT_TURN_BEGIN, 0); /* a turn is still to be had */
	relay_expect(&relays[0], ACCOUNT_YES);
	for (unsigned i = 0; i < 8; i++)
		relay_end(&relays[i]);
}

static void test_conversation_what_is_absent_is_gone(void **state)
{
	struct relay alice;
	struct relay bob;

	(void)state;
	relay_begin(&alice, ALICE, false);
	relay_begin(&bob, BOB, false);
	make_nv(&alice);
	tell_absent(&bob);
	ask_nothing(&scene.registry);
	assert_int_equal(nv_state(), REGISTRY_OWN);
	tell_absent(&alice);
	tell_absent(&alice);
	ask_nothing(&scene.registry);
	assert_int_equal(nv_state(), REGISTRY_NONE);
	tell_absent(&alice); /* about nothing */
	assert_null(alice.ended);
	assert_null(bob.ended);
	relay_end(&alice);
	relay_end(&bob);
}

/* A drop is an NV write of its own: its claim has been one. */
static void test_conversation_drops_are_charged(void **state)
{
	struct relay relay;

	(void)state;
	scene.registry.config.nv_writes_per_hour = 1;
	relay_begin(&relay, ALICE, false);
	make_nv(&relay);
	relay_ask_about(&relay, ACCOUNT_DROP, NV, NULL, 0);
	relay_expect(&relay, ACCOUNT_RATE);
	assert_int_equal(nv_state(), REGISTRY_OWN);
	relay_ask_about(&relay, ACCOUNT_CLAIM, 0, "sealed", 0); /* no NV memory */
	relay_expect(&relay, ACCOUNT_YES);
	relay_end(&relay);
}

/* The session may live on: its word goes to the next broker. */
static void test_conversation_let_go_doubts_nothing(void **state)
{
	struct relay relay;

	(void)state;
	relay_begin(&relay, ALICE, false);
	relay_ask_about(&relay, ACCOUNT_CLAIM, NV, "area", 0);
	relay_expect(&relay, ACCOUNT_YES);
	conversation_let_go(relay.conversation);
	ask_nothing(&scene.registry);
	assert_int_equal(nv_state(), REGISTRY_CLAIMED);
	relay.conversation = NULL;
	relay_end(&relay);

	relay_begin(&relay, ALICE, true);
	assert_int_equal(relay_take(&relay).type, ACCOUNT_RESUME);
	relay_tell(&relay, ACCOUNT_STATE, 0, 0);
	relay_ask_about(&relay, ACCOUNT_CONFIRM, NV, NULL, 1);
	relay_expect(&relay, ACCOUNT_YES);
	assert_int_equal(nv_state(), REGISTRY_OWN);
	/* that was the one that it may have owed */
	relay_ask_about(&relay, ACCOUNT_CONFIRM, NV, NULL, 1);
	relay_expect_ended(&relay, "it told of a claim that it never made");
	relay_end(&relay);
}

#define CONVERSATION_TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CONVERSATION_TEST(test_conversation_token_is_kept_for_too_long),
		CONVERSATION_TEST(test_conversation_adopted_keeps_the_token_for_too_long),
		CONVERSATION_TEST(test_conversation_order_is_not_obeyed),
		CONVERSATION_TEST(test_conversation_failures_without_token),
		CONVERSATION_TEST(test_conversation_guesses_of_all_sessions),
		CONVERSATION_TEST(test_conversation_what_is_absent_is_gone),
		CONVERSATION_TEST(test_conversation_drops_are_charged),
		CONVERSATION_TEST(test_conversation_let_go_doubts_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
