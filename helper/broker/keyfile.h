#pragma once
/*
 * A key file (GKeyFile's syntax) that knows its lines, so that a fault can say where it is. What
 * GKeyFile would pass over is a fault here: a key or section given twice, and in the end every key
 * that nobody asked for.
 */
#include <glib.h>
#include <stdbool.h>

struct keyfile;

/* Returns NULL and *ret_problem ("PATH:LINE: why") where it does not parse. PATH is for messages.
 */
struct keyfile *keyfile_new(const char *path, const char *bytes, gsize size, char **ret_problem);
void keyfile_free(struct keyfile *keyfile);

/*
 * The value, or NULL where there is none: keyfile_problem() then says whether that is a fault. The
 * caller frees it.
 */
char *keyfile_string(struct keyfile *keyfile, const char *section, const char *key);
/* The same for a list separated by semicolons: stripped elements, none of them empty. */
char **keyfile_list(struct keyfile *keyfile, const char *section, const char *key);

/* yes or no; *RET_VALUE is left alone where the key is not there. */
void keyfile_bool(struct keyfile *keyfile, const char *section, const char *key, bool *ret_value);

/* Records a fault at KEY; only the first one is kept. */
void keyfile_fault(struct keyfile *keyfile, const char *section, const char *key,
	const char *format, ...) G_GNUC_PRINTF(4, 5);

/* The first fault, that of an unknown key or section included; NULL where all is well. */
char *keyfile_problem(struct keyfile *keyfile);
