/*
 * Trusts the service manager to hand back what it was given, and checks all the same: a session is
 * its account socket and its pidfd, under names that say the same; a manager its control socket and
 * pidfd.
 */
#include "broker/adopt.h"

#include "broker/fdstore.h"
#include "broker/log.h"
#include "broker/text.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Account and control sockets are of one kind. */
static bool adopt_is_socket(int fd)
{
	int domain;
	int type;
	int listening;
	socklen_t size = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && !listening;
}

static bool adopt_is_pidfd(int fd)
{
	/* EBADF: no pidfd; ESRCH: its process has been waited for */
	return syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0 || errno == ESRCH ||
	       errno == EPERM;
}

/* The other descriptor of the session FACTS; its index, or -1. */
static ssize_t adopt_find_pidfd(
	const struct activation *activation, const struct protocol_session *facts)
{
	for (size_t i = 0; i < activation->count; i++) {
		struct protocol_session other;

		if (activation->fds[i].fd >= 0 &&
			fdstore_decode(activation->fds[i].name, &other) == FDSTORE_PIDFD &&
			memcmp(&other, facts, sizeof other) == 0)
			return (ssize_t)i;
	}
	return -1;
}

static int adopt_take(struct activation_fd *from)
{
	int fd = from->fd;

	from->fd = -1;
	return fd;
}

void adopt_sessions(struct session_list *list, struct activation *activation)
{
	for (size_t i = 0; i < activation->count; i++) {
		struct protocol_session facts;
		ssize_t pidfd;

		if (fdstore_decode(activation->fds[i].name, &facts) != FDSTORE_ACCOUNT)
			continue;
		pidfd = adopt_find_pidfd(activation, &facts);
		if (pidfd < 0 || !adopt_is_socket(activation->fds[i].fd) ||
			!adopt_is_pidfd(activation->fds[pidfd].fd))
			continue;
		session_adopt(list, &facts, adopt_take(&activation->fds[i]),
			adopt_take(&activation->fds[pidfd]));
	}
}

/* The first descriptor of KIND; its index, or -1. */
static ssize_t adopt_find_rm(
	const struct activation *activation, enum fdstore_kind kind, struct rm_lease *ret_lease)
{
	for (size_t i = 0; i < activation->count; i++)
		if (activation->fds[i].fd >= 0 &&
			fdstore_decode_rm(activation->fds[i].name, ret_lease) == kind)
			return (ssize_t)i;
	return -1;
}

void adopt_manager(struct rm *rm, struct activation *activation)
{
	struct rm_lease lease;
	ssize_t pidfd = adopt_find_rm(activation, FDSTORE_RM_PIDFD, &lease);
	ssize_t control = adopt_find_rm(activation, FDSTORE_RM_CONTROL, &lease);

	if (pidfd < 0 || control < 0 || !adopt_is_socket(activation->fds[control].fd) ||
		!adopt_is_pidfd(activation->fds[pidfd].fd))
		return;
	rm_adopt(rm, &lease, adopt_take(&activation->fds[control]),
		adopt_take(&activation->fds[pidfd]));
}
