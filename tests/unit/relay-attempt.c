/* What a relay that its client has taken over would try: each try ends it. */
#include "attempt.h"

#include "common/account-protocol.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>

static const struct attempt attempts[] = {
	{"open", {SYS_openat, AT_FDCWD, 0, O_RDONLY}},
	{"socket", {SYS_socket, AF_UNIX, SOCK_STREAM, 0}},
	{"connect", {SYS_connect, RELAY_FD_CLIENT, 0, 16}},
	{"execve", {SYS_execve, 0, 0, 0}},
	{"fork", {SYS_clone, SIGCHLD, 0, 0, 0}},
	{"ptrace", {SYS_ptrace, PTRACE_TRACEME, 0, 0, 0}},
	{"kill", {SYS_kill, 1, 0}},
	{"mmap-exec", {SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1}},
	{"mprotect-exec", {SYS_mprotect, 0, 4096, PROT_READ | PROT_EXEC}},
	{"ioctl-tpm", {SYS_ioctl, RELAY_FD_TPM, 0, 0}},
	{"read-client", {SYS_read, RELAY_FD_CLIENT, 0, 0}},
	{"write-account", {SYS_write, RELAY_FD_ACCOUNT, 0, 0}},
	{"send-tpm", {SYS_sendto, RELAY_FD_TPM, 0, 0, 0, 0}},
	{"close-account", {SYS_close, RELAY_FD_ACCOUNT}},
	{"dup-tpm", {SYS_dup, RELAY_FD_TPM}},
	{"recvmsg-account", {SYS_recvmsg, RELAY_FD_ACCOUNT, 0, 0}},
	{"sendto-address", {SYS_sendto, RELAY_FD_CLIENT, 0, 0, 0, 4096}},
	{"sendmsg", {SYS_sendmsg, RELAY_FD_CLIENT, 0, 0}},
	{"setuid", {SYS_setuid, 0}},
	{"prctl-dumpable", {SYS_prctl, 4, 1, 0, 0, 0}},
};

void attempt(void)
{
	attempt_run(attempts, sizeof attempts / sizeof attempts[0]);
}
