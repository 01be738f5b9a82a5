#pragma once
/*
 * A session: one command after another from the client, judged, executed or refused, and answered.
 */
#include "relay/account.h"
#include "relay/channel.h"

struct pump {
	const struct policy_image *image;
	struct channel channel;
	struct account account;
	size_t received;           /* bytes at the front of `input` */
	uint64_t partial_deadline; /* when half a command is given up; 0: there is none */
	uint64_t counted;          /* channel.transacted, as saves were counted last */
	unsigned sessions;         /* that were there then */
	uint32_t saves;            /* of sessions' contexts that the broker was not told of */
	uint32_t context_gap;      /* TPM_PT_CONTEXT_GAP_MAX; 0: not known */
	bool gap_was_read;         /* once, whether or not the TPM has told it */
	uint8_t input[TPM_MESSAGE_MAX];
	uint8_t output[TPM_MESSAGE_MAX];
};

/* IMAGE must outlive the pump. */
void pump_init(struct pump *pump, const struct policy_image *image);

/* Serves until the client leaves. */
void pump_run(struct pump *pump);

/*
 * Answers one command, the first SIZE bytes of `input`, in `output`. Returns the response's size.
 * The part of pump_run() that fuzzing and benchmarks need.
 */
size_t pump_answer(struct pump *pump, size_t size);
