/*
 * TPM sessions: what the broker is told of them, and what it orders.
 */
#include "pump-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#define GET_RANDOM 0x17bu
#define OWN        0x02000005u
#define SAVED      0x03000033u /* somebody's, saved */

static const struct bytes nothing;
static const uint32_t lockout[] = {0, 32, 7200};
static const uint32_t gap = 3 * 1024; /* 3 saves to be told of */

/* What the kernel renews all sessions after. */
static struct step renewal(void)
{
	return tpm(TPM_CC_GET_CAPABILITY, response_of_properties(TPM_PT_CONTEXT_GAP_MAX, &gap, 1));
}

static struct bytes get_random(void)
{
	static const uint8_t bytes[] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 4};

	return bytes_of(bytes, sizeof bytes);
}

static struct bytes random_bytes(void)
{
	static const uint8_t bytes[] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0};

	return bytes_of(bytes, sizeof bytes);
}

static struct bytes save(uint32_t handle)
{
	return command_of(TPM_CC_CONTEXT_SAVE, &handle, 1);
}

static void test_pump_saved_session_is_told(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		told(ACCOUNT_SAVED, 1, OWN), /* ahead */
		tpm(TPM_CC_CONTEXT_SAVE, response_of(0)),
		told(ACCOUNT_SAVED, 0, OWN),
		told_refused(0x000b0910, "not-own"),
	};

	s->pump.channel.backend = POLICY_BACKEND_MANAGER; /* which counts saves itself */
	scene_own_session(s, OWN);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, save(OWN)), 0);
	assert_int_equal(scene_answer(s, save(OWN)), 0x000b0910);
	scene_played(s);
}

static struct bytes random_with_session(uint8_t attributes)
{
	static const uint8_t count[] = {0, 4};

	return command_with_session(
		GET_RANDOM, OWN, attributes, NULL, 0, bytes_of(count, sizeof count));
}

static void test_pump_session_that_does_not_continue_is_gone(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(GET_RANDOM, response_with_session(0, nothing)),
		tpm(GET_RANDOM, response_of(0x9a2)), /* only success ends it */
		tpm(GET_RANDOM, response_with_session(0, nothing)),
		told(ACCOUNT_GONE, 0, OWN),
	};

	scene_own_session(s, OWN);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, random_with_session(TPMA_SESSION_CONTINUE)), 0);
	assert_int_equal(scene_answer(s, random_with_session(0)), 0x9a2);
	assert_int_equal(scene_answer(s, random_with_session(0)), 0);
	scene_played(s);
}

static void test_pump_session_that_the_tpm_lost_is_gone(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(GET_RANDOM, response_of(0x918)),
		told(ACCOUNT_GONE, 0, OWN),
	};

	scene_own_session(s, OWN);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, random_with_session(TPMA_SESSION_CONTINUE)), 0x918);
	scene_played(s);
}

/* Serves until the play ends the session. */
static void serve(struct scene *s)
{
	pump_run(&s->pump);
	scene_played(s);
}

static void test_pump_idle_session_flushes_as_ordered(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		order(ACCOUNT_FLUSH, SAVED),
		asked(ACCOUNT_FLUSH_BEGIN, SAVED, ACCOUNT_YES),
		tpm(TPM_CC_FLUSH_CONTEXT, response_of(0)),
		told(ACCOUNT_GONE, 0, SAVED),
		leaves(),
	};

	PLAY(s, steps);
	serve(s);
}

/* Its number may be somebody else's by now. */
static void test_pump_order_that_does_not_stand_is_left(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		order(ACCOUNT_FLUSH, SAVED),
		asked(ACCOUNT_FLUSH_BEGIN, SAVED, ACCOUNT_NO),
		leaves(),
	};

	PLAY(s, steps);
	serve(s);
}

/* A session with a TPM session, which the kernel saves. */
static void scene_on_kernel_node(struct scene *s)
{
	s->pump.channel.backend = POLICY_BACKEND_DEVICE;
	s->pump.context_gap = gap;
	scene_own_session(s, OWN);
}

