#pragma once
/*
 * How the targets cut their input: numbers, and pieces with a length of two bytes in front. Where
 * the input has ended, numbers are 0 and pieces are empty.
 */
#include "common/cursor.h"

#include <stdio.h>
#include <stdlib.h>

/* Ends the program, and says what did not hold. */
#define DEMAND(condition) pieces_demand(condition, #condition, __FILE__, __LINE__)

static inline void pieces_demand(bool holds, const char *what, const char *file, int line)
{
	if (holds)
		return;
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}

static inline uint8_t pieces_u8(struct cursor *input)
{
	uint8_t value = 0;

	cursor_u8(input, &value);
	return value;
}

static inline uint32_t pieces_u32(struct cursor *input)
{
	uint32_t value = 0;

	cursor_u32(input, &value);
	return value;
}

/* As many bytes as the length says, modulo MAX + 1, and there are. */
static inline struct cursor pieces_next(struct cursor *input, size_t max)
{
	struct cursor piece = cursor_new(NULL, 0);
	uint16_t size;

	if (cursor_u16(input, &size) < 0)
		return piece;
	size = (uint16_t)(size % (max + 1));
	if (cursor_bytes(input, size < input->left ? size : input->left, &piece) < 0)
		abort();
	return piece;
}

static inline void pieces_check_inside(struct cursor part, const uint8_t *data, size_t size)
{
	if (part.left > 0 &&
		(part.next < data || part.left > size || part.next > data + size - part.left))
		abort();
}
