#pragma once
/*
 * Configuration and profile files: found in several directories, and read only where nobody but
 * root and the broker's own user could have written them.
 */
#include <glib.h>
#include <sys/types.h>

enum {
	FILE_E_MISSING = 1, /* there is no such file */
	FILE_E_MASKED,      /* empty, or a link to /dev/null: as if it were not there */
	FILE_E_FAULTY,      /* there is a problem, in words */
};

/*
 * Reads PATH. Returns 0, with *ret_bytes NUL-terminated; or FILE_E_*, with *ret_problem for
 * FILE_E_FAULTY. The caller frees either.
 */
int file_read(const char *path, char **ret_bytes, gsize *ret_size, char **ret_problem);

/*
 * The same for a file that the person who asks is still writing: that it is not one to be trusted
 * by a broker of the user BROKER goes to WARNINGS.
 */
int file_read_draft(const char *path, uid_t broker, GPtrArray *warnings, char **ret_bytes,
	gsize *ret_size, char **ret_problem);

/*
 * Paths of the files that end in SUFFIX in DIRECTORIES (NULL-terminated), sorted by their names. A
 * file hides those of the same name in later directories. Directories that are not there or cannot
 * be read have no files; the latter are named in PROBLEMS.
 */
GPtrArray *file_search(const char *const *directories, const char *suffix, GPtrArray *problems);
