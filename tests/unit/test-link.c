/*
 * The relay's end of the account socket, with the test as broker at the other.
 */
#include "relay/link.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define SECOND  UINT64_C(1000000000)
#define SESSION 0x02000001u
#define NV      0x01800010u

static struct link relay;
static int broker;

static int scene_setup(void **state)
{
	int ends[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) < 0)
		return -1;
	relay = link_new(ends[0]);
	broker = ends[1];
	return 0;
}

static int scene_teardown(void **state)
{
	(void)state;
	close(relay.fd);
	close(broker);
	return 0;
}

/* The next message from the relay; type 0: there is none. */
static struct account_message take(void)
{
	struct account_message message = {0};
	struct account_message checked;
	ssize_t got = recv(broker, &message, sizeof message, MSG_DONTWAIT);

	if (got < 0)
		return (struct account_message){0};
	assert_int_equal(
		account_message_decode(&message, (size_t)got, ACCOUNT_FROM_RELAY, &checked), 0);
	return message;
}

static void expect_told(enum account_type type, uint32_t argument, uint32_t handle)
{
	struct account_message message = take();

	assert_int_equal(message.type, type);
	assert_int_equal(message.argument, argument);
	assert_int_equal(message.handle, handle);
}

static void expect_nothing(void)
{
	assert_int_equal(take().type, ACCOUNT_INVALID);
}

static enum link_event hear(const struct account_message *message)
{
	assert_int_equal(send(broker, message, sizeof *message, 0), sizeof *message);
	return link_receive(&relay);
}

static void answer(uint32_t serial, enum account_answer what)
{
	struct account_message message = account_message_new(ACCOUNT_ANSWER, what);

	message.serial = serial;
	assert_int_equal(hear(&message), LINK_NOTHING);
}

static enum link_event order(enum account_type type, uint32_t argument, uint32_t handle)
{
	struct account_message message = account_message_new(type, argument);

	message.handle = handle;
	return hear(&message);
}

static int ask_about(enum account_type type, enum account_kind kind, uint32_t handle)
{
	struct account_message question = account_message_new(type, 0);

	question.kind = kind;
	question.handle = handle;
	if (type == ACCOUNT_CLAIM)
		account_message_set_data(&question, "data", 4);
	return link_ask(&relay, &question);
}

static int ask(enum account_type type)
{
	return ask_about(type, ACCOUNT_KIND_NONE, 0);
}

static void test_link_question_and_answer(void **state)
{
	(void)state;
	assert_int_equal(ask(ACCOUNT_CHARGE), 0);
	assert_int_equal(take().serial, 1);
	assert_int_equal(relay.question.type, ACCOUNT_CHARGE);
	assert_int_equal(ask(ACCOUNT_CHARGE), -EBUSY); /* one at a time */
	expect_nothing();
	answer(1, ACCOUNT_LIMIT);
	assert_int_equal(relay.question.type, ACCOUNT_INVALID);
	assert_int_equal(relay.answer.argument, ACCOUNT_LIMIT);
	assert_int_equal(ask(ACCOUNT_CHARGE), 0);
	assert_int_equal(take().serial, 2);
	assert_int_equal(relay.answer.type, ACCOUNT_INVALID); /* not the last one's */
}

static void test_link_answers_to_nothing_are_ignored(void **state)
{
	(void)state;
	answer(1, ACCOUNT_YES);
	assert_int_equal(relay.answer.type, ACCOUNT_INVALID);
	assert_int_equal(ask(ACCOUNT_CHARGE), 0);
	answer(2, ACCOUNT_YES);
	assert_int_equal(relay.question.type, ACCOUNT_CHARGE);
	assert_int_equal(relay.answer.type, ACCOUNT_INVALID);
}

static void test_link_serial_is_never_0(void **state)
{
	(void)state;
	relay.serial = UINT32_MAX;
	assert_int_equal(ask(ACCOUNT_CHARGE), 0);
	assert_int_equal(take().serial, 1);
}

/* The relay may ask something else at once, and the answer that comes late is to nobody. */
static void test_link_token_and_turn_are_withdrawn(void **state)
{
	static const enum account_type types[][2] = {
		{ACCOUNT_DA_BEGIN, ACCOUNT_DA_END}, {ACCOUNT_TURN_BEGIN, ACCOUNT_TURN_END}};

	(void)state;
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		uint32_t serial;

		assert_int_equal(ask(types[i][0]), 0);
		serial = take().serial;
		link_abandon(&relay);
		expect_told(types[i][1], 0, 0);
		assert_int_equal(ask(ACCOUNT_CHARGE), 0);
		take();
		answer(serial, ACCOUNT_YES);
		assert_int_equal(relay.question.type, ACCOUNT_CHARGE);
		expect_nothing();
		answer(serial + 1, ACCOUNT_YES);
		assert_int_equal(relay.question.type, ACCOUNT_INVALID);
	}
}

