#pragma once
/*
 * A ledger with a clock of the test's own, and parties that note what they are called for.
 */
#include "broker/config.h"
#include "broker/ledger.h"

#define TPM   "tpm0"
#define OTHER "tpm1"

#define HMAC(n)   (0x02000000u + (n))
#define POLICY(n) (0x03000000u + (n))
#define GAP       65535

enum {
	ALICE = 1000,
	BOB = 1001,
	CAROL = 1002,
};

struct actor {
	struct ledger_party *party;
	unsigned tokens; /* how often it was granted one */
	unsigned turns;
	unsigned order; /* of all grants, the number of its last one */
	uint32_t charge;
	uint32_t age;
	unsigned flushes;
	uint32_t flush; /* the last handle that it was to flush */
	void (*on_granted)(struct actor *actor, enum account_held what); /* NULL: nothing */
	void (*on_flush)(struct actor *actor, uint32_t handle);
};

extern struct config config;
extern struct ledger *ledger;
extern unsigned grants; /* all of them */

int scene_setup(void **state);
int scene_teardown(void **state);

void scene_pass_ms(int64_t milliseconds);
void scene_pass(int64_t seconds);
void scene_sleep(int64_t seconds); /* the machine does */

/* Whatever is to be called back is. */
void scene_settle(void);

struct actor *actor_join_as(const char *device, uint32_t uid, bool unsettled);
struct actor *actor_join(uint32_t uid);
void actor_leave(struct actor *actor);
/* Asks, and whoever is to get something gets it. */
void actor_begin(struct actor *actor, enum account_held what);
/* The token comes back, with a lockout of interval INTERVAL; maximum 32. */
void actor_end_da(struct actor *actor, bool failed, uint32_t interval);
/* Gets the token, and fails. */
void actor_fail(struct actor *actor, uint32_t interval);

/* TPM sessions that are made, saved and loaded; and COUNT saves, with whatever they lead to. */
void actor_make(struct actor *actor, uint32_t handle);
void actor_save(struct actor *actor, uint32_t handle);
void actor_load(struct actor *actor, uint32_t handle);
void actor_saves(struct actor *actor, uint32_t count);

struct ledger_report report(uint32_t uid);
/* TPM sessions of UID. */
uint32_t count_of(uint32_t uid);
