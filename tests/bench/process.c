#include "process.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#define PROCESS_FIRST_FD 3
#define PROCESS_ASIDE_FD 64 /* above all descriptors that a child is given */

/* In the child: puts FDS at 3, 4, ... and closes the rest. */
static void process_arrange_fds(const int *fds, size_t fd_count)
{
	/* First out of the way: a target may be the source of a later one. */
	for (size_t i = 0; i < fd_count; i++)
		if (dup2(fds[i], PROCESS_ASIDE_FD + (int)i) < 0)
			_exit(127);
	for (size_t i = 0; i < fd_count; i++)
		if (dup2(PROCESS_ASIDE_FD + (int)i, PROCESS_FIRST_FD + (int)i) < 0)
			_exit(127);
	if (syscall(SYS_close_range, PROCESS_FIRST_FD + (unsigned int)fd_count, ~0U, 0) < 0)
		_exit(127);
}

static pid_t process_new(void)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(127);
	}
	return pid;
}

pid_t process_start(
	const char *const *argv, const int *fds, size_t fd_count, enum process_flags flags)
{
	pid_t pid = process_new();

	if (pid != 0)
		return pid;

	process_arrange_fds(fds, fd_count);
	if (flags & PROCESS_LISTEN) {
		char number[16];

		snprintf(number, sizeof number, "%d", (int)getpid());
		setenv("LISTEN_PID", number, 1);
		snprintf(number, sizeof number, "%zu", fd_count);
		setenv("LISTEN_FDS", number, 1);
	}

	union {
		const char *const *constant;
		char *const *plain;
	} arguments = {.constant = argv};

	const char *log = getenv("BENCH_LOG");

	if (flags & PROCESS_QUIET && !freopen(log ? log : "/dev/null", "a", stderr))
		_exit(127);
	execvp(argv[0], arguments.plain);
	fprintf(stderr, "bench-tpmgate: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

pid_t process_fork(void (*run)(int fd), int fd)
{
	pid_t pid = process_new();

	if (pid != 0)
		return pid;
	process_arrange_fds(&fd, 1);
	run(PROCESS_FIRST_FD);
	_exit(0);
}

void process_end(pid_t pid)
{
	if (pid < 1)
		return;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int process_address(const char *path, struct sockaddr_un *ret_address)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	*ret_address = address;
	return 0;
}

int process_listen(int type, const char *path)
{
	struct sockaddr_un address;
	int r = process_address(path, &address);

	if (r < 0)
		return r;

	CLEANUP_FD int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
		listen(fd, 16) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int process_connect(const char *path)
{
	struct sockaddr_un address;
	int r = process_address(path, &address);

	if (r < 0)
		return r;

	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
		return -errno;
	return TAKE_FD(fd);
}