/* A broker that is stopped takes no messages, and knows of none when it goes on. */
static void test_link_token_is_given_back_when_there_is_room(void **state)
{
	static const enum account_type types[][2] = {
		{ACCOUNT_DA_BEGIN, ACCOUNT_DA_END}, {ACCOUNT_TURN_BEGIN, ACCOUNT_TURN_END}};
	struct account_message gone = account_message_new(ACCOUNT_GONE, 0);

	(void)state;
	gone.handle = SESSION;
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		uint32_t serial;

		assert_int_equal(ask(types[i][0]), 0);
		serial = take().serial;
		while (link_tell(&relay, &gone) == 0)
			;
		link_abandon(&relay);
		while (take().type == ACCOUNT_GONE)
			;
		assert_int_equal(ask(ACCOUNT_CHARGE), -EBUSY);
		answer(serial, ACCOUNT_YES);
		assert_int_equal(relay.held, 0);
		expect_told(types[i][1], 0, 0);
		assert_int_equal(ask(ACCOUNT_CHARGE), 0);
		answer(take().serial, ACCOUNT_YES);
	}
}

static void test_link_abandoned_session_is_given_back(void **state)
{
	(void)state;
	assert_int_equal(ask(ACCOUNT_SESSION_BEGIN), 0);
	take();
	link_abandon(&relay);
	expect_nothing();
	assert_int_equal(ask(ACCOUNT_CHARGE), -EBUSY); /* the broker is at it still */
	answer(1, ACCOUNT_YES);
	expect_told(ACCOUNT_SESSION_END, 0, 0);
	assert_int_equal(ask(ACCOUNT_SESSION_BEGIN), 0);
	take();
	link_abandon(&relay);
	answer(2, ACCOUNT_LIMIT); /* nothing was given */
	expect_nothing();
	assert_int_equal(ask(ACCOUNT_CHARGE), 0);
}

static void test_link_abandoned_claims_came_to_nothing(void **state)
{
	static const enum account_type types[] = {ACCOUNT_CLAIM, ACCOUNT_DROP};

	(void)state;
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		struct account_message told;

		assert_int_equal(ask_about(types[i], ACCOUNT_KIND_NV, NV), 0);
		told = take();
		link_abandon(&relay);
		answer(told.serial, ACCOUNT_YES);
		told = take();
		assert_int_equal(told.type, ACCOUNT_CONFIRM);
		assert_int_equal(told.argument, 0);
		assert_int_equal(told.kind, ACCOUNT_KIND_NV);
		assert_int_equal(told.handle, NV);
		assert_int_equal(ask(ACCOUNT_CHARGE), -EBUSY);
		answer(told.serial, ACCOUNT_YES);
		expect_nothing();
		assert_int_equal(ask_about(types[i], ACCOUNT_KIND_NV, NV), 0);
		told = take();
		link_abandon(&relay);
		answer(told.serial, ACCOUNT_TAKEN);
		expect_nothing();
	}
	assert_int_equal(ask(ACCOUNT_CHARGE), 0);
}

static void test_link_abandoned_questions_that_gave_nothing(void **state)
{
	(void)state;
	assert_int_equal(ask_about(ACCOUNT_CLAIM, ACCOUNT_KIND_SEALED, 0), 0);
	link_abandon(&relay);
	answer(1, ACCOUNT_YES);
	assert_int_equal(ask(ACCOUNT_CHARGE), 0);
	link_abandon(&relay);
	answer(2, ACCOUNT_YES);
	assert_int_equal(ask_about(ACCOUNT_LOOKUP, ACCOUNT_KIND_NV, NV), 0);
	assert_int_equal(take().type, ACCOUNT_CLAIM);
	assert_int_equal(take().type, ACCOUNT_CHARGE);
	assert_int_equal(take().type, ACCOUNT_LOOKUP);
	expect_nothing();
	answer(3, ACCOUNT_YES);
	link_abandon(&relay); /* there is none */
	expect_nothing();
}

