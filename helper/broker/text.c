/*
 * Trusts nobody. What a caller calls itself is shown to the person who is asked for a password, so
 * it must not be able to end its own quotation, to run backwards, or to hide.
 */
#include "broker/text.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

/* Letters and signs by their category that nothing is drawn for. */
static bool text_is_filler(gunichar c)
{
	return c == 0x034F || c == 0x115F || c == 0x1160 || c == 0x17B4 || c == 0x17B5 ||
	       c == 0x2800 || c == 0x3164 || c == 0xFFA0 || c == 0x1D159 ||
	       (c >= 0x180B && c <= 0x180F) || (c >= 0xFE00 && c <= 0xFE0F) ||
	       (c >= 0xE0100 && c <= 0xE01EF);
}

static bool text_is_shown(gunichar c)
{
	if (text_is_filler(c))
		return false;
	switch (g_unichar_type(c)) {
	case G_UNICODE_CONTROL:
	case G_UNICODE_FORMAT:
	case G_UNICODE_UNASSIGNED:
	case G_UNICODE_PRIVATE_USE:
	case G_UNICODE_SURROGATE:
	case G_UNICODE_LINE_SEPARATOR:
	case G_UNICODE_PARAGRAPH_SEPARATOR:
		return false;
	default:
		return true;
	}
}

static bool text_is_blank(gunichar c)
{
	return g_unichar_type(c) == G_UNICODE_SPACE_SEPARATOR;
}

/* Quotation marks that Unicode does not call so, and what looks like one. */
static bool text_looks_like_quotation(gunichar c)
{
	static const gunichar marks[] = {0x02BA, 0x02DD, 0x02EE, 0x02F5, 0x02F6, 0x05F4, 0x201A,
		0x201E, 0x2033, 0x2034, 0x2036, 0x2037, 0x2057, 0x275B, 0x275C, 0x275D, 0x275E,
		0x275F, 0x2760, 0x276E, 0x276F, 0x2E42, 0x3003, 0x300C, 0x300D, 0x300E, 0x300F,
		0x301D, 0x301E, 0x301F, 0xFE41, 0xFE42, 0xFE43, 0xFE44, 0xFF02, 0xFF62, 0xFF63,
		0x1F676, 0x1F677, 0x1F678};

	for (size_t i = 0; i < G_N_ELEMENTS(marks); i++)
		if (marks[i] == c)
			return true;
	return false;
}

static bool text_ends_quotation(gunichar c)
{
	GUnicodeType type = g_unichar_type(c);

	return c == '"' || c == '<' || c == '>' || c == '&' || c == '`' ||
	       type == G_UNICODE_INITIAL_PUNCTUATION || type == G_UNICODE_FINAL_PUNCTUATION ||
	       text_looks_like_quotation(c);
}

#define TEXT_MARKS_MAX 2 /* upon one letter: no writing needs more once it is composed */

/*
 * Whether C is a mark that is drawn over something else than the letter before it: at the
 * beginning of a name that is the quotation mark, and piled up it is the line above.
 */
static bool text_is_stray_mark(gunichar c, unsigned marks, bool blank)
{
	GUnicodeType type = g_unichar_type(c);

	if (type == G_UNICODE_ENCLOSING_MARK)
		return true;
	if (type != G_UNICODE_NON_SPACING_MARK && type != G_UNICODE_SPACING_MARK)
		return false;
	return blank || marks >= TEXT_MARKS_MAX;
}

static void text_copy(const char *text, bool name, char *ret_text, size_t size)
{
	g_autofree char *valid = g_utf8_make_valid(text, -1);
	g_autofree char *composed = name ? g_utf8_normalize(valid, -1, G_NORMALIZE_NFC) : NULL;
	size_t used = 0;
	unsigned marks = 0;
	bool blank = true; /* nothing yet, or a blank, is before the next character */

	for (char *p = composed ? composed : valid; *p; p = g_utf8_next_char(p)) {
		gunichar c = g_utf8_get_char(p);
		char bytes[6];
		size_t count;

		if (!text_is_shown(c) || (name && text_ends_quotation(c)) ||
			(name && text_is_stray_mark(c, marks, blank)))
			c = '?';
		if (name && text_is_blank(c)) {
			if (blank)
				continue;
			c = ' ';
		}
		marks = g_unichar_ismark(c) ? marks + 1 : 0;
		blank = c == ' ';
		count = (size_t)g_unichar_to_utf8(c, bytes);
		if (used + count >= size)
			break;
		memcpy(ret_text + used, bytes, count);
		used += count;
	}
	ret_text[used] = '\0';
}

void text_line(const char *text, char *ret_line, size_t size)
{
	text_copy(text, false, ret_line, size);
}

void text_name(const char *text, char *ret_name, size_t size)
{
	text_copy(text, true, ret_name, size);
	g_strchomp(ret_name);
	if (ret_name[0] == '\0' && size > 1)
		g_strlcpy(ret_name, "?", size);
}
