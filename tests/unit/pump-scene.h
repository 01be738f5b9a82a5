#pragma once
/*
 * A pump with real sockets, and the test at their other ends: as client, TPM and broker. What TPM
 * and broker do is a list of steps that a child plays, in the order in which the pump has to ask
 * for them.
 */
#include "tpm-bytes.h"

#include "common/account-protocol.h"
#include "relay/pump.h"

struct scene {
	struct policy_image image;
	struct pump pump;
	int client; /* the other ends */
	int tpm;
	int account;
	pid_t player; /* 0: nobody plays */
};

/* For setup and teardown of cmocka: a session that may use every command and owns nothing. */
int scene_setup(void **state);
int scene_teardown(void **state);

/* The client sends a command. */
void scene_send(struct scene *scene, struct bytes command);
/* One command, without the client. Returns the code of the response. */
uint32_t scene_answer(struct scene *scene, struct bytes command);
/* The client has sent all that it will; serves what there is. */
void scene_run(struct scene *scene);
/* Takes the next response to the client; returns its code. */
uint32_t scene_take(struct scene *scene);
/* What the TPM was asked and nobody took. */
size_t scene_asked(struct scene *scene, uint8_t *bytes, size_t size);
/* Makes the session's own: an object, a TPM session that the broker knows of. */
void scene_own_object(struct scene *scene, uint32_t handle, uint16_t type, uint32_t attributes);
void scene_own_session(struct scene *scene, uint32_t handle);

/* ---- what TPM and broker do ---- */
enum play {
	PLAY_TPM,    /* the TPM gets a command and answers */
	PLAY_BREAK,  /* the TPM gets a command and hangs up */
	PLAY_ASKED,  /* the broker gets a question and answers */
	PLAY_SILENT, /* the broker gets a question */
	PLAY_STALE,  /* the broker answers YES to another question than the one before */
	PLAY_YES,    /* the broker answers YES to the one before */
	PLAY_TOLD,   /* the broker gets a fact */
	PLAY_ORDER,  /* the broker sends an order */
	PLAY_READ,   /* the client reads so many bytes of what it was sent */
	PLAY_LEAVE,  /* the client leaves */
};

struct step {
	enum play play;
	uint32_t type; /* command code; or type of a message of the account protocol */
	struct bytes answer;
	struct account_message message; /* to be sent; or what was to come, as far as it says */
	bool confirmed;                 /* CONFIRM: what must be told; TURN_BEGIN: it is a guess */
	size_t size;                    /* READ: bytes */
};

struct step tpm(uint32_t code, struct bytes answer);
struct step tpm_breaks(uint32_t code);
struct step asked(enum account_type type, uint32_t handle, enum account_answer answer);
/* A question with DATA of SIZE bytes. */
struct step asked_about(enum account_type type, enum account_kind kind, uint32_t handle,
	struct bytes data, enum account_answer answer);
/* DA_BEGIN of a uid that is charged with so many failures. */
struct step asked_charged(uint32_t charge);
/* TURN_BEGIN for a guess at a hierarchy. */
struct step asked_guess(enum account_answer answer);
struct step asked_claim(enum account_kind kind, uint32_t handle, uint32_t nv_size,
	struct bytes data, enum account_answer answer);
struct step asked_confirm(enum account_kind kind, uint32_t handle, bool success);
struct step silent(enum account_type type);
struct step stale(void);
struct step yes(void);
struct step told(enum account_type type, uint32_t argument, uint32_t handle);
struct step told_absent(enum account_kind kind, uint32_t handle);
/* DA_END with what was read of the TPM. */
struct step told_end(bool failed, uint32_t counter, uint32_t maximum, uint32_t interval);
struct step told_saves(uint32_t count, uint32_t gap);
struct step told_refused(uint32_t code, const char *rule);
struct step order(enum account_type type, uint32_t handle);
/* The order comes after the command CODE and before its response. */
struct step tpm_after_order(uint32_t code, struct bytes answer, uint32_t handle);
struct step reads(size_t size);
struct step leaves(void);

/* Has a child play STEPS. One that does not come as it is listed ends the session and the test. */
void scene_play(struct scene *scene, const struct step *steps, size_t count);
#define PLAY(scene, steps) scene_play(scene, steps, sizeof(steps) / sizeof((steps)[0]))
/* Waits for the end of the play, after which there must be nothing more. */
void scene_played(struct scene *scene);
