#pragma once
/*
 * What the service manager hands over at start: LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES
 * (sd_listen_fds(3)).
 */
#include <stddef.h>

struct activation_fd {
	int fd;
	char *name; /* empty where there are no names */
};

struct activation {
	struct activation_fd *fds;
	size_t count;
};

/*
 * Takes the descriptors that are meant for this process, sets FD_CLOEXEC on them, and takes the
 * variables out of the environment. Once, before anything else opens a descriptor.
 */
struct activation activation_take(void);

/* Closes what was not taken over (fd >= 0). */
void activation_done(struct activation *activation);
