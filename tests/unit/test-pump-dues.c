/*
 * What the pump owes to the accounts: asked of the broker before the TPM is, in which order, and
 * settled after.
 */
#include "pump-scene.h"

#include "common/lockout.h"

#include "relay/dues.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define SIGN     0x15du
#define NV_WRITE 0x137u
#define NV_READ  0x14eu
#define KEY      0x80000001u
#define NV       0x01800010u

static const struct bytes nothing;

static struct bytes sign(void)
{
	static const uint32_t key = KEY;
	static const uint8_t parameters[] = {0, 0, 0, 0x10};

	return command_with_password(SIGN, &key, 1, bytes_of(parameters, sizeof parameters));
}

static struct bytes self_test(void)
{
	static const uint8_t full[] = {0x80, 0x01, 0, 0, 0, 11, 0, 0, 0x01, 0x43, 1};

	return bytes_of(full, sizeof full);
}

static struct bytes start_session(void)
{
	/* without salt, nonce; a policy session without symmetric algorithm */
	static const uint32_t words[] = {TPM_RH_NULL, TPM_RH_NULL, 0, 0x01001000, 0x0b000000};
	struct bytes command = command_of(TPM_CC_START_AUTH_SESSION, words, 5);

	command.size -= 3;
	command.bytes[5] = (uint8_t)command.size;
	return command;
}

static struct bytes lockout(uint32_t counter, uint32_t maximum, uint32_t interval)
{
	const uint32_t values[] = {counter, maximum, interval};

	return response_of_properties(TPM_PT_LOCKOUT_COUNTER, values, 3);
}

/* ---- the token ---- */

static void test_pump_token_is_asked_for_and_given_back(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		asked_charged(0),
		tpm(TPM_CC_GET_CAPABILITY, lockout(1, 32, 7200)),
		tpm(SIGN, response_with_session(0, nothing)),
		told_end(false, 1, 32, 7200),
	};

	scene_own_object(s, KEY, TPM_ALG_ECC, TPMA_OBJECT_SIGN);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, sign()), 0);
	assert_int_equal(s->pump.channel.link.held, 0);
	scene_played(s);
}

static void test_pump_only_counted_failures_are_told(void **state)
{
	static const struct {
		uint32_t code;
		bool failed;
	} codes[] = {{0x98e, true}, {0x08e, true}, {0x18e, true}, {0x9ce, true}, {0x9a2, false},
		{0x921, false}, {0x922, false}, {0x095, false}, {0x10e, false}, {0x984, false}};
	struct scene *s = *state;

	scene_own_object(s, KEY, TPM_ALG_ECC, TPMA_OBJECT_SIGN);
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		const struct step steps[] = {
			asked_charged(0),
			tpm(TPM_CC_GET_CAPABILITY, lockout(0, 32, 7200)),
			tpm(SIGN, response_of(codes[i].code)),
			told_end(codes[i].failed, 0, 32, 7200),
		};

		PLAY(s, steps);
		assert_int_equal(scene_answer(s, sign()), codes[i].code);
		scene_played(s);
	}
}

/* Has the TPM asked to sign at this state of its counter, and expects RULE; NULL: it is sent. */
static void try_at(struct scene *s, uint32_t counter, uint32_t maximum, uint32_t interval,
	uint32_t charge, const char *rule)
{
	const struct step sent[] = {
		asked_charged(charge),
		tpm(TPM_CC_GET_CAPABILITY, lockout(counter, maximum, interval)),
		tpm(SIGN, response_with_session(0, nothing)),
		told_end(false, counter, maximum, interval),
	};
	const struct step refused[] = {
		sent[0],
		sent[1],
		sent[3],
		told_refused(0x000b0921, rule ? rule : ""),
	};

	s->pump.channel.link.refusals = 20; /* none is left untold */
	scene_play(s, rule ? refused : sent, 4);
	assert_int_equal(scene_answer(s, sign()), rule ? 0x000b0921 : 0);
	scene_played(s);
}

