#include "manager.h"

#include "process.h"

#include "common/cleanup.h"
#include "common/rm-protocol.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define MANAGER_TIMEOUT_MS 10000

static int manager_wait_ready(int control)
{
	struct pollfd ready = {.fd = control, .events = POLLIN};
	struct rm_message message;
	char packet[sizeof message + 1];

	if (poll(&ready, 1, MANAGER_TIMEOUT_MS) <= 0)
		return -ETIMEDOUT;

	ssize_t got = recv(control, packet, sizeof packet, 0);

	if (got < 0)
		return -errno;

	int r = rm_message_decode(packet, (size_t)got, &message);

	return r < 0 ? r : message.type == RM_READY ? 0 : -EBADMSG;
}

/* Hands the manager its end of a new session. Returns the other end or a negative errno. */
static int manager_open(int control)
{
	struct rm_message message = rm_message_new(RM_SESSION, NULL);
	struct iovec data = {.iov_base = &message, .iov_len = sizeof message};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} rights = {.bytes = {0}};
	struct msghdr header = {.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = rights.bytes,
		.msg_controllen = sizeof rights.bytes};
	struct cmsghdr *part = CMSG_FIRSTHDR(&header);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;

	CLEANUP_FD int ours = pair[0];
	CLEANUP_FD int managers = pair[1];

	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SCM_RIGHTS;
	part->cmsg_len = CMSG_LEN(sizeof managers);
	memcpy(CMSG_DATA(part), &managers, sizeof managers);
	if (sendmsg(control, &header, MSG_NOSIGNAL) < 0)
		return -errno;
	return TAKE_FD(ours);
}

int manager_start(const struct bench *bench, const char *tpm, pid_t *ret_pid, int *ret_control,
	int *ret_session)
{
	char spec[BENCH_PATH_SIZE + 8];
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;

	CLEANUP_FD int control = pair[0];
	CLEANUP_FD int managers = pair[1];

	_Static_assert(RM_FD_CONTROL == 3 && RM_FD_END == 4, "the one descriptor it gets");
	snprintf(spec, sizeof spec, "unix:%s", tpm);

	/* as the broker starts it */
	const char *const argv[] = {bench->rm, "--tpm", spec, "--objects", "32", "--sessions", "16",
		"--clients", "64", "--timeout", "30", NULL};
	pid_t pid = process_start(argv, &managers, 1, PROCESS_QUIET);

	if (pid < 0)
		return pid;
	*ret_pid = pid;
	close(TAKE_FD(managers)); /* so that its death is seen */

	int r = manager_wait_ready(control);

	if (r == 0)
		r = manager_open(control);
	if (r < 0)
		return r;
	*ret_session = r;
	*ret_control = TAKE_FD(control);
	return 0;
}
