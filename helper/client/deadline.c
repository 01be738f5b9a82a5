#include "client/deadline.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <time.h>

#define DEADLINE_MS INT64_C(1000000) /* nanoseconds */

static int64_t deadline_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 * DEADLINE_MS + now.tv_nsec;
}

struct deadline deadline_new(int timeout_ms)
{
	if (timeout_ms < 0)
		return (struct deadline){.at = -1};
	return (struct deadline){.at = deadline_now() + timeout_ms * DEADLINE_MS};
}

int deadline_left(struct deadline deadline)
{
	if (deadline.at < 0)
		return -1;

	int64_t left = deadline.at - deadline_now();

	if (left <= 0)
		return 0;
	left = (left + DEADLINE_MS - 1) / DEADLINE_MS;
	return left > INT_MAX ? INT_MAX : (int)left;
}

int deadline_poll(struct deadline deadline, int fd, short events)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};

	for (;;) {
		int r = poll(&poll_fd, 1, deadline_left(deadline));

		if (r > 0)
			return poll_fd.revents & POLLNVAL ? -EBADF : 0;
		if (r == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}
