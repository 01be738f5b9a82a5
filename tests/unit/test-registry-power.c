/*
 * The registry when its process is killed, the power fails or the disk refuses, at each of its
 * system calls. A child does random steps; what it says on a pipe is what its clients have been
 * told. The registry that is there afterwards has to be the one that they know of, but for the step
 * that nobody was told the end of.
 *
 * The disk is the test's: what was written and not synchronised since may be there, may be zeros,
 * or may not be there, and a directory that was not synchronised may be as it was. Files keep their
 * inodes.
 */
#include "registry-model.h"

#include <glib.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define STEPS_BEFORE 62 /* without a fault, so that the file is about to be written anew */
#define STEPS        100
#define FILES_MAX    64
#define NAME_SIZE    64
#define KILLED       77

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

enum fault {
	FAULT_KILL,        /* the process ends before the call */
	FAULT_KILL_PART,   /* after the call, or half of it for a write */
	FAULT_ERROR,       /* ENOSPC or EIO, once; of a write, half is done */
	FAULT_ERRORS,      /* the same for a while */
	FAULT_POWER_LOST,  /* what was not synchronised is not there */
	FAULT_POWER_ZEROS, /* it is zeros */
	FAULT_POWER_NAMES, /* it is not there, but for names */
	FAULT_POWER_BYTES, /* it is there, but for names */
	FAULTS,
};

struct file_image {
	ino_t inode;
	char *bytes;
	size_t size;
};

static struct {
	enum fault fault;
	unsigned at; /* the call that it is at, from 1; 0: never */
	atomic_uint calls;
	char *directory;
	char *links; /* each file under its inode's number, so that it is never gone */
	struct file_image files[FILES_MAX]; /* as synchronised */
	size_t file_count;
	struct {
		char name[NAME_SIZE];
		ino_t inode;
	} names[FILES_MAX]; /* as synchronised */
	size_t name_count;
} disk;

