#include "common/cursor.h"

#include <errno.h>
#include <string.h>

struct cursor cursor_new(const void *bytes, size_t size)
{
	return (struct cursor){.next = bytes, .left = size};
}

/* Reads SIZE (at most 8) bytes as one big-endian number. */
static int cursor_number(struct cursor *cursor, size_t size, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (cursor->left < size)
		return -EBADMSG;
	for (size_t i = 0; i < size; i++)
		value = value << 8 | cursor->next[i];
	cursor->next += size;
	cursor->left -= size;
	*ret_value = value;
	return 0;
}

int cursor_u8(struct cursor *cursor, uint8_t *ret_value)
{
	uint64_t value;
	int r = cursor_number(cursor, sizeof *ret_value, &value);

	if (r == 0)
		*ret_value = (uint8_t)value;
	return r;
}

int cursor_u16(struct cursor *cursor, uint16_t *ret_value)
{
	uint64_t value;
	int r = cursor_number(cursor, sizeof *ret_value, &value);

	if (r == 0)
		*ret_value = (uint16_t)value;
	return r;
}

int cursor_u32(struct cursor *cursor, uint32_t *ret_value)
{
	uint64_t value;
	int r = cursor_number(cursor, sizeof *ret_value, &value);

	if (r == 0)
		*ret_value = (uint32_t)value;
	return r;
}

int cursor_u64(struct cursor *cursor, uint64_t *ret_value)
{
	return cursor_number(cursor, sizeof *ret_value, ret_value);
}

int cursor_bytes(struct cursor *cursor, size_t size, struct cursor *ret_bytes)
{
	if (cursor->left < size)
		return -EBADMSG;
	*ret_bytes = cursor_new(cursor->next, size);
	if (size > 0) /* a NULL pointer may stand for no bytes */
		cursor->next += size;
	cursor->left -= size;
	return 0;
}

int cursor_tpm2b(struct cursor *cursor, struct cursor *ret_bytes)
{
	struct cursor after = *cursor;
	uint16_t size;

	if (cursor_u16(&after, &size) < 0 || cursor_bytes(&after, size, ret_bytes) < 0)
		return -EBADMSG;
	*cursor = after;
	return 0;
}

struct writer writer_new(void *bytes, size_t size)
{
	return (struct writer){.start = bytes, .size = size};
}

void writer_bytes(struct writer *writer, const void *bytes, size_t size)
{
	if (writer->overflowed || writer->size - writer->used < size) {
		writer->overflowed = true;
		return;
	}
	if (size > 0)
		memcpy(writer->start + writer->used, bytes, size);
	writer->used += size;
}

static void writer_number(struct writer *writer, size_t size, uint64_t value)
{
	uint8_t bytes[sizeof value];

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
	writer_bytes(writer, bytes, size);
}

void writer_u8(struct writer *writer, uint8_t value)
{
	writer_number(writer, sizeof value, value);
}

void writer_u16(struct writer *writer, uint16_t value)
{
	writer_number(writer, sizeof value, value);
}

void writer_u32(struct writer *writer, uint32_t value)
{
	writer_number(writer, sizeof value, value);
}

void writer_patch_u32(struct writer *writer, size_t offset, uint32_t value)
{
	if (offset > writer->used || writer->used - offset < sizeof value) {
		writer->overflowed = true;
		return;
	}

	struct writer field = writer_new(writer->start + offset, sizeof value);

	writer_u32(&field, value);
}
