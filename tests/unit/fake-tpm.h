#pragma once
/*
 * A small TPM for tests of the resource manager: few slots, and a context counter that wraps soon.
 * What is in it says what it is, so that a mix-up shows:
 *
 *   CreatePrimary, ReadPublic, Certify   give the numbers of the objects that were really used
 *   SequenceUpdate, SequenceComplete     a number and a sum of all that was hashed
 *   StartAuthSession, PolicyGetDigest    a number, and how many policy commands there were
 *
 * Sessions follow the reference code (Part 4, Session.c): the gap, the slot that is kept free for
 * the oldest, saved sessions listed and flushed without regard to their kind.
 */
#include "relay/tpm-command.h"

#include <sys/types.h>

#define FAKE_TPM_OBJECTS  3
#define FAKE_TPM_SESSIONS 3 /* loaded */
#define FAKE_TPM_ACTIVE   64
#define FAKE_TPM_GAP      60 /* saves after which the oldest context would be ambiguous */

/* Commands of its own: lose power (u8: whether with a Startup); give an answer that is a lie. */
#define FAKE_TPM_CC_RESET 0x20000001u
#define FAKE_TPM_CC_LIE   0x20000002u /* u32: code of the command; the rest: the answer, once */

struct fake_tpm_object {
	uint32_t number; /* 0: the slot is free */
	uint32_t sum;
	bool sequence;
};

struct fake_tpm_session {
	uint32_t number; /* 0: there is none */
	uint32_t count;
	bool policy;
	uint64_t saved; /* counter when it was saved; 0: it is loaded */
};

struct fake_tpm {
	bool started;
	uint32_t resets;
	uint32_t clears;
	uint32_t last_number;
	uint64_t counter;
	uint64_t objects_saved;
	struct fake_tpm_object objects[FAKE_TPM_OBJECTS];
	struct fake_tpm_session sessions[FAKE_TPM_ACTIVE];
	uint32_t lie_code;
	uint8_t lie[TPM_MESSAGE_MAX];
	size_t lie_size;
};

/* A TPM that waits for Startup. */
void fake_tpm_init(struct fake_tpm *tpm);

/* Executes a command, and returns the size of the response. */
size_t fake_tpm_execute(struct fake_tpm *tpm, const uint8_t *command, size_t size,
	uint8_t response[TPM_MESSAGE_MAX]);

/* A TPM in a process of its own, which ends when *ret_fd, a stream, is closed. */
pid_t fake_tpm_start(int *ret_fd);
