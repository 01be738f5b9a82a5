#pragma once
/*
 * A TPM behind a Unix socket that nobody manages, such as a software TPM: one session at a time has
 * it, and the others wait in the order they came, for some seconds.
 *
 *	FREE --acquire--> HELD --release--> FREE, or HELD by the next that waits
 */
#include <stdbool.h>

#define STREAM_WAIT_MS 10000

enum stream_result {
	STREAM_GRANTED = 0, /* FD is a connection to the TPM, which the callback owns */
	STREAM_E_BUSY,      /* the wait is over */
	STREAM_E_FAILED,    /* there is no connection to be had: PROBLEM says why */
};

typedef void (*stream_done)(void *context, enum stream_result result, int fd, const char *problem);

struct stream;
struct stream_wait;

struct stream *stream_new(const char *path, unsigned wait_ms);
void stream_free(struct stream *stream);

/*
 * Waits for the TPM. DONE is called once, from the main loop; after STREAM_GRANTED the TPM is held
 * until stream_release(). After stream_cancel() it is not called.
 */
struct stream_wait *stream_acquire(struct stream *stream, stream_done done, void *context);
void stream_cancel(struct stream_wait *wait);

/* The TPM is held by a session of the broker before this one. */
void stream_hold(struct stream *stream);
void stream_release(struct stream *stream);
bool stream_is_held(const struct stream *stream);
