/*
 * A program gets its descriptors, an empty environment, /dev/null as standard input and output, our
 * standard error, default signals, and a process group of its own (a terminal's Ctrl-C is for the
 * broker, which ends its sessions in order).
 */
#include "broker/spawn.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

#define SPAWN_FIRST (STDERR_FILENO + 1)

/* Copies of what the caller keeps; -1: none. */
struct spawn_copies {
	int fds[SPAWN_FDS_MAX];
};

static void spawn_close_copies(struct spawn_copies *copies)
{
	for (size_t i = 0; i < SPAWN_FDS_MAX; i++)
		cleanup_close(&copies->fds[i]);
}

/*
 * Copies of FDS above all targets: a descriptor that is moved to its place must not land on one
 * that still waits for its own move.
 */
static int spawn_copy(const int *fds, size_t count, struct spawn_copies *copies)
{
	for (size_t i = 0; i < count; i++) {
		if (fds[i] < 0)
			continue;
		copies->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, SPAWN_FIRST + SPAWN_FDS_MAX);
		if (copies->fds[i] < 0)
			return -errno;
	}
	return 0;
}

static int spawn_prepare_files(
	posix_spawn_file_actions_t *files, const struct spawn_copies *copies, size_t count)
{
	int r = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

	if (r == 0)
		r = posix_spawn_file_actions_addopen(
			files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	for (size_t i = 0; r == 0 && i < count; i++) {
		int target = SPAWN_FIRST + (int)i;

		r = copies->fds[i] >= 0
			    ? posix_spawn_file_actions_adddup2(files, copies->fds[i], target)
			    : posix_spawn_file_actions_addclose(files, target);
	}
	return -r;
}

static int spawn_prepare_attributes(posix_spawnattr_t *attributes)
{
	sigset_t all;
	sigset_t none;
	int r;

	sigfillset(&all);
	sigemptyset(&none);
	r = posix_spawnattr_setsigdefault(attributes, &all);
	if (r == 0)
		r = posix_spawnattr_setsigmask(attributes, &none);
	if (r == 0)
		r = posix_spawnattr_setpgroup(attributes, 0);
	if (r == 0)
		r = posix_spawnattr_setflags(attributes,
			POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	return -r;
}

/* Nothing of ours; sanitizers of a test build need their options. */
static char **spawn_environment(void)
{
	GPtrArray *environment = g_ptr_array_new();
#ifdef TPMGATE_SANITIZED
	static const char *const names[] = {
		"ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"};

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if (g_getenv(names[i]))
			g_ptr_array_add(environment,
				g_strdup_printf("%s=%s", names[i], g_getenv(names[i])));
#endif
	g_ptr_array_add(environment, NULL);
	return (char **)g_ptr_array_free(environment, FALSE);
}

static int spawn_execute(const char *const *arguments, const struct spawn_copies *copies,
	size_t count, pid_t *ret_pid)
{
	g_auto(GStrv) argv = g_strdupv((char **)(uintptr_t)arguments);
	g_auto(GStrv) environment = spawn_environment();
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	int r = -posix_spawn_file_actions_init(&files);

	if (r < 0)
		return r;
	r = -posix_spawnattr_init(&attributes);
	if (r < 0) {
		posix_spawn_file_actions_destroy(&files);
		return r;
	}
	r = spawn_prepare_files(&files, copies, count);
	if (r == 0)
		r = spawn_prepare_attributes(&attributes);
	if (r == 0)
		r = -posix_spawn(ret_pid, argv[0], &files, &attributes, argv, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	return r;
}

int spawn_program(const char *const *arguments, const int *fds, size_t count, int *ret_pidfd)
{
	__attribute__((cleanup(spawn_close_copies))) struct spawn_copies copies;
	pid_t pid = -1;
	int pidfd;
	int r;

	for (size_t i = 0; i < SPAWN_FDS_MAX; i++)
		copies.fds[i] = -1;
	if (count > SPAWN_FDS_MAX)
		return -EINVAL;
	r = spawn_copy(fds, count, &copies);
	if (r == 0)
		r = spawn_execute(arguments, &copies, count, &pid);
	if (r < 0)
		return r;
	/* the number is its own until it is waited for */
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		r = -errno;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return r;
	}
	*ret_pidfd = pidfd;
	return 0;
}

char *spawn_reap(int pidfd)
{
	siginfo_t info = {.si_pid = 0};

	if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0 ||
		info.si_pid == 0)
		return NULL;
	if (info.si_code == CLD_EXITED)
		return info.si_status == 0
			       ? NULL
			       : g_strdup_printf("it failed with status %d", info.si_status);
	if (info.si_status == SIGSYS)
		return g_strdup("it was killed by seccomp (SIGSYS): it tried a system call that it "
				"must not make");
	return g_strdup_printf(
		"it was killed by signal %d (%s)", info.si_status, g_strsignal(info.si_status));
}
