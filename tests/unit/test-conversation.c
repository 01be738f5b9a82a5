/*
 * The broker's side of the account socket: each message in turn, and out of turn.
 */
#include "conversation-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

static void test_conversation_token_goes_round(void **state)
{
	struct relay alice;
	struct relay bob;
	struct account_message answer;

	(void)state;
	relay_begin(&alice, ALICE, false);
	relay_begin(&bob, BOB, false);
	relay_ask(&alice, ACCOUNT_DA_BEGIN, 0);
	answer = relay_answer(&alice);
	assert_int_equal(answer.argument, ACCOUNT_YES);
	assert_int_equal(answer.values[0], 0);
	relay_ask(&bob, ACCOUNT_DA_BEGIN, 0);
	relay_expect_nothing(&bob);
	relay_end_da(&alice, true);
	relay_expect(&bob, ACCOUNT_YES);
	relay_end_da(&bob, false);
	relay_ask(&alice, ACCOUNT_DA_BEGIN, 0);
	answer = relay_answer(&alice);
	assert_int_equal(answer.values[0], 1); /* the failure was charged to whose it was */
	relay_end_da(&alice, false);
	relay_ask(&bob, ACCOUNT_DA_BEGIN, 0);
	assert_int_equal(relay_answer(&bob).values[0], 0);
	relay_end(&alice);
	relay_end(&bob); /* with the token in hand */
	relay_begin(&bob, BOB, false);
	relay_ask(&bob, ACCOUNT_DA_BEGIN, 0);
	assert_int_equal(relay_answer(&bob).values[0], 1);
	relay_end(&bob);
}

static void test_conversation_turns_of_one_user(void **state)
{
	struct relay one;
	struct relay other;

	(void)state;
	relay_begin(&one, ALICE, false);
	relay_begin(&other, ALICE, false);
	relay_ask(&one, ACCOUNT_TURN_BEGIN, 0);
	relay_expect(&one, ACCOUNT_YES);
	relay_ask(&other, ACCOUNT_TURN_BEGIN, 0);
	relay_expect_nothing(&other);
	relay_tell(&one, ACCOUNT_TURN_END, 0, 0);
	relay_expect(&other, ACCOUNT_YES);
	relay_end(&one);
	relay_end(&other);
}

static void test_conversation_waiting_is_withdrawn(void **state)
{
	struct relay alice;
	struct relay bob;

	(void)state;
	relay_begin(&alice, ALICE, false);
	relay_begin(&bob, BOB, false);
	relay_ask(&alice, ACCOUNT_DA_BEGIN, 0);
	relay_expect(&alice, ACCOUNT_YES);
	relay_ask(&bob, ACCOUNT_DA_BEGIN, 0);
	relay_tell(&bob, ACCOUNT_DA_END, 0, 0);
	relay_end_da(&alice, false);
	relay_expect_nothing(&bob);
	relay_ask(&bob, ACCOUNT_CHARGE, 0);
	relay_expect(&bob, ACCOUNT_YES);
	relay_ask(&alice, ACCOUNT_DA_BEGIN, 0);
	relay_expect(&alice, ACCOUNT_YES);
	relay_end(&alice);
	relay_end(&bob);
}

/* What is withdrawn when its answer is on its way comes back. */
static void test_conversation_withdrawn_too_late(void **state)
{
	struct relay alice;
	struct relay bob;

	(void)state;
	relay_begin(&alice, ALICE, false);
	relay_begin(&bob, BOB, false);
	relay_ask(&alice, ACCOUNT_DA_BEGIN, 0);
	relay_expect(&alice, ACCOUNT_YES); /* which the relay had given up waiting for */
	relay_tell(&alice, ACCOUNT_DA_END, 0, 0);
	relay_ask(&bob, ACCOUNT_DA_BEGIN, 0);
	relay_expect(&bob, ACCOUNT_YES);
	relay_end(&alice);
	relay_end(&bob);
}

static void test_conversation_asking_for_what_one_has(void **state)
{
	static const enum account_type types[] = {ACCOUNT_DA_BEGIN, ACCOUNT_TURN_BEGIN};

	(void)state;
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		struct relay relay;

		relay_begin(&relay, ALICE, false);
		relay_ask(&relay, types[i], 0);
		relay_expect(&relay, ACCOUNT_YES);
		relay_ask(&relay, types[i], 0);
		relay_expect_ended(&relay, "it asked for what it has");
		relay_end(&relay);
	}
}

static void test_conversation_giving_back_what_one_has_not(void **state)
{
	static const enum account_type types[] = {ACCOUNT_DA_END, ACCOUNT_TURN_END};

	(void)state;
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		struct relay relay;

		relay_begin(&relay, ALICE, false);
		relay_tell(&relay, types[i], 0, 0);
		relay_expect_ended(&relay, "it gave back what it did not have");
		relay_end(&relay);
	}
}

