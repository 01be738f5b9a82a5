/*
 * Owns: what of a foreign text reaches a terminal. Trusts: nothing. A text could otherwise move the
 * cursor, rewrite what stands above, or read in another order than it was written.
 */
#include "client/text.h"

#include <stdbool.h>
#include <string.h>

size_t text_decode(const char *text, size_t size, uint32_t *ret_point)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	uint8_t first = size > 0 ? (uint8_t)text[0] : 0x80;
	size_t length = first < 0x80             ? 1
			: (first & 0xe0) == 0xc0 ? 2
			: (first & 0xf0) == 0xe0 ? 3
			: (first & 0xf8) == 0xf0 ? 4
						 : 0;
	uint32_t point = length == 1 ? first : first & (0x7fu >> length);

	if (length == 0 || length > size)
		return 0;
	for (size_t i = 1; i < length; i++) {
		uint8_t byte = (uint8_t)text[i];

		if ((byte & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (byte & 0x3f);
	}
	if (point < smallest[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0; /* overlong, out of range, a surrogate */
	*ret_point = point;
	return length;
}

static bool text_is_control(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point <= 0x9f) || point == 0x061c ||
	       (point >= 0x200b && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
	       (point >= 0x2060 && point <= 0x206f) || point == 0xfeff;
}

void text_clean(const char *field, size_t size, char *ret_text, size_t ret_size)
{
	size_t left = strnlen(field, size);
	size_t used = 0;

	while (left > 0) {
		uint32_t point = 0;
		size_t length = text_decode(field, left, &point);
		const char *copied = field;

		if (length == 0 || text_is_control(point)) {
			copied = length == 0 ? "?" : " ";
			field += length == 0 ? 1 : length;
			left -= length == 0 ? 1 : length;
			length = 1;
		} else {
			field += length;
			left -= length;
		}
		if (ret_size - used <= length)
			break;
		memcpy(ret_text + used, copied, length);
		used += length;
	}
	ret_text[used] = '\0';
}
