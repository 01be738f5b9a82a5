#pragma once
/*
 * Interleaved measurements: what is to be compared runs in turn, round after round, so that
 * whatever else the machine does hits both. What counts is the median round.
 */
#include <stddef.h>

#define MEASURE_ROUNDS 15

struct measure {
	/* Does the thing COUNT times. Returns 0 or a negative errno. */
	int (*run)(void *context, unsigned int count);
	void *context;
	unsigned int count;                  /* how often in one round */
	double microseconds[MEASURE_ROUNDS]; /* of one time, by round, sorted when all are done */
};

/* Runs the COUNT measures round by round. Returns 0, or what a run function failed with. */
int measure_interleaved(struct measure *measures, size_t count);

/* Microseconds of one time in the median round. */
double measure_median(const struct measure *measure);
