#pragma once
/*
 * The tables behind ledger.h, for the files ledger*.c alone.
 *
 *   ledger --- TPMs --- users    (uids)     charge, bucket of NV writes, who waits for the turn
 *                   --- parties  (sessions of tpmgate)
 *                   --- TPM sessions, by the lower 24 bits of their handles
 *
 * A user stays as long as something is owed, a TPM as long as it has users.
 */
#include "broker/ledger.h"

#include <glib.h>

#define LEDGER_SECOND         1000            /* ms: the unit of all times */
#define LEDGER_HIERARCHY_FALL INT64_C(600000) /* ms until one failure falls off */
/*
 * s: for a recovery interval that no relay has read yet, the longest that TPMs come with. It is not
 * to be forgotten for less, and a charge that never fell would keep the broker for ever.
 */
#define LEDGER_INTERVAL_UNKNOWN 86400
#define LEDGER_TPM_SESSIONS_MAX 64 /* of one TPM: MAX_ACTIVE_SESSIONS of those that are made */

/* An order to flush a TPM session. */
enum ledger_order {
	LEDGER_ORDER_NONE = 0,
	LEDGER_ORDER_DUE,   /* the callback is yet to be called */
	LEDGER_ORDER_SENT,  /* once is enough */
	LEDGER_ORDER_DOING, /* it is being flushed */
};

/* The room that an unanswered ledger_begin_session() has. */
enum ledger_reserved {
	LEDGER_RESERVED_NONE = 0,
	LEDGER_RESERVED_ROOM,  /* that of one more TPM session */
	LEDGER_RESERVED_SAVED, /* that which the saved one has already */
};

struct ledger_user {
	struct ledger_tpm *tpm;
	uint32_t uid;
	unsigned parties;

	uint32_t charge;    /* failures, as of charged_at */
	int64_t charged_at; /* ms: the last failure, or since it the last time that one fell off */
	uint32_t
		interval; /* s; as the uid's own relays read it: nobody's word shortens another's */
	bool interval_known;

	uint64_t token_ended; /* ledger->serial as its last token came back */
	unsigned turns_held;
	GQueue turn_waits; /* of struct ledger_party */

	unsigned tpm_sessions;
	unsigned tpm_sessions_reserved;
	uint32_t gap; /* TPM_PT_CONTEXT_GAP_MAX, the largest that its relays told; 0: none did */
	int64_t saves_left; /* that may be told, as of saves_at; see SAVES_BURST */
	int64_t saves_at;

	uint32_t hierarchy_failures; /* as of hierarchy_failed_at */
	int64_t hierarchy_failed_at;

	int64_t nv_debt; /* as of nv_debt_at; see NV_WRITE in ledger-charge.c */
	int64_t nv_debt_at;
};

struct ledger_tpm {
	struct ledger *ledger;
	char *device;
	GQueue users;
	GQueue parties;
	unsigned unsettled;

	unsigned tokens_held;
	GQueue token_waits; /* of struct ledger_party */
	struct ledger_lockout lockout;

	GHashTable *tpm_sessions; /* lower 24 bits of the handle -> struct ledger_tpm_session */
	unsigned tpm_sessions_reserved;
	uint64_t saves; /* the TPM's context counter, as far as it was told */
};

struct ledger_tpm_session {
	uint32_t handle;
	struct ledger_user *user;
	struct ledger_party *party; /* where it is loaded; NULL: it is saved */
	uint64_t saved_at;          /* in saves of the TPM */
	enum ledger_order order;
	bool saving;                  /* loaded, and perhaps saved by now */
	struct ledger_party *ordered; /* who flushes it, where it is saved; NULL: left since */
	int64_t ordered_at;           /* ms of ledger_awake(): as the order was sent */
	uint64_t unobeyed; /* ledger->serial as it was first ordered where it is loaded, or 0 */
	uint64_t serial;   /* ledger->serial as it was saved */
};

struct ledger_party {
	struct ledger_user *user;
	const struct ledger_calls *calls;
	void *context;
	bool unsettled;
	unsigned held;        /* enum account_held, as bits */
	unsigned waits;       /* likewise */
	uint64_t token_since; /* ledger->serial as it began to wait for the token */
	bool guesses;         /* at a hierarchy's authorization, while it has the turn */

	enum ledger_reserved reserved;
	uint32_t reserved_handle; /* the saved TPM session that it is about to load, or 0 */
	bool begun_before;        /* the broker before may have let it make a TPM session */
};

struct ledger {
	const struct config *config;
	GQueue tpms;
	uint64_t serial; /* the order in which things happened */
	guint dispatch;  /* the source that calls back */
};

/* What is to be called back. */
struct ledger_event {
	struct ledger_party *party; /* NULL: nothing */
	enum account_held what;     /* granted; 0: flush */
	uint32_t handle;
};

/* Calls back from the main loop, so that callbacks may do with the ledger what they like. */
void ledger_schedule(struct ledger *ledger);

/* The next order to flush of TPM, which counts as sent. */
struct ledger_event ledger_next_order(struct ledger_tpm *tpm);
/* PARTY is leaving: the TPM sessions loaded in it are gone, the saved ones stay. */
void ledger_leave_sessions(struct ledger_party *party);

/* ms of CLOCK_BOOTTIME: a TPM's own timer goes on while the machine sleeps. */
int64_t ledger_now(void);
/* ms of CLOCK_MONOTONIC: relays do nothing while the machine sleeps. */
int64_t ledger_awake(void);

/* s: in which one of USER's failures falls off; 0: none does. */
uint32_t ledger_interval(const struct ledger_user *user);
/* How many of USER's failures have fallen off since charged_at; and lets them. */
uint32_t ledger_charge_fallen(const struct ledger_user *user, int64_t now);
void ledger_charge_fall(struct ledger_user *user, int64_t now);
void ledger_charge_failure(struct ledger_user *user, int64_t now);
/* What PARTY's relay read, NULL: nothing. */
void ledger_learn_lockout(
	struct ledger_party *party, const struct ledger_lockout *lockout, int64_t now);

/* Lets those of USER's failures at hierarchies fall off whose time is over; returns the rest. */
uint32_t ledger_hierarchy_fall(struct ledger_user *user, int64_t now);

/* What is yet to be refilled of USER's bucket, and the NV writes that are left with such a debt. */
int64_t ledger_nv_debt(const struct ledger_user *user, const struct config *config, int64_t now);
uint32_t ledger_nv_left(const struct config *config, int64_t debt);
