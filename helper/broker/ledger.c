/*
 * Owns: the tables of TPMs, uids and parties; token and turns. Charges and NV writes are in
 * ledger-charge.c, TPM sessions in ledger-sessions.c. Trusts a party's word about its own uid; what
 * one uid's relays say of the TPM decides nothing about the charge of another.
 *
 * The token's order: uids take turns. A uid that gave the token back while another uid waited
 * stands behind it, whenever its next party began to wait; else first come, first served.
 *
 *   asked for      ledger_begin()      waits
 *   granted        from the main loop  waits -> held, nobody else holds it, all are settled
 *   comes back     ledger_end_*()      held -> nothing
 *   lost           ledger_leave()      either -> nothing; a token that was held is charged, and a
 *                                      turn that was for a guess at a hierarchy counts as one
 */
#include "broker/ledger-tables.h"

#include "broker/config.h"

#include <string.h>

/* ---- the tables ---- */

struct ledger *ledger_new(const struct config *config)
{
	struct ledger *ledger = g_new0(struct ledger, 1);

	ledger->config = config;
	g_queue_init(&ledger->tpms);
	return ledger;
}

static void user_free(struct ledger_user *user)
{
	g_queue_clear(&user->turn_waits);
	g_free(user);
}

static void tpm_free(struct ledger_tpm *tpm)
{
	g_hash_table_unref(tpm->tpm_sessions);
	g_queue_clear(&tpm->token_waits);
	g_queue_clear_full(&tpm->users, (GDestroyNotify)user_free);
	g_queue_clear_full(&tpm->parties, g_free);
	g_free(tpm->device);
	g_free(tpm);
}

void ledger_free(struct ledger *ledger)
{
	if (!ledger)
		return;
	g_clear_handle_id(&ledger->dispatch, g_source_remove);
	g_queue_clear_full(&ledger->tpms, (GDestroyNotify)tpm_free);
	g_free(ledger);
}

static struct ledger_tpm *tpm_find(const struct ledger *ledger, const char *device)
{
	for (GList *link = ledger->tpms.head; link; link = link->next) {
		struct ledger_tpm *tpm = link->data;

		if (strcmp(tpm->device, device) == 0)
			return tpm;
	}
	return NULL;
}

static struct ledger_tpm *tpm_get(struct ledger *ledger, const char *device)
{
	struct ledger_tpm *tpm = tpm_find(ledger, device);

	if (tpm)
		return tpm;
	tpm = g_new0(struct ledger_tpm, 1);
	tpm->ledger = ledger;
	tpm->device = g_strdup(device);
	g_queue_init(&tpm->users);
	g_queue_init(&tpm->parties);
	g_queue_init(&tpm->token_waits);
	tpm->tpm_sessions = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	g_queue_push_tail(&ledger->tpms, tpm);
	return tpm;
}

static struct ledger_user *user_find(const struct ledger_tpm *tpm, uint32_t uid)
{
	for (GList *link = tpm->users.head; link; link = link->next) {
		struct ledger_user *user = link->data;

		if (user->uid == uid)
			return user;
	}
	return NULL;
}

static struct ledger_user *user_get(struct ledger_tpm *tpm, uint32_t uid)
{
	struct ledger_user *user = user_find(tpm, uid);

	if (user)
		return user;
	user = g_new0(struct ledger_user, 1);
	user->tpm = tpm;
	user->uid = uid;
	g_queue_init(&user->turn_waits);
	g_queue_push_tail(&tpm->users, user);
	return user;
}

static bool user_owes(const struct ledger_user *user, const struct config *config, int64_t now)
{
	/* with the interval 0 the TPM counts no failures, and what was charged never falls */
	return (ledger_interval(user) > 0 && user->charge > ledger_charge_fallen(user, now)) ||
	       (user->hierarchy_failures > 0 &&
		       now - user->hierarchy_failed_at <
			       user->hierarchy_failures * LEDGER_HIERARCHY_FALL) ||
	       ledger_nv_debt(user, config, now) > 0;
}

/* Frees what nobody has anything in. What falls with time is noticed at the next occasion. */
static void ledger_sweep(struct ledger *ledger)
{
	int64_t now = ledger_now();

	for (GList *link = ledger->tpms.head, *next; link; link = next) {
		struct ledger_tpm *tpm = link->data;

		next = link->next;
		for (GList *at = tpm->users.head, *after; at; at = after) {
			struct ledger_user *user = at->data;

			after = at->next;
			if (user->parties > 0 || user->tpm_sessions > 0 ||
				user_owes(user, ledger->config, now))
				continue;
			g_queue_delete_link(&tpm->users, at);
			user_free(user);
		}
		if (!tpm->users.head) {
			g_queue_delete_link(&ledger->tpms, link);
			tpm_free(tpm);
		}
	}
}

