/*
 * Thousands of random steps of parties of several uids on two TPMs, compared with a simple model:
 * it counts, knows of every TPM session whose it is, and nothing of queues. What is granted is
 * compared with what may be. A run is repeated by its seed: TPMGATE_TEST_SEED.
 */
#include "ledger-model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define STEPS 20000

/* ---- callbacks ---- */

/* Nobody of PARTY's uid has waited for the token but from now on. */
static void is_served(const struct model_party *party)
{
	for (unsigned i = 0; i < PARTIES; i++) {
		struct model_party *other = &model.parties[i];

		if (other->device == party->device && other->uid == party->uid)
			memset(other->others, 0, sizeof other->others);
	}
}

static void on_granted(struct actor *actor, enum account_held what)
{
	struct model_party *party = model_party_of(actor);

	assert_true(party->waits & what);
	assert_true(model_is_settled(party->device));
	assert_int_equal(model_holders(party->device, party->uid, what), 0);
	party->waits &= ~(unsigned)what;
	party->held |= what;
	model.granted++;
	if (what != ACCOUNT_HELD_DA)
		return;
	assert_int_equal(actor->charge, model_user(party)->charge);
	if (actor->charge > 0)
		assert_int_equal(actor->age, (model.now - model_user(party)->failed_at) / 1000);
	for (unsigned i = 0; i < PARTIES; i++) {
		struct model_party *other = &model.parties[i];

		if (!other->actor || other->device != party->device || other->uid == party->uid ||
			!(other->waits & ACCOUNT_HELD_DA))
			continue;
		assert_int_equal(other->others[party->uid], 0);
		other->others[party->uid]++;
	}
	is_served(party);
}

static void on_flush(struct actor *actor, uint32_t handle)
{
	struct model_party *party = model_party_of(actor);
	struct model_session *session = &model.sessions[party->device][handle & 0xffffff];

	assert_true(session->there);
	assert_true(session->ordered);
	assert_ptr_equal(session->party ? session->party : session->orderer, party);
	session->sent = true;
	session->sent_at = model.now;
	if (model_pick(2) == 0) {
		bool may = !session->party;

		assert_int_equal(
			ledger_flush_session(actor->party, handle), may ? ACCOUNT_YES : ACCOUNT_NO);
		session->flushing = may;
		return; /* it takes its time */
	}
	session->there = false;
	ledger_gone_session(actor->party, handle ^ (model_pick(2) << 24));
}

/* ---- steps ---- */

static void join(struct model_party *party)
{
	*party = (struct model_party){
		.device = model_pick(DEVICES),
		.uid = model_pick(UIDS),
		.joined = ++model.serial,
		.unsettled = model_pick(12) == 0,
	};
	party->actor =
		actor_join_as(model_devices[party->device], ALICE + party->uid, party->unsettled);
	party->actor->on_granted = on_granted;
	party->actor->on_flush = on_flush;
}

static void leave(struct model_party *party)
{
	if (party->held & ACCOUNT_HELD_DA)
		model_fails(party);
	for (unsigned i = 0; i < HANDLES; i++) {
		struct model_session *session = &model.sessions[party->device][i];

		if (session->party == party)
			*session = (struct model_session){0};
		else if (session->there && session->orderer == party && session->flushing)
			session->orderer = NULL; /* it may be on its way */
		else if (session->there && session->orderer == party)
			session->ordered = session->sent = false;
	}
	actor_leave(party->actor);
	*party = (struct model_party){0};
}

static void begin(struct model_party *party)
{
	enum account_held what = model_pick(2) ? ACCOUNT_HELD_DA : ACCOUNT_HELD_TURN;
	bool may = !((party->held | party->waits) & what);

	assert_int_equal(ledger_begin(party->actor->party, what), may);
	if (!may)
		return;
	party->waits |= what;
	if (what == ACCOUNT_HELD_DA)
		memset(party->others, 0, sizeof party->others);
}

