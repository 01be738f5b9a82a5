#pragma once
/*
 * Text from elsewhere that people will read on a terminal.
 */
#include <stddef.h>
#include <stdint.h>

/*
 * Bytes of the well-formed UTF-8 sequence at the start of TEXT, and the code point that it stands
 * for; 0 where there is none.
 */
size_t text_decode(const char *text, size_t size, uint32_t *ret_point);

/*
 * Copies the text in FIELD (SIZE bytes, or up to a NUL) as valid UTF-8: control characters, C1 and
 * bidirectional ones included, become spaces, and bytes that are not UTF-8 question marks. What
 * does not fit is cut between characters. RET_TEXT is always terminated; RET_SIZE is at least 1.
 */
void text_clean(const char *field, size_t size, char *ret_text, size_t ret_size);
