#include "ledger-scene.h"

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

struct config config;
struct ledger *ledger;
unsigned grants;

static int64_t now;   /* ms of CLOCK_BOOTTIME */
static int64_t slept; /* ms of which CLOCK_MONOTONIC knows nothing */
static GPtrArray *actors;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
	int64_t time = clock == CLOCK_MONOTONIC ? now - slept : now;

	assert_true(clock == CLOCK_BOOTTIME || clock == CLOCK_MONOTONIC);
	*ret_time = (struct timespec){.tv_sec = time / 1000, .tv_nsec = time % 1000 * 1000000};
	return 0;
}

int scene_setup(void **state)
{
	(void)state;
	config = config_new();
	ledger = ledger_new(&config);
	actors = g_ptr_array_new_with_free_func(g_free);
	now = 5000;
	slept = 0;
	grants = 0;
	return 0;
}

int scene_teardown(void **state)
{
	(void)state;
	ledger_free(ledger);
	g_ptr_array_unref(actors);
	config_done(&config);
	return 0;
}

void scene_pass_ms(int64_t milliseconds)
{
	now += milliseconds;
}

void scene_pass(int64_t seconds)
{
	scene_pass_ms(seconds * 1000);
}

void scene_sleep(int64_t seconds)
{
	slept += seconds * 1000;
	scene_pass(seconds);
}

void scene_settle(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		;
}

static void on_granted(void *context, enum account_held what, uint32_t charge, uint32_t age)
{
	struct actor *actor = context;

	assert_non_null(actor->party);
	actor->order = ++grants;
	if (what == ACCOUNT_HELD_DA) {
		actor->tokens++;
		actor->charge = charge;
		actor->age = age;
	} else {
		assert_int_equal(what, ACCOUNT_HELD_TURN);
		assert_int_equal(charge, 0);
		assert_int_equal(age, 0);
		actor->turns++;
	}
	if (actor->on_granted)
		actor->on_granted(actor, what);
}

static void on_flush(void *context, uint32_t handle)
{
	struct actor *actor = context;

	assert_non_null(actor->party);
	actor->flushes++;
	actor->flush = handle;
	if (actor->on_flush)
		actor->on_flush(actor, handle);
}

struct actor *actor_join_as(const char *device, uint32_t uid, bool unsettled)
{
	static const struct ledger_calls calls = {.granted = on_granted, .flush = on_flush};
	struct actor *actor = g_new0(struct actor, 1);

	g_ptr_array_add(actors, actor);
	actor->party = ledger_join(ledger, device, uid, unsettled, &calls, actor);
	assert_non_null(actor->party);
	return actor;
}

struct actor *actor_join(uint32_t uid)
{
	return actor_join_as(TPM, uid, false);
}

void actor_leave(struct actor *actor)
{
	struct ledger_party *party = actor->party;

	actor->party = NULL;
	ledger_leave(party);
}

void actor_begin(struct actor *actor, enum account_held what)
{
	assert_true(ledger_begin(actor->party, what));
	scene_settle();
}

void actor_end_da(struct actor *actor, bool failed, uint32_t interval)
{
	struct ledger_lockout lockout = {.counter = 1, .maximum = 32, .interval = interval};

	assert_true(ledger_end_da(actor->party, failed, &lockout));
	scene_settle();
}

void actor_fail(struct actor *actor, uint32_t interval)
{
	unsigned tokens = actor->tokens;

	actor_begin(actor, ACCOUNT_HELD_DA);
	assert_int_equal(actor->tokens, tokens + 1);
	actor_end_da(actor, true, interval);
}

void actor_make(struct actor *actor, uint32_t handle)
{
	assert_int_equal(ledger_begin_session(actor->party, 0), ACCOUNT_YES);
	assert_true(ledger_end_session(actor->party, handle));
}

void actor_save(struct actor *actor, uint32_t handle)
{
	assert_true(ledger_saved_session(actor->party, handle, true));
}

void actor_load(struct actor *actor, uint32_t handle)
{
	assert_int_equal(ledger_begin_session(actor->party, handle), ACCOUNT_YES);
	assert_true(ledger_end_session(actor->party, handle));
}

void actor_saves(struct actor *actor, uint32_t count)
{
	while (count > 0) {
		uint32_t some = MIN(count, 4096); /* no relay tells of more at once */

		assert_true(ledger_saves(actor->party, some, GAP));
		count -= some;
		scene_pass_ms(some / 32 + 1); /* no TPM is faster */
	}
	scene_settle();
}

struct ledger_report report(uint32_t uid)
{
	return ledger_report(ledger, TPM, uid);
}

uint32_t count_of(uint32_t uid)
{
	return report(uid).tpm_sessions;
}