static void test_link_revoked(void **state)
{
	(void)state;
	assert_int_equal(link_receive(&relay), LINK_NOTHING); /* nothing is there */
	assert_int_equal(order(ACCOUNT_REVOKE, ACCOUNT_REASON_DEVICE_GONE, 0), LINK_REVOKED);
	assert_int_equal(relay.reason, ACCOUNT_REASON_DEVICE_GONE);
	assert_int_equal(order(ACCOUNT_REVOKE, ACCOUNT_REASON_REVOKED, 0), LINK_REVOKED);
	assert_int_equal(relay.reason, ACCOUNT_REASON_REVOKED);
}

/* Whoever could revoke the session is gone, or has gone mad. */
static void test_link_nonsense_and_the_end_revoke(void **state)
{
	uint8_t longer[sizeof(struct account_message) + 1] = {0};

	(void)state;
	assert_int_equal(send(broker, "?", 1, 0), 1);
	assert_int_equal(link_receive(&relay), LINK_REVOKED);
	assert_int_equal(relay.reason, ACCOUNT_REASON_REVOKED);
	memcpy(longer, &(struct account_message){.magic = ACCOUNT_MAGIC, .type = ACCOUNT_RESUME},
		sizeof(struct account_message));
	assert_int_equal(send(broker, longer, sizeof longer, 0), sizeof longer);
	assert_int_equal(link_receive(&relay), LINK_REVOKED);
	assert_int_equal(order(ACCOUNT_CHARGE, 0, 0), LINK_REVOKED); /* a relay's */
	shutdown(broker, SHUT_WR);
	assert_int_equal(link_receive(&relay), LINK_REVOKED);
}

static void test_link_orders_are_kept_once(void **state)
{
	(void)state;
	assert_int_equal(order(ACCOUNT_FLUSH, 0, SESSION), LINK_NOTHING);
	assert_int_equal(order(ACCOUNT_FLUSH, 0, SESSION), LINK_NOTHING);
	assert_int_equal(relay.order_count, 1);
	for (uint32_t i = 0; i < 2 * LINK_ORDERS_MAX; i++)
		assert_int_equal(order(ACCOUNT_FLUSH, 0, SESSION + i), LINK_NOTHING);
	assert_int_equal(relay.order_count, LINK_ORDERS_MAX);
	assert_int_equal(relay.orders[LINK_ORDERS_MAX - 1], SESSION + LINK_ORDERS_MAX - 1);
}

static void test_link_sessions_are_remembered(void **state)
{
	(void)state;
	assert_int_equal(link_tell_session(&relay, ACCOUNT_SESSION_END, SESSION), 0);
	assert_int_equal(link_tell_session(&relay, ACCOUNT_SESSION_END, SESSION), 0);
	assert_int_equal(link_tell_session(&relay, ACCOUNT_SESSION_END, 0), 0);
	assert_int_equal(link_tell_session(&relay, ACCOUNT_SESSION_END, SESSION + 1), 0);
	assert_int_equal(relay.sessions[0], SESSION);
	assert_int_equal(relay.sessions[1], SESSION + 1);
	assert_int_equal(relay.sessions[2], 0);
	assert_int_equal(link_tell_session(&relay, ACCOUNT_SAVED, SESSION), 0);
	assert_int_equal(link_tell_session(&relay, ACCOUNT_GONE, SESSION + 1), 0);
	assert_int_equal(link_tell_session(&relay, ACCOUNT_GONE, SESSION + 7), 0);
	assert_int_equal(relay.sessions[0], 0);
	assert_int_equal(relay.sessions[1], 0);
	expect_told(ACCOUNT_SESSION_END, 0, SESSION);
	expect_told(ACCOUNT_SESSION_END, 0, SESSION);
	expect_told(ACCOUNT_SESSION_END, 0, 0);
	expect_told(ACCOUNT_SESSION_END, 0, SESSION + 1);
	expect_told(ACCOUNT_SAVED, 0, SESSION);
	expect_told(ACCOUNT_GONE, 0, SESSION + 1);
	expect_told(ACCOUNT_GONE, 0, SESSION + 7);
}

