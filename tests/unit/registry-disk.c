#include "registry-disk.h"

#include <glib.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 64
#define NAME_SIZE 64

ssize_t __real_pwrite(int fd, const void *bytes, size_t size, off_t offset);
int __real_ftruncate(int fd, off_t size);
int __real_renameat(int from, const char *old, int to, const char *new);
int __real_linkat(int from, const char *old, int to, const char *new, int flags);
int __real_unlinkat(int directory, const char *name, int flags);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t offset);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_renameat(int from, const char *old, int to, const char *new);
int __wrap_linkat(int from, const char *old, int to, const char *new, int flags);
int __wrap_unlinkat(int directory, const char *name, int flags);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);

struct file_image {
	ino_t inode;
	char *bytes;
	size_t size;
};

static struct {
	enum disk_fault fault;
	unsigned at; /* the call that it is at, from 1; 0: never */
	atomic_uint calls;
	const char *directory;
	const char *links; /* each file under its inode's number, so that it is never gone */
	struct file_image files[FILES_MAX]; /* as synchronised */
	size_t file_count;
	struct {
		char name[NAME_SIZE];
		ino_t inode;
	} names[FILES_MAX]; /* as synchronised */
	size_t name_count;
} disk;

static struct file_image *disk_file(ino_t inode)
{
	for (size_t i = 0; i < disk.file_count; i++)
		if (disk.files[i].inode == inode)
			return &disk.files[i];
	return NULL;
}

static void disk_save_file(int fd)
{
	struct stat status;
	struct file_image *file;
	char path[64];
	char link[256];

	if (fstat(fd, &status) < 0)
		abort();
	file = disk_file(status.st_ino);
	if (!file) {
		if (disk.file_count == FILES_MAX)
			abort();
		file = &disk.files[disk.file_count++];
		*file = (struct file_image){.inode = status.st_ino};
		g_snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		g_snprintf(link, sizeof link, "%s/%llu", disk.links,
			(unsigned long long)status.st_ino);
		if (__real_linkat(AT_FDCWD, path, AT_FDCWD, link, AT_SYMLINK_FOLLOW) < 0)
			abort();
	}
	file->bytes = g_realloc(file->bytes, (size_t)status.st_size + 1);
	file->size = (size_t)status.st_size;
	if (pread(fd, file->bytes, file->size, 0) != (ssize_t)file->size)
		abort();
}

static void disk_save_names(void)
{
	g_autoptr(GDir) directory = g_dir_open(disk.directory, 0, NULL);
	const char *name;

	disk.name_count = 0;
	while ((name = g_dir_read_name(directory)) != NULL) {
		g_autofree char *path = g_build_filename(disk.directory, name, NULL);
		struct stat status;

		if (disk.name_count == FILES_MAX || stat(path, &status) < 0)
			abort();
		g_strlcpy(disk.names[disk.name_count].name, name, NAME_SIZE);
		disk.names[disk.name_count++].inode = status.st_ino;
	}
}

/* The names become those that were synchronised. */
static void disk_restore_names(void)
{
	g_autoptr(GDir) directory = g_dir_open(disk.directory, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(directory)) != NULL) {
		g_autofree char *path = g_build_filename(disk.directory, name, NULL);

		if (strcmp(name, "registry.lock") != 0)
			unlink(path);
	}
	for (size_t i = 0; i < disk.name_count; i++) {
		g_autofree char *path = g_build_filename(disk.directory, disk.names[i].name, NULL);
		char link[256];

		g_snprintf(link, sizeof link, "%s/%llu", disk.links,
			(unsigned long long)disk.names[i].inode);
		if (strcmp(disk.names[i].name, "registry.lock") != 0 &&
			__real_linkat(AT_FDCWD, link, AT_FDCWD, path, 0) < 0)
			abort();
	}
}

static void disk_restore_file(const char *path, bool zeros)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	const struct file_image *file;
	struct stat status;
	off_t size;

	if (fd < 0 || fstat(fd, &status) < 0)
		abort();
	file = disk_file(status.st_ino);
	size = file ? (off_t)file->size : 0;
	if (__real_ftruncate(fd, 0) < 0)
		abort();
	if (file && __real_pwrite(fd, file->bytes, file->size, 0) != size)
		abort();
	if (zeros && status.st_size > size && __real_ftruncate(fd, status.st_size) < 0)
		abort();
	close(fd);
}