/* Without a question, and at once: the broker knows by the saves that it is young. */
static void test_pump_own_session_is_renewed(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		order(ACCOUNT_FLUSH, OWN),
		renewal(),
		told_saves(1, gap),
		leaves(),
	};

	s->pump.channel.backend = POLICY_BACKEND_DEVICE;
	scene_own_session(s, OWN);
	PLAY(s, steps);
	serve(s);
	assert_non_null(account_session(&s->pump.account, OWN));
}

/* One that has done something since it told: nothing of that is lost. */
static void test_pump_renewal_tells_of_all_saves(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(GET_RANDOM, random_bytes()),
		renewal(), /* to know how many are worth telling */
		order(ACCOUNT_FLUSH, OWN),
		renewal(),
		told_saves(3, gap),
		leaves(),
	};

	s->pump.channel.backend = POLICY_BACKEND_DEVICE;
	scene_own_session(s, OWN);
	scene_send(s, get_random());
	PLAY(s, steps);
	serve(s);
}

/* The kernel flushes the sessions of a descriptor where it cannot load one of them. */
static void test_pump_session_that_cannot_be_renewed_is_gone(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		order(ACCOUNT_FLUSH, OWN),
		tpm_breaks(TPM_CC_GET_CAPABILITY),
		told(ACCOUNT_GONE, 0, OWN),
		leaves(),
	};

	s->pump.channel.backend = POLICY_BACKEND_DEVICE;
	scene_own_session(s, OWN);
	PLAY(s, steps);
	serve(s);
	assert_null(account_session(&s->pump.account, OWN));
}

/* An order that was about the one whose number this one was given after. */
static void test_pump_order_leaves_what_does_not_get_old(void **state)
{
	static const enum policy_backend backends[] = {
		POLICY_BACKEND_STREAM, POLICY_BACKEND_MANAGER};
	const struct step steps[] = {
		tpm_after_order(GET_RANDOM, random_bytes(), OWN),
		tpm(GET_RANDOM, random_bytes()),
	};
	struct scene *s = *state;

	scene_own_session(s, OWN);
	for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
		s->pump.channel.backend = backends[i];
		PLAY(s, steps);
		assert_int_equal(scene_answer(s, get_random()), 0);
		assert_int_equal(scene_answer(s, get_random()), 0);
		scene_played(s);
		assert_non_null(account_session(&s->pump.account, OWN));
	}
}

/* While the broker is asked something else, of which nobody waits for the answer any more. */
static void test_pump_order_waits_for_the_broker(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm_after_order(GET_RANDOM, random_bytes(), SAVED),
		reads(random_bytes().size),
		stale(), /* to the one before */
		asked(ACCOUNT_FLUSH_BEGIN, SAVED, ACCOUNT_NO),
		leaves(),
	};

	s->pump.channel.link.question = account_message_new(ACCOUNT_CHARGE, 0);
	s->pump.channel.link.question.serial = 1;
	s->pump.channel.link.abandoned = true;
	scene_send(s, get_random());
	PLAY(s, steps);
	serve(s);
}

static void test_pump_order_comes_before_the_next_command(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(GET_RANDOM, random_bytes()),
		asked(ACCOUNT_FLUSH_BEGIN, SAVED, ACCOUNT_YES),
		tpm(TPM_CC_FLUSH_CONTEXT, response_of(0x1cb)), /* gone already */
		told(ACCOUNT_GONE, 0, SAVED),
		tpm(GET_RANDOM, random_bytes()),
	};
	struct account_message flush = account_message_new(ACCOUNT_FLUSH, 0);

	flush.handle = SAVED;
	assert_int_equal(send(s->account, &flush, sizeof flush, 0), sizeof flush);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, get_random()), 0); /* hears it while the TPM works */
	assert_int_equal(scene_answer(s, get_random()), 0);
	scene_played(s);
}