static void test_conversation_one_question_at_a_time(void **state)
{
	struct relay alice;
	struct relay bob;

	(void)state;
	relay_begin(&alice, ALICE, false);
	relay_begin(&bob, BOB, false);
	relay_ask(&alice, ACCOUNT_DA_BEGIN, 0);
	relay_expect(&alice, ACCOUNT_YES);
	relay_ask(&bob, ACCOUNT_DA_BEGIN, 0);
	relay_ask(&bob, ACCOUNT_CHARGE, 0);
	relay_expect_ended(&bob, "it asked before it was answered");
	relay_end(&alice);
	relay_end(&bob);
}

/* As after RESUME: whether it is being answered, or was. */
static void test_conversation_question_once_more(void **state)
{
	struct relay alice;
	struct relay bob;
	struct account_message question;

	(void)state;
	relay_begin(&alice, ALICE, false);
	relay_begin(&bob, BOB, false);
	relay_ask(&alice, ACCOUNT_DA_BEGIN, 0);
	relay_expect(&alice, ACCOUNT_YES);
	question = relay_question(&bob, ACCOUNT_DA_BEGIN);
	relay_say(&bob, &question);
	relay_say(&bob, &question);
	assert_null(bob.ended);
	relay_end_da(&alice, false);
	relay_expect(&bob, ACCOUNT_YES);
	relay_say(&bob, &question);
	relay_expect_nothing(&bob);
	assert_null(bob.ended);
	relay_end(&alice);
	relay_end(&bob);
}

static void test_conversation_nv_writes(void **state)
{
	struct relay relay;

	(void)state;
	relay_begin(&relay, ALICE, false);
	for (unsigned i = 0; i < scene.registry.config.nv_writes_per_hour; i++) {
		relay_ask(&relay, ACCOUNT_CHARGE, 0);
		relay_expect(&relay, ACCOUNT_YES);
	}
	relay_ask(&relay, ACCOUNT_CHARGE, 0);
	relay_expect(&relay, ACCOUNT_LIMIT);
	relay_end(&relay);
}

static void test_conversation_sessions(void **state)
{
	struct relay relay;

	(void)state;
	scene.registry.config.tpm_sessions_per_user = 2;
	relay_begin(&relay, ALICE, false);
	relay_ask(&relay, ACCOUNT_SESSION_BEGIN, 0);
	relay_expect(&relay, ACCOUNT_YES);
	relay_tell(&relay, ACCOUNT_SESSION_END, 0, SESSION);
	relay_ask(&relay, ACCOUNT_SESSION_BEGIN, 0);
	relay_expect(&relay, ACCOUNT_YES);
	relay_tell(&relay, ACCOUNT_SESSION_END, 0, 0); /* nothing came of it */
	relay_ask(&relay, ACCOUNT_SESSION_BEGIN, 0);
	relay_expect(&relay, ACCOUNT_YES);
	relay_tell(&relay, ACCOUNT_SESSION_END, 0, SESSION + 1);
	relay_ask(&relay, ACCOUNT_SESSION_BEGIN, 0);
	relay_expect(&relay, ACCOUNT_LIMIT);
	relay_tell(&relay, ACCOUNT_GONE, 0, SESSION + 7); /* nobody's: nothing */
	relay_tell(&relay, ACCOUNT_GONE, 0, SESSION);
	relay_ask(&relay, ACCOUNT_SESSION_BEGIN, 0);
	relay_expect(&relay, ACCOUNT_YES);
	relay_end(&relay);
}

/* One too many: the oldest that the user saved goes. */
static void test_conversation_orders_a_saved_session_flushed(void **state)
{
	struct relay relay;
	struct account_message flush;

	(void)state;
	scene.registry.config.tpm_sessions_per_user = 1;
	relay_begin(&relay, ALICE, false);
	relay_ask(&relay, ACCOUNT_SESSION_BEGIN, 0);
	relay_expect(&relay, ACCOUNT_YES);
	relay_tell(&relay, ACCOUNT_SESSION_END, 0, SESSION);
	relay_tell(&relay, ACCOUNT_SAVED, 0, SESSION);
	relay_ask(&relay, ACCOUNT_SESSION_BEGIN, 0);
	relay_expect(&relay, ACCOUNT_YES);
	flush = relay_await(&relay);
	assert_int_equal(flush.type, ACCOUNT_FLUSH);
	assert_int_equal(flush.handle, SESSION);
	relay_tell(&relay, ACCOUNT_SESSION_END, 0, 0);
	relay_ask(&relay, ACCOUNT_FLUSH_BEGIN, SESSION + 1); /* was never ordered */
	relay_expect(&relay, ACCOUNT_NO);
	relay_ask(&relay, ACCOUNT_FLUSH_BEGIN, SESSION);
	relay_expect(&relay, ACCOUNT_YES);
	relay_ask(&relay, ACCOUNT_SESSION_BEGIN, SESSION); /* it is being flushed */
	relay_expect(&relay, ACCOUNT_LIMIT);
	relay_tell(&relay, ACCOUNT_GONE, 0, SESSION);
	relay_ask(&relay, ACCOUNT_FLUSH_BEGIN, SESSION);
	relay_expect(&relay, ACCOUNT_NO);
	relay_end(&relay);
}

