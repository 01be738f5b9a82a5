#pragma once
/*
 * Conversations of several sessions with one broker's accounts, and the test as their relays.
 */
#include "registry-scene.h"

#include "broker/conversation.h"

#define NV      0x01800010u
#define SESSION 0x02000001u

enum {
	ALICE = 1000,
	BOB = 1001,
};

struct scene {
	struct registry_scene registry;
	struct accounts accounts;
};

struct relay {
	struct protocol_session facts;
	struct conversation *conversation;
	int fds[2];
	uint32_t serial;
	const char *ended; /* because; NULL: it was not */
};

extern struct scene scene;

int scene_setup(void **state);
int scene_teardown(void **state);

/* The session of UID on "tpm0". */
void relay_begin(struct relay *relay, uint32_t uid, bool adopted);
void relay_end(struct relay *relay);

/* The relay's next message from the broker; type 0: there is none. */
struct account_message relay_take(struct relay *relay);
void relay_expect_nothing(struct relay *relay);
/* As relay_take(), but waits for it. */
struct account_message relay_await(struct relay *relay);

/* The relay says MESSAGE, which must be well-formed. */
void relay_say(struct relay *relay, const struct account_message *message);
void relay_tell(struct relay *relay, enum account_type type, uint32_t argument, uint32_t handle);
/* DA_END of a TPM with recovery. */
void relay_end_da(struct relay *relay, bool failed);

/* A question, numbered. */
struct account_message relay_question(struct relay *relay, enum account_type type);
void relay_ask(struct relay *relay, enum account_type type, uint32_t handle);
/* Of NV; DATA NULL: none. */
void relay_ask_about(struct relay *relay, enum account_type type, uint32_t handle, const char *data,
	uint32_t argument);
/* Waits for the answer to the last question. */
struct account_message relay_answer(struct relay *relay);
void relay_expect(struct relay *relay, enum account_answer answer);

/* Fails unless the session was ended, BECAUSE. */
void relay_expect_ended(struct relay *relay, const char *because);
