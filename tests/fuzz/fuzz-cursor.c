/*
 * The cursor and the writer, step by step beside a model that counts positions. The first piece
 * says what to read, one byte for each step; the rest is what is read. Whatever was read is written
 * again, into as many bytes as there were, and must be the same.
 */
#include "pieces.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct model {
	const uint8_t *bytes;
	size_t size;
	size_t at;
};

static uint64_t model_number(const struct model *model, size_t size)
{
	uint64_t number = 0;

	for (size_t i = 0; i < size; i++)
		number = number << 8 | model->bytes[model->at + i];
	return number;
}

/* Reads a number of SIZE bytes. Returns what the cursor returned. */
static int read_number(struct cursor *cursor, size_t size, uint64_t *ret_number)
{
	uint8_t u8 = 0;
	uint16_t u16 = 0;
	uint32_t u32 = 0;
	int r;

	switch (size) {
	case 1:
		r = cursor_u8(cursor, &u8);
		*ret_number = u8;
		return r;
	case 2:
		r = cursor_u16(cursor, &u16);
		*ret_number = u16;
		return r;
	case 4:
		r = cursor_u32(cursor, &u32);
		*ret_number = u32;
		return r;
	default:
		return cursor_u64(cursor, ret_number);
	}
}

/* Returns how many bytes the step has read; 0 where it must have failed. */
static size_t read_step(struct cursor *cursor, const struct model *model, uint8_t step)
{
	size_t left = model->size - model->at;
	size_t size = (size_t)1 << (step & 3);
	struct cursor before = *cursor;
	struct cursor bytes = cursor_new(model, 1);
	uint64_t number = 0;
	size_t front = 0;
	int r;

	if (step & 0x80) { /* so many bytes */
		size = step & 0x7f;
		r = cursor_bytes(cursor, size, &bytes);
	} else if (step & 0x40) { /* a TPM2B */
		front = sizeof(uint16_t);
		size = left < front ? left + 1 : front + model_number(model, front);
		r = cursor_tpm2b(cursor, &bytes);
	} else {
		r = read_number(cursor, size, &number);
		if (r == 0 && number != model_number(model, size))
			abort();
	}
	if ((r == 0) != (size <= left))
		abort();
	if (r < 0) {
		if (cursor->next != before.next || cursor->left != before.left ||
			(bytes.next != (const uint8_t *)model && step & 0xc0) || number != 0)
			abort();
		return 0;
	}
	if (cursor->left != left - size)
		abort();
	if (step & 0xc0 &&
		(bytes.left != size - front ||
			(bytes.left > 0 && bytes.next != model->bytes + model->at + front)))
		abort();
	return size;
}

static void write_step(struct writer *writer, const struct model *model, size_t size, uint8_t step)
{
	if (step & 0xc0)
		writer_bytes(writer, model->bytes + model->at, size);
	else if (size == 1)
		writer_u8(writer, (uint8_t)model_number(model, size));
	else if (size == 2)
		writer_u16(writer, (uint16_t)model_number(model, size));
	else if (size == 4)
		writer_u32(writer, (uint32_t)model_number(model, size));
	else
		writer_bytes(writer, model->bytes + model->at, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor input = cursor_new(data, size);
	struct cursor steps = pieces_next(&input, 512);
	struct model model = {.bytes = input.next, .size = input.left};
	struct cursor cursor = input;
	size_t room = model.size - (steps.left & 1 && model.size > 0);
	uint8_t *written = malloc(room > 0 ? room : 1);
	struct writer writer = writer_new(written, room);
	uint8_t step;

	if (!written)
		return 0;
	while (cursor_u8(&steps, &step) == 0) {
		size_t got = read_step(&cursor, &model, step);

		if (got > 0)
			write_step(&writer, &model, got, step);
		model.at += got;
	}
	if (writer.used > room || writer.overflowed != (model.at > room))
		abort();
	if (!writer.overflowed && (writer.used != model.at ||
					  (model.at > 0 && memcmp(written, model.bytes, model.at))))
		abort();
	writer_patch_u32(&writer, pieces_u8(&input), 0x01020304);
	free(written);
	return 0;
}