static void withdraw(struct model_party *party)
{
	enum account_held what = model_pick(2) ? ACCOUNT_HELD_DA : ACCOUNT_HELD_TURN;

	assert_int_equal(ledger_withdraw(party->actor->party, what), (party->waits & what) != 0);
	party->waits &= ~(unsigned)what;
}

static void end_da(struct model_party *party)
{
	struct ledger_lockout lockout = {.counter = 0, .maximum = 32, .interval = INTERVAL};
	bool failed = model_pick(3) == 0;
	bool taken = ledger_end_da(party->actor->party, failed, &lockout);

	assert_int_equal(taken, (party->held & ACCOUNT_HELD_DA) || party->unsettled);
	if (taken && failed)
		model_fails(party);
	party->held &= ~(unsigned)ACCOUNT_HELD_DA;
}

static void end_turn(struct model_party *party)
{
	assert_int_equal(ledger_end_turn(party->actor->party, false),
		(party->held & ACCOUNT_HELD_TURN) || party->unsettled);
	party->held &= ~(unsigned)ACCOUNT_HELD_TURN;
}

static void settle(struct model_party *party)
{
	unsigned held = model_pick(4);

	/* one that tells the truth holds nothing that another has */
	if (model_holders(party->device, party->uid, ACCOUNT_HELD_DA) > 0)
		held &= ~(unsigned)ACCOUNT_HELD_DA;
	if (model_holders(party->device, party->uid, ACCOUNT_HELD_TURN) > 0)
		held &= ~(unsigned)ACCOUNT_HELD_TURN;
	assert_int_equal(ledger_settle(party->actor->party, held), party->unsettled);
	if (!party->unsettled)
		return;
	party->unsettled = false;
	if (held & ACCOUNT_HELD_DA)
		is_served(party);
	party->held |= held;
	party->waits &= ~held;
}

static unsigned ending_of(unsigned device, unsigned uid)
{
	unsigned count = 0;

	for (unsigned i = 0; i < HANDLES; i++)
		count += model.sessions[device][i].there && model.sessions[device][i].uid == uid &&
			 model_is_ending(&model.sessions[device][i]);
	return count;
}

/* What nobody has done for so long nobody does. */
static void forget_orders(unsigned device)
{
	for (unsigned i = 0; i < HANDLES; i++) {
		struct model_session *session = &model.sessions[device][i];

		if (session->there && !session->party && session->sent &&
			model.now - session->sent_at > 340000)
			session->ordered = session->flushing = session->sent = false;
	}
}

static void begin_session(struct model_party *party)
{
	uint32_t handle = model_pick(2) ? 0 : HMAC(model_pick(HANDLES));
	struct model_session *session =
		handle != 0 ? &model.sessions[party->device][handle & 0xffffff] : NULL;
	bool own = session && session->there && session->uid == party->uid;
	enum account_answer answer;
	unsigned count;
	unsigned saved;

	forget_orders(party->device);
	answer = ledger_begin_session(party->actor->party, handle);
	party->reserved = false;
	model_room(party->device, party->uid, &count, &saved);
	count += model_reserved(party->device, party->uid);
	if (session && session->there && session->flushing) {
		assert_int_equal(answer, ACCOUNT_LIMIT);
		return;
	}
	if (!own || model_is_ending(session)) {
		if ((!own && model_sessions(party->device, UIDS) +
					     model_reserved(party->device, UIDS) >=
				     config.tpm_sessions) ||
			count - saved >= config.tpm_sessions_per_user) {
			assert_int_equal(answer, ACCOUNT_LIMIT);
			return;
		}
		for (; count >= config.tpm_sessions_per_user; count--) {
			struct model_session *oldest = model_oldest(party->device, party->uid);

			if (ending_of(party->device, party->uid) >= 2) {
				assert_int_equal(answer, ACCOUNT_LIMIT);
				return;
			}
			oldest->ordered = true;
			oldest->sent = false;
			oldest->orderer = party;
		}
		party->room = true;
	} else {
		party->room = false;
	}
	assert_int_equal(answer, ACCOUNT_YES);
	party->reserved = true;
	party->handle = handle;
}

