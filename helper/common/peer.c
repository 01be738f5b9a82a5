/*
 * Owns: reading and holding a peer's identity. Trusts: the kernel. With TPMGATE_NO_PEERPIDFD (a
 * test-only build option) it behaves as on a kernel before 6.5.
 */
#include "common/peer.h"

#include "common/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static int peer_pidfd_from_kernel(int fd, int *ret_pidfd)
{
#ifdef TPMGATE_NO_PEERPIDFD
	(void)fd;
	(void)ret_pidfd;
	return -ENOPROTOOPT;
#else
	int pidfd = -1;
	socklen_t size = sizeof pidfd;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0)
		return -errno;
	*ret_pidfd = pidfd;
	return 0;
#endif
}

/* Pins the peer's process. Returns 0, PEER_E_GONE, or a negative errno. */
static int peer_pin(int fd, struct peer *peer)
{
	int r;

	if (peer->pid <= 0) /* outside our pid namespace: nothing to pin */
		return 0;

	r = peer_pidfd_from_kernel(fd, &peer->pidfd);
	if (r == 0) {
		peer->pidfd_vouched = true;
	} else if (r == -ENOPROTOOPT) {
		peer->pidfd = (int)syscall(SYS_pidfd_open, peer->pid, 0);
		if (peer->pidfd < 0)
			return errno == ESRCH ? PEER_E_GONE : -errno;
	} else if (r == -EINVAL || r == -ESRCH || r == -ENODATA) {
		return PEER_E_GONE; /* reaped */
	} else {
		return r;
	}
	return peer_is_alive(peer) ? 0 : PEER_E_GONE;
}

static int peer_read_groups(int fd, struct peer *peer)
{
	gid_t none[1];
	socklen_t size = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, none, &size) == 0)
		return 0; /* none */
	if (errno != ERANGE)
		return -errno;
	peer->groups = malloc(size);
	if (!peer->groups)
		return -ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer->groups, &size) < 0)
		return -errno;
	peer->group_count = size / sizeof *peer->groups;
	return 0;
}

static int peer_read_label(int fd, struct peer *peer)
{
	char label[256];
	socklen_t size = sizeof label;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERSEC, label, &size) < 0)
		return errno == ENOPROTOOPT ? 0 : -errno; /* no security module has labels */
	peer->security_label = strndup(label, size);
	return peer->security_label ? 0 : -ENOMEM;
}

int peer_read(int fd, struct peer *ret_peer)
{
	struct peer peer = {.pidfd = -1};
	struct ucred credentials;
	socklen_t size = sizeof credentials;
	int r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
		return -errno;
	peer.pid = credentials.pid;
	peer.uid = credentials.uid;
	peer.gid = credentials.gid;
	r = peer_pin(fd, &peer);
	if (r == 0)
		r = peer_read_groups(fd, &peer);
	if (r == 0)
		r = peer_read_label(fd, &peer);
	if (r != 0) {
		peer_done(&peer);
		return r;
	}
	*ret_peer = peer;
	return 0;
}

void peer_done(struct peer *peer)
{
	/* In a zeroed one 0 is not ours: a pidfd is never descriptor 0 while stdin is open. */
	if (peer->pidfd > 0)
		close(peer->pidfd);
	free(peer->groups);
	free(peer->security_label);
	*peer = (struct peer){.pidfd = -1};
}

bool peer_is_alive(const struct peer *peer)
{
	struct pollfd exited = {.fd = peer->pidfd, .events = POLLIN};

	/* A pidfd is readable once its process has ended, reaped or not. */
	return peer->pidfd >= 0 && poll(&exited, 1, 0) == 0;
}

bool peer_has_group(const struct peer *peer, gid_t group)
{
	if (peer->gid == group)
		return true;
	for (size_t i = 0; i < peer->group_count; i++)
		if (peer->groups[i] == group)
			return true;
	return false;
}

int peer_expect_credentials(int fd)
{
	int on = 1;

	return setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 ? -errno : 0;
}

/* Takes credentials out of MESSAGE and closes descriptors that came along. */
static int peer_take_control(struct msghdr *message, struct ucred *ret_credentials)
{
	int r = message->msg_flags & MSG_CTRUNC ? -EBADMSG : 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS &&
			c->cmsg_len == CMSG_LEN(sizeof *ret_credentials)) {
			memcpy(ret_credentials, CMSG_DATA(c), sizeof *ret_credentials);
			continue;
		}
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

			for (size_t i = 0; i < count; i++) {
				int fd;

				memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
				close(fd);
			}
		}
		r = -EBADMSG;
	}
	return r;
}

/*
 * Looks at the next packet: 0, -EBADMSG where it brings descriptors, or another negative errno.
 * Looking does not take descriptors out of the queue: whoever receives them has to close them, and
 * one that lingers would put the closer to sleep for as long as its sender likes. Where credentials
 * are stamped, the control buffer has room for nothing else.
 */
static int peer_look(int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	char byte;
	struct iovec data = {.iov_base = &byte, .iov_len = sizeof byte};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	int credentials = 0;
	socklen_t size = sizeof credentials;

	if (getsockopt(fd, SOL_SOCKET, SO_PASSCRED, &credentials, &size) < 0)
		return -errno;
	if (credentials) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof control.bytes;
	}
	if (recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT) < 0)
		return -errno;
	return message.msg_flags & MSG_CTRUNC ? -EBADMSG : 0;
}

ssize_t peer_receive(int fd, void *packet, size_t size, pid_t *ret_pid, uid_t *ret_uid)
{
	struct ucred credentials = {.pid = -1, .uid = (uid_t)-1};
	union {
		struct cmsghdr align;
		/* room for credentials and the most descriptors that one packet holds, so that
		 * none can be truncated away and every one is closed */
		char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(253 * sizeof(int))];
	} control;
	struct iovec data = {.iov_base = packet, .iov_len = size};
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes,
	};
	ssize_t got;
	int r = peer_look(fd);

	if (r < 0)
		return r; /* also where there is nothing: what comes now was not looked at */
	got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
	if (got < 0)
		return -errno;
	r = peer_take_control(&message, &credentials);
	if (r < 0)
		return r;
	*ret_pid = credentials.pid;
	*ret_uid = credentials.uid;
	return got;
}