bool ledger_is_clear(const struct ledger *ledger)
{
	int64_t now = ledger_now();

	for (GList *link = ledger->tpms.head; link; link = link->next) {
		const struct ledger_tpm *tpm = link->data;
		struct ledger_tpm_session *tpm_session;
		GHashTableIter iter;

		for (GList *at = tpm->users.head; at; at = at->next)
			if (user_owes(at->data, ledger->config, now))
				return false;
		g_hash_table_iter_init(&iter, tpm->tpm_sessions);
		while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&tpm_session))
			if (!tpm_session->party)
				return false;
	}
	return true;
}

/* ---- who is called back ---- */

/*
 * Whose turn it is with the token. A uid waits since its first party asked, or since it had the
 * token last; one that had it later than another waits is passed over. The uid that had it longest
 * ago never is.
 */
static struct ledger_party *token_next(struct ledger_tpm *tpm)
{
	uint64_t longest = UINT64_MAX; /* since when the uid waits that waits longest */

	for (GList *link = tpm->token_waits.head; link; link = link->next) {
		const struct ledger_party *party = link->data;
		uint64_t since = MAX(party->token_since, party->user->token_ended);

		longest = MIN(longest, since);
	}
	for (GList *link = tpm->token_waits.head; link; link = link->next) {
		struct ledger_party *party = link->data;

		if (party->user->token_ended <= longest)
			return party;
	}
	return NULL;
}

static struct ledger_event grant(struct ledger_party *party, enum account_held what)
{
	party->waits &= ~(unsigned)what;
	party->held |= what;
	if (what == ACCOUNT_HELD_DA) {
		g_queue_remove(&party->user->tpm->token_waits, party);
		party->user->tpm->tokens_held++;
	} else {
		g_queue_remove(&party->user->turn_waits, party);
		party->user->turns_held++;
	}
	return (struct ledger_event){.party = party, .what = what};
}

static struct ledger_event next_grant(struct ledger_tpm *tpm)
{
	if (tpm->unsettled > 0)
		return (struct ledger_event){0};
	if (tpm->tokens_held == 0 && tpm->token_waits.head)
		return grant(token_next(tpm), ACCOUNT_HELD_DA);
	for (GList *link = tpm->users.head; link; link = link->next) {
		struct ledger_user *user = link->data;

		if (user->turns_held == 0 && user->turn_waits.head)
			return grant(user->turn_waits.head->data, ACCOUNT_HELD_TURN);
	}
	return (struct ledger_event){0};
}

static void call_granted(struct ledger_party *party, enum account_held what)
{
	struct ledger_user *user = party->user;
	uint32_t age = 0;

	if (what != ACCOUNT_HELD_DA) {
		party->calls->granted(party->context, what, 0, 0);
		return;
	}
	ledger_charge_fall(user, ledger_now());
	if (user->charge > 0)
		age = (uint32_t)CLAMP(
			(ledger_now() - user->charged_at) / LEDGER_SECOND, 0, (int64_t)UINT32_MAX);
	party->calls->granted(party->context, what, user->charge, age);
}

/* One callback, and it comes last: it may do anything, ending the ledger included. */
static gboolean ledger_dispatch(gpointer data)
{
	struct ledger *ledger = data;
	struct ledger_event event = {0};

	ledger->dispatch = 0;
	for (GList *link = ledger->tpms.head; link && !event.party; link = link->next) {
		event = ledger_next_order(link->data);
		if (!event.party)
			event = next_grant(link->data);
	}
	if (!event.party)
		return G_SOURCE_REMOVE;
	ledger_schedule(ledger);
	if (event.what == 0)
		event.party->calls->flush(event.party->context, event.handle);
	else
		call_granted(event.party, event.what);
	return G_SOURCE_REMOVE;
}

void ledger_schedule(struct ledger *ledger)
{
	if (ledger->dispatch == 0)
		ledger->dispatch =
			g_idle_add_full(G_PRIORITY_DEFAULT, ledger_dispatch, ledger, NULL);
}

/* ---- parties ---- */

struct ledger_party *ledger_join(struct ledger *ledger, const char *device, uint32_t uid,
	bool unsettled, const struct ledger_calls *calls, void *context)
{
	struct ledger_party *party = g_new0(struct ledger_party, 1);
	struct ledger_tpm *tpm;

	ledger_sweep(ledger);
	tpm = tpm_get(ledger, device);
	party->user = user_get(tpm, uid);
	party->calls = calls;
	party->context = context;
	party->unsettled = unsettled;
	party->begun_before = unsettled;
	party->user->parties++;
	tpm->unsettled += unsettled;
	g_queue_push_tail(&tpm->parties, party);
	return party;
}

static bool give_back(struct ledger_party *party, enum account_held what)
{
	struct ledger_user *user = party->user;

	if (!(party->held & what))
		return false;
	party->held &= ~(unsigned)what;
	if (what == ACCOUNT_HELD_DA) {
		user->tpm->tokens_held--;
		user->token_ended = ++user->tpm->ledger->serial;
	} else {
		user->turns_held--;
		party->guesses = false;
	}
	ledger_schedule(user->tpm->ledger);
	return true;
}