/* What fills the way to the client, which reads nothing. Returns how many bytes. */
static size_t fill(struct scene *s)
{
	static const uint8_t bytes[TPM_MESSAGE_MAX];
	size_t filled = 0;
	ssize_t sent;

	for (size_t size = sizeof bytes; size > 0; size /= 2)
		while ((sent = send(s->pump.channel.client, bytes, size, MSG_DONTWAIT)) > 0)
			filled += (size_t)sent;
	return filled;
}

/* Its response is in memory: the TPM is free for what the broker wants. */
static void test_pump_client_that_does_not_read_keeps_no_session(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(GET_RANDOM, random_bytes()),
		order(ACCOUNT_FLUSH, OWN),
		renewal(),
		told_saves(2, gap),
		order(ACCOUNT_FLUSH, SAVED),
		asked(ACCOUNT_FLUSH_BEGIN, SAVED, ACCOUNT_YES),
		tpm(TPM_CC_FLUSH_CONTEXT, response_of(0)),
		told(ACCOUNT_GONE, 0, SAVED),
		leaves(),
		told_saves(1, gap),
	};

	scene_on_kernel_node(s);
	fill(s);
	scene_send(s, get_random());
	PLAY(s, steps);
	serve(s);
}

/* Nothing happens any more after the order that would end a wait. */
static void test_pump_order_comes_with_the_response(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm_after_order(GET_RANDOM, random_bytes(), OWN),
		renewal(),
		told_saves(2, gap),
		leaves(),
	};

	scene_on_kernel_node(s);
	fill(s);
	scene_send(s, get_random());
	PLAY(s, steps);
	serve(s);
}

/* The response is whole, whatever was done meanwhile. */
static void test_pump_response_is_whole_after_an_order(void **state)
{
	static uint8_t taken[TPM_MESSAGE_MAX];
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(GET_RANDOM, random_bytes()),
		order(ACCOUNT_FLUSH, OWN),
		renewal(),
		told_saves(2, gap),
		reads(fill(s)),
	};
	struct bytes response = random_bytes();

	scene_on_kernel_node(s);
	scene_send(s, get_random());
	PLAY(s, steps);
	scene_run(s);
	scene_played(s);
	assert_int_equal(recv(s->client, taken, sizeof taken, MSG_DONTWAIT), response.size);
	assert_memory_equal(taken, response.bytes, response.size);
}

static void test_pump_resumed_tells_what_there_is(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		order(ACCOUNT_RESUME, 0),
		told(ACCOUNT_SESSION_END, 0, OWN),
		told(ACCOUNT_SESSION_END, 0, 0x03000006),
		told(ACCOUNT_STATE, 0, 0),
		leaves(),
	};

	scene_own_session(s, OWN);
	s->pump.account.sessions[1].handle = s->pump.channel.link.sessions[7] = 0x03000006;
	PLAY(s, steps);
	serve(s);
}

/* A broker that comes while one waits for the token with the turn in hand. */
static void test_pump_resumed_asks_once_more(void **state)
{
	static const uint32_t key = 0x80000001;
	static const uint8_t parameters[] = {0, 0, 0, 0x10};
	struct scene *s = *state;
	const struct step steps[] = {
		asked(ACCOUNT_TURN_BEGIN, 0, ACCOUNT_YES),
		silent(ACCOUNT_DA_BEGIN),
		order(ACCOUNT_RESUME, 0),
		told(ACCOUNT_STATE, ACCOUNT_HELD_TURN, 0),
		asked_charged(0),
		tpm(TPM_CC_GET_CAPABILITY,
			response_of_properties(TPM_PT_LOCKOUT_COUNTER, lockout, 3)),
		order(ACCOUNT_RESUME, 0),
		tpm(0x15d, response_with_session(0, nothing)),
		told(ACCOUNT_STATE, ACCOUNT_HELD_TURN | ACCOUNT_HELD_DA, 0),
		told_end(false, 0, 32, 7200),
		told(ACCOUNT_TURN_END, 0, 0),
	};

	scene_own_object(s, key, TPM_ALG_RSA, TPMA_OBJECT_SIGN);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, command_with_password(0x15d, &key, 1,
						 bytes_of(parameters, sizeof parameters))),
		0);
	scene_played(s);
}

