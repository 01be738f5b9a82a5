#pragma once
/* Child processes that get exactly the descriptors they are given and die with this program. */
#include <stddef.h>
#include <sys/types.h>

/*
 * Starts ARGV[0], which is a path, or a name to be found in PATH. FDS become descriptors 3, 4, ...
 * of the child; it has no others but stdin, stdout and stderr. Returns the pid or a negative errno;
 * a program that cannot be executed ends with status 127.
 */
enum process_flags {
	PROCESS_LISTEN = 1, /* announces FDS in LISTEN_PID and LISTEN_FDS */
	PROCESS_QUIET = 2,  /* stderr goes to the file $BENCH_LOG, if that is set */
};
pid_t process_start(
	const char *const *argv, const int *fds, size_t fd_count, enum process_flags flags);

/* The same for a function, with one descriptor. The child ends when RUN returns. */
pid_t process_fork(void (*run)(int fd), int fd);

/* Ends the process and waits until it has. Ignores pids below 1. */
void process_end(pid_t pid);

/* A listening Unix socket of TYPE at PATH, close-on-exec. Returns it or a negative errno. */
int process_listen(int type, const char *path);

/* Connects a stream socket to PATH. Returns it, blocking and close-on-exec, or a negative errno. */
int process_connect(const char *path);