static void end_session(struct model_party *party)
{
	uint32_t handle = party->handle != 0 ? party->handle : HMAC(model_pick(HANDLES));
	struct model_session *session = &model.sessions[party->device][handle & 0xffffff];

	if (!party->reserved)
		return;
	party->reserved = false;
	if (model_pick(4) == 0) {
		assert_true(ledger_end_session(party->actor->party, 0));
		return;
	}
	assert_true(ledger_end_session(party->actor->party, handle ^ (model_pick(2) << 24)));
	/* nobody takes from another uid what it has loaded */
	if (session->there && session->party && session->uid != party->uid)
		return;
	*session = (struct model_session){.there = true,
		.uid = party->uid,
		.party = party,
		.saved_at = model.saves[party->device]};
}

static void save_session(struct model_party *party)
{
	uint32_t handle = POLICY(model_pick(HANDLES));
	struct model_session *session = &model.sessions[party->device][handle & 0xffffff];

	assert_int_equal(ledger_saved_session(party->actor->party, handle, true),
		session->there && session->party == party);
	if (!session->there || session->party != party)
		return;
	session->party = NULL;
	session->saved_at = model.saves[party->device];
	session->serial = ++model.serial;
	session->ordered = session->sent = false;
}

static void lose_session(struct model_party *party)
{
	uint32_t handle = HMAC(model_pick(HANDLES));
	struct model_session *session = &model.sessions[party->device][handle & 0xffffff];

	ledger_gone_session(party->actor->party, handle);
	if (session->there &&
		(session->party ? session->party == party
				: session->uid == party->uid ||
					  (session->ordered && session->orderer == party)))
		*session = (struct model_session){0};
}

static bool is_serious(const struct model_session *session, const struct model_party *party)
{
	return model.saves[party->device] - session->saved_at > UINT64_C(3) * (SMALL / 4);
}

/* Whether whoever was ordered to flush it has neglected that. */
static bool is_neglected(const struct model_session *session, const struct model_party *party)
{
	if (!session->ordered || !session->sent)
		return false;
	if (model.now - session->sent_at > 340000)
		return true;
	return !session->party && !session->flushing && session->orderer->uid == session->uid &&
	       party->uid != session->uid && is_serious(session, party);
}

/* Its own party, the first to join of its uid, or at last PARTY. */
static struct model_party *flusher(const struct model_session *session, struct model_party *party)
{
	struct model_party *first = NULL;

	if (session->party)
		return session->party;
	if (session->uid == party->uid || (session->ordered && is_serious(session, party)))
		return party;
	for (unsigned i = 0; i < PARTIES; i++) {
		struct model_party *other = &model.parties[i];

		if (other->actor && other->device == party->device && other->uid == session->uid &&
			(!first || other->joined < first->joined))
			first = other;
	}
	return first || !is_serious(session, party) ? first : party;
}

static void saves(struct model_party *party)
{
	unsigned count = 1 + model_pick(60);

	model.saves[party->device] += count;
	for (unsigned i = 0; i < HANDLES; i++) {
		struct model_session *session = &model.sessions[party->device][i];

		if (!session->there)
			continue;
		if (session->party == party) {
			session->saved_at = model.saves[party->device];
			session->ordered = session->sent = false;
		} else if ((!session->ordered || is_neglected(session, party)) &&
			   model.saves[party->device] - session->saved_at > SMALL / 2) {
			session->orderer = flusher(session, party);
			session->ordered = session->orderer != NULL;
			session->sent = session->flushing = false;
		}
	}
	assert_true(ledger_saves(party->actor->party, count, SMALL));
}

