#pragma once
/*
 * Who is at the other end of a Unix socket, as far as the kernel vouches for it.
 *
 * The uid, the gid and the groups were taken by the kernel at connect() and stay true. The pid
 * names a process only while that process lives; a pidfd pins it. From Linux 6.5 the kernel gives
 * the pidfd of the very process that connected. Before, pidfd_open() on the pid may meet another
 * process that got the number since, so the peer must first prove itself by a nonce.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct peer {
	pid_t pid; /* 0 where the peer is outside our pid namespace */
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* the supplementary groups that the process had at connect() */
	size_t group_count;
	int pidfd;            /* -1 where there is no pid */
	bool pidfd_vouched;   /* the kernel says that pidfd is the process that connected */
	char *security_label; /* SO_PEERSEC, NULL where there is none */
};

/* Peer_E_GONE: the process that connected is no more. */
enum { PEER_E_GONE = 1 };

/*
 * Fills in PEER for the connected socket FD. Returns 0, PEER_E_GONE, or a negative errno. On
 * success the caller ends it with peer_done().
 */
int peer_read(int fd, struct peer *ret_peer);
void peer_done(struct peer *peer); /* accepts a zeroed one */

/* Whether the process behind PEER's pidfd still runs; false where there is no pidfd. */
bool peer_is_alive(const struct peer *peer);

/* Whether the peer has GROUP, as its gid or among its supplementary groups. */
bool peer_has_group(const struct peer *peer, gid_t group);

/*
 * Asks the kernel to stamp the sender's pid and uid on every packet received on FD. To be called
 * before the nonce is sent. Returns 0 or a negative errno.
 */
int peer_expect_credentials(int fd);

/*
 * Receives one packet on FD without blocking, with the credentials that the kernel stamped on it,
 * where it did. A packet that brings descriptors stays where it is, and the connection is of no
 * more use. Returns the packet's size, which is > SIZE where it did not fit; 0 at the end; -EBADMSG
 * for control data that nobody asked for; or another negative errno (-EAGAIN). *ret_pid is -1 where
 * no credentials came.
 */
ssize_t peer_receive(int fd, void *packet, size_t size, pid_t *ret_pid, uid_t *ret_uid);
