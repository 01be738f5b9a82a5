#pragma once
/*
 * tpmgate and tpm2-abrmd, the resource manager in user space, side by side: each on a software TPM
 * of its own, since one serves a single client, and each beside its own direct path. tpm2-abrmd
 * reaches its TPM by the TCTI for swtpm, so that is what it is compared with.
 */
#include "bench.h"
#include "measure.h"
#include "way.h"

#include <stdbool.h>
#include <sys/types.h>

enum rivals_tpm {
	RIVALS_TPM_DIRECT,
	RIVALS_TPM_STREAM, /* unix: one session at a time, without a resource manager */
	RIVALS_TPM_RM,     /* rm:unix: */
	RIVALS_TPM_ALONE,  /* a tpmgate-rm without broker and relay */
	RIVALS_TPM_TCTI,
	RIVALS_TPM_ABRMD,
	RIVALS_TPM_COUNT,
};

/* What runs; half-started ones can be ended. */
struct rivals {
	const struct bench *bench;
	pid_t swtpms[RIVALS_TPM_COUNT];
	pid_t broker;
	pid_t bus; /* that starts tpm2-abrmd */
	pid_t manager;
};

#define RIVALS_CLIENTS_MAX 64 /* of tpm2-abrmd; a user's sessions of the broker */

/* Returns 0; 1 after saying what is missing; or a negative errno. */
int rivals_start(const struct bench *bench, struct rivals *ret_rivals);
/* Ends all that it has started. */
void rivals_end(struct rivals *rivals);

/* Starts a broker on PREFIX and the socket of TPM, in place of the one before. */
int rivals_start_broker(struct rivals *rivals, const char *prefix, enum rivals_tpm tpm);

const char *rivals_path(
	const struct rivals *rivals, enum rivals_tpm tpm, char ret_path[BENCH_PATH_SIZE]);
int rivals_open_swtpm(const struct rivals *rivals, void **ret_tcti);
int rivals_open_abrmd(void **ret_tcti);

/* The ways that are compared. */
enum rivals_way {
	RIVALS_DIRECT,
	RIVALS_TPMGATE,
	RIVALS_SWTPM,
	RIVALS_ABRMD,
	RIVALS_ALONE, /* where there is one */
	RIVALS_WAYS,
};

struct rivals_open {
	int direct;
	int session;
	int alone;
	int control; /* of the manager that is alone */
	void *swtpm;
	void *abrmd;
	struct way ways[RIVALS_WAYS];
	size_t count; /* of ways */
};

/* Opens all ways, with a tpmgate-rm alone where ALONE. Returns 0, or a negative errno and nothing
 * is open. */
int rivals_open(struct rivals *rivals, bool alone, struct rivals_open *ret_open);
void rivals_close(struct rivals_open *open);

/* Prints the COUNT measures, which are in the order of enum rivals_way. */
void rivals_print(const char *title, const struct measure *measures, size_t count, double aim);