/* ---- the disk ----------------------------------------------------------------------------- */

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
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		snprintf(link, sizeof link, "%s/%llu", disk.links,
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

		snprintf(link, sizeof link, "%s/%llu", disk.links,
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
	_exit(KILLED);
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

/* ---- the child ---------------------------------------------------------------------------- */

static void child_say(int fd, char what)
{
	if (write(fd, &what, 1) != 1)
		_exit(1);
}

/* Says 'a' when it asks, 'y' when it gets the answer that is due, 'u' for UNAVAILABLE. */
static void child_work(struct registry_scene *scene, int report, uint32_t seed, unsigned at)
{
	struct model model;

	memset(&model, 0, sizeof model);
	for (unsigned i = 0; i < STEPS; i++) {
		struct step step = step_random(&model, &seed);
		struct model next;
		enum account_answer due;
		enum account_answer answer;
		bool changed;

		memcpy(&next, &model, sizeof next);
		due = model_apply(&next, &step, &changed);
		if (i == STEPS_BEFORE)
			disk.at = at;
		child_say(report, 'a');
		answer = step_ask(scene, &step);
		if (answer == ACCOUNT_UNAVAILABLE && disk.fault != FAULT_KILL &&
			registry_problem(scene->registry)) {
			child_say(report, 'u');
			continue;
		}
		if (answer != due)
			_exit(3);
		child_say(report, 'y');
		memcpy(&model, &next, sizeof model);
	}
}

static void child_run(struct registry_scene *scene, int report, uint32_t seed, unsigned at)
{
	g_autofree char *path = registry_scene_path(scene, "registry");
	int fd = open(path, O_RDWR | O_CLOEXEC);
	g_autofree char *problem = NULL;

	disk_save_file(fd);
	close(fd);
	disk_save_names();
	scene->registry = registry_open(scene->directory, &problem);
	if (!scene->registry)
		_exit(1);
	child_work(scene, report, seed, at);
	disk.at = 0;
	_exit(0);
}

/* ---- the parent --------------------------------------------------------------------------- */

/* What the registry may be, by what a child SAID. */
struct history {
	struct model model;         /* what the child's clients know */
	struct model others[STEPS]; /* what it may be besides */
	size_t other_count;
};

static void history_replay(struct history *history, const char *said, size_t size, uint32_t seed)
{
	struct step step;
	struct model next;
	bool changed = false;

	memset(history, 0, sizeof *history);
	for (size_t i = 0; i < size; i++) {
		if (said[i] == 'a') {
			step = step_random(&history->model, &seed);
			memcpy(&next, &history->model, sizeof next);
			model_apply(&next, &step, &changed);
		}
		if (said[i] == 'y') {
			memcpy(&history->model, &next, sizeof next);
			if (changed && step.type != STEP_DOUBT)
				history->other_count = 0;
		} else if (said[i] == 'u' || i + 1 == size) {
			memcpy(&history->others[history->other_count++], &next, sizeof next);
		}
	}
}

static bool history_matches(const struct history *history, const struct registry_scene *scene)
{
	if (model_matches(&history->model, scene))
		return true;
	for (size_t i = 0; i < history->other_count; i++)
		if (model_matches(&history->others[i], scene))
			return true;
	return false;
}

/* Returns the child's exit status, and what it said. */
static int run_child(
	struct registry_scene *scene, uint32_t seed, unsigned at, char *ret_said, size_t *ret_size)
{
	int ends[2];
	int status;
	ssize_t got;
	pid_t pid;

	*ret_size = 0;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child_run(scene, ends[1], seed, at);
	close(ends[1]);
	while ((got = read(ends[0], ret_said + *ret_size, 2 * STEPS - *ret_size)) > 0)
		*ret_size += (size_t)got;
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Returns false where the fault came after all calls. */
static bool check_fault(enum fault fault, uint32_t seed, unsigned at)
{
	struct registry_scene scene = registry_scene_new();
	struct registry_entry extra = sealed_entry(2000, 1);
	struct history *history = g_new0(struct history, 1);
	g_autofree char *problem = NULL;
	char said[2 * STEPS];
	size_t size;
	int r;

	registry_close(scene.registry);
	disk.fault = fault;
	disk.directory = scene.directory;
	disk.links = g_dir_make_tmp("tpmgate-links-XXXXXX", NULL);
	r = run_child(&scene, seed, at, said, &size);
	if (r != 0 && r != KILLED)
		fail_msg("fault %d at call %u, seed %u: the child ended with %d after %zu", fault,
			at, seed, r, size);
	registry_scene_remove(disk.links);
	g_clear_pointer(&disk.links, g_free);
	history_replay(history, said, size, seed);
	scene.registry = registry_open(scene.directory, &problem);
	if (!scene.registry)
		fail_msg("%s", problem);
	if (registry_problem(scene.registry) || !history_matches(history, &scene))
		fail_msg("fault %d at call %u, seed %u: not what was told (%zu); %s", fault, at,
			seed, size, registry_problem(scene.registry));
	/* and it goes on */
	make(&scene, &extra);
	registry_scene_reopen(&scene);
	assert_true(registry_owns(scene.registry, &extra));
	assert_true(history_matches(history, &scene));
	registry_scene_free(&scene);
	g_free(history);
	return r == KILLED || memchr(said, 'u', size);
}

static void check_faults(enum fault fault)
{
	for (uint32_t seed = 1; seed <= 2; seed++) {
		unsigned last = 0;

		/* one that goes unnoticed, such as of an unlink, is not the end */
		for (unsigned at = 1; at < last + 10; at++)
			if (check_fault(fault, seed, at))
				last = at;
		assert_true(last > 2 * (STEPS - STEPS_BEFORE) / 2);
	}
}

static void test_kill(void **state)
{
	(void)state;
	check_faults(FAULT_KILL);
}

static void test_kill_in_the_middle(void **state)
{
	(void)state;
	check_faults(FAULT_KILL_PART);
}

static void test_error(void **state)
{
	(void)state;
	check_faults(FAULT_ERROR);
}

static void test_errors(void **state)
{
	(void)state;
	check_faults(FAULT_ERRORS);
}

static void test_power_takes_what_is_not_synchronised(void **state)
{
	(void)state;
	check_faults(FAULT_POWER_LOST);
}

static void test_power_leaves_zeros(void **state)
{
	(void)state;
	check_faults(FAULT_POWER_ZEROS);
}

static void test_power_leaves_names(void **state)
{
	(void)state;
	check_faults(FAULT_POWER_NAMES);
}

static void test_power_leaves_bytes(void **state)
{
	(void)state;
	check_faults(FAULT_POWER_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_kill_in_the_middle),
		cmocka_unit_test(test_error),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_power_takes_what_is_not_synchronised),
		cmocka_unit_test(test_power_leaves_zeros),
		cmocka_unit_test(test_power_leaves_names),
		cmocka_unit_test(test_power_leaves_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