static void test_pump_token_leaves_room_below_the_maximum(void **state)
{
	/* for a maximum from `from` on: failures of all that stop everybody; of one that stop him
	 */
	static const struct {
		uint32_t from, counter, charge;
	} limits[] = {{0, 0, 0}, {2, 1, 1}, {4, 2, 1}, {6, 3, 1}, {8, 4, 2}, {10, 5, 2}, {12, 6, 3},
		{13, 6, 3}, {31, 15, 3}, {32, 16, 3}, {33, 16, 3}, {39, 19, 3}, {40, 20, 3}};
	struct scene *s = *state;

	scene_own_object(s, KEY, TPM_ALG_ECC, TPMA_OBJECT_SIGN);
	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		uint32_t maximum = limits[i].from;
		uint32_t counter = limits[i].counter;

		try_at(s, counter, maximum, 7200, 0, "lockout-near");
		try_at(s, counter + 1, maximum, 7200, 0, "lockout-near");
		if (counter == 0)
			continue;
		try_at(s, counter - 1, maximum, 7200, 0, NULL);
		try_at(s, 0, maximum, 7200, limits[i].charge, "own-failures");
		try_at(s, 0, maximum, 7200, limits[i].charge - 1, NULL);
	}
	try_at(s, 40, 32, 0, 9, NULL); /* this TPM counts nothing */
}

static void test_pump_token_limits_of_every_maximum(void **state)
{
	(void)state;
	for (uint32_t maximum = 0; maximum <= 40; maximum++) {
		uint32_t counter = lockout_counter_limit(maximum);
		uint32_t charge = lockout_charge_limit(maximum);

		/* one more failure at the limit's edge locks nobody out */
		assert_true(counter == 0 || counter < maximum);
		assert_int_equal(counter, maximum < 2 ? 0 : maximum < 4 ? 1 : maximum / 2);
		assert_int_equal(charge, maximum < 8 ? 1 : maximum < 12 ? 2 : 3);
	}
	assert_int_equal(lockout_counter_limit(UINT32_MAX), UINT32_MAX / 2);
	assert_int_equal(lockout_charge_limit(UINT32_MAX), 3);
}

static void test_pump_token_needs_to_read_the_counter(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		asked_charged(0),
		tpm(TPM_CC_GET_CAPABILITY, response_of(0x084)),
		told_end(false, 0, 0, 0),
		told_refused(0x000b0921, "dictionary-attack"),
	};

	scene_own_object(s, KEY, TPM_ALG_ECC, TPMA_OBJECT_SIGN);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, sign()), 0x000b0921);
	scene_played(s);
}

/* A kernel node that fails goes on; what the TPM did with the authorization nobody knows. */
static void test_pump_unanswered_authorization_counts_as_failed(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		asked_charged(0),
		tpm(TPM_CC_GET_CAPABILITY, lockout(0, 32, 7200)),
		tpm_breaks(SIGN),
		told_end(true, 0, 32, 7200),
	};

	s->pump.channel.backend = POLICY_BACKEND_DEVICE;
	scene_own_object(s, KEY, TPM_ALG_ECC, TPMA_OBJECT_SIGN);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, sign()), 0x000b0101);
	scene_played(s);
}

/* The broker charges a session that is over with the token in its hand. */
static void test_pump_release_with_the_token_is_told(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		asked_charged(0),
		tpm(TPM_CC_GET_CAPABILITY, lockout(0, 32, 7200)),
		tpm_breaks(SIGN),
		told(ACCOUNT_REVOKED, 0, 0),
		told(ACCOUNT_CLOSED, 0, 0),
	};

	scene_own_object(s, KEY, TPM_ALG_ECC, TPMA_OBJECT_SIGN);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, sign()), 0x000b0101);
	scene_played(s);
}

static void test_pump_client_that_leaves_withdraws(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		silent(ACCOUNT_DA_BEGIN),
		leaves(),
		told_end(false, 0, 0, 0),
		told_refused(0x000b0120, "broker"),
	};

	scene_own_object(s, KEY, TPM_ALG_ECC, TPMA_OBJECT_SIGN);
	scene_send(s, sign());
	PLAY(s, steps);
	pump_run(&s->pump);
	scene_played(s);
}

/* A broker that answers nothing, or something else, and then comes to. */
static void test_pump_broker_that_does_not_answer(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		silent(ACCOUNT_DA_BEGIN),
		stale(),
		told_end(false, 0, 0, 0),
		told_refused(0x000b0120, "broker"),
		asked_charged(0),
		tpm(TPM_CC_GET_CAPABILITY, lockout(0, 32, 7200)),
		tpm(SIGN, response_with_session(0, nothing)),
		told_end(false, 0, 32, 7200),
	};

	scene_own_object(s, KEY, TPM_ALG_ECC, TPMA_OBJECT_SIGN);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, sign()), 0x000b0120);
	assert_int_equal(scene_answer(s, sign()), 0);
	scene_played(s);
}

/* ---- turns and sessions ---- */

