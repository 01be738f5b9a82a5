#pragma once
/*
 * The only pointer arithmetic on untrusted bytes. A cursor reads a TPM structure (big-endian, TPM
 * 2.0 Part 2, section 5) from front to back and never past its end; a writer makes one.
 *
 * Every cursor_* function that reads returns 0, or -EBADMSG where fewer bytes are left than it
 * needs; then neither the cursor nor the result has changed.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
	const uint8_t *next;
	size_t left; /* bytes */
};

/* BYTES must outlive the cursor. */
struct cursor cursor_new(const void *bytes, size_t size);

int cursor_u8(struct cursor *cursor, uint8_t *ret_value);
int cursor_u16(struct cursor *cursor, uint16_t *ret_value);
int cursor_u32(struct cursor *cursor, uint32_t *ret_value);
int cursor_u64(struct cursor *cursor, uint64_t *ret_value);
/* SIZE bytes as a cursor of their own. */
int cursor_bytes(struct cursor *cursor, size_t size, struct cursor *ret_bytes);
/* A TPM2B: u16 size, then that many bytes (TPM 2.0 Part 2, section 10.4). */
int cursor_tpm2b(struct cursor *cursor, struct cursor *ret_bytes);

struct writer {
	uint8_t *start;
	size_t size;     /* bytes that fit */
	size_t used;     /* bytes written */
	bool overflowed; /* something did not fit: the content is not to be used */
};

/* BYTES must outlive the writer. What does not fit is not written and sets `overflowed`. */
struct writer writer_new(void *bytes, size_t size);
void writer_u8(struct writer *writer, uint8_t value);
void writer_u16(struct writer *writer, uint16_t value);
void writer_u32(struct writer *writer, uint32_t value);
void writer_bytes(struct writer *writer, const void *bytes, size_t size);
/* Overwrites four bytes written earlier, as a size field is when the rest is known. */
void writer_patch_u32(struct writer *writer, size_t offset, uint32_t value);
