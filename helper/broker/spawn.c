/*
 * A relay gets its descriptors, an empty environment, /dev/null as standard input and output, our
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
#include <sys/syscall.h>
#include <sys/wait.h>

#define SPAWN_COUNT (RELAY_FD_END - RELAY_FD_CLIENT)

static void spawn_close_copies(int (*copies)[SPAWN_COUNT])
{
	for (size_t i = 0; i < SPAWN_COUNT; i++)
		cleanup_close(&(*copies)[i]);
}

/*
 * Copies of FDS above all targets: a descriptor that is moved to its place must not land on one
 * that still waits for its own move.
 */
static int spawn_copy(const struct spawn_fds *fds, int copies[SPAWN_COUNT])
{
	for (size_t i = 0; i < SPAWN_COUNT; i++) {
		if (fds->fds[i] < 0)
			continue;
		copies[i] = fcntl(fds->fds[i], F_DUPFD_CLOEXEC, RELAY_FD_END);
		if (copies[i] < 0)
			return -errno;
	}
	return 0;
}

static int spawn_prepare_files(posix_spawn_file_actions_t *files, const int copies[SPAWN_COUNT])
{
	int r = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

	if (r == 0)
		r = posix_spawn_file_actions_addopen(
			files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	for (int i = 0; r == 0 && i < SPAWN_COUNT; i++)
		r = copies[i] >= 0 ? posix_spawn_file_actions_adddup2(
					     files, copies[i], RELAY_FD_CLIENT + i)
				   : posix_spawn_file_actions_addclose(files, RELAY_FD_CLIENT + i);
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

static int spawn_execute(const char *path, const int copies[SPAWN_COUNT], pid_t *ret_pid)
{
	g_autofree char *program = g_strdup(path);
	g_auto(GStrv) environment = spawn_environment();
	char *const arguments[] = {program, NULL};
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
	r = spawn_prepare_files(&files, copies);
	if (r == 0)
		r = spawn_prepare_attributes(&attributes);
	if (r == 0)
		r = -posix_spawn(ret_pid, path, &files, &attributes, arguments, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	return r;
}

int spawn_relay(const char *path, const struct spawn_fds *fds, int *ret_pidfd)
{
	__attribute__((cleanup(spawn_close_copies))) int copies[SPAWN_COUNT] = {-1, -1, -1, -1, -1};
	pid_t pid = -1;
	int pidfd;
	int r = spawn_copy(fds, copies);

	if (r == 0)
		r = spawn_execute(path, copies, &pid);
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

_Static_assert(SPAWN_COUNT == 5, "as many as the initialiser above has");