static void test_pump_turn_is_asked_for_and_over(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		asked(ACCOUNT_TURN_BEGIN, 0, ACCOUNT_YES),
		tpm(TPM_CC_SELF_TEST, response_of(0)),
		told(ACCOUNT_TURN_END, 0, 0),
		asked(ACCOUNT_TURN_BEGIN, 0, ACCOUNT_YES),
		tpm(TPM_CC_SELF_TEST, response_of(0x101)),
		told(ACCOUNT_TURN_END, 0, 0),
		asked(ACCOUNT_TURN_BEGIN, 0, ACCOUNT_LIMIT),
		told_refused(0x000b0120, "turn"),
	};

	PLAY(s, steps);
	assert_int_equal(scene_answer(s, self_test()), 0);
	assert_int_equal(scene_answer(s, self_test()), 0x101);
	assert_int_equal(scene_answer(s, self_test()), 0x000b0120);
	scene_played(s);
}

static struct bytes owner_reads(
	struct bytes (*authorized)(uint32_t, const uint32_t *, size_t, struct bytes))
{
	static const uint32_t handles[] = {TPM_RH_OWNER, NV};
	static const uint8_t parameters[] = {0, 8, 0, 0}; /* size, offset */

	return authorized(NV_READ, handles, 2, bytes_of(parameters, sizeof parameters));
}

static void play_guess(struct scene *s, struct bytes answer, uint32_t code, bool wrong)
{
	const struct step steps[] = {
		asked_guess(ACCOUNT_YES),
		tpm(NV_READ, answer),
		told(ACCOUNT_TURN_END, wrong, 0),
	};

	PLAY(s, steps);
	assert_int_equal(scene_answer(s, owner_reads(command_with_guess)), code);
	assert_int_equal(s->pump.channel.link.held, 0);
	scene_played(s);
}

/* The owner reads whatever index it is. */
static void let_owner_read(struct scene *s)
{
	s->image.policies[0].ranges[0] = (struct policy_range){NV, NV, POLICY_USE_NV_READ};
	s->image.policies[0].range_count = 1;
}

static void test_pump_guesses_at_hierarchies(void **state)
{
	struct scene *s = *state;

	let_owner_read(s);
	play_guess(s, response_with_session(0, bytes_of("\0\0", 2)), 0, false);
	play_guess(s, response_of(0x9a2), 0x9a2, true);  /* BAD_AUTH, session 1 */
	play_guess(s, response_of(0x98e), 0x98e, true);  /* AUTH_FAIL */
	play_guess(s, response_of(0x14a), 0x14a, false); /* NV_UNINITIALIZED: it was right */
}

static void test_pump_guesses_that_are_refused(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		asked_guess(ACCOUNT_LIMIT),
		told_refused(0x000b0921, "hierarchy-guesses"),
		asked_guess(ACCOUNT_NO),
		told_refused(0x000b0120, "turn"),
	};

	let_owner_read(s);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, owner_reads(command_with_guess)), 0x000b0921);
	assert_int_equal(scene_answer(s, owner_reads(command_with_guess)), 0x000b0120);
	scene_played(s);
	s->pump.channel.link.fd = -1; /* where no broker counts, nobody guesses */
	assert_int_equal(scene_answer(s, owner_reads(command_with_guess)), 0x000b0120);
	assert_int_equal(scene_asked(s, (uint8_t[1]){0}, 1), 0);
}

/* What the TPM did with it nobody knows. */
static void test_pump_unanswered_guess_counts_as_wrong(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		asked_guess(ACCOUNT_YES),
		tpm_breaks(NV_READ),
		told(ACCOUNT_TURN_END, true, 0),
	};

	let_owner_read(s);
	s->pump.channel.backend = POLICY_BACKEND_DEVICE;
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, owner_reads(command_with_guess)), 0x000b0101);
	scene_played(s);
}

/* It costs no question; that it is wrong is told. */
static void test_pump_empty_authorizations_of_hierarchies(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(NV_READ, response_with_session(0, bytes_of("\0\0", 2))),
		tpm(NV_READ, response_of(0x9a2)),
		told(ACCOUNT_FAILED, ACCOUNT_FAILURE_HIERARCHY, 0),
	};

	let_owner_read(s);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, owner_reads(command_with_password)), 0);
	assert_int_equal(scene_answer(s, owner_reads(command_with_password)), 0x9a2);
	scene_played(s);
}

