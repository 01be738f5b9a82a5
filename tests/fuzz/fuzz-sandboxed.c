/*
 * What a caller shows of itself: its name, and the files of /proc and the label that tell whether
 * it is sandboxed. Whatever is in them, what goes to a prompt can be shown in its quotes.
 */
#include "broker/sandboxed.h"
#include "broker/text.h"

#include <glib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 65

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef bool (*finder)(const char *text, char *ret_name, size_t size);

static void check_name(char *name)
{
	static const char *const never[] = {"\"", "<", ">", "&", "\xe2\x80\x9c", "\xe2\x80\x9d",
		"\xe2\x80\x9e", "\xc2\xab", "\xc2\xbb", "\xe2\x80\xae", "  "};

	if (name[0] == '\0' || strlen(name) >= SIZE || !g_utf8_validate(name, -1, NULL))
		abort();
	if (name[0] == ' ' || name[strlen(name) - 1] == ' ' ||
		g_unichar_ismark(g_utf8_get_char(name)))
		abort();
	for (size_t i = 0; i < G_N_ELEMENTS(never); i++)
		if (strstr(name, never[i]))
			abort();
	for (char *p = name; *p; p = g_utf8_next_char(p))
		if (g_unichar_iscntrl(g_utf8_get_char(p)))
			abort();
}

/* Whether FIND finds one, in which case its name has to be fit, and is to be left alone else. */
static void check_finder(finder find, const char *text)
{
	char name[SIZE] = "untouched";

	if (find(text, name, sizeof name))
		check_name(name);
	else if (strcmp(name, "untouched") != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = g_strndup((const char *)data, size);
	char name[SIZE];

	text_name(text, name, sizeof name);
	check_name(name);
	check_finder(sandboxed_by_label, text);
	check_finder(sandboxed_by_cgroups, text);
	check_finder(sandboxed_by_mounts, text);
	(void)sandboxed_may_have_mounts(text);
	g_free(text);
	return 0;
}
