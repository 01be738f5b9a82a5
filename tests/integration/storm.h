#pragma once
/*
 * What the two storms share: random numbers that a seed repeats, mutation of bytes, and the way
 * out when the program under test misbehaves.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct storm {
	uint64_t state;
	uint64_t seed;
	unsigned long round; /* for the message of storm_fail */
};

/* Reads SEED, prints it, and returns a generator. */
struct storm storm_new(const char *program, const char *seed);

/* A number below LIMIT, which is not 0. */
uint32_t storm_below(struct storm *storm, uint32_t limit);

/* True once in N times. */
bool storm_one_in(struct storm *storm, uint32_t n);

/* Fills BYTES. */
void storm_fill(struct storm *storm, uint8_t *bytes, size_t size);

/*
 * Changes the SIZE bytes in BYTES, which has room for CAPACITY, in one to four places: flips,
 * values at the edges, bytes put in, taken out or repeated, the end cut off or made longer. Returns
 * the new size, from 1 to CAPACITY.
 */
size_t storm_mutate(struct storm *storm, uint8_t *bytes, size_t size, size_t capacity);

/* Waits until FD can be read, 30 s at most; false after that. */
bool storm_readable(int fd, int timeout_ms);

/* Says what went wrong, with seed and round, and ends the process. */
_Noreturn void storm_fail(const struct storm *storm, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