static void test_link_resumed_tells_all(void **state)
{
	struct account_message question;

	(void)state;
	assert_int_equal(order(ACCOUNT_RESUME, 0, 0), LINK_NOTHING);
	expect_told(ACCOUNT_STATE, 0, 0);
	expect_nothing();
	relay.sessions[3] = SESSION;
	relay.sessions[9] = SESSION + 1;
	relay.held = ACCOUNT_HELD_TURN;
	assert_int_equal(ask(ACCOUNT_DA_BEGIN), 0);
	question = take();
	assert_int_equal(order(ACCOUNT_RESUME, 0, 0), LINK_NOTHING);
	expect_told(ACCOUNT_SESSION_END, 0, SESSION);
	expect_told(ACCOUNT_SESSION_END, 0, SESSION + 1);
	expect_told(ACCOUNT_STATE, ACCOUNT_HELD_TURN, 0);
	assert_memory_equal(&question, &(struct account_message[]){take()}[0], sizeof question);
	expect_nothing();
	answer(question.serial, ACCOUNT_YES);
	assert_int_equal(order(ACCOUNT_RESUME, 0, 0), LINK_NOTHING);
	take();
	take();
	/* it is answered: what was granted is held before anything else is heard */
	expect_told(ACCOUNT_STATE, ACCOUNT_HELD_ALL, 0);
	expect_nothing();
}

static void expect_refused(uint32_t command, uint32_t code, uint32_t untold, const char *rule)
{
	struct account_message message = take();

	assert_int_equal(message.type, ACCOUNT_REFUSED);
	assert_int_equal(message.argument, code);
	assert_int_equal(message.values[0], command);
	assert_int_equal(message.values[1], untold);
	assert_int_equal(message.size, strlen(rule));
	assert_memory_equal(message.data, rule, strlen(rule));
}

/* Tells of COUNT refusals at NOW; returns how many came through. */
static unsigned refuse_many(uint64_t now, unsigned count)
{
	unsigned told = 0;

	for (unsigned i = 0; i < count; i++) {
		link_refused(&relay, now, 0x126, 0x000b0120, "hierarchy");
		told += take().type == ACCOUNT_REFUSED;
	}
	return told;
}

static void test_link_refusals_are_told_as_fast_as_people_read(void **state)
{
	uint64_t now = 1000 * SECOND;

	(void)state;
	link_refused(&relay, now, 0x126, 0x000b0120, "hierarchy");
	expect_refused(0x126, 0x000b0120, 0, "hierarchy");
	assert_int_equal(refuse_many(now, 19), 19);
	assert_int_equal(refuse_many(now, 5), 0);
	assert_int_equal(refuse_many(now + SECOND / 2 - 1, 1), 0);
	now += SECOND / 2; /* one more has been earned, and says how many were not told */
	link_refused(&relay, now, 0, 0x095, "malformed");
	expect_refused(0, 0x095, 6, "malformed");
	now += SECOND / 2;
	link_refused(&relay, now, 0, 0x095, "malformed");
	expect_refused(0, 0x095, 0, "malformed"); /* those have been told of */
	assert_int_equal(refuse_many(now, 1), 0);
	assert_int_equal(refuse_many(now + 2 * SECOND, 10), 4);
	assert_int_equal(refuse_many(now + 3600 * SECOND, 100), 20);
}

static void test_link_that_is_gone(void **state)
{
	struct account_message message = account_message_new(ACCOUNT_TURN_END, 0);

	(void)state;
	shutdown(broker, SHUT_RDWR);
	assert_int_equal(link_tell(&relay, &message), -EPIPE);
	assert_int_equal(ask(ACCOUNT_CHARGE), -EPIPE);
	assert_int_equal(relay.question.type, ACCOUNT_INVALID);
	close(relay.fd);
	relay.fd = -1;
	assert_int_equal(link_tell(&relay, &message), -EPIPE);
	link_refused(&relay, 0, 0x126, 0x000b0120, "hierarchy");
	assert_int_equal(relay.untold, 1);
}

#define LINK_TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		LINK_TEST(test_link_question_and_answer),
		LINK_TEST(test_link_answers_to_nothing_are_ignored),
		LINK_TEST(test_link_serial_is_never_0),
		LINK_TEST(test_link_token_and_turn_are_withdrawn),
		LINK_TEST(test_link_token_is_given_back_when_there_is_room),
		LINK_TEST(test_link_abandoned_session_is_given_back),
		LINK_TEST(test_link_abandoned_claims_came_to_nothing),
		LINK_TEST(test_link_abandoned_questions_that_gave_nothing),
		LINK_TEST(test_link_revoked),
		LINK_TEST(test_link_nonsense_and_the_end_revoke),
		LINK_TEST(test_link_orders_are_kept_once),
		LINK_TEST(test_link_sessions_are_remembered),
		LINK_TEST(test_link_resumed_tells_all),
		LINK_TEST(test_link_refusals_are_told_as_fast_as_people_read),
		LINK_TEST(test_link_that_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