/* What others do meanwhile may make every session old. */
static void test_pump_waiting_session_is_renewed(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		silent(ACCOUNT_DA_BEGIN),
		order(ACCOUNT_FLUSH, SAVED), /* it would have to be asked about */
		order(ACCOUNT_FLUSH, OWN),
		renewal(),
		told_saves(1, gap),
		yes(),
		tpm(TPM_CC_GET_CAPABILITY,
			response_of_properties(TPM_PT_LOCKOUT_COUNTER, lockout, 3)),
		tpm(GET_RANDOM, response_with_session(0, nothing)),
		told_end(false, 0, 32, 7200),
		asked(ACCOUNT_FLUSH_BEGIN, SAVED, ACCOUNT_NO),
		leaves(),
		told_saves(2, gap),
	};

	scene_on_kernel_node(s);
	s->pump.account.sessions[0].dictionary_attack = true;
	scene_send(s, random_with_session(TPMA_SESSION_CONTINUE));
	PLAY(s, steps);
	serve(s);
}

/* The kernel saves each session after each command. */
static void test_pump_saves_of_the_kernel_are_counted(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(GET_RANDOM, random_bytes()),
		renewal(),
		tpm(GET_RANDOM, random_bytes()),
		tpm(GET_RANDOM, random_bytes()),
		told_saves(3, gap),
		tpm(GET_RANDOM, random_bytes()),
	};

	s->pump.channel.backend = POLICY_BACKEND_DEVICE;
	scene_own_session(s, OWN);
	PLAY(s, steps);
	for (int i = 0; i < 4; i++)
		assert_int_equal(scene_answer(s, get_random()), 0);
	scene_played(s);
}

/* Its own questions save them too, and the command that is the last with one. */
static void test_pump_saves_of_a_session_that_ends(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(GET_RANDOM, random_bytes()),
		tpm(GET_RANDOM, response_with_session(0, nothing)),
		told(ACCOUNT_GONE, 0, OWN),
		leaves(),
		told_saves(2, gap),
	};

	scene_on_kernel_node(s);
	scene_send(s, get_random());
	scene_send(s, random_with_session(0));
	PLAY(s, steps);
	serve(s);
}

/* A session that is revoked tells of them too. */
static void test_pump_saves_of_a_revoked_session(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(GET_RANDOM, random_bytes()),
		order(ACCOUNT_REVOKE, 0),
		told_saves(1, gap),
		told(ACCOUNT_REVOKED, 0, 0),
		told(ACCOUNT_CLOSED, 0, 0),
		leaves(),
	};

	scene_on_kernel_node(s);
	scene_send(s, get_random());
	PLAY(s, steps);
	serve(s);
}

/* Of a kernel that has flushed the sessions nobody knows whose their numbers are. */
static void test_pump_sessions_are_lost_with_the_gap(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(GET_RANDOM, random_bytes()),
		tpm_breaks(TPM_CC_GET_CAPABILITY),
		told(ACCOUNT_GONE, 0, OWN),
	};

	scene_on_kernel_node(s);
	s->pump.context_gap = 0;
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, get_random()), 0);
	scene_played(s);
	assert_null(account_session(&s->pump.account, OWN));
}

/* What is not known is not told as if it were. */
static void test_pump_gap_that_is_not_known(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(GET_RANDOM, random_bytes()),
		tpm(TPM_CC_GET_CAPABILITY, response_of(0x1c4)),
		tpm(GET_RANDOM, random_bytes()), /* it is asked once */
		leaves(),
		told_saves(3, 0),
	};

	scene_on_kernel_node(s);
	s->pump.context_gap = 0;
	scene_send(s, get_random());
	scene_send(s, get_random());
	PLAY(s, steps);
	serve(s);
}

