/*
 * Owns: the descriptors of directory, lock and file, and where the next record goes.
 *
 *   appending  pwrite, fdatasync. If either fails, what may have been written is cut off; if that
 *              fails too, or it is not known what the disk has, the file is written anew next time
 *   replacing  registry.new: pwrite, fsync; a damaged file gets a second name; rename; fsync of the
 *              directory
 *
 * Trusts nothing that somebody else could have written, and no copy: a file that was put back from
 * a backup knows nothing of what happened since, and its inode gives it away.
 */
#include "broker/registry-file.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#define FILE_NAME     "registry"
#define FILE_NEW      "registry.new"
#define FILE_LOCK     "registry.lock"
#define FILE_CORRUPT  "registry.corrupt-"
#define FILE_MAX_SIZE (INT64_C(1) << 28)
#define OPEN_FLAGS    (O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)

struct registry_file {
	char *directory_path;
	char *path;
	char *problem;
	int directory;
	int lock;
	int fd;
	uint64_t number; /* of the file, as in each of its records */
	uint64_t next;   /* number of the next record */
	off_t end;       /* where it goes */
	bool torn;       /* there is something after `end` */
	bool damaged;    /* to be set aside */
	bool copied;     /* put back from elsewhere, when it was opened */
	bool needs_rewrite;
};

void registry_file_close(struct registry_file *file)
{
	if (!file)
		return;
	cleanup_close(&file->fd);
	cleanup_close(&file->lock);
	cleanup_close(&file->directory);
	g_free(file->problem);
	g_free(file->path);
	g_free(file->directory_path);
	g_free(file);
}

const char *registry_file_problem(const struct registry_file *file)
{
	return file->problem;
}

const char *registry_file_path(const struct registry_file *file)
{
	return file->path;
}

bool registry_file_needs_rewrite(const struct registry_file *file)
{
	return file->needs_rewrite;
}

uint64_t registry_file_records(const struct registry_file *file)
{
	return (uint64_t)file->end / REGISTRY_RECORD_SIZE;
}

/* Returns 0, or a negative errno; less than SIZE may have been written. */
static int write_all(int fd, const void *bytes, size_t size, off_t offset)
{
	const uint8_t *next = bytes;

	while (size > 0) {
		ssize_t written = pwrite(fd, next, size, offset);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		next += written;
		offset += written;
		size -= (size_t)written;
	}
	return 0;
}

/* Cuts off what may be after the last record. Returns 0, or a negative errno. */
static int file_cut(struct registry_file *file)
{
	if (ftruncate(file->fd, file->end) < 0)
		return -errno;
	file->torn = false;
	return 0;
}

int registry_file_append(struct registry_file *file, struct registry_record record)
{
	int r;

	if (file->needs_rewrite)
		return -EIO;
	if (file->torn) {
		r = file_cut(file);
		if (r < 0)
			return r;
	}
	registry_record_seal(&record, file->number, file->next);
	file->torn = true;
	r = write_all(file->fd, &record, sizeof record, file->end);
	if (r < 0) {
		file_cut(file); /* otherwise before the next */
		return r;
	}
	if (fdatasync(file->fd) < 0) {
		r = -errno;
		/* the kernel may have dropped what it could not write, and say so only once */
		file->needs_rewrite = true;
		file_cut(file);
		return r;
	}
	file->torn = false;
	file->end += REGISTRY_RECORD_SIZE;
	file->next++;
	return 0;
}

