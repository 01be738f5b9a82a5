/*
 * Resident memory of the resource manager and of tpm2-abrmd, with one client and with many, each of
 * which has keys and TPM sessions. What relays have is printed apart: tpm2-abrmd has nothing like
 * them, and a manager alone is not all that tpmgate needs.
 */
#include "bench.h"
#include "keys.h"
#include "memory.h"
#include "rivals.h"
#include "tcti.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define BENCH_MEMORY_CLIENTS  32u
#define BENCH_MEMORY_KEYS     4u
#define BENCH_MEMORY_SESSIONS 2u

struct clients {
	int sessions[BENCH_MEMORY_CLIENTS];
	void *tctis[BENCH_MEMORY_CLIENTS];
	unsigned int count;
};

static int memory_load(const struct way *way)
{
	struct keys keys = {.way = way};
	uint32_t session;
	int r = keys_fill(&keys, BENCH_MEMORY_KEYS);

	for (unsigned int i = 0; i < BENCH_MEMORY_SESSIONS && r == 0; i++)
		r = keys_start_session(way, &session);
	return r;
}

/* Opens clients of both until there are COUNT. */
static int memory_fill(const struct bench *bench, struct clients *clients, unsigned int count)
{
	int r = 0;

	while (r == 0 && clients->count < count) {
		int *session = &clients->sessions[clients->count];
		void **tcti = &clients->tctis[clients->count];

		*session = bench_open(bench);
		if (*session < 0)
			return *session;
		clients->count++;

		struct way way = way_over_fd(session);

		r = memory_load(&way);
		if (r == 0)
			r = rivals_open_abrmd(tcti);
		if (r < 0)
			return r;
		way = way_over_tcti(*tcti);
		r = memory_load(&way);
	}
	return r;
}

static void memory_print(const char *name, const struct memory *one, const struct memory *many)
{
	printf("  %-24s %8lu (%lu) kB     %8lu (%lu) kB\n", name, one->resident, one->own,
		many->resident, many->own);
}

int bench_rm_memory(const struct rivals *rivals)
{
	enum { MANAGER, ABRMD, RELAYS, PROGRAMS };
	static const char *const names[] = {"tpmgate-rm", "tpm2-abrmd", "tpmgate-relay"};
	static const unsigned int counts[] = {1, BENCH_MEMORY_CLIENTS};
	struct memory memory[2][PROGRAMS];
	struct clients clients = {.count = 0};
	int r = 0;

	for (size_t i = 0; i < 2 && r == 0; i++) {
		r = memory_fill(rivals->bench, &clients, counts[i]);
		for (size_t j = 0; j < PROGRAMS; j++)
			memory[i][j] = memory_of(names[j]);
		if (r == 0 &&
			(memory[i][MANAGER].processes != 1 || memory[i][ABRMD].processes != 1 ||
				memory[i][RELAYS].processes != counts[i]))
			r = -ESRCH;
	}
	for (unsigned int i = 0; i < clients.count; i++) {
		close(clients.sessions[i]);
		tcti_close(clients.tctis[i]);
	}
	if (r < 0)
		return r;
	printf("resident memory (of that not of files) with 1 and %u clients, each %u keys and %u "
	       "TPM sessions\n",
		BENCH_MEMORY_CLIENTS, BENCH_MEMORY_KEYS, BENCH_MEMORY_SESSIONS);
	memory_print(names[MANAGER], &memory[0][MANAGER], &memory[1][MANAGER]);
	memory_print(names[ABRMD], &memory[0][ABRMD], &memory[1][ABRMD]);
	memory_print("all relays together", &memory[0][RELAYS], &memory[1][RELAYS]);
	return 0;
}
