/*
 * The resource manager beside tpm2-abrmd: a command that needs nothing loaded, one with a key that
 * can stay loaded, and keys of which the TPM holds fewer than are used in turn. The direct paths
 * have one key in all cases, since nobody swaps for them.
 */
#include "bench.h"
#include "keys.h"
#include "random.h"
#include "rivals.h"

#define BENCH_RM_RANDOM 200
#define BENCH_RM_SIGN   100
#define BENCH_RM_SWAP   50 /* a multiple of KEYS_MAX: each key as often as the others */

_Static_assert(BENCH_RM_SWAP % KEYS_MAX == 0, "whole turns");

static int rm_measure_random(struct rivals_open *open)
{
	struct measure measures[RIVALS_WAYS];
	int r;

	for (size_t i = 0; i < open->count; i++)
		measures[i] = (struct measure){
			.run = random_run, .context = &open->ways[i], .count = BENCH_RM_RANDOM};
	r = measure_interleaved(measures, open->count);
	if (r == 0)
		rivals_print("GetRandom, resource managers", measures, open->count, 0.5);
	return r;
}

/* Signs with COUNT keys in turn, where something manages them. */
static int rm_measure_sign(struct rivals_open *open, struct keys keys[RIVALS_WAYS],
	unsigned int count, unsigned int times, const char *title)
{
	struct measure measures[RIVALS_WAYS];
	int r = 0;

	for (size_t i = 0; i < open->count && r == 0; i++) {
		bool managed = i != RIVALS_DIRECT && i != RIVALS_SWTPM;

		keys[i].way = &open->ways[i];
		keys[i].next = 0;
		r = keys_fill(&keys[i], managed ? count : 1);
		measures[i] =
			(struct measure){.run = keys_sign_run, .context = &keys[i], .count = times};
	}
	if (r == 0)
		r = measure_interleaved(measures, open->count);
	if (r == 0)
		rivals_print(title, measures, open->count, 1);
	return r;
}

int bench_rm(struct rivals *rivals)
{
	struct keys keys[RIVALS_WAYS] = {0};
	struct rivals_open open;
	int r = rivals_open(rivals, true, &open);

	if (r < 0)
		return r;
	r = rm_measure_random(&open);
	if (r == 0)
		r = rm_measure_sign(&open, keys, 1, BENCH_RM_SIGN,
			"Sign, ECC P-256, one key, resource managers");
	if (r == 0)
		r = rm_measure_sign(&open, keys, KEYS_MAX, BENCH_RM_SWAP,
			"Sign, ECC P-256, five keys in turn, resource managers (direct: one key)");
	rivals_close(&open);
	return r;
}