static void disk_restore_files(bool zeros)
{
	g_autoptr(GDir) directory = g_dir_open(disk.directory, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(directory)) != NULL) {
		g_autofree char *path = g_build_filename(disk.directory, name, NULL);

		if (strcmp(name, "registry.lock") != 0)
			disk_restore_file(path, zeros);
	}
}

_Noreturn static void disk_die(void)
{
	if (disk.fault == FAULT_POWER_LOST || disk.fault == FAULT_POWER_ZEROS ||
		disk.fault == FAULT_POWER_BYTES)
		disk_restore_names();
	if (disk.fault == FAULT_POWER_LOST || disk.fault == FAULT_POWER_NAMES)
		disk_restore_files(false);
	if (disk.fault == FAULT_POWER_ZEROS)
		disk_restore_files(true);
	_exit(DISK_KILLED);
}

/* What happens to a call: nothing, half of it, or an error. */
enum happening { DO = 0, DO_PART_AND_DIE, DO_PART_AND_FAIL };

static enum happening disk_call(void)
{
	unsigned call;

	if (disk.at == 0)
		return DO;
	call = ++disk.calls;
	if (disk.fault == FAULT_ERRORS)
		return call >= disk.at && call < disk.at + 5 ? DO_PART_AND_FAIL : DO;
	if (call != disk.at)
		return DO;
	if (disk.fault == FAULT_ERROR)
		return DO_PART_AND_FAIL;
	if (disk.fault == FAULT_KILL_PART)
		return DO_PART_AND_DIE;
	disk_die();
}

/* Of calls that are done or not. */
static int disk_end(enum happening happening, int r)
{
	if (happening == DO_PART_AND_DIE)
		disk_die();
	return r;
}

static int disk_refuse(int error)
{
	errno = error;
	return -1;
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
	const enum happening happening = disk_call();
	ssize_t r = __real_pwrite(fd, bytes, happening == DO ? size : size / 2, offset);

	if (happening == DO_PART_AND_FAIL)
		return disk_refuse(ENOSPC);
	disk_end(happening, 0);
	return r;
}

int __wrap_ftruncate(int fd, off_t size)
{
	const enum happening happening = disk_call();

	if (happening == DO_PART_AND_FAIL)
		return disk_refuse(EIO);
	return disk_end(happening, __real_ftruncate(fd, size));
}

int __wrap_renameat(int from, const char *old, int to, const char *new)
{
	const enum happening happening = disk_call();

	if (happening == DO_PART_AND_FAIL)
		return disk_refuse(ENOSPC);
	return disk_end(happening, __real_renameat(from, old, to, new));
}

int __wrap_linkat(int from, const char *old, int to, const char *new, int flags)
{
	const enum happening happening = disk_call();

	if (happening == DO_PART_AND_FAIL)
		return disk_refuse(ENOSPC);
	return disk_end(happening, __real_linkat(from, old, to, new, flags));
}

int __wrap_unlinkat(int directory, const char *name, int flags)
{
	const enum happening happening = disk_call();

	if (happening == DO_PART_AND_FAIL)
		return disk_refuse(EIO);
	return disk_end(happening, __real_unlinkat(directory, name, flags));
}

static int disk_sync(int fd)
{
	const enum happening happening = disk_call();
	struct stat status;

	if (happening == DO_PART_AND_FAIL)
		return disk_refuse(EIO);
	if (disk.links && fstat(fd, &status) == 0) {
		if (S_ISDIR(status.st_mode))
			disk_save_names();
		else
			disk_save_file(fd);
	}
	return disk_end(happening, 0);
}

int __wrap_fsync(int fd)
{
	return disk_sync(fd);
}

int __wrap_fdatasync(int fd)
{
	return disk_sync(fd);
}

void disk_begin(const char *directory, const char *links)
{
	disk.directory = directory;
	disk.links = links;
	disk_save_names();
	for (size_t i = 0; i < disk.name_count; i++) {
		g_autofree char *path = g_build_filename(directory, disk.names[i].name, NULL);
		int fd = open(path, O_RDWR | O_CLOEXEC);

		disk_save_file(fd);
		close(fd);
	}
}

void disk_fail(enum disk_fault fault, unsigned at)
{
	disk.fault = fault;
	disk.calls = 0;
	disk.at = at;
}