static void write_nv(struct model_party *party)
{
	struct model_user *user = model_user(party);
	int64_t rate = config.nv_writes_per_hour;
	int64_t level = user->nv - (model.now - user->nv_at) * rate;
	bool may;

	if (level < 0)
		level = 0;
	may = level + HOUR_MS <= rate * HOUR_MS;
	assert_int_equal(ledger_charge(party->actor->party), may ? ACCOUNT_YES : ACCOUNT_LIMIT);
	user->nv = level + (may ? HOUR_MS : 0);
	user->nv_at = model.now;
}

/* ---- a run ---- */

/* Nobody waits for what is to be had, and everything is counted right. */
static void check(void)
{
	bool clear = true;

	for (unsigned i = 0; i < PARTIES; i++) {
		const struct model_party *party = &model.parties[i];

		if (!party->actor || !model_is_settled(party->device))
			continue;
		if (party->waits & ACCOUNT_HELD_DA)
			assert_int_equal(
				model_holders(party->device, party->uid, ACCOUNT_HELD_DA), 1);
		if (party->waits & ACCOUNT_HELD_TURN)
			assert_int_equal(
				model_holders(party->device, party->uid, ACCOUNT_HELD_TURN), 1);
	}
	for (unsigned i = 0; i < DEVICES * UIDS; i++) {
		unsigned device = i / UIDS;
		unsigned uid = i % UIDS;
		struct ledger_report told =
			ledger_report(ledger, model_devices[device], ALICE + uid);

		assert_int_equal(told.charge, model.users[device][uid].charge);
		assert_int_equal(told.tpm_sessions, model_sessions(device, uid));
		clear &= told.charge == 0 && told.nv_writes == config.nv_writes_per_hour;
	}
	for (unsigned i = 0; i < DEVICES * HANDLES; i++) {
		const struct model_session *session = &model.sessions[i / HANDLES][i % HANDLES];

		clear &= !session->there || session->party;
	}
	assert_int_equal(ledger_is_clear(ledger), clear);
}

static void step(struct model_party *party)
{
	static void (*const steps[])(struct model_party *) = {begin, begin, begin, begin, withdraw,
		end_da, end_da, end_da, end_turn, end_turn, settle, begin_session, begin_session,
		end_session, end_session, save_session, lose_session, saves, write_nv};

	if (!party->actor) {
		join(party);
		return;
	}
	if (model_pick(30) == 0)
		leave(party);
	else
		steps[model_pick(sizeof steps / sizeof steps[0])](party);
}

static void run(uint64_t seed)
{
	print_message("seed %llu\n", (unsigned long long)seed);
	model = (struct model){.random = seed};
	config.tpm_sessions_per_user = 4;
	config.tpm_sessions = 10;
	config.nv_writes_per_hour = 3;
	for (unsigned i = 0; i < DEVICES; i++) {
		/* somebody who has read the interval, and stays */
		struct actor *actor = actor_join_as(model_devices[i], ALICE + UIDS, false);

		actor_begin(actor, ACCOUNT_HELD_DA);
		actor_end_da(actor, false, INTERVAL);
	}
	for (unsigned i = 0; i < STEPS; i++) {
		if (model_pick(4) == 0)
			model_pass(model_pick(60000));
		for (unsigned burst = 1 + model_pick(3); burst > 0; burst--)
			step(&model.parties[model_pick(PARTIES)]);
		scene_settle();
		check();
	}
	assert_true(model.granted > STEPS / 20);
	for (unsigned i = 0; i < PARTIES; i++)
		if (model.parties[i].actor)
			leave(&model.parties[i]);
	check();
}

static void test_ledger_is_like_its_model(void **state)
{
	const char *seed = getenv("TPMGATE_TEST_SEED");

	if (seed) {
		run(strtoull(seed, NULL, 10));
		return;
	}
	for (uint64_t i = 1; i <= 8; i++) {
		run(i);
		scene_teardown(state);
		scene_setup(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_ledger_is_like_its_model, scene_setup, scene_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
