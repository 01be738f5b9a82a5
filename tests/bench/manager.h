#pragma once
/* A tpmgate-rm of one's own, without broker and relays. */
#include "bench.h"

#include <sys/types.h>

/*
 * Starts it on the TPM behind the Unix socket TPM and opens a session with it. Returns 0, its pid,
 * its control socket and the session's descriptor, or a negative errno; *ret_pid is set as soon as
 * it runs.
 */
int manager_start(const struct bench *bench, const char *tpm, pid_t *ret_pid, int *ret_control,
	int *ret_session);
