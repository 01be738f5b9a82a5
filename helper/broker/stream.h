#pragma once
/*
 * A TPM behind a Unix socket that nobody manages, such as a software TPM: one session at a time has
 * it, and the others wait in the order they came, for some seconds.
 *
 *	FREE --acquire--> HELD --release--> FREE, or HELD by the next that waits
 */
#include "broker/wait.h"

#include <stdbool.h>

struct stream;

struct stream *stream_new(const char *path, unsigned wait_ms);
void stream_free(struct stream *stream);

/*
 * Waits for the TPM. DONE is called once, from the main loop, unless the wait is cancelled; after
 * WAIT_GRANTED the TPM is held until stream_release().
 */
struct wait *stream_acquire(struct stream *stream, wait_done done, void *context);

/* The TPM is held by a session of the broker before this one. */
void stream_hold(struct stream *stream);
void stream_release(struct stream *stream);
bool stream_is_held(const struct stream *stream);