/* Turn before token, as all relays do; what was paid is given back when the next cannot be. */
static void test_pump_dues_are_paid_in_order(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		asked(ACCOUNT_TURN_BEGIN, 0, ACCOUNT_YES),
		asked_charged(0),
		tpm(TPM_CC_GET_CAPABILITY, lockout(0, 32, 7200)),
		tpm(SIGN, response_with_session(0, nothing)),
		told_end(false, 0, 32, 7200),
		told(ACCOUNT_TURN_END, 0, 0),
		asked(ACCOUNT_TURN_BEGIN, 0, ACCOUNT_YES),
		asked(ACCOUNT_DA_BEGIN, 0, ACCOUNT_NO),
		told(ACCOUNT_TURN_END, 0, 0),
		told_refused(0x000b0921, "dictionary-attack"),
	};

	scene_own_object(s, KEY, TPM_ALG_RSA, TPMA_OBJECT_SIGN);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, sign()), 0);
	assert_int_equal(scene_answer(s, sign()), 0x000b0921);
	assert_int_equal(s->pump.channel.link.held, 0);
	scene_played(s);
}

static void test_pump_session_that_is_not_made_is_told(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		asked(ACCOUNT_SESSION_BEGIN, 0, ACCOUNT_YES),
		tpm(TPM_CC_START_AUTH_SESSION, response_of(0x903)),
		told(ACCOUNT_SESSION_END, 0, 0),
		asked(ACCOUNT_SESSION_BEGIN, 0, ACCOUNT_LIMIT),
		told_refused(0x000b0903, "tpm-sessions"),
	};

	PLAY(s, steps);
	assert_int_equal(scene_answer(s, start_session()), 0x903);
	assert_int_equal(scene_answer(s, start_session()), 0x000b0903);
	scene_played(s);
}

static void test_pump_saved_session_is_named_before_it_is_loaded(void **state)
{
	static const uint32_t words[] = {0, 1, 0x02000009, TPM_RH_NULL, 0x0002aaaa};
	struct scene *s = *state;
	const struct step steps[] = {
		asked(ACCOUNT_SESSION_BEGIN, 0x02000009, ACCOUNT_YES),
		tpm(TPM_CC_CONTEXT_LOAD, response_of_handle(0x02000009)),
		told(ACCOUNT_SESSION_END, 0, 0x02000009),
	};

	PLAY(s, steps);
	assert_int_equal(scene_answer(s, command_of(TPM_CC_CONTEXT_LOAD, words, 5)), 0);
	assert_true(account_session(&s->pump.account, 0x02000009)->dictionary_attack);
	scene_played(s);
}

/* ---- NV indices ---- */

static struct bytes write_index(void)
{
	static const uint32_t handles[] = {NV, NV};
	static const uint8_t parameters[] = {0, 1, 0xff, 0, 0};

	return command_with_password(NV_WRITE, handles, 2, bytes_of(parameters, sizeof parameters));
}

static void test_pump_nv_writes_are_charged(void **state)
{
	struct scene *s = *state;
	/* it is known by what does not change with its use */
	const struct step read = tpm(TPM_CC_NV_READ_PUBLIC,
		response_of_nv_public(NV, TPMA_NV_NO_DA | TPMA_NV_WRITTEN | TPMA_NV_READLOCKED));
	const struct bytes known = nv_public(NV, TPMA_NV_NO_DA);
	const struct step steps[] = {
		read,
		asked_about(ACCOUNT_LOOKUP, ACCOUNT_KIND_NV, NV, known, ACCOUNT_YES),
		asked(ACCOUNT_CHARGE, 0, ACCOUNT_YES),
		/* others may have come first */
		read,
		asked_about(ACCOUNT_LOOKUP, ACCOUNT_KIND_NV, NV, known, ACCOUNT_YES),
		tpm(NV_WRITE, response_with_session(0, nothing)),
		read,
		asked_about(ACCOUNT_LOOKUP, ACCOUNT_KIND_NV, NV, known, ACCOUNT_YES),
		asked(ACCOUNT_CHARGE, 0, ACCOUNT_LIMIT),
		told_refused(0x000b0920, "nv-writes"),
		read,
		asked_about(ACCOUNT_LOOKUP, ACCOUNT_KIND_NV, NV, known, ACCOUNT_NO),
		told_refused(0x000b0120, "nv-index"),
		read,
		silent(ACCOUNT_LOOKUP),
		told_refused(0x000b0120, "broker"),
	};

	PLAY(s, steps);
	assert_int_equal(scene_answer(s, write_index()), 0);
	assert_int_equal(scene_answer(s, write_index()), 0x000b0920);
	assert_int_equal(scene_answer(s, write_index()), 0x000b0120);
	assert_int_equal(scene_answer(s, write_index()), 0x000b0120);
	scene_played(s);
}

static struct bytes define_index(void)
{
	static const uint32_t owner = TPM_RH_OWNER;
	struct bytes public = nv_public(NV, TPMA_NV_NO_DA);
	struct bytes parameters = {.size = 4 + public.size};

