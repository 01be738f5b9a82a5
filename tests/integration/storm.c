#include "storm.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct storm storm_new(const char *program, const char *seed)
{
	struct storm storm = {.seed = strtoull(seed, NULL, 0)};

	storm.state = storm.seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	printf("%s: seed %llu\n", program, (unsigned long long)storm.seed);
	(void)fflush(stdout);
	return storm;
}

/* xorshift64*: good enough to hit every branch, and the same everywhere. */
static uint32_t storm_next(struct storm *storm)
{
	storm->state ^= storm->state >> 12;
	storm->state ^= storm->state << 25;
	storm->state ^= storm->state >> 27;
	return (uint32_t)((storm->state * UINT64_C(0x2545f4914f6cdd1d)) >> 32);
}

uint32_t storm_below(struct storm *storm, uint32_t limit)
{
	return storm_next(storm) % limit;
}

bool storm_one_in(struct storm *storm, uint32_t n)
{
	return storm_below(storm, n) == 0;
}

void storm_fill(struct storm *storm, uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)storm_next(storm);
}

static size_t insert(
	struct storm *storm, uint8_t *bytes, size_t size, size_t capacity, size_t place)
{
	size_t count = 1 + storm_below(storm, 8);

	if (count > capacity - size)
		return size;
	memmove(bytes + place + count, bytes + place, size - place);
	storm_fill(storm, bytes + place, count);
	return size + count;
}

static size_t erase(struct storm *storm, uint8_t *bytes, size_t size, size_t place)
{
	size_t count = 1 + storm_below(storm, 8);

	if (count > size - place)
		count = size - place;
	if (count == size)
		return size;
	memmove(bytes + place, bytes + place + count, size - place - count);
	return size - count;
}

static size_t mutate_once(struct storm *storm, uint8_t *bytes, size_t size, size_t capacity)
{
	static const uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0x81, 0xfe, 0xff, 0x40};
	size_t place = storm_below(storm, (uint32_t)size);
	size_t longer;

	switch (storm_below(storm, 8)) {
	case 0:
		bytes[place] ^= (uint8_t)(1u << storm_below(storm, 8));
		return size;
	case 1:
		bytes[place] = edges[storm_below(storm, sizeof edges)];
		return size;
	case 2:
		bytes[place] = (uint8_t)storm_next(storm);
		return size;
	case 3:
		for (size_t i = place; i < size && i < place + 4; i++)
			bytes[i] = storm_one_in(storm, 2) ? 0xff : 0x00;
		return size;
	case 4:
		return insert(storm, bytes, size, capacity, place);
	case 5:
		return erase(storm, bytes, size, place);
	case 6:
		return place > 0 ? place : 1;
	default:
		longer = size + storm_below(storm, 64);
		if (longer > capacity)
			longer = capacity;
		storm_fill(storm, bytes + size, longer - size);
		return longer;
	}
}

size_t storm_mutate(struct storm *storm, uint8_t *bytes, size_t size, size_t capacity)
{
	for (uint32_t times = 1 + storm_below(storm, 4); times > 0; times--)
		size = mutate_once(storm, bytes, size, capacity);
	return size;
}

bool storm_readable(int fd, int timeout_ms)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};
	int r;

	do
		r = poll(&pollfd, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	return r > 0;
}

void storm_fail(const struct storm *storm, const char *format, ...)
{
	va_list arguments;

	printf("seed %llu, round %lu: ", (unsigned long long)storm->seed, storm->round);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	(void)fflush(stdout);
	exit(1);
}
