/*
 * Prints what tpmgate costs, in one run, on one CPU. Asserts nothing about time: figures of a busy
 * machine are worth little, and those of another machine compare with nothing here.
 *
 * Owns: the private directory. Whatever happens, an alarm ends the program, and its children with
 * it.
 */
#include "bench.h"

#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BENCH_SECONDS 120

const char *bench_path(const struct bench *bench, const char *name, char ret_path[BENCH_PATH_SIZE])
{
	snprintf(ret_path, BENCH_PATH_SIZE, "%s/%s", bench->directory, name);
	return ret_path;
}

/* Client, relay, broker and stand-in share one CPU: what is measured is work, not parallelism. */
static int bench_pin(void)
{
	cpu_set_t allowed, one;
	size_t cpu = 0;

	if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
		return -errno;
	while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &allowed))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof one, &one) < 0)
		return -errno;
	printf("all on CPU %zu; medians of interleaved rounds\n", cpu);
	return 0;
}

static int bench_remove(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return remove(path);
}

static int bench_run(const struct bench *bench)
{
	static int (*const parts[])(const struct bench *) = {
		bench_filter, bench_relay, bench_session, bench_abrmd};
	int r = bench_pin();

	for (size_t i = 0; i < sizeof parts / sizeof parts[0] && r == 0; i++) {
		r = parts[i](bench);
		(void)fflush(stdout);
	}
	return r;
}

int main(int argc, char **argv)
{
	char directory[] = "/tmp/bench-tpmgate.XXXXXX";
	struct bench bench = {.broker = BENCH_BROKER,
		.relay = BENCH_RELAY,
		.rm = BENCH_RM,
		.directory = directory};

	if (argc == 4) {
		bench.broker = argv[1];
		bench.relay = argv[2];
		bench.rm = argv[3];
	} else if (argc != 1) {
		fprintf(stderr, "usage: %s [BROKER RELAY RM]\n", argv[0]);
		return 2;
	}
	alarm(BENCH_SECONDS);
	if (!mkdtemp(directory)) {
		fprintf(stderr, "bench-tpmgate: /tmp: %s\n", strerror(errno));
		return 1;
	}

	int r = bench_run(&bench);

	nftw(directory, bench_remove, 8, FTW_DEPTH | FTW_PHYS);
	if (r < 0) {
		fprintf(stderr, "bench-tpmgate: %s\n", strerror(-r));
		return 1;
	}
	return 0;
}
