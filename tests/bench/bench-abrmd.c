/*
 * Beside tpm2-abrmd, over software TPMs: what does each way add to talking to one directly? First
 * through tpmgate's own resource manager (bench-memory.c, bench-rm.c), then, here, without one: a
 * session at a time on a TPM that is its own.
 */
#include "bench.h"
#include "process.h"
#include "random.h"
#include "rivals.h"
#include "tcti.h"

#include "common/cleanup.h"

#define BENCH_ABRMD_COUNT    200
#define BENCH_ABRMD_SESSIONS 10

static int abrmd_measure_commands(struct rivals *rivals)
{
	struct measure measures[RIVALS_WAYS];
	struct rivals_open open;
	int r = rivals_open(rivals, false, &open);

	if (r < 0)
		return r;
	for (size_t i = 0; i < open.count; i++)
		measures[i] = (struct measure){
			.run = random_run, .context = &open.ways[i], .count = BENCH_ABRMD_COUNT};
	r = measure_interleaved(measures, open.count);
	rivals_close(&open);
	if (r == 0)
		rivals_print("command round trip, software TPM", measures, open.count, 0.5);
	return r;
}

static int abrmd_direct_run(void *context, unsigned int count)
{
	char path[BENCH_PATH_SIZE];

	rivals_path(context, RIVALS_TPM_DIRECT, path);
	for (unsigned int i = 0; i < count; i++) {
		CLEANUP_FD int fd = process_connect(path);
		const struct way way = way_over_fd(&fd);
		int r = fd < 0 ? fd : random_get(&way, 1);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Uses and closes what was just opened, unless that failed with R. */
static int abrmd_use(int r, void *tcti)
{
	if (r < 0)
		return r;

	const struct way way = way_over_tcti(tcti);

	r = random_get(&way, 1);
	tcti_close(tcti);
	return r;
}

static int abrmd_swtpm_run(void *context, unsigned int count)
{
	int r = 0;

	for (unsigned int i = 0; i < count && r == 0; i++) {
		void *tcti = NULL;

		r = rivals_open_swtpm(context, &tcti);
		r = abrmd_use(r, tcti);
	}
	return r;
}

static int abrmd_tabrmd_run(void *context, unsigned int count)
{
	int r = 0;

	(void)context;
	for (unsigned int i = 0; i < count && r == 0; i++) {
		void *tcti = NULL;

		r = rivals_open_abrmd(&tcti);
		r = abrmd_use(r, tcti);
	}
	return r;
}

static int abrmd_measure_sessions(struct rivals *rivals)
{
	struct bench bench = *rivals->bench;
	struct measure measures[] = {
		[RIVALS_DIRECT] = {.run = abrmd_direct_run,
			.context = rivals,
			.count = BENCH_ABRMD_SESSIONS},
		[RIVALS_TPMGATE] = {.run = bench_session_run,
			.context = &bench,
			.count = BENCH_ABRMD_SESSIONS},
		[RIVALS_SWTPM] = {.run = abrmd_swtpm_run,
			.context = rivals,
			.count = BENCH_ABRMD_SESSIONS},
		[RIVALS_ABRMD] = {.run = abrmd_tabrmd_run, .count = BENCH_ABRMD_SESSIONS},
	};
	int r = measure_interleaved(measures, RIVALS_ALONE);

	if (r == 0)
		rivals_print(
			"open, GetRandom and close, software TPM", measures, RIVALS_ALONE, 0.5);
	return r;
}

int bench_abrmd(const struct bench *bench)
{
	struct rivals rivals;
	int r = rivals_start(bench, &rivals);

	if (r != 0)
		return r < 0 ? r : 0;
	/* Memory first: nobody has used either manager yet. */
	r = rivals_start_broker(&rivals, "rm:unix:", RIVALS_TPM_RM);
	if (r == 0)
		r = bench_rm_memory(&rivals);
	if (r == 0)
		r = bench_rm(&rivals);
	if (r == 0)
		r = rivals_start_broker(&rivals, "unix:", RIVALS_TPM_STREAM);
	if (r == 0)
		r = abrmd_measure_commands(&rivals);
	if (r == 0)
		r = abrmd_measure_sessions(&rivals);
	rivals_end(&rivals);
	return r;
}
