/*
 * Owns: the TPM sessions of each TPM and who has them. One is loaded in a party, or saved and its
 * uid's. The room of those that are about to be made is reserved, so that two that ask at one time
 * do not both get the last.
 *
 * Age: the TPM's context counter when a TPM session was saved last, against the counter now. The
 * kernel saves each session of a descriptor after each of its commands, so those of a party that
 * works stay young; those of one that is idle, and those saved, get old as others work. Part 1,
 * "Context Management": a TPM that cannot count on from its oldest saved context saves none.
 */
#include "broker/ledger-tables.h"

#include "broker/config.h"

/*
 * Part 2, TPM_PT_CONTEXT_GAP_MAX: 2^n - 1, n at least 8. TPMs keep the lower 8 or 16 bits of their
 * counters with a session (CONTEXT_SLOT of the reference code is a UINT16, as in software TPMs).
 * To flush sooner than a greater gap demands is no harm; to believe in one is, as it makes nothing
 * ever old.
 */
#define GAP_MIN 255
#define GAP_MAX 65535

#define ORDER_MS    340000 /* then an order counts as neglected: relays wait for a TPM 330 s */
#define SAVES_SLACK 4096   /* saves that one report may hold beyond what is due */
/*
 * Saves of a uid that count: software TPMs make some 7,000 in a second through a relay, hardware
 * some hundred. What is told beyond that would have others renew for nothing. The burst is what
 * comes together after a broker that was stopped.
 */
#define SAVES_PER_MS 32
#define SAVES_BURST  262144
#define ENDING_MAX   2 /* of one uid, to make room: who does not flush gains nothing */

/* A TPM shows one session as 0x02nnnnnn and as 0x03nnnnnn. */
static gpointer session_key(uint32_t handle)
{
	return GUINT_TO_POINTER(handle & 0xffffff);
}

static struct ledger_tpm_session *session_find(const struct ledger_tpm *tpm, uint32_t handle)
{
	return g_hash_table_lookup(tpm->tpm_sessions, session_key(handle));
}

static void session_remove(struct ledger_tpm *tpm, struct ledger_tpm_session *session)
{
	session->user->tpm_sessions--;
	g_hash_table_remove(tpm->tpm_sessions, session_key(session->handle));
}

/* SESSION's newest context is as new as can be: whatever order there was is out of date. */
static void session_renew(const struct ledger_tpm *tpm, struct ledger_tpm_session *session)
{
	session->saved_at = tpm->saves;
	session->order = LEDGER_ORDER_NONE;
	session->ordered = NULL;
	session->unobeyed = 0;
}

/* Orders about saved sessions that nobody has carried out for so long are void. */
static void sessions_forget_orders(const struct ledger_tpm *tpm, int64_t now)
{
	struct ledger_tpm_session *session;
	GHashTableIter iter;

	g_hash_table_iter_init(&iter, tpm->tpm_sessions);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&session))
		if (!session->party && session->order >= LEDGER_ORDER_SENT &&
			now - session->ordered_at > ORDER_MS) {
			session->order = LEDGER_ORDER_NONE;
			session->ordered = NULL;
		}
}

static void reservation_end(struct ledger_party *party)
{
	if (party->reserved == LEDGER_RESERVED_ROOM) {
		party->user->tpm_sessions_reserved--;
		party->user->tpm->tpm_sessions_reserved--;
	}
	party->reserved = LEDGER_RESERVED_NONE;
	party->reserved_handle = 0;
}

/* A saved one that is about to be flushed has no room of its own any more. */
static bool session_is_ending(const struct ledger_tpm_session *session)
{
	return !session->party && session->order != LEDGER_ORDER_NONE;
}

/* The oldest that USER has saved and nobody is to flush; and how many of those there are. */
static struct ledger_tpm_session *session_oldest(
	const struct ledger_user *user, uint32_t *ret_count)
{
	struct ledger_tpm_session *oldest = NULL;
	struct ledger_tpm_session *session;
	uint32_t count = 0;
	GHashTableIter iter;

	g_hash_table_iter_init(&iter, user->tpm->tpm_sessions);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&session)) {
		if (session->user != user || session->party || session_is_ending(session))
			continue;
		count++;
		if (!oldest || session->serial < oldest->serial)
			oldest = session;
	}
	*ret_count = count;
	return oldest;
}

