/*
 * Trusts the kernel: uid, groups, pidfd, cgroup, security label. The name of a program is the
 * caller's to choose, and is only ever shown as such.
 *
 * /proc/PID is read by number, so all of it counts only if the pidfd says afterwards that the
 * process still lives: then the number was its own all the time.
 */
#include "broker/identity.h"

#include "broker/text.h"
#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define IDENTITY_PROC_MAX 4096

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

/* Reads a file of /proc/PID into TEXT, NUL-terminated. Returns 0 or a negative errno. */
static int identity_read_proc(pid_t pid, const char *name, char text[IDENTITY_PROC_MAX])
{
	char path[64];
	size_t used = 0;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);

	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t got = read(fd, text + used, IDENTITY_PROC_MAX - 1 - used);

		if (got < 0)
			return -errno;
		used += (size_t)got;
		if (got == 0)
			break;
		if (used == IDENTITY_PROC_MAX - 1)
			return -EFBIG; /* what is cut could be what matters */
	}
	text[used] = '\0';
	return 0;
}

/* systemd escapes '-' and other bytes of a unit's name as \xHH. */
static void identity_unescape(char *name)
{
	char *to = name;

	for (const char *from = name; *from; to++) {
		if (from[0] == '\\' && from[1] == 'x' && g_ascii_isxdigit(from[2]) &&
			g_ascii_isxdigit(from[3])) {
			*to = (char)(g_ascii_xdigit_value(from[2]) * 16 +
				     g_ascii_xdigit_value(from[3]));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* "app-flatpak-org.example.App-1234.scope": org.example.App. */
static bool identity_is_flatpak(const char *unit, char *ret_name, size_t size)
{
	static const char prefix[] = "app-flatpak-";
	g_autofree char *name = NULL;
	char *dash;

	if (!g_str_has_prefix(unit, prefix))
		return false;
	name = g_strdup(unit + strlen(prefix));
	dash = strrchr(name, '-');
	if (dash)
		*dash = '\0';
	identity_unescape(name);
	text_name(name, ret_name, size);
	return true;
}

/* "snap.firefox.firefox-0123.scope", or the label "snap.firefox.firefox (enforce)": firefox. */
static bool identity_is_snap(const char *unit, char *ret_name, size_t size)
{
	static const char prefix[] = "snap.";
	g_autofree char *name = NULL;

	if (!g_str_has_prefix(unit, prefix))
		return false;
	name = g_strdup(unit + strlen(prefix));
	name[strcspn(name, ". ")] = '\0';
	identity_unescape(name);
	text_name(name, ret_name, size);
	return true;
}

bool identity_find_sandbox(const char *cgroups, const char *label, char *ret_name, size_t size)
{
	g_auto(GStrv) units = g_strsplit_set(cgroups, "/\n", -1);

	if (label && identity_is_snap(label, ret_name, size))
		return true;
	for (size_t i = 0; units[i]; i++)
		if (identity_is_flatpak(units[i], ret_name, size) ||
			identity_is_snap(units[i], ret_name, size))
			return true;
	return false;
}

int identity_describe(struct identity *identity)
{
	char comm[IDENTITY_PROC_MAX];
	char cgroups[IDENTITY_PROC_MAX];
	int r;

	if (identity->peer.pid <= 0)
		return 0;
	r = identity_read_proc(identity->peer.pid, "comm", comm);
	if (r == 0)
		r = identity_read_proc(identity->peer.pid, "cgroup", cgroups);
	if (!peer_is_alive(&identity->peer))
		return IDENTITY_E_GONE;
	if (r < 0)
		return IDENTITY_E_UNKNOWN;
	text_name(g_strchomp(comm), identity->program, sizeof identity->program);
	identity_find_sandbox(cgroups, identity->peer.security_label, identity->sandbox,
		sizeof identity->sandbox);
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
