/*
 * Trusts the kernel: uid, groups, pidfd, cgroup, security label. The name of a program is the
 * caller's to choose, and is only ever shown as such.
 *
 * /proc/PID is read by number, so all of it counts only if the pidfd says afterwards that the
 * process still lives: then the number was its own all the time.
 */
#include "broker/identity.h"

#include "broker/sandboxed.h"
#include "broker/text.h"
#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define IDENTITY_PROC_MAX 16384
/* A user can make mounts in a namespace of their own, and we wait for the kernel to list them. */
#define IDENTITY_MOUNTS_MAX ((size_t)1024 * 1024)

int identity_read(int fd, struct identity *ret_identity)
{
	struct identity identity = {.proven = false};
	int r = peer_read(fd, &identity.peer);

	if (r != 0)
		return r == PEER_E_GONE ? IDENTITY_E_GONE : r;
	identity.proven = identity.peer.pidfd_vouched;
	*ret_identity = identity;
	return 0;
}

void identity_done(struct identity *identity)
{
	peer_done(&identity->peer);
}

/*
 * Reads a file of /proc/PID into TEXT, NUL-terminated. Returns whether there is one of less than
 * SIZE bytes: what is cut could be what matters.
 */
static bool identity_read_proc(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64];
	size_t used = 0;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);

	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	while (used < size) {
		ssize_t got = read(fd, text + used, size - used);

		if (got < 0)
			return false;
		if (got == 0) {
			text[used] = '\0';
			return true;
		}
		used += (size_t)got;
	}
	return false;
}

/* Returns 0 or IDENTITY_E_UNKNOWN. */
static int identity_find_sandbox(struct identity *identity)
{
	const pid_t pid = identity->peer.pid;
	char text[IDENTITY_PROC_MAX];
	char *mounts;
	bool nested;
	bool known;

	if (sandboxed_by_label(
		    identity->peer.security_label, identity->sandbox, sizeof identity->sandbox))
		return 0;
	if (!identity_read_proc(pid, "status", text, sizeof text) || sandboxed_is_over(text))
		return IDENTITY_E_UNKNOWN;
	nested = sandboxed_may_have_mounts(text);
	if (!identity_read_proc(pid, "cgroup", text, sizeof text))
		return IDENTITY_E_UNKNOWN;
	if (sandboxed_by_cgroups(text, identity->sandbox, sizeof identity->sandbox) || !nested)
		return 0;
	mounts = g_malloc(IDENTITY_MOUNTS_MAX);
	known = identity_read_proc(pid, "mountinfo", mounts, IDENTITY_MOUNTS_MAX);
	if (known)
		sandboxed_by_mounts(mounts, identity->sandbox, sizeof identity->sandbox);
	g_free(mounts);
	return known ? 0 : IDENTITY_E_UNKNOWN;
}

int identity_describe(struct identity *identity)
{
	char comm[IDENTITY_PROC_MAX];
	int r;

	if (identity->peer.pid <= 0)
		return 0;
	r = identity_read_proc(identity->peer.pid, "comm", comm, sizeof comm)
		    ? identity_find_sandbox(identity)
		    : IDENTITY_E_UNKNOWN;
	if (!peer_is_alive(&identity->peer))
		return IDENTITY_E_GONE;
	if (r != 0)
		return r;
	text_name(g_strchomp(comm), identity->program, sizeof identity->program);
	return 0;
}

int identity_send_nonce(struct identity *identity, int fd)
{
	int r = protocol_nonce_new(&identity->nonce);

	if (r == 0)
		r = peer_expect_credentials(fd);
	if (r == 0 &&
		send(fd, &identity->nonce, sizeof identity->nonce, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		r = -errno;
	return r;
}

int identity_check_nonce(
	struct identity *identity, const void *packet, size_t size, pid_t pid, uid_t uid)
{
	struct protocol_nonce nonce;

	if (protocol_nonce_decode(packet, size, &nonce) < 0 ||
		memcmp(&nonce, &identity->nonce, sizeof nonce) != 0)
		return IDENTITY_E_MISMATCH;
	if (pid <= 0 || pid != identity->peer.pid || uid != identity->peer.uid)
		return IDENTITY_E_MISMATCH;
	/* Alive now: the pid was its own when the nonce was sent back. */
	if (!peer_is_alive(&identity->peer))
		return IDENTITY_E_GONE;
	identity->proven = true;
	return 0;
}