static unsigned sessions_ending(const struct ledger_user *user)
{
	struct ledger_tpm_session *session;
	unsigned count = 0;
	GHashTableIter iter;

	g_hash_table_iter_init(&iter, user->tpm->tpm_sessions);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&session))
		count += session->user == user && session_is_ending(session);
	return count;
}

/* By how many one more of USER would be too many, those left out that are ending. */
static uint32_t session_excess(const struct ledger_user *user)
{
	uint32_t limit = user->tpm->ledger->config->tpm_sessions_per_user;
	uint32_t count = user->tpm_sessions_reserved + 1;
	struct ledger_tpm_session *session;
	GHashTableIter iter;

	g_hash_table_iter_init(&iter, user->tpm->tpm_sessions);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&session))
		count += session->user == user && !session_is_ending(session);
	return count > limit ? count - limit : 0;
}

/*
 * Makes room for one more of PARTY's uid: orders PARTY to flush the oldest that are saved. There
 * may be more than one too many, where a party left without having done so: those are flushed
 * first, and there is room when they are gone.
 */
static bool session_make_room(struct ledger_party *party)
{
	uint32_t saved;
	struct ledger_tpm_session *oldest = session_oldest(party->user, &saved);
	uint32_t excess = session_excess(party->user);
	uint32_t ending = sessions_ending(party->user);

	if (excess > saved)
		return false;
	for (; excess > 0 && ending < ENDING_MAX; excess--, ending++) {
		oldest->order = LEDGER_ORDER_DUE;
		oldest->ordered = party;
		ledger_schedule(party->user->tpm->ledger);
		oldest = session_oldest(party->user, &saved);
	}
	return excess == 0;
}

enum account_answer ledger_begin_session(struct ledger_party *party, uint32_t handle)
{
	struct ledger_user *user = party->user;
	struct ledger_tpm *tpm = user->tpm;
	const struct ledger_tpm_session *session = handle != 0 ? session_find(tpm, handle) : NULL;
	bool own = session && session->user == user;

	sessions_forget_orders(tpm, ledger_awake());
	reservation_end(party);
	party->begun_before = party->unsettled;
	if (session && session->order == LEDGER_ORDER_DOING)
		return ACCOUNT_LIMIT; /* it is being flushed */
	if (own && !session_is_ending(session)) {
		party->reserved = LEDGER_RESERVED_SAVED;
	} else {
		if (!own && g_hash_table_size(tpm->tpm_sessions) + tpm->tpm_sessions_reserved >=
				    tpm->ledger->config->tpm_sessions)
			return ACCOUNT_LIMIT;
		if (!session_make_room(party))
			return ACCOUNT_LIMIT;
		party->reserved = LEDGER_RESERVED_ROOM;
		user->tpm_sessions_reserved++;
		tpm->tpm_sessions_reserved++;
	}
	party->reserved_handle = handle;
	return ACCOUNT_YES;
}

/* Whether PARTY was let make or load HANDLE. A relay that was taken over must not fill the table.
 */
static bool session_was_begun(const struct ledger_party *party, uint32_t handle)
{
	if (party->unsettled)
		return handle == 0 || party->user->tpm_sessions < LEDGER_TPM_SESSIONS_MAX;
	if (party->reserved == LEDGER_RESERVED_NONE)
		return party->begun_before;
	return handle == 0 || party->reserved_handle == 0 ||
	       session_key(handle) == session_key(party->reserved_handle);
}