/* A damaged file gets a second name before it loses its first. */
static int file_set_aside(struct registry_file *file)
{
	const long long now = g_get_real_time() / G_USEC_PER_SEC;

	for (int i = 0; i < 1000; i++) {
		char name[64];

		g_snprintf(name, sizeof name, "%s%lld-%d", FILE_CORRUPT, now, i);
		if (linkat(file->directory, FILE_NAME, file->directory, name, 0) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

/* Makes registry.new with COUNT RECORDS. Returns its descriptor, or a negative errno. */
static int file_make(struct registry_file *file, struct registry_record *records, size_t count,
	uint64_t *ret_number)
{
	struct registry_record header;
	struct stat status;
	uint64_t number = 0;
	int r = 0;

	if (unlinkat(file->directory, FILE_NEW, 0) < 0 && errno != ENOENT)
		return -errno;

	CLEANUP_FD int fd =
		openat(file->directory, FILE_NEW, O_RDWR | O_CREAT | O_EXCL | OPEN_FLAGS, 0600);

	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	while (number == 0)
		if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
			return -EIO;
	header = registry_record_header(status.st_ino);
	registry_record_seal(&header, number, 0);
	for (size_t i = 0; i < count; i++)
		registry_record_seal(&records[i], number, i + 1);
	r = write_all(fd, &header, sizeof header, 0);
	if (r == 0)
		r = write_all(fd, records, count * sizeof *records, sizeof header);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r < 0)
		return r;
	*ret_number = number;
	return TAKE_FD(fd);
}

int registry_file_rewrite(struct registry_file *file, struct registry_record *records, size_t count)
{
	uint64_t number = 0;
	int fd = file_make(file, records, count, &number);
	int r = fd < 0 ? fd : 0;

	if (r == 0 && file->damaged)
		r = file_set_aside(file);
	if (r == 0 && renameat(file->directory, FILE_NEW, file->directory, FILE_NAME) < 0)
		r = -errno;
	if (r < 0) {
		cleanup_close(&fd);
		unlinkat(file->directory, FILE_NEW, 0);
		return r;
	}
	cleanup_close(&file->fd);
	file->fd = fd;
	file->number = number;
	file->next = count + 1;
	file->end = (off_t)((count + 1) * REGISTRY_RECORD_SIZE);
	file->torn = false;
	file->damaged = false;
	/* until the directory is on disk, the old one may come back */
	file->needs_rewrite = fsync(file->directory) < 0;
	return file->needs_rewrite ? -errno : 0;
}

/* Whether STATUS is of what only the broker's user can have written. */
static const char *file_fault(const struct stat *status, mode_t type)
{
	if ((status->st_mode & S_IFMT) != type)
		return type == S_IFDIR ? "is not a directory" : "is not a regular file";
	if (status->st_uid != geteuid())
		return "belongs to another user than the broker's";
	if (status->st_mode & (S_IWGRP | S_IWOTH))
		return "its group or others can write it";
	return NULL;
}

/*
 * Opens NAME in DIRECTORY. Returns a descriptor; -1 with *ret_problem, or without where there is
 * no such file.
 */
static int file_open(int directory, const char *name, int flags, mode_t type, const char *path,
	char **ret_problem)
{
	CLEANUP_FD int fd = openat(directory, name, flags | OPEN_FLAGS, 0600);
	const char *fault;
	struct stat status;

	if (fd < 0 && errno == ENOENT && type == S_IFREG)
		return -1;
	if (fd < 0 || fstat(fd, &status) < 0) {
		*ret_problem = g_strdup_printf(
			"%s: %s", path, errno == ELOOP ? "is a symbolic link" : g_strerror(errno));
		return -1;
	}
	fault = file_fault(&status, type);
	if (fault) {
		*ret_problem = g_strdup_printf("%s: %s", path, fault);
		return -1;
	}
	return TAKE_FD(fd);
}

static bool file_lock(struct registry_file *file, const char *directory, char **ret_problem)
{
	g_autofree char *path = g_build_filename(directory, FILE_LOCK, NULL);

	file->lock =
		file_open(file->directory, FILE_LOCK, O_RDWR | O_CREAT, S_IFREG, path, ret_problem);
	if (file->lock < 0) {
		if (!*ret_problem)
			*ret_problem = g_strdup_printf("%s: cannot be made", path);
		return false;
	}
	if (flock(file->lock, LOCK_EX | LOCK_NB) == 0)
		return true;
	*ret_problem = g_strdup_printf("%s: %s", path,
		errno == EWOULDBLOCK ? "another broker has the registry open" : g_strerror(errno));
	return false;
}

/* All of the file; NULL and *ret_problem where that cannot be had. */
static uint8_t *file_bytes(struct registry_file *file, struct stat *ret_status, char **ret_problem)
{
	g_autofree uint8_t *bytes = NULL;
	size_t used = 0;

	if (fstat(file->fd, ret_status) < 0) {
		*ret_problem = g_strdup_printf("%s: %s", file->path, g_strerror(errno));
		return NULL;
	}
	if (ret_status->st_size > FILE_MAX_SIZE) {
		*ret_problem = g_strdup_printf("%s: is larger than 256 MiB", file->path);
		return NULL;
	}
	bytes = g_malloc((size_t)ret_status->st_size + 1);
	while (used < (size_t)ret_status->st_size) {
		ssize_t got = pread(
			file->fd, bytes + used, (size_t)ret_status->st_size - used, (off_t)used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			*ret_problem = g_strdup_printf("%s: %s", file->path,
				got < 0 ? g_strerror(errno) : "has become shorter");
			return NULL;
		}
		used += (size_t)got;
	}
	return g_steal_pointer(&bytes);
}

static bool file_read_all(
	struct registry_file *file, struct registry_table *table, char **ret_problem)
{
	uint8_t *bytes;
	struct registry_reading reading;
	struct stat status;

	bytes = file_bytes(file, &status, ret_problem);
	if (!bytes)
		return false;
	reading = registry_read(bytes, (size_t)status.st_size, table);
	g_free(bytes);
	file->number = reading.file;
	file->next = reading.next;
	file->end = (off_t)reading.end;
	file->torn = reading.end < (size_t)status.st_size;
	file->damaged = reading.damaged;
	file->needs_rewrite = reading.damaged;
	if (reading.damaged || reading.inode == status.st_ino)
		return true;
	/* whole, but of another time; what is missing may be about any handle */
	registry_table_doubt(table);
	file->needs_rewrite = true;
	file->copied = true;
	return true;
}

/* The name of a file that was set aside, now or before; or NULL. */
static char *file_corrupt_name(const struct registry_file *file)
{
	g_autoptr(GDir) directory = g_dir_open(file->directory_path, 0, NULL);
	const char *name;

	while (directory && (name = g_dir_read_name(directory)) != NULL)
		if (g_str_has_prefix(name, FILE_CORRUPT))
			return g_strdup(name);
	return NULL;
}

void registry_file_look(struct registry_file *file)
{
	g_autofree char *corrupt = file_corrupt_name(file);

	g_clear_pointer(&file->problem, g_free);
	if (corrupt)
		file->problem = g_strdup_printf("the registry was damaged and set aside as %s/%s: "
						"NV indices and persistent keys recorded until "
						"then are doubtful until they "
						"are adopted; remove that file when it is done",
			file->directory_path, corrupt);
	else if (file->damaged)
		file->problem = g_strdup_printf("%s is damaged, and cannot be set aside: make sure "
						"that %s can be written",
			file->path, file->directory_path);
	else if (file->copied)
		file->problem = g_strdup_printf(
			"%s is a copy, perhaps an old one: NV indices and "
			"persistent keys are doubtful until they are adopted, and users who were "
			"forgotten since are to be forgotten again",
			file->path);
}

/* Writes anew what cannot be appended to. Where that fails, it is tried again later. */
static void file_repair(struct registry_file *file, const struct registry_table *table)
{
	g_autoptr(GArray) records = registry_record_all(table);

	registry_file_rewrite(file, (struct registry_record *)(void *)records->data, records->len);
}

/* Returns false and *ret_problem where the registry cannot be used. */
static bool file_begin(struct registry_file *file, const char *directory,
	struct registry_table *table, char **ret_problem)
{
	int r;

	file->directory = file_open(
		AT_FDCWD, directory, O_RDONLY | O_DIRECTORY, S_IFDIR, directory, ret_problem);
	if (file->directory < 0 || !file_lock(file, directory, ret_problem))
		return false;
	file->fd = file_open(file->directory, FILE_NAME, O_RDWR, S_IFREG, file->path, ret_problem);
	if (file->fd < 0 && *ret_problem)
		return false;
	if (file->fd < 0) {
		r = registry_file_rewrite(file, NULL, 0);
		if (r < 0)
			*ret_problem = g_strdup_printf(
				"%s: cannot be made: %s", file->path, g_strerror(-r));
		return r == 0;
	}
	if (!file_read_all(file, table, ret_problem))
		return false;
	if (file->needs_rewrite)
		file_repair(file, table);
	return true;
}

struct registry_file *registry_file_open(
	const char *directory, struct registry_table *table, char **ret_problem)
{
	struct registry_file *file = g_new0(struct registry_file, 1);
	char *problem = NULL;

	file->directory = file->lock = file->fd = -1;
	file->directory_path = g_strdup(directory);
	file->path = g_build_filename(directory, FILE_NAME, NULL);
	if (file_begin(file, directory, table, &problem)) {
		registry_file_look(file);
		return file;
	}
	*ret_problem = problem;
	registry_file_close(file);
	return NULL;
}
