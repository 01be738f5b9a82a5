#pragma once
/*
 * One time limit for a call that waits several times.
 */
#include <stdint.h>

struct deadline {
	int64_t at; /* CLOCK_MONOTONIC, nanoseconds; negative: never */
};

/* In TIMEOUT_MS milliseconds from now; negative: never. */
struct deadline deadline_new(int timeout_ms);

/* Milliseconds left, rounded up, as poll() wants them: 0 if it has passed, -1 for never. */
int deadline_left(struct deadline deadline);

/*
 * Waits until poll() reports EVENTS, an error or a hang-up on FD. Returns 0, -ETIMEDOUT, or
 * another negative errno. A deadline that has passed still looks once.
 */
int deadline_poll(struct deadline deadline, int fd, short events);
