#pragma once
/*
 * The ledger: what sessions share of each TPM and of what each uid has had. In memory.
 *
 *   token    one per TPM, for authorizations that can raise its failure counter
 *   charge   failures of a uid on a TPM; falls by one per recovery interval since the last
 *   turn     one per uid and TPM, for commands that take long
 *   TPM sessions  those loaded in a session and those saved by ContextSave, per uid and in all;
 *            of each, how many context saves ago it was saved (the TPM's context counter may not
 *            run away from it: TPM_PT_CONTEXT_GAP_MAX, Part 2, section 6.13)
 *   NV writes  a bucket per uid and TPM that refills by the hour
 *
 * A party is one session of tpmgate. Whoever waits for a token or a turn is served in order, but
 * no uid twice while another waits. A party that needs both has to ask for them in the same order
 * as all others.
 *
 * Callbacks come from the main loop, never from within a function of the ledger, one at a time;
 * they may call any of its functions. A party that has left is not called back.
 */
#include "broker/config.h"
#include "common/account-protocol.h"

#include <stdbool.h>
#include <stdint.h>

struct ledger;
struct ledger_party;

/* CONFIG outlives the ledger; it is read at each question. */
struct ledger *ledger_new(const struct config *config);
/* Its parties are gone with it. */
void ledger_free(struct ledger *ledger);

/* Whether nothing is owed: no charge, no saved TPM session, no NV write to be refilled. */
bool ledger_is_clear(const struct ledger *ledger);

struct ledger_calls {
	/* the token or turn that was asked for has come. About the token, else 0: CHARGE, the
	 * failures that have not fallen off, and AGE, seconds since the last of them, without those
	 * in which others fell off: a newer interval makes it CHARGE less AGE / interval */
	void (*granted)(void *context, enum account_held what, uint32_t charge, uint32_t age);
	/* the party shall flush the TPM session HANDLE */
	void (*flush)(void *context, uint32_t handle);
};

/*
 * A session of UID on DEVICE. UNSETTLED: of a broker before this one, so that nobody gets a token
 * or turn of this TPM until ledger_settle() has told what it holds.
 */
struct ledger_party *ledger_join(struct ledger *ledger, const char *device, uint32_t uid,
	bool unsettled, const struct ledger_calls *calls, void *context);
/*
 * The session is over. A token that it held is charged as one failure, and a guess that it had
 * begun counts as wrong. NULL is nobody.
 */
void ledger_leave(struct ledger_party *party);
/*
 * What an unsettled party holds (enum account_held, as bits). What of that it waits for as well, it
 * has. False: it was settled before.
 */
bool ledger_settle(struct ledger_party *party, uint32_t held);

/*
 * The party wants a token or turn: calls->granted() will be called. False where it has or waits for
 * it already.
 */
bool ledger_begin(struct ledger_party *party, enum account_held what);
/* The party does not wait any more. False where it did not: it may have what it waited for. */
bool ledger_withdraw(struct ledger_party *party, enum account_held what);
/*
 * The turn is over. FAILED: the authorization of a hierarchy was wrong, or nobody knows. False
 * where it had none and is not unsettled.
 */
bool ledger_end_turn(struct ledger_party *party, bool failed);

/* What a relay read of a TPM (TPM_PT_LOCKOUT_COUNTER, _MAX_AUTH_FAIL, _LOCKOUT_INTERVAL). */
struct ledger_lockout {
	uint32_t counter;
	uint32_t maximum;  /* 0: nothing is known */
	uint32_t interval; /* seconds; 0: the counter does not fall */
};

/*
 * The token comes back. False where the party had none; of an unsettled one, which may have had it
 * of the broker before, it is taken.
 */
bool ledger_end_da(struct ledger_party *party, bool failed, const struct ledger_lockout *lockout);

/*
 * One more TPM session, or the saved one HANDLE: ACCOUNT_YES or ACCOUNT_LIMIT. What is saved counts
 * already. A uid that has its full number gets one more for the oldest that it saved, which the
 * party is ordered to flush: programs that end early leave theirs behind, and nobody could remove
 * them. No more than two such orders stand at one time, so that who does not flush gains nothing.
 */
enum account_answer ledger_begin_session(struct ledger_party *party, uint32_t handle);
/*
 * HANDLE is loaded in the party from now on; 0: nothing came of it. Whoever had HANDLE has not, but
 * for another uid that has it loaded: then nothing is recorded.
 * False, and nothing is recorded, where the party was not let make it; an unsettled one tells what
 * it has, and may have been about to make one more.
 */
bool ledger_end_session(struct ledger_party *party, uint32_t handle);
/*
 * HANDLE is saved; or, not DONE, is about to be, and counts as such when the party leaves before it
 * has told. False where HANDLE is not loaded in the party.
 */
bool ledger_saved_session(struct ledger_party *party, uint32_t handle, bool done);
/* HANDLE, loaded in the party, saved by its uid or ordered flushed, is no more. Others: nothing. */
void ledger_gone_session(struct ledger_party *party, uint32_t handle);
/*
 * The party is about to flush the saved HANDLE, as it was ordered: ACCOUNT_YES where that stands,
 * and from here on nobody may load it; ACCOUNT_NO where it was loaded since, or is gone and its
 * number may be somebody else's.
 */
enum account_answer ledger_flush_session(struct ledger_party *party, uint32_t handle);
/*
 * The TPM's context counter advanced by COUNT: each loaded session of the party was saved anew.
 * What is older than half of GAP (0: 65535, and no more than that; of a uid the largest that its
 * parties told, of several uids the least that two of them did) is ordered flushed: by the party
 * that has it loaded; if it is saved, by one of its uid, or beyond three quarters by this one.
 * Ordered once; again if that one leaves without having done it, does not do it for 340 s (its own
 * uid: until three quarters), or the TPM session was saved or loaded since. False where no relay
 * counts so many before it tells, or no TPM does so many in the time. An unsettled party may tell
 * at once of a time in which there was no broker: then no more count than could be.
 */
bool ledger_saves(struct ledger_party *party, uint32_t count, uint32_t gap);

/*
 * Of the orders to flush what is loaded in the party, which nobody else can, the number of the
 * oldest that it has not carried out; 0: there is none. One that is given again keeps its number.
 */
uint64_t ledger_unobeyed_order(const struct ledger_party *party);

/* An authorization failed and was counted by the TPM, though the party had no token. */
void ledger_failed(struct ledger_party *party);
/*
 * Guesses at hierarchies, which the TPM does not count: five of a uid on a TPM, whatever its
 * sessions; each falls off after ten minutes without another. The party, which has the turn, is
 * about to try one: false where there is none left. One uid's turn is one party's, so that no more
 * are tried than are left.
 */
bool ledger_begin_guess(struct ledger_party *party);
/* An authorization of a hierarchy failed, without a turn for it. */
void ledger_failed_hierarchy(struct ledger_party *party);
uint32_t ledger_hierarchy_failures(struct ledger *ledger, const char *device, uint32_t uid);

/* One more NV write: ACCOUNT_YES or ACCOUNT_LIMIT. */
enum account_answer ledger_charge(struct ledger_party *party);

/* For `tpmgate status`. */
struct ledger_report {
	struct ledger_lockout lockout; /* as last read */
	uint32_t charge;               /* the uid's */
	uint32_t charge_falls;         /* seconds until it falls by one; 0: it does not */
	uint32_t tpm_sessions;         /* the uid's, saved ones included */
	uint32_t nv_writes;            /* that the uid may do now */
};

struct ledger_report ledger_report(struct ledger *ledger, const char *device, uint32_t uid);
