/*
 * The system calls of a manager whose TPM is behind a Unix socket; all others kill it:
 *
 *   recvfrom, sendto    sessions' sockets, the control socket and the TPM's, all of them connected;
 *                       never with an address, which would reach every datagram socket there is
 *   recvmsg             the control socket, which brings sessions
 *   close               sessions that are over
 *   write               standard error, for the log
 *   ppoll, clock_gettime, restart_syscall, rt_sigreturn, exit, exit_group
 *
 * No descriptor is opened, no memory mapped, no process started.
 *
 * A TCTI is somebody else's code, which connects anew for each command (swtpm), looks up names
 * (mssim), talks to a child that was started before (cmd) or to a device. It may besides open files
 * and sockets as far as the user tpmgate may, map memory that is not executable, and wait. It may
 * not execute a program, start a process or thread, trace, signal others, or change who it is: such
 * calls fail with EPERM, since a library may try one and go on.
 */
#include "rm/confine.h"

#include "common/rm-protocol.h"
#include "common/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <unistd.h>

static const int any[] = {SCMP_SYS(ppoll), SCMP_SYS(ppoll_time64), SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_gettime64), SCMP_SYS(restart_syscall), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(close)};

static const int for_tcti[] = {
	/* files and devices: libraries of the resolver, /etc/hosts, a device node */
	SCMP_SYS(openat), SCMP_SYS(open), SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64),
	SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(lseek), SCMP_SYS(_llseek), SCMP_SYS(fstat),
	SCMP_SYS(fstat64), SCMP_SYS(newfstatat), SCMP_SYS(fstatat64), SCMP_SYS(stat),
	SCMP_SYS(stat64), SCMP_SYS(statx), SCMP_SYS(access), SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2), SCMP_SYS(fcntl), SCMP_SYS(fcntl64), SCMP_SYS(ioctl),
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents64),
	/* sockets */
	SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(recvfrom), SCMP_SYS(recv), SCMP_SYS(sendto),
	SCMP_SYS(send), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg),
	SCMP_SYS(recvmmsg), SCMP_SYS(shutdown), SCMP_SYS(bind), SCMP_SYS(getsockname),
	SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
	/* memory */
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex),
	SCMP_SYS(futex_time64),
	/* waiting, and the alarm that ends it */
	SCMP_SYS(poll), SCMP_SYS(select), SCMP_SYS(_newselect), SCMP_SYS(pselect6),
	SCMP_SYS(pselect6_time64), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(clock_nanosleep_time64), SCMP_SYS(alarm), SCMP_SYS(setitimer),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(wait4),
	/* who and when */
	SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
	SCMP_SYS(getegid), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(uname),
	SCMP_SYS(sysinfo), SCMP_SYS(getrandom), SCMP_SYS(sched_yield)};

static int allow_stream(struct sandbox *sandbox)
{
	int r = sandbox_allow_connected(sandbox, SCMP_SYS(recvfrom), -1);

	if (r == 0)
		r = sandbox_allow_connected(sandbox, SCMP_SYS(sendto), -1);
	if (r == 0)
		r = sandbox_allow_fd(sandbox, SCMP_SYS(recvmsg), RM_FD_CONTROL);
	return r < 0 ? r : sandbox_allow_fd(sandbox, SCMP_SYS(write), STDERR_FILENO);
}

int confine(bool tcti, rlim_t descriptors)
{
	struct sandbox *sandbox;
	int r = sandbox_limit(descriptors);

	if (r < 0)
		return r;
	sandbox = sandbox_new(tcti ? SANDBOX_FAILS : SANDBOX_KILLS);
	if (!sandbox)
		return -ENOMEM;
	r = sandbox_allow(sandbox, any, sizeof any / sizeof any[0]);
	if (r == 0 && !tcti)
		r = allow_stream(sandbox);
	if (r == 0 && tcti)
		r = sandbox_allow(sandbox, for_tcti, sizeof for_tcti / sizeof for_tcti[0]);
	if (r == 0 && tcti)
		r = sandbox_allow_data(sandbox);
	if (r < 0) {
		sandbox_free(sandbox);
		return r;
	}
	return sandbox_enter(sandbox);
}
