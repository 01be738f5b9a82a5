#include "common/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int sandbox_close_descriptors(int first)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, first, ~0U, 0) == 0)
		return 0;
	if (errno != ENOSYS)
		return -errno;
#endif
	/* Before Linux 5.9. The broker starts us with no more than its own limit allows. */
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	for (rlim_t fd = (rlim_t)first; fd < limit.rlim_cur; fd++)
		close((int)fd);
	return 0;
}

int sandbox_limit(rlim_t descriptors)
{
	const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
	const struct rlimit few = {.rlim_cur = descriptors, .rlim_max = descriptors};

	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (setrlimit(RLIMIT_CORE, &none) < 0 || setrlimit(RLIMIT_NPROC, &none) < 0 ||
		setrlimit(RLIMIT_NOFILE, &few) < 0)
		return -errno;
	return 0;
}

/* A struct sandbox is what libseccomp calls a filter context. */
static scmp_filter_ctx filter_of(struct sandbox *sandbox)
{
	return sandbox;
}

#ifdef TPMGATE_SANITIZED
/* Sanitizers map memory, read /proc and more: such builds test memory, not confinement. */
static int allow_sanitizer(struct sandbox *sandbox)
{
	static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mprotect),
		SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(sigaltstack), SCMP_SYS(rt_sigaction),
		SCMP_SYS(rt_sigprocmask), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(write),
		SCMP_SYS(brk), SCMP_SYS(sched_yield), SCMP_SYS(tgkill)};

	return sandbox_allow(sandbox, calls, sizeof calls / sizeof calls[0]);
}
#else
static int allow_sanitizer(struct sandbox *sandbox)
{
	(void)sandbox;
	return 0;
}
#endif

struct sandbox *sandbox_new(enum sandbox_otherwise otherwise)
{
#ifdef TPMGATE_SANITIZED
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	(void)otherwise;
#else
	scmp_filter_ctx filter = seccomp_init(
		otherwise == SANDBOX_FAILS ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_KILL_PROCESS);
#endif
	/* Another architecture's system calls have other numbers: they kill too. */
	if (filter &&
		(seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) < 0 ||
			seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1) < 0 ||
			allow_sanitizer(filter) < 0)) {
		seccomp_release(filter);
		return NULL;
	}
	return filter;
}

int sandbox_allow(struct sandbox *sandbox, const int *calls, size_t count)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = seccomp_rule_add(filter_of(sandbox), SCMP_ACT_ALLOW, calls[i], 0);
	return r;
}

/* An int argument has 32 bits: what stands above them says nothing. */
static struct scmp_arg_cmp argument_is_fd(int fd)
{
	return (struct scmp_arg_cmp){.arg = 0,
		.op = SCMP_CMP_MASKED_EQ,
		.datum_a = UINT32_MAX,
		.datum_b = (scmp_datum_t)fd};
}

int sandbox_allow_fd(struct sandbox *sandbox, int call, int fd)
{
	const struct scmp_arg_cmp argument = argument_is_fd(fd);

	return seccomp_rule_add_array(filter_of(sandbox), SCMP_ACT_ALLOW, call, 1, &argument);
}

int sandbox_allow_data(struct sandbox *sandbox)
{
#ifdef TPMGATE_SANITIZED
	(void)sandbox; /* all of it is allowed */
	return 0;
#else
	static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mmap2), SCMP_SYS(mprotect)};
	const struct scmp_arg_cmp not_executable = {
		.arg = 2, .op = SCMP_CMP_MASKED_EQ, .datum_a = PROT_EXEC, .datum_b = 0};
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof calls / sizeof calls[0]; i++)
		r = seccomp_rule_add_array(
			filter_of(sandbox), SCMP_ACT_ALLOW, calls[i], 1, &not_executable);
	return r;
#endif
}

int sandbox_allow_connected(struct sandbox *sandbox, int call, int fd)
{
	const struct scmp_arg_cmp arguments[] = {
		{.arg = 4, .op = SCMP_CMP_EQ, .datum_a = 0},
		argument_is_fd(fd),
	};

	return seccomp_rule_add_array(
		filter_of(sandbox), SCMP_ACT_ALLOW, call, fd < 0 ? 1 : 2, arguments);
}

int sandbox_enter(struct sandbox *sandbox)
{
	int r = seccomp_load(filter_of(sandbox));

	sandbox_free(sandbox);
	return r;
}

void sandbox_free(struct sandbox *sandbox)
{
	if (sandbox)
		seccomp_release(filter_of(sandbox));
}
