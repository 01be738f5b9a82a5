#pragma once
/*
 * The TPM behind the manager, as bytes: one command in, its response out. Whatever it is that does
 * not give a proper response in time has failed for good, and the manager ends with it.
 */
#include "relay/tpm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BACKEND_PROBLEM_SIZE 200 /* bytes of a text that says why there is no TPM */

/* A TSS2 TCTI; the only part that knows tpm2-tss. */
struct backend_tcti;

struct backend {
	int fd; /* unix: the stream, non-blocking; -1: a TCTI */
	struct backend_tcti *tcti;
	unsigned timeout; /* seconds for a command; BACKEND_LONG times as long for some */
};

#define BACKEND_LONG 10

/*
 * Connects to SPEC, "unix:PATH" or "tcti:NAME:CONF" (NAME:CONF as Tss2_TctiLdr_Initialize() takes
 * it); it may take for ever. TIMEOUT, in seconds, is for commands. Returns 0, or a negative errno
 * and PROBLEM, one line.
 */
int backend_open(const char *spec, unsigned timeout, struct backend *ret_backend,
	char problem[BACKEND_PROBLEM_SIZE]);
void backend_close(struct backend *backend);

/*
 * Has the TPM execute a command of SIZE bytes, whose header says so, as often as it takes where the
 * TPM says that it is not ready (TPM_RC_RETRY, TPM_RC_YIELDED; TPM_RC_TESTING, but to who asked for
 * tests; Part 2, section 6.6.3). Returns 0 and a response whose size agrees with its header; -ETIME
 * where none came in time; -EBADMSG for one that is no response; or another negative errno. Each
 * error is final.
 */
int backend_execute(struct backend *backend, const uint8_t *command, size_t size,
	uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size);

/*
 * backend-tcti.c: as backend_open() and backend_execute(). Where a transaction takes more than
 * SECONDS, the process gets SIGALRM, since a TCTI may wait for ever and cannot be told to stop.
 */
int backend_tcti_open(
	const char *conf, struct backend_tcti **ret_tcti, char problem[BACKEND_PROBLEM_SIZE]);
void backend_tcti_close(struct backend_tcti *tcti);
int backend_tcti_transact(struct backend_tcti *tcti, const uint8_t *command, size_t size,
	unsigned seconds, uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size);