static void test_conversation_old_sessions_are_ordered_flushed(void **state)
{
	struct account_message saves = account_message_new(ACCOUNT_SAVES, 200);
	struct account_message flush;
	struct relay relay;

	(void)state;
	saves.values[0] = 255; /* TPM_PT_CONTEXT_GAP_MAX */
	relay_begin(&relay, ALICE, false);
	relay_ask(&relay, ACCOUNT_SESSION_BEGIN, 0);
	relay_expect(&relay, ACCOUNT_YES);
	relay_tell(&relay, ACCOUNT_SESSION_END, 0, SESSION);
	relay_tell(&relay, ACCOUNT_SAVED, 0, SESSION);
	relay_expect_nothing(&relay);
	relay_say(&relay, &saves);
	flush = relay_await(&relay);
	assert_int_equal(flush.type, ACCOUNT_FLUSH);
	assert_int_equal(flush.handle, SESSION);
	relay_end(&relay);
}

static void test_conversation_sessions_out_of_turn(void **state)
{
	static const struct {
		enum account_type type;
		uint32_t handle;
		const char *because;
	} tellings[] = {
		{ACCOUNT_SESSION_END, SESSION, "it told of a session that it never asked for"},
		{ACCOUNT_SESSION_END, 0, "it told of a session that it never asked for"},
		{ACCOUNT_SESSION_END, 0x80000001, "it named a session that cannot be one"},
		{ACCOUNT_READY, 0, "it sent a message out of turn"},
		{ACCOUNT_STATE, 0, "it told unasked what it holds"},
	};
	struct relay relay;

	(void)state;
	for (size_t i = 0; i < sizeof tellings / sizeof tellings[0]; i++) {
		relay_begin(&relay, ALICE, false);
		relay_tell(&relay, tellings[i].type, 0, tellings[i].handle);
		relay_expect_ended(&relay, tellings[i].because);
		relay_end(&relay);
	}
	relay_begin(&relay, ALICE, false);
	relay_ask(&relay, ACCOUNT_SESSION_BEGIN, 0x01800001);
	relay_expect_ended(&relay, "it named a session that cannot be one");
	relay_end(&relay);
}

/* What another has told of meanwhile is nobody's fault here. */
static void test_conversation_saved_session_of_another(void **state)
{
	struct relay alice;
	struct relay bob;

	(void)state;
	relay_begin(&alice, ALICE, false);
	relay_begin(&bob, BOB, false);
	relay_ask(&alice, ACCOUNT_SESSION_BEGIN, 0);
	relay_expect(&alice, ACCOUNT_YES);
	relay_tell(&alice, ACCOUNT_SESSION_END, 0, SESSION);
	relay_ask(&bob, ACCOUNT_SESSION_BEGIN, 0);
	relay_expect(&bob, ACCOUNT_YES);
	relay_tell(&bob, ACCOUNT_SESSION_END, 0, SESSION);
	relay_tell(&bob, ACCOUNT_SAVED, 0, SESSION);
	relay_tell(&alice, ACCOUNT_SAVED, 0, SESSION);
	assert_null(alice.ended);
	assert_null(bob.ended);
	relay_end(&alice);
	relay_end(&bob);
}

static void test_conversation_saves_that_cannot_be(void **state)
{
	struct relay relay;

	(void)state;
	relay_begin(&relay, ALICE, false);
	relay_tell(&relay, ACCOUNT_SAVES, 4096, 0);
	assert_null(relay.ended);
	relay_tell(&relay, ACCOUNT_SAVES, UINT32_MAX, 0);
	relay_expect_ended(&relay, "it counted more saves than there can be");
	relay_end(&relay);
}

