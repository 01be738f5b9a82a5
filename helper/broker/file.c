/*
 * Trusts root and the broker's own user. A file that somebody else could write would let them
 * choose who is let in, and to what.
 */
#include "broker/file.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define FILE_MAX_SIZE 262144

static int file_fault(const char *path, const char *problem, char **ret_problem)
{
	*ret_problem = g_strdup_printf("%s: %s", path, problem);
	return FILE_E_FAULTY;
}

/* Why somebody else could have written the file, or NULL: only root and BROKER are trusted. */
static const char *file_distrust(const struct stat *status, uid_t broker)
{
	if (status->st_uid != 0 && status->st_uid != broker)
		return "belongs to another user than root or the broker's";
	if (status->st_mode & (S_IWGRP | S_IWOTH))
		return "its group or others can write it";
	return NULL;
}

/* Returns 0 or FILE_E_*; symbolic links were followed, and only their target counts. */
static int file_check(const char *path, const struct stat *status, uid_t broker,
	GPtrArray *warnings, char **ret_problem)
{
	const char *distrust = file_distrust(status, broker);

	if (S_ISCHR(status->st_mode) && status->st_rdev == makedev(1, 3))
		return FILE_E_MASKED;
	if (!S_ISREG(status->st_mode))
		return file_fault(path, "is not a regular file", ret_problem);
	if (distrust && warnings)
		g_ptr_array_add(warnings, g_strdup_printf("%s: %s", path, distrust));
	else if (distrust)
		return file_fault(path, distrust, ret_problem);
	if (status->st_size > FILE_MAX_SIZE)
		return file_fault(path, "is larger than 256 KiB", ret_problem);
	return status->st_size == 0 ? FILE_E_MASKED : 0;
}

/* WARNINGS: NULL where nothing is to be forgiven. */
static int file_load(const char *path, uid_t broker, GPtrArray *warnings, char **ret_bytes,
	gsize *ret_size, char **ret_problem)
{
	/* O_NONBLOCK: a FIFO would hold up whoever opens it */
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	g_autofree char *bytes = NULL;
	struct stat status;
	gsize used = 0;
	int r;

	if (fd < 0)
		return errno == ENOENT ? FILE_E_MISSING
				       : file_fault(path, g_strerror(errno), ret_problem);
	if (fstat(fd, &status) < 0)
		return file_fault(path, g_strerror(errno), ret_problem);
	r = file_check(path, &status, broker, warnings, ret_problem);
	if (r != 0)
		return r;
	bytes = g_malloc((gsize)status.st_size + 1);
	while (used < (gsize)status.st_size) {
		ssize_t got = read(fd, bytes + used, (gsize)status.st_size - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return file_fault(path, g_strerror(errno), ret_problem);
		if (got == 0)
			break;
		used += (gsize)got;
	}
	bytes[used] = '\0';
	*ret_bytes = g_steal_pointer(&bytes);
	*ret_size = used;
	return 0;
}

int file_read(const char *path, char **ret_bytes, gsize *ret_size, char **ret_problem)
{
	return file_load(path, geteuid(), NULL, ret_bytes, ret_size, ret_problem);
}

int file_read_draft(const char *path, uid_t broker, GPtrArray *warnings, char **ret_bytes,
	gsize *ret_size, char **ret_problem)
{
	return file_load(path, broker, warnings, ret_bytes, ret_size, ret_problem);
}

static gint file_compare(gconstpointer a, gconstpointer b)
{
	const char *const *first = a;
	const char *const *second = b;
	g_autofree char *first_name = g_path_get_basename(*first);
	g_autofree char *second_name = g_path_get_basename(*second);

	return strcmp(first_name, second_name);
}

GPtrArray *file_search(const char *const *directories, const char *suffix, GPtrArray *problems)
{
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);

	for (size_t i = 0; directories[i]; i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GDir) directory = g_dir_open(directories[i], 0, &error);
		const char *name;

		if (!directory && !g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
			g_ptr_array_add(problems, g_strdup(error->message));
		while (directory && (name = g_dir_read_name(directory)) != NULL)
			if (g_str_has_suffix(name, suffix) && name[0] != '.' &&
				g_hash_table_add(seen, g_strdup(name)))
				g_ptr_array_add(
					paths, g_build_filename(directories[i], name, NULL));
	}
	g_ptr_array_sort(paths, file_compare);
	return paths;
}
