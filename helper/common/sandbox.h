#pragma once
/*
 * A process that gives up what it does not need: a list of system calls, each with the descriptor
 * that it is for, and no way back. The only file that knows libseccomp.
 *
 * Every function that returns int returns 0 or a negative errno.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>

/* What happens at any other system call. In sanitizer builds it always fails with EPERM. */
enum sandbox_otherwise {
	SANDBOX_KILLS, /* the process dies by SIGSYS */
	SANDBOX_FAILS, /* the call fails with EPERM */
};

/* Closes every descriptor from FIRST on. */
int sandbox_close_descriptors(int first);

/*
 * No core dump, no tracing, no new privileges, no SIGPIPE, no new processes, and at most
 * DESCRIPTORS descriptors.
 */
int sandbox_limit(rlim_t descriptors);

struct sandbox;

/* NULL where memory is short. */
struct sandbox *sandbox_new(enum sandbox_otherwise otherwise);
/* Allows CALLS (numbers of seccomp_syscall_resolve_name()) with any arguments. */
int sandbox_allow(struct sandbox *sandbox, const int *calls, size_t count);
/* Allows CALL where its first argument is FD. */
int sandbox_allow_fd(struct sandbox *sandbox, int call, int fd);
/* Allows mapping and protecting memory that is not executable. */
int sandbox_allow_data(struct sandbox *sandbox);
/* Allows sendto and recvfrom (CALL) without an address: on FD, or on any where it is negative. */
int sandbox_allow_connected(struct sandbox *sandbox, int call, int fd);
/* From here on nothing else is possible. Frees SANDBOX, as sandbox_free() does without that. */
int sandbox_enter(struct sandbox *sandbox);
void sandbox_free(struct sandbox *sandbox);
