#pragma once
/*
 * Starts relays and the resource manager, each with exactly its descriptors, and learns how they
 * ended.
 */
#include <stddef.h>

#define SPAWN_FDS_MAX 5

/*
 * Starts the program ARGUMENTS[0] (NULL ends the list). It gets the COUNT descriptors FDS, which
 * the caller keeps, as 3, 4, ...; -1: none. Returns 0 and a pidfd, or a negative errno.
 */
int spawn_program(const char *const *arguments, const int *fds, size_t count, int *ret_pidfd);

/*
 * How the process of PIDFD ended, for the log; the caller frees it. NULL where it ended well, still
 * runs, or is no child because a broker before this one started it.
 */
char *spawn_reap(int pidfd);
