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

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef TPMGATE_SANITIZED
/* Sanitizers map memory, read /proc and more: such builds test memory, not confinement. */
#define CONFINE_OTHERWISE SCMP_ACT_ERRNO(EPERM)
#else
#define CONFINE_OTHERWISE SCMP_ACT_KILL_PROCESS
#endif

int confine_descriptors(void)
{
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
#ifdef SYS_close_range
	if (syscall(SYS_close_range, RELAY_FD_END, ~0U, 0) == 0)
		return 0;
	if (errno != ENOSYS)
		return -errno;
#endif
	/* Before Linux 5.9. The broker starts us with no more than its own limit allows. */
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	for (rlim_t fd = RELAY_FD_END; fd < limit.rlim_cur; fd++)
		close((int)fd);
	return 0;
}

static int limit(int resource, rlim_t value)
{
	const struct rlimit new_limit = {.rlim_cur = value, .rlim_max = value};

	return setrlimit((__rlimit_resource_t)resource, &new_limit) < 0 ? -errno : 0;
}

/* Allows CALL with any arguments. */
static int allow_any(scmp_filter_ctx filter, int call)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
}

/* Allows CALL on FD. An int argument has 32 bits: what stands above them says nothing. */
static int allow_fd(scmp_filter_ctx filter, int call, int fd)
{
	const struct scmp_arg_cmp argument = {.arg = 0,
		.op = SCMP_CMP_MASKED_EQ,
		.datum_a = UINT32_MAX,
		.datum_b = (scmp_datum_t)fd};

	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &argument);
}

/* Allows CALL, sendto or recvfrom, on FD where it is connected to and without an address. */
static int allow_connected(scmp_filter_ctx filter, int call, int fd)
{
	const struct scmp_arg_cmp arguments[] = {
		{.arg = 0,
			.op = SCMP_CMP_MASKED_EQ,
			.datum_a = UINT32_MAX,
			.datum_b = (scmp_datum_t)fd},
		{.arg = 4, .op = SCMP_CMP_EQ, .datum_a = 0},
	};

	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 2, arguments);
}

static int add_rules(scmp_filter_ctx filter, bool log_to_journal)
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
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof any / sizeof any[0]; i++)
		r = allow_any(filter, any[i]);
	for (size_t i = 0; r == 0 && i < sizeof on_fd / sizeof on_fd[0]; i++)
		r = allow_fd(filter, on_fd[i].call, on_fd[i].fd);
	for (size_t i = 0; r == 0 && i < sizeof connected / sizeof connected[0]; i++)
		r = allow_connected(filter, connected[i].call, connected[i].fd);
	if (r == 0)
		r = log_to_journal ? allow_connected(filter, SCMP_SYS(sendto), RELAY_FD_LOG)
				   : allow_fd(filter, SCMP_SYS(write), STDERR_FILENO);
#ifdef TPMGATE_SANITIZED
	static const int sanitizer[] = {SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mprotect),
		SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(sigaltstack), SCMP_SYS(rt_sigaction),
		SCMP_SYS(rt_sigprocmask), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(write),
		SCMP_SYS(brk), SCMP_SYS(sched_yield), SCMP_SYS(tgkill)};

	for (size_t i = 0; r == 0 && i < sizeof sanitizer / sizeof sanitizer[0]; i++)
		r = allow_any(filter, sanitizer[i]);
#endif
	return r;
}

static int install_filter(bool log_to_journal)
{
	scmp_filter_ctx filter = seccomp_init(CONFINE_OTHERWISE);
	int r;

	if (!filter)
		return -ENOMEM;
	/* Another architecture's system calls have other numbers: they kill too. */
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1);
	if (r == 0)
		r = add_rules(filter, log_to_journal);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}

int confine(bool log_to_journal)
{
	int r;

	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = limit(RLIMIT_CORE, 0);
	if (r == 0)
		r = limit(RLIMIT_NPROC, 0);
	if (r == 0)
		r = limit(RLIMIT_NOFILE, RELAY_FD_END); /* ppoll() takes no more than that */
	return r < 0 ? r : install_filter(log_to_journal);
}
