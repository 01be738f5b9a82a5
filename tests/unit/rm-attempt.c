/* What a resource manager that its TPM has taken over would try. */
#include "attempt.h"

#include "common/rm-protocol.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>

#define OTHER_FD 5 /* a session's or the TPM's, or none: it must make no difference */

/* The first eight are refused whatever is behind the manager, the others for a Unix socket. */
static const struct attempt attempts[] = {
	{"execve", {SYS_execve, 0, 0, 0}},
	{"fork", {SYS_clone, SIGCHLD, 0, 0, 0}},
	{"ptrace", {SYS_ptrace, PTRACE_TRACEME, 0, 0, 0}},
	{"kill", {SYS_kill, 1, 0}},
	{"mmap-exec", {SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1}},
	{"mprotect-exec", {SYS_mprotect, 0, 4096, PROT_READ | PROT_EXEC}},
	{"setuid", {SYS_setuid, 0}},
	{"prctl-dumpable", {SYS_prctl, 4, 1, 0, 0, 0}},
	{"open", {SYS_openat, AT_FDCWD, 0, O_RDONLY}},
	{"socket", {SYS_socket, AF_UNIX, SOCK_STREAM, 0}},
	{"connect", {SYS_connect, OTHER_FD, 0, 16}},
	{"mmap", {SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1}},
	{"ioctl", {SYS_ioctl, OTHER_FD, 0, 0}},
	{"read", {SYS_read, OTHER_FD, 0, 0}},
	{"write-control", {SYS_write, RM_FD_CONTROL, 0, 0}},
	{"dup", {SYS_dup, OTHER_FD}},
	{"recvmsg-other", {SYS_recvmsg, OTHER_FD, 0, 0}},
	{"sendto-address", {SYS_sendto, OTHER_FD, 0, 0, 0, 4096}},
	{"sendmsg", {SYS_sendmsg, RM_FD_CONTROL, 0, 0}},
};

void attempt(void)
{
	attempt_run(attempts, sizeof attempts / sizeof attempts[0]);
}
