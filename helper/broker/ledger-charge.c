/*
 * Owns: what each uid has had of a TPM: failed authorizations, and NV writes. Trusts what a uid's
 * own relays read of the TPM with that uid's charge; that of others only where nothing is known.
 */
#include "broker/ledger-tables.h"

#include "broker/config.h"
#include "broker/log.h"
#include "common/lockout.h"

#include <time.h>

#define MS_PER_HOUR 3600000

#define HIERARCHY_FAILURES_MAX 5 /* of a uid on a TPM */

/*
 * One NV write of a bucket that refills by N an hour: N of these units flow off per millisecond,
 * so that nothing is rounded.
 */
#define NV_WRITE MS_PER_HOUR

static int64_t ms_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * LEDGER_SECOND + now.tv_nsec / 1000000;
}

int64_t ledger_now(void)
{
	return ms_of(CLOCK_BOOTTIME);
}

int64_t ledger_awake(void)
{
	return ms_of(CLOCK_MONOTONIC);
}

/* ---- charges ---- */

uint32_t ledger_interval(const struct ledger_user *user)
{
	return user->interval_known ? user->interval : LEDGER_INTERVAL_UNKNOWN;
}

uint32_t ledger_charge_fallen(const struct ledger_user *user, int64_t now)
{
	int64_t interval = (int64_t)ledger_interval(user) * LEDGER_SECOND;
	int64_t fallen;

	if (interval == 0)
		return 0;
	fallen = (now - user->charged_at) / interval;
	return (uint32_t)CLAMP(fallen, 0, (int64_t)user->charge);
}

void ledger_charge_fall(struct ledger_user *user, int64_t now)
{
	uint32_t fallen = ledger_charge_fallen(user, now);

	user->charge -= fallen;
	user->charged_at += (int64_t)fallen * ledger_interval(user) * LEDGER_SECOND;
}

/* What has fallen off by the old interval stays off. */
static void learn_interval(struct ledger_user *user, uint32_t interval, int64_t now)
{
	ledger_charge_fall(user, now);
	if (user->interval_known && user->interval == 0)
		user->charged_at = now; /* it did not fall until now */
	user->interval = interval;
	user->interval_known = true;
}

void ledger_charge_failure(struct ledger_user *user, int64_t now)
{
	ledger_charge_fall(user, now);
	if (user->charge < UINT32_MAX)
		user->charge++;
	user->charged_at = now;
	if (!user->interval_known && user->tpm->lockout.maximum > 0)
		learn_interval(user, user->tpm->lockout.interval, now);
}

/* Whether nobody may try for the time being, lest everybody be locked out. */
static bool is_near(const struct ledger_lockout *lockout)
{
	return lockout->maximum > 0 && lockout->interval > 0 &&
	       lockout->counter >= lockout_counter_limit(lockout->maximum);
}

/* Once, when it comes near. Relays tell what they like, so the user's lines are limited. */
static void tell_of_lockout(const struct ledger_party *party, const struct ledger_lockout *lockout)
{
	const struct ledger_user *user = party->user;

	if (!is_near(lockout) || is_near(&user->tpm->lockout))
		return;
	log_event(LOG_VERDICT, G_LOG_LEVEL_WARNING,
		&(struct log_about){.uid = &user->uid,
			.device = user->tpm->device,
			.event = EVENT_LOCKOUT_NEAR},
		"the TPM has counted %u wrong authorizations and locks everybody out at %u: until "
		"it takes one back, every %u s, nobody may try one",
		lockout->counter, lockout->maximum, lockout->interval);
}

void ledger_learn_lockout(
	struct ledger_party *party, const struct ledger_lockout *lockout, int64_t now)
{
	struct ledger_tpm *tpm = party->user->tpm;

	if (!lockout || lockout->maximum == 0)
		return;
	tell_of_lockout(party, lockout);
	tpm->lockout = *lockout;
	for (GList *link = tpm->users.head; link; link = link->next) {
		struct ledger_user *user = link->data;

		if (user == party->user || (!user->interval_known && user->charge > 0))
			learn_interval(user, lockout->interval, now);
	}
}

void ledger_failed(struct ledger_party *party)
{
	ledger_charge_failure(party->user, ledger_now());
}

/* ---- hierarchies ---- */

uint32_t ledger_hierarchy_fall(struct ledger_user *user, int64_t now)
{
	int64_t fallen = CLAMP((now - user->hierarchy_failed_at) / LEDGER_HIERARCHY_FALL, 0,
		(int64_t)user->hierarchy_failures);

	user->hierarchy_failures -= (uint32_t)fallen;
	user->hierarchy_failed_at += fallen * LEDGER_HIERARCHY_FALL;
	return user->hierarchy_failures;
}

void ledger_failed_hierarchy(struct ledger_party *party)
{
	struct ledger_user *user = party->user;
	int64_t now = ledger_now();

	if (ledger_hierarchy_fall(user, now) < HIERARCHY_FAILURES_MAX)
		user->hierarchy_failures++;
	user->hierarchy_failed_at = now;
}

bool ledger_begin_guess(struct ledger_party *party)
{
	if (!(party->held & ACCOUNT_HELD_TURN) ||
		ledger_hierarchy_fall(party->user, ledger_now()) >= HIERARCHY_FAILURES_MAX)
		return false;
	party->guesses = true;
	return true;
}

/* ---- NV writes ---- */

int64_t ledger_nv_debt(const struct ledger_user *user, const struct config *config, int64_t now)
{
	int64_t rate = config->nv_writes_per_hour;
	int64_t elapsed = CLAMP(now - user->nv_debt_at, 0, MS_PER_HOUR);

	/* a bucket cannot be emptier than empty, after its capacity was lowered */
	return MAX(MIN(user->nv_debt, rate * NV_WRITE) - elapsed * rate, 0);
}

uint32_t ledger_nv_left(const struct config *config, int64_t debt)
{
	return (uint32_t)((config->nv_writes_per_hour * (int64_t)NV_WRITE - debt) / NV_WRITE);
}

enum account_answer ledger_charge(struct ledger_party *party)
{
	struct ledger_user *user = party->user;
	const struct config *config = user->tpm->ledger->config;
	int64_t now = ledger_now();
	int64_t debt = ledger_nv_debt(user, config, now);

	if (ledger_nv_left(config, debt) == 0)
		return ACCOUNT_LIMIT;
	user->nv_debt = debt + NV_WRITE;
	user->nv_debt_at = now;
	return ACCOUNT_YES;
}