bool ledger_end_session(struct ledger_party *party, uint32_t handle)
{
	struct ledger_user *user = party->user;
	struct ledger_tpm *tpm = user->tpm;
	struct ledger_tpm_session *session;
	bool begun = session_was_begun(party, handle);

	reservation_end(party);
	party->begun_before = party->unsettled;
	if (!begun || handle == 0)
		return begun;
	session = session_find(tpm, handle);
	/* nobody's word takes from another uid what it has loaded; where it is true, as after a
	 * reset of the TPM, that uid's relay will say that it is gone */
	if (session && session->party && session->user != user)
		return true;
	if (session)
		session_remove(tpm, session);
	session = g_new0(struct ledger_tpm_session, 1);
	session->handle = handle;
	session->user = user;
	session->party = party;
	session_renew(tpm, session);
	user->tpm_sessions++;
	g_hash_table_insert(tpm->tpm_sessions, session_key(handle), session);
	return true;
}

static void session_become_saved(struct ledger_tpm *tpm, struct ledger_tpm_session *session)
{
	session->party = NULL;
	session->saving = false;
	session->serial = ++tpm->ledger->serial;
	session_renew(tpm, session);
}

bool ledger_saved_session(struct ledger_party *party, uint32_t handle, bool done)
{
	struct ledger_tpm *tpm = party->user->tpm;
	struct ledger_tpm_session *session = session_find(tpm, handle);

	if (!session || session->party != party)
		return false;
	if (done)
		session_become_saved(tpm, session);
	else
		session->saving = true;
	return true;
}

void ledger_gone_session(struct ledger_party *party, uint32_t handle)
{
	struct ledger_tpm *tpm = party->user->tpm;
	struct ledger_tpm_session *session = session_find(tpm, handle);

	/* nobody's word ends what another uid has, but for an order to do so */
	if (session && (session->party ? session->party == party
				       : session->user == party->user || session->ordered == party))
		session_remove(tpm, session);
}

enum account_answer ledger_flush_session(struct ledger_party *party, uint32_t handle)
{
	struct ledger_tpm_session *session = session_find(party->user->tpm, handle);

	/* asked a second time where the first answer came too late */
	if (!session || session->party || session->ordered != party ||
		(session->order != LEDGER_ORDER_SENT && session->order != LEDGER_ORDER_DOING))
		return ACCOUNT_NO;
	session->order = LEDGER_ORDER_DOING;
	session->ordered_at = ledger_awake();
	return ACCOUNT_YES;
}

/*
 * TPM_PT_CONTEXT_GAP_MAX of TPM. Where uids differ about it, the least that two of them have told:
 * one alone neither keeps old sessions by telling too much, if two others know better, nor has
 * those of others flushed by telling too little.
 */
static uint32_t session_gap(const struct ledger_tpm *tpm)
{
	uint32_t least = 0; /* 0: nobody has told */
	uint32_t second = 0;

	for (GList *link = tpm->users.head; link; link = link->next) {
		const struct ledger_user *user = link->data;
		uint32_t gap = user->gap;

		if (gap == 0)
			continue;
		if (least == 0 || gap < least) {
			second = least;
			least = gap;
		} else if (second == 0 || gap < second) {
			second = gap;
		}
	}
	if (least == 0)
		return GAP_MAX;
	return second == 0 ? least : second;
}

/* Whether SESSION stands in everybody's way soon. */
static bool session_is_serious(const struct ledger_tpm_session *session)
{
	const struct ledger_tpm *tpm = session->user->tpm;

	return tpm->saves - session->saved_at > (uint64_t)session_gap(tpm) / 4 * 3;
}

/*
 * Whether the order to flush SESSION is to be given anew: one that nobody carries out, and where
 * it is serious already one to its own uid. A flush that was begun may be on its way to the TPM.
 */
static bool session_order_is_stale(
	const struct ledger_tpm_session *session, const struct ledger_party *party, int64_t now)
{
	if (session->order != LEDGER_ORDER_SENT && session->order != LEDGER_ORDER_DOING)
		return false;
	if (now - session->ordered_at > ORDER_MS)
		return true;
	return session->order == LEDGER_ORDER_SENT && !session->party &&
	       session->ordered->user == session->user && party->user != session->user &&
	       session_is_serious(session);
}