/* The TPM has lost it, which is not to say that it was saved. */
static void test_pump_session_that_cannot_be_saved_is_gone(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		told(ACCOUNT_SAVED, 1, OWN),
		tpm(TPM_CC_CONTEXT_SAVE, response_of(0x910)),
		told(ACCOUNT_GONE, 0, OWN),
	};

	scene_own_session(s, OWN);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, save(OWN)), 0x910);
	scene_played(s);
}

static void test_pump_saves_without_a_session_are_none(void **state)
{
	static const enum policy_backend backends[] = {
		POLICY_BACKEND_DEVICE, POLICY_BACKEND_STREAM, POLICY_BACKEND_MANAGER};
	const struct step steps[] = {tpm(GET_RANDOM, random_bytes())};
	struct scene *s = *state;

	s->pump.context_gap = 1; /* each is told */
	for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
		s->pump.channel.backend = backends[i];
		if (backends[i] != POLICY_BACKEND_DEVICE)
			scene_own_session(s, OWN); /* nobody saves it by himself */
		PLAY(s, steps);
		assert_int_equal(scene_answer(s, get_random()), 0);
		scene_played(s);
	}
}

static void test_pump_saves_of_the_client_are_counted(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		told(ACCOUNT_SAVED, 1, OWN),
		tpm(TPM_CC_CONTEXT_SAVE, response_of(0x101)), /* that was none */
		told(ACCOUNT_SAVED, 1, OWN),
		tpm(TPM_CC_CONTEXT_SAVE, response_of(0)),
		told(ACCOUNT_SAVED, 0, OWN),
		told_saves(1, 1),
	};

	s->pump.context_gap = 1;
	scene_own_session(s, OWN);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, save(OWN)), 0x101);
	assert_int_equal(scene_answer(s, save(OWN)), 0);
	scene_played(s);
}

#define PUMP_TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		PUMP_TEST(test_pump_saved_session_is_told),
		PUMP_TEST(test_pump_session_that_does_not_continue_is_gone),
		PUMP_TEST(test_pump_session_that_the_tpm_lost_is_gone),
		PUMP_TEST(test_pump_idle_session_flushes_as_ordered),
		PUMP_TEST(test_pump_order_that_does_not_stand_is_left),
		PUMP_TEST(test_pump_own_session_is_renewed),
		PUMP_TEST(test_pump_renewal_tells_of_all_saves),
		PUMP_TEST(test_pump_session_that_cannot_be_renewed_is_gone),
		PUMP_TEST(test_pump_order_leaves_what_does_not_get_old),
		PUMP_TEST(test_pump_order_waits_for_the_broker),
		PUMP_TEST(test_pump_order_comes_before_the_next_command),
		PUMP_TEST(test_pump_client_that_does_not_read_keeps_no_session),
		PUMP_TEST(test_pump_order_comes_with_the_response),
		PUMP_TEST(test_pump_response_is_whole_after_an_order),
		PUMP_TEST(test_pump_resumed_tells_what_there_is),
		PUMP_TEST(test_pump_resumed_asks_once_more),
		PUMP_TEST(test_pump_waiting_session_is_renewed),
		PUMP_TEST(test_pump_saves_of_the_kernel_are_counted),
		PUMP_TEST(test_pump_saves_of_a_session_that_ends),
		PUMP_TEST(test_pump_saves_of_a_revoked_session),
		PUMP_TEST(test_pump_sessions_are_lost_with_the_gap),
		PUMP_TEST(test_pump_gap_that_is_not_known),
		PUMP_TEST(test_pump_session_that_cannot_be_saved_is_gone),
		PUMP_TEST(test_pump_saves_without_a_session_are_none),
		PUMP_TEST(test_pump_saves_of_the_client_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