	parameters.bytes[3] = (uint8_t) public.size; /* after an empty authorization */
	memcpy(parameters.bytes + 4, public.bytes, public.size);
	return command_with_password(TPM_CC_NV_DEFINE_SPACE, &owner, 1, parameters);
}

/* What becomes of a claim of NV; the TPM answers CODE. */
static void claim_index(struct scene *s, uint32_t code)
{
	const struct step steps[] = {
		tpm(TPM_CC_NV_READ_PUBLIC, response_of(0x18b)),
		told_absent(ACCOUNT_KIND_NV, NV),
		asked_claim(ACCOUNT_KIND_NV, NV, 32, nv_public(NV, TPMA_NV_NO_DA), ACCOUNT_YES),
		tpm(TPM_CC_NV_DEFINE_SPACE,
			code ? response_of(code) : response_with_session(0, nothing)),
		asked_confirm(ACCOUNT_KIND_NV, NV, code == 0),
	};

	PLAY(s, steps);
	assert_int_equal(scene_answer(s, define_index()), code);
	scene_played(s);
}

static void test_pump_claims_before_and_confirms_after(void **state)
{
	claim_index(*state, 0);
	claim_index(*state, 0x14b);
}

static void test_pump_claims_that_are_not_granted(void **state)
{
	static const struct {
		enum account_answer answer;
		uint32_t code;
		const char *rule;
	} answers[] = {{ACCOUNT_LIMIT, 0x000b014b, "nv-quota"},
		{ACCOUNT_TAKEN, 0x000b014c, "handle-taken"},
		{ACCOUNT_UNAVAILABLE, 0x000b0120, "registry"},
		{ACCOUNT_RATE, 0x000b0920, "nv-writes"}, {ACCOUNT_NO, 0x000b014b, "nv-quota"}};
	struct scene *s = *state;

	for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		const struct step steps[] = {
			tpm(TPM_CC_NV_READ_PUBLIC, response_of(0x18b)),
			told_absent(ACCOUNT_KIND_NV, NV),
			asked_claim(ACCOUNT_KIND_NV, NV, 32, nv_public(NV, TPMA_NV_NO_DA),
				answers[i].answer),
			told_refused(answers[i].code, answers[i].rule),
		};

		PLAY(s, steps);
		assert_int_equal(scene_answer(s, define_index()), answers[i].code);
		scene_played(s);
	}
}

/* The broker will doubt it. */
static void test_pump_claim_that_nobody_knows_the_end_of(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(TPM_CC_NV_READ_PUBLIC, response_of(0x18b)),
		told_absent(ACCOUNT_KIND_NV, NV),
		asked_claim(ACCOUNT_KIND_NV, NV, 32, nv_public(NV, TPMA_NV_NO_DA), ACCOUNT_YES),
		tpm_breaks(TPM_CC_NV_DEFINE_SPACE),
		told(ACCOUNT_REVOKED, 0, 0),
		told(ACCOUNT_CLOSED, 0, 0),
	};

	s->pump.channel.backend = POLICY_BACKEND_DEVICE;
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, define_index()), 0x000b0101);
	scene_played(s);
}

#define PUMP_TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		PUMP_TEST(test_pump_token_is_asked_for_and_given_back),
		PUMP_TEST(test_pump_only_counted_failures_are_told),
		PUMP_TEST(test_pump_token_leaves_room_below_the_maximum),
		PUMP_TEST(test_pump_token_limits_of_every_maximum),
		PUMP_TEST(test_pump_token_needs_to_read_the_counter),
		PUMP_TEST(test_pump_unanswered_authorization_counts_as_failed),
		PUMP_TEST(test_pump_release_with_the_token_is_told),
		PUMP_TEST(test_pump_client_that_leaves_withdraws),
		PUMP_TEST(test_pump_broker_that_does_not_answer),
		PUMP_TEST(test_pump_turn_is_asked_for_and_over),
		PUMP_TEST(test_pump_guesses_at_hierarchies),
		PUMP_TEST(test_pump_guesses_that_are_refused),
		PUMP_TEST(test_pump_unanswered_guess_counts_as_wrong),
		PUMP_TEST(test_pump_empty_authorizations_of_hierarchies),
		PUMP_TEST(test_pump_dues_are_paid_in_order),
		PUMP_TEST(test_pump_session_that_is_not_made_is_told),
		PUMP_TEST(test_pump_saved_session_is_named_before_it_is_loaded),
		PUMP_TEST(test_pump_nv_writes_are_charged),
		PUMP_TEST(test_pump_claims_before_and_confirms_after),
		PUMP_TEST(test_pump_claims_that_are_not_granted),
		PUMP_TEST(test_pump_claim_that_nobody_knows_the_end_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
