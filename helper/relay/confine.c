/*
 * The system calls of a relay, all others kill it:
 *
 *   read, write, close   the TPM's descriptor
 *   recvfrom, sendto     the client's and the account socket; sendto: the journal's too; never with
 *                        an address, which would reach every datagram socket there is
 *   recvmsg              the client's, to look for descriptors (channel.c)
 *   write, writev        stderr, where there is no journal (writev: C libraries' own messages)
 *   ppoll                on any: they are in memory, where a filter cannot look
 *   clock_gettime        where the vdso falls back to the kernel
 *   restart_syscall      after SIGSTOP and SIGCONT, and after suspend
 *   rt_sigreturn, exit, exit_group
 */
#include "relay/confine.h"

#include "common/account-protocol.h"
#include "common/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <unistd.h>

int confine_descriptors(void)
{
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	return sandbox_close_descriptors(RELAY_FD_END);
}

static int allow(struct sandbox *sandbox, bool log_to_journal)
{
	static const int any[] = {SCMP_SYS(ppoll), SCMP_SYS(ppoll_time64), SCMP_SYS(clock_gettime),
		SCMP_SYS(clock_gettime64), SCMP_SYS(restart_syscall), SCMP_SYS(rt_sigreturn),
		SCMP_SYS(exit), SCMP_SYS(exit_group)};
	static const struct {
		int call;
		int fd;
	} on_fd[] = {
		{SCMP_SYS(read), RELAY_FD_TPM},
		{SCMP_SYS(write), RELAY_FD_TPM},
		{SCMP_SYS(close), RELAY_FD_TPM},
		{SCMP_SYS(recvmsg), RELAY_FD_CLIENT},
		{SCMP_SYS(writev), STDERR_FILENO},
	};
	static const struct {
		int call;
		int fd;
	} connected[] = {
		{SCMP_SYS(recvfrom), RELAY_FD_CLIENT},
		{SCMP_SYS(recvfrom), RELAY_FD_ACCOUNT},
		{SCMP_SYS(sendto), RELAY_FD_CLIENT},
		{SCMP_SYS(sendto), RELAY_FD_ACCOUNT},
	};
	int r = sandbox_allow(sandbox, any, sizeof any / sizeof any[0]);

	for (size_t i = 0; r == 0 && i < sizeof on_fd / sizeof on_fd[0]; i++)
		r = sandbox_allow_fd(sandbox, on_fd[i].call, on_fd[i].fd);
	for (size_t i = 0; r == 0 && i < sizeof connected / sizeof connected[0]; i++)
		r = sandbox_allow_connected(sandbox, connected[i].call, connected[i].fd);
	if (r == 0)
		r = log_to_journal
			    ? sandbox_allow_connected(sandbox, SCMP_SYS(sendto), RELAY_FD_LOG)
			    : sandbox_allow_fd(sandbox, SCMP_SYS(write), STDERR_FILENO);
	return r;
}

int confine(bool log_to_journal)
{
	struct sandbox *sandbox;
	int r = sandbox_limit(RELAY_FD_END); /* ppoll() takes no more than that */

	if (r < 0)
		return r;
	sandbox = sandbox_new(SANDBOX_KILLS);
	if (!sandbox)
		return -ENOMEM;
	r = allow(sandbox, log_to_journal);
	if (r < 0) {
		sandbox_free(sandbox);
		return r;
	}
	return sandbox_enter(sandbox);
}