static void stop_waiting(struct ledger_party *party, unsigned what)
{
	if (party->waits & what & ACCOUNT_HELD_DA)
		g_queue_remove(&party->user->tpm->token_waits, party);
	if (party->waits & what & ACCOUNT_HELD_TURN)
		g_queue_remove(&party->user->turn_waits, party);
	party->waits &= ~what;
}

void ledger_leave(struct ledger_party *party)
{
	struct ledger_user *user;
	struct ledger_tpm *tpm;

	if (!party)
		return;
	user = party->user;
	tpm = user->tpm;
	stop_waiting(party, ACCOUNT_HELD_ALL);
	if (give_back(party, ACCOUNT_HELD_DA))
		ledger_charge_failure(user, ledger_now());
	if (party->guesses)
		ledger_failed_hierarchy(party);
	give_back(party, ACCOUNT_HELD_TURN);
	ledger_leave_sessions(party);
	tpm->unsettled -= party->unsettled;
	user->parties--;
	g_queue_remove(&tpm->parties, party);
	g_free(party);
	ledger_schedule(tpm->ledger);
	ledger_sweep(tpm->ledger);
}

bool ledger_settle(struct ledger_party *party, uint32_t held)
{
	struct ledger_user *user = party->user;

	if (!party->unsettled)
		return false;
	party->unsettled = false;
	party->held = held & ACCOUNT_HELD_ALL;
	party->guesses = (held & ACCOUNT_HELD_TURN) != 0; /* nobody knows what it is for */
	user->tpm->unsettled--;
	user->tpm->tokens_held += (held & ACCOUNT_HELD_DA) != 0;
	user->turns_held += (held & ACCOUNT_HELD_TURN) != 0;
	stop_waiting(party, party->held); /* the broker before has answered that */
	ledger_schedule(user->tpm->ledger);
	return true;
}

bool ledger_begin(struct ledger_party *party, enum account_held what)
{
	struct ledger *ledger = party->user->tpm->ledger;

	if (what != ACCOUNT_HELD_DA && what != ACCOUNT_HELD_TURN)
		return false;
	if ((party->held | party->waits) & what)
		return false;
	party->waits |= what;
	if (what == ACCOUNT_HELD_DA) {
		party->token_since = ++ledger->serial;
		g_queue_push_tail(&party->user->tpm->token_waits, party);
	} else {
		g_queue_push_tail(&party->user->turn_waits, party);
	}
	ledger_schedule(ledger);
	return true;
}

bool ledger_withdraw(struct ledger_party *party, enum account_held what)
{
	bool waited = party->waits & what;

	stop_waiting(party, what);
	return waited;
}

bool ledger_end_turn(struct ledger_party *party, bool failed)
{
	if (!give_back(party, ACCOUNT_HELD_TURN) && !party->unsettled)
		return false;
	if (failed)
		ledger_failed_hierarchy(party);
	return true;
}

bool ledger_end_da(struct ledger_party *party, bool failed, const struct ledger_lockout *lockout)
{
	int64_t now = ledger_now();

	/* an unsettled party may have sent this while there was no broker: no failure is lost */
	if (!give_back(party, ACCOUNT_HELD_DA) && !party->unsettled)
		return false;
	ledger_learn_lockout(party, lockout, now);
	if (failed)
		ledger_charge_failure(party->user, now);
	return true;
}

/* ---- what is told ---- */

uint32_t ledger_hierarchy_failures(struct ledger *ledger, const char *device, uint32_t uid)
{
	const struct ledger_tpm *tpm = tpm_find(ledger, device);
	struct ledger_user *user = tpm ? user_find(tpm, uid) : NULL;

	return user ? ledger_hierarchy_fall(user, ledger_now()) : 0;
}

struct ledger_report ledger_report(struct ledger *ledger, const char *device, uint32_t uid)
{
	const struct config *config = ledger->config;
	struct ledger_report report = {.nv_writes = config->nv_writes_per_hour};
	int64_t now = ledger_now();
	const struct ledger_tpm *tpm;
	struct ledger_user *user;

	ledger_sweep(ledger);
	tpm = tpm_find(ledger, device);
	if (!tpm)
		return report;
	report.lockout = tpm->lockout;
	user = user_find(tpm, uid);
	if (!user)
		return report;
	ledger_charge_fall(user, now);
	report.charge = user->charge;
	if (user->charge > 0 && ledger_interval(user) > 0) {
		int64_t left =
			user->charged_at + (int64_t)ledger_interval(user) * LEDGER_SECOND - now;

		report.charge_falls = (uint32_t)((left + LEDGER_SECOND - 1) / LEDGER_SECOND);
	}
	report.tpm_sessions = user->tpm_sessions;
	report.nv_writes = ledger_nv_left(config, ledger_nv_debt(user, config, now));
	return report;
}
