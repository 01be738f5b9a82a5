#pragma once
/*
 * Texts that others chose, made fit for a log line, a reply or a password prompt.
 */
#include <stddef.h>

/*
 * TEXT as one line of valid UTF-8 of at most SIZE - 1 bytes, cut at a character: control
 * characters, marks that change the direction of writing, and everything else that shows nothing
 * become '?'.
 */
void text_line(const char *text, char *ret_line, size_t size);

/*
 * As text_line(), for a name that is shown in quotes in a password prompt: quotation marks and
 * markup become '?' too, so do accents that are over no letter, and runs of blanks are one space.
 * Never empty.
 */
void text_name(const char *text, char *ret_name, size_t size);