/* Who is to flush SESSION: its own party, one of its uid, or at last PARTY. */
static struct ledger_party *session_flusher(
	const struct ledger_tpm_session *session, struct ledger_party *party)
{
	if (session->party)
		return session->party;
	if (session->user == party->user ||
		(session->order != LEDGER_ORDER_NONE && session_is_serious(session)))
		return party;
	for (GList *link = party->user->tpm->parties.head; link; link = link->next) {
		struct ledger_party *own = link->data;

		if (own->user == session->user)
			return own;
	}
	return session_is_serious(session) ? party : NULL;
}

/* How many of COUNT saves that USER's relays tell of count. */
static uint32_t saves_counted(struct ledger_user *user, uint32_t count, int64_t now)
{
	int64_t earned = MIN(now - user->saves_at, SAVES_BURST) * SAVES_PER_MS;
	int64_t counted;

	user->saves_left = MIN(user->saves_left + earned, SAVES_BURST);
	user->saves_at = now;
	counted = MIN(count, user->saves_left);
	user->saves_left -= counted;
	return (uint32_t)counted;
}

bool ledger_saves(struct ledger_party *party, uint32_t count, uint32_t gap)
{
	struct ledger_user *user = party->user;
	struct ledger_tpm *tpm = user->tpm;
	int64_t now = ledger_awake();
	struct ledger_tpm_session *session;
	struct ledger_party *flusher;
	GHashTableIter iter;

	/* no TPM's gap shrinks */
	if (gap != 0)
		user->gap = MAX(user->gap, CLAMP(gap, GAP_MIN, GAP_MAX));
	/* a relay tells sooner than that */
	if (count > (user->gap != 0 ? user->gap : GAP_MAX) / 16 + SAVES_SLACK)
		return false;
	gap = session_gap(tpm);
	tpm->saves += saves_counted(user, count, now);
	g_hash_table_iter_init(&iter, tpm->tpm_sessions);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&session)) {
		if (session->party == party) {
			session_renew(tpm, session);
		} else if (tpm->saves - session->saved_at > gap / 2 &&
			   (session->order == LEDGER_ORDER_NONE ||
				   session_order_is_stale(session, party, now))) {
			flusher = session_flusher(session, party);
			if (!flusher)
				continue;
			session->ordered = flusher;
			session->order = LEDGER_ORDER_DUE;
			ledger_schedule(tpm->ledger);
		}
	}
	return true;
}

struct ledger_event ledger_next_order(struct ledger_tpm *tpm)
{
	struct ledger_tpm_session *session;
	GHashTableIter iter;

	g_hash_table_iter_init(&iter, tpm->tpm_sessions);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&session)) {
		if (session->order != LEDGER_ORDER_DUE)
			continue;
		session->order = LEDGER_ORDER_SENT;
		session->ordered_at = ledger_awake();
		if (session->party && session->unobeyed == 0)
			session->unobeyed = ++tpm->ledger->serial;
		return (struct ledger_event){.party = session->ordered, .handle = session->handle};
	}
	return (struct ledger_event){0};
}

uint64_t ledger_unobeyed_order(const struct ledger_party *party)
{
	struct ledger_tpm_session *session;
	uint64_t oldest = 0;
	GHashTableIter iter;

	g_hash_table_iter_init(&iter, party->user->tpm->tpm_sessions);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&session))
		if (session->party == party && session->unobeyed != 0 &&
			(oldest == 0 || session->unobeyed < oldest))
			oldest = session->unobeyed;
	return oldest;
}

void ledger_leave_sessions(struct ledger_party *party)
{
	struct ledger_tpm *tpm = party->user->tpm;
	struct ledger_tpm_session *session;
	GHashTableIter iter;

	reservation_end(party);
	g_hash_table_iter_init(&iter, tpm->tpm_sessions);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&session)) {
		if (session->party == party && session->saving) {
			/* nobody knows whether it was: in doubt the TPM has it still */
			session_become_saved(tpm, session);
		} else if (session->party == party) {
			session->user->tpm_sessions--;
			g_hash_table_iter_remove(&iter);
		} else if (session->ordered == party) {
			/* nobody knows whether it was flushed: the next one is asked, but not while
			 * that may be on its way to the TPM */
			if (session->order != LEDGER_ORDER_DOING)
				session->order = LEDGER_ORDER_NONE;
			session->ordered = NULL;
		}
	}
}
