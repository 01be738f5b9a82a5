#pragma once
/*
 * Those who wait for a TPM that is not free for all: in the order they came, each for a bounded
 * time.
 */
#include <glib.h>

#define WAIT_MS 10000 /* as long as a client waits for a TPM */

enum wait_result {
	WAIT_GRANTED = 0, /* FD leads to the TPM, and the callback owns it */
	WAIT_E_BUSY,      /* the wait is over */
	WAIT_E_FAILED,    /* there is no TPM to be had: PROBLEM says why */
};

typedef void (*wait_done)(void *context, enum wait_result result, int fd, const char *problem);

struct wait;

/* The last in QUEUE, which outlives it. DONE is called once, from the main loop. */
struct wait *wait_new(GQueue *queue, unsigned milliseconds, wait_done done, void *context);
/* DONE is not called any more. NULL is nobody. */
void wait_cancel(struct wait *wait);
/* Calls DONE; the wait is over. */
void wait_answer(struct wait *wait, enum wait_result result, int fd, const char *problem);

/* The first in QUEUE, or NULL. */
struct wait *wait_first(GQueue *queue);
void wait_cancel_all(GQueue *queue);
