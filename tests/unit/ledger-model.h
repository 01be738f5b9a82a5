#pragma once
/*
 * A model of the ledger that is as simple as can be: it counts, and knows of every TPM session
 * whose it is, and nothing of queues.
 */
#include "ledger-scene.h"

#define DEVICES     2
#define UIDS        4
#define PARTIES     12
#define HANDLES     24
#define INTERVAL    100
#define INTERVAL_MS 100000
#define HOUR_MS     3600000
#define SMALL       255 /* the gap of contexts */

struct model_party {
	struct actor *actor; /* NULL: the slot is free */
	unsigned device;
	unsigned uid;
	bool unsettled;
	unsigned joined; /* the how manieth */
	unsigned held;
	unsigned waits;
	unsigned others[UIDS]; /* tokens that each uid got while this one waits for it */
	bool reserved;
	bool room; /* it was one of room, not of a saved session */
	uint32_t handle;
};

struct model_session {
	bool there;
	unsigned uid;
	struct model_party *party; /* NULL: saved */
	uint64_t saved_at;
	unsigned serial; /* the later it was saved, the greater */
	bool ordered;
	bool flushing;
	struct model_party *orderer;
	bool sent; /* the order was */
	int64_t sent_at;
};

/* Of one uid on one TPM. */
struct model_user {
	unsigned charge;
	int64_t failed_at; /* ms; or when one fell off */
	int64_t nv;        /* writes to be refilled, HOUR_MS each */
	int64_t nv_at;
};

struct model {
	uint64_t random;
	int64_t now;
	struct model_party parties[PARTIES];
	struct model_user users[DEVICES][UIDS];
	struct model_session sessions[DEVICES][HANDLES];
	uint64_t saves[DEVICES];
	unsigned granted;
	unsigned serial;
};

extern struct model model;
extern const char *const model_devices[DEVICES];

/* A random number below COUNT. */
unsigned model_pick(unsigned count);
void model_pass(int64_t milliseconds);

struct model_user *model_user(const struct model_party *party);
struct model_party *model_party_of(const struct actor *actor);
/* An authorization of PARTY's has failed. */
void model_fails(const struct model_party *party);
/* How many have the TPM's token, or the uid's turn. */
unsigned model_holders(unsigned device, unsigned uid, enum account_held what);
bool model_is_settled(unsigned device);

/* TPM sessions, and room reserved for some, of UID or in all (UIDS). */
unsigned model_sessions(unsigned device, unsigned uid);
unsigned model_reserved(unsigned device, unsigned uid);
/* Whether it is saved, and about to be flushed. */
bool model_is_ending(const struct model_session *session);
/* The oldest saved one that is not ending, or NULL. */
struct model_session *model_oldest(unsigned device, unsigned uid);
/* What counts for the uid's limit; and of that, what can be flushed. */
void model_room(unsigned device, unsigned uid, unsigned *ret_count, unsigned *ret_saved);
