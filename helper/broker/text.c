/*
 * Trusts nobody. What a caller calls itself is shown to the person who is asked for a password, so
 * it must not be able to end its own quotation, to run backwards, or to hide.
 */
#include "broker/text.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

static bool text_is_shown(gunichar c)
{
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

static bool text_ends_quotation(gunichar c)
{
	GUnicodeType type = g_unichar_type(c);

	return c == '"' || c == '<' || c == '>' || c == '&' || c == '`' ||
	       type == G_UNICODE_INITIAL_PUNCTUATION || type == G_UNICODE_FINAL_PUNCTUATION;
}

static void text_copy(const char *text, bool name, char *ret_text, size_t size)
{
	g_autofree char *valid = g_utf8_make_valid(text, -1);
	size_t used = 0;
	bool blank = false;

	for (char *p = valid; *p; p = g_utf8_next_char(p)) {
		gunichar c = g_utf8_get_char(p);
		char bytes[6];
		size_t count;

		if (!text_is_shown(c) || (name && text_ends_quotation(c)))
			c = '?';
		if (name && text_is_blank(c)) {
			if (blank || used == 0)
				continue;
			c = ' ';
		}
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
	if (ret_name[0] == '\0' && size > 1)
		g_strlcpy(ret_name, "?", size);
}
