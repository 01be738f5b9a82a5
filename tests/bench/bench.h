#pragma once
/* What the parts of the benchmark need to know, and its parts. */
#include <stddef.h>

struct bench {
	const char *broker;    /* executable */
	const char *relay;     /* executable */
	const char *rm;        /* executable */
	const char *directory; /* private and empty, removed at the end */
};

/* A path below the bench's directory. Returns ret_path. */
#define BENCH_PATH_SIZE 100
const char *bench_path(const struct bench *bench, const char *name, char ret_path[BENCH_PATH_SIZE]);

/* Makes the file PATH. Returns 0 or a negative errno. */
int bench_write(const char *path, const char *content);

/*
 * A broker on TPM, a --tpm argument, that listens at bench_path("broker.sock") and lets this
 * program's gid use random numbers, signing keys and TPM sessions with the profile "bench". Returns
 * its pid or a negative errno.
 */
int bench_start_broker(const struct bench *bench, const char *tpm);

/* Opens a session with that broker. Returns its descriptor, or a negative errno after saying why.
 */
int bench_open(const struct bench *bench);

/* For measure.h: opens, uses and closes a session; CONTEXT is the struct bench. */
int bench_session_run(void *context, unsigned int count);

/* Each prints its figures, or says what is missing. Returns 0 or a negative errno. */
int bench_filter(const struct bench *bench);
/* Microseconds of GetRandom in the filter, once bench_filter() has measured them. */
double bench_filter_random(void);
int bench_relay(const struct bench *bench);
int bench_session(const struct bench *bench);
int bench_abrmd(const struct bench *bench);

/* Parts of bench_abrmd(), with a broker whose sessions share a resource manager. */
struct rivals;
int bench_rm(struct rivals *rivals);
int bench_rm_memory(const struct rivals *rivals);
