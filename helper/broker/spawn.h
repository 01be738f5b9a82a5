#pragma once
/*
 * Starts a relay with exactly its descriptors.
 */
#include "common/account-protocol.h"

/* By enum relay_fd less RELAY_FD_CLIENT; -1: none. The caller keeps them. */
struct spawn_fds {
	int fds[RELAY_FD_END - RELAY_FD_CLIENT];
};

/* Starts the program PATH. Returns 0 and a pidfd, or a negative errno. */
int spawn_relay(const char *path, const struct spawn_fds *fds, int *ret_pidfd);
