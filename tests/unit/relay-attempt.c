/*
 * What a relay that its client has taken over would try. Linked into the test-only build of the
 * relay, which calls attempt() once it is confined and READY; the environment variable
 * TPMGATE_ATTEMPT names the try, and with the value "list" the names are printed instead. Coming
 * back from the system call at all ends the process with status 99.
 */
#include "common/account-protocol.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

void attempt(void);

static const struct {
	const char *name;
	long arguments[6]; /* number, then arguments; pointers are put in below */
} attempts[] = {
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
	const char *wanted = getenv("TPMGATE_ATTEMPT");

	if (!wanted)
		return;
	for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
		const long *a = attempts[i].arguments;

		if (strcmp(wanted, attempts[i].name) == 0) {
			syscall(a[0], a[1], a[2], a[3], a[4], a[5], 0);
			_exit(99);
		}
		/* dprintf() would seek first, and die of it */
		if (strcmp(wanted, "list") == 0 &&
			(write(STDERR_FILENO, attempts[i].name, strlen(attempts[i].name)) < 0 ||
				write(STDERR_FILENO, "\n", 1) < 0))
			_exit(97);
	}
	_exit(strcmp(wanted, "list") == 0 ? 0 : 98);
}
