#include "measure.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

static double measure_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int measure_compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

int measure_interleaved(struct measure *measures, size_t count)
{
	/* Round -1 warms up and is not kept. */
	for (int round = -1; round < MEASURE_ROUNDS; round++) {
		for (size_t i = 0; i < count; i++) {
			struct measure *measure = &measures[i];
			double start = measure_now();
			int r = measure->run(measure->context, measure->count);

			if (r < 0)
				return r;
			if (round >= 0)
				measure->microseconds[round] =
					(measure_now() - start) / measure->count;
		}
	}
	for (size_t i = 0; i < count; i++)
		qsort(measures[i].microseconds, MEASURE_ROUNDS, sizeof measures[i].microseconds[0],
			measure_compare);
	return 0;
}

double measure_median(const struct measure *measure)
{
	return measure->microseconds[MEASURE_ROUNDS / 2];
}