/* Claims and drops are NV writes, whether or not the relay asks for them. */
static void test_conversation_claims_are_charged(void **state)
{
	struct relay relay;

	(void)state;
	relay_begin(&relay, ALICE, false);
	for (uint32_t i = 0; i < scene.accounts.config->nv_writes_per_hour; i++) {
		relay_ask_about(&relay, ACCOUNT_CLAIM, NV, "area", 0);
		relay_expect(&relay, ACCOUNT_YES);
		relay_ask_about(&relay, ACCOUNT_CONFIRM, NV, NULL, 0);
		relay_expect(&relay, ACCOUNT_YES);
	}
	relay_ask_about(&relay, ACCOUNT_CLAIM, NV, "area", 0);
	relay_expect(&relay, ACCOUNT_RATE);
	assert_null(relay.ended);
	relay_end(&relay);
}

static void count_refusal(const struct refusal *refusal, void *context)
{
	struct refusal *last = context;

	*last = *refusal;
}

static void test_conversation_refusals_are_kept(void **state)
{
	struct account_message message = account_message_new(ACCOUNT_REFUSED, 0x000b0120);
	struct refusal last = {0};
	struct relay relay;

	(void)state;
	relay_begin(&relay, ALICE, false);
	message.values[0] = 0x126;
	message.values[1] = 3;
	account_message_set_data(&message, "hierarchy", 9);
	relay_say(&relay, &message);
	assert_null(relay.ended);
	refusals_each(scene.accounts.refusals, ALICE, count_refusal, &last);
	assert_string_equal(last.rule, "hierarchy");
	assert_int_equal(last.session, 7);
	assert_int_equal(last.command, 0x126);
	assert_int_equal(last.response, 0x000b0120);
	assert_int_equal(last.untold, 3);
	assert_true(last.time > 1700000000);
	relay_end(&relay);
}

/* It is shown on terminals. */
static void test_conversation_rules_that_cannot_be(void **state)
{
	static const char *const rules[] = {
		"", "Hierarchy", "hier archy", "\x1b[2J", "a-rule-of-more-than-thirty-one-bytes"};

	(void)state;
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		struct account_message message = account_message_new(ACCOUNT_REFUSED, 0x000b0120);
		struct relay relay;

		relay_begin(&relay, ALICE, false);
		account_message_set_data(&message, rules[i], strlen(rules[i]));
		relay_say(&relay, &message);
		relay_expect_ended(&relay, "it named a rule that cannot be one");
		relay_end(&relay);
	}
}

static void test_conversation_relay_that_does_not_read(void **state)
{
	struct relay relay;

	(void)state;
	relay_begin(&relay, ALICE, false);
	for (int i = 0; i < 100000 && !relay.ended; i++)
		relay_ask(&relay, ACCOUNT_FLUSH_BEGIN, SESSION);
	relay_expect_ended(&relay, "it does not listen to the broker");
	relay_end(&relay);
}

/* Its pidfd tells that it has gone, and what it left is seen to then. */
static void test_conversation_relay_that_has_gone(void **state)
{
	struct relay relay;

	(void)state;
	relay_begin(&relay, ALICE, false);
	shutdown(relay.fds[1], SHUT_RDWR);
	relay_ask(&relay, ACCOUNT_CHARGE, 0);
	assert_null(relay.ended);
	relay_end(&relay);
}

#define CONVERSATION_TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CONVERSATION_TEST(test_conversation_token_goes_round),
		CONVERSATION_TEST(test_conversation_turns_of_one_user),
		CONVERSATION_TEST(test_conversation_waiting_is_withdrawn),
		CONVERSATION_TEST(test_conversation_withdrawn_too_late),
		CONVERSATION_TEST(test_conversation_asking_for_what_one_has),
		CONVERSATION_TEST(test_conversation_giving_back_what_one_has_not),
		CONVERSATION_TEST(test_conversation_one_question_at_a_time),
		CONVERSATION_TEST(test_conversation_question_once_more),
		CONVERSATION_TEST(test_conversation_nv_writes),
		CONVERSATION_TEST(test_conversation_sessions),
		CONVERSATION_TEST(test_conversation_orders_a_saved_session_flushed),
		CONVERSATION_TEST(test_conversation_old_sessions_are_ordered_flushed),
		CONVERSATION_TEST(test_conversation_sessions_out_of_turn),
		CONVERSATION_TEST(test_conversation_saved_session_of_another),
		CONVERSATION_TEST(test_conversation_saves_that_cannot_be),
		CONVERSATION_TEST(test_conversation_claims_are_charged),
		CONVERSATION_TEST(test_conversation_refusals_are_kept),
		CONVERSATION_TEST(test_conversation_rules_that_cannot_be),
		CONVERSATION_TEST(test_conversation_relay_that_does_not_read),
		CONVERSATION_TEST(test_conversation_relay_that_has_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
