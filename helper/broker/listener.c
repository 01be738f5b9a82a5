/*
 * Trusts nobody who connects. Before a connection costs more than two descriptors, the kernel has
 * said who it is, its uid is within the limits, and it is not one of the many uids of one user.
 *
 * A uid that has too many connections is refused. Where there are too many in all, or too few
 * descriptors left to serve them, accepting pauses: whoever comes waits in the kernel's queue, and
 * nothing spins.
 */
#include "broker/listener.h"

#include "broker/client.h"
#include "broker/linger.h"
#include "broker/log.h"
#include "broker/reply.h"
#include "common/cleanup.h"

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16; sparc and parisc, which number otherwise, refuse it */
#endif

#define LISTENER_BACKLOG  4096
#define LISTENER_BURST    16 /* connections accepted before others have their turn */
#define LISTENER_PAUSE_MS 100
#define LISTENER_FULL_MS  10
#define LISTENER_SPARE    24 /* descriptors of our own, and those that a new session takes */

struct socket {
	struct listener *listener;
	int fd;
	guint watch;
	char *path; /* that we bound; NULL: somebody else's */
	struct stat status;
};

struct listener {
	struct broker *broker;
	GPtrArray *sockets;
	struct linger *refused;
	guint pause;
};

static void listener_watch(struct listener *listener);

static void listener_free_socket(gpointer data)
{
	struct socket *socket = data;
	struct stat status;

	g_clear_handle_id(&socket->watch, g_source_remove);
	cleanup_close(&socket->fd);
	/* not the socket of a broker that took our place */
	if (socket->path && lstat(socket->path, &status) == 0 &&
		status.st_dev == socket->status.st_dev && status.st_ino == socket->status.st_ino)
		unlink(socket->path);
	g_free(socket->path);
	g_free(socket);
}

struct listener *listener_new(struct broker *broker)
{
	struct listener *listener = g_new0(struct listener, 1);

	listener->broker = broker;
	listener->refused = linger_new();
	listener->sockets = g_ptr_array_new_with_free_func(listener_free_socket);
	return listener;
}

void listener_free(struct listener *listener)
{
	if (!listener)
		return;
	g_clear_handle_id(&listener->pause, g_source_remove);
	g_ptr_array_unref(listener->sockets);
	linger_free(listener->refused);
	g_free(listener);
}

/* Descriptors that nobody asked for stay with their sender, where the kernel knows how. */
static void listener_pass_no_rights(int fd)
{
	int off = 0;

	setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof off);
}

static struct socket *listener_add(struct listener *listener, int fd)
{
	struct socket *socket = g_new0(struct socket, 1);

	listener_pass_no_rights(fd);
	g_unix_set_fd_nonblocking(fd, TRUE, NULL);
	socket->listener = listener;
	socket->fd = fd;
	g_ptr_array_add(listener->sockets, socket);
	return socket;
}

/* Answers the connection FD and lets go of it. */
static void listener_refuse(struct listener *listener, int fd, enum protocol_status status,
	const struct identity *identity, const char *message)
{
	reply_send(fd, &(struct reply){.status = status, .message = message, .fd = -1});
	log_event(LOG_CONNECTION, G_LOG_LEVEL_WARNING,
		&(struct log_about){
			.uid = identity ? &identity->peer.uid : NULL,
			.pid = identity ? identity->peer.pid : 0,
			.verdict = "refused",
			.event = EVENT_CALLER_REFUSED,
		},
		"connection refused: %s", message);
	linger_add(listener->refused, fd);
}

/* Makes a client of the connection FD, or refuses it. Owns both. */
static void listener_admit(struct listener *listener, int fd, struct identity *identity)
{
	struct broker *broker = listener->broker;
	const struct config *config = &broker->config;
	bool subordinate = !config->allow_subordinate &&
			   subuid_contains(broker->subuid, config->subuid_file, identity->peer.uid);
	/* They are refused, but politely, after their request: together they count as one user. */
	uint32_t charged = subordinate ? UINT32_MAX : identity->peer.uid;
	g_autofree char *message = NULL;

	if (account_enter(broker->account, config, charged)) {
		client_new(broker, fd, identity, subordinate, charged);
		return;
	}
	message = g_strdup_printf("%u connections of yours wait for an answer, as many as may "
				  "(MaxUndecidedPerUser= of tpmgate.conf); try again",
		config->max_undecided_per_user);
	listener_refuse(listener, fd, PROTOCOL_LIMIT, identity, message);
	identity_done(identity);
}

static void listener_welcome(struct listener *listener, int fd)
{
	g_autofree char *message = NULL;
	struct identity identity;
	int r;

	listener_pass_no_rights(fd);
	r = identity_read(fd, &identity);
	if (r == 0) {
		listener_admit(listener, fd, &identity);
		return;
	}
	message = r == IDENTITY_E_GONE
			  ? g_strdup("the process that connected has ended")
			  : g_strdup_printf(
				    "the broker cannot find out who connected: %s", g_strerror(-r));
	listener_refuse(listener, fd, r == IDENTITY_E_GONE ? PROTOCOL_DENIED : PROTOCOL_FAILED,
		NULL, message);
}

static gboolean listener_on_pause_over(gpointer data)
{
	struct listener *listener = data;

	listener->pause = 0;
	listener_watch(listener);
	return G_SOURCE_REMOVE;
}

static void listener_pause(struct listener *listener, guint milliseconds, const char *why)
{
	log_event(LOG_CONNECTION, G_LOG_LEVEL_WARNING, NULL, "connections have to wait: %s", why);
	for (guint i = 0; i < listener->sockets->len; i++) {
		struct socket *socket = g_ptr_array_index(listener->sockets, i);

		g_clear_handle_id(&socket->watch, g_source_remove);
	}
	if (listener->pause == 0)
		listener->pause = g_timeout_add(milliseconds, listener_on_pause_over, listener);
}

/*
 * Whether descriptors are left for one more connection, and for the session that it may become: two
 * for each connection, and two for each session.
 */
static bool listener_has_descriptors(const struct listener *listener)
{
	const struct account *account = listener->broker->account;
	rlim_t used = LISTENER_SPARE + linger_count(listener->refused) +
		      2 * ((rlim_t)account_connections(account) + account_sessions(account));
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) < 0 || used + 2 <= limit.rlim_cur;
}

static gboolean listener_on_connection(gint fd, GIOCondition condition, gpointer data)
{
	struct socket *socket = data;
	struct listener *listener = socket->listener;

	(void)condition;
	for (int i = 0; i < LISTENER_BURST; i++) {
		int accepted;

		if (!account_has_room(listener->broker->account, &listener->broker->config)) {
			listener_pause(listener, LISTENER_FULL_MS,
				"as many wait for an answer as may (MaxUndecided= of "
				"tpmgate.conf)");
			break;
		}
		if (!listener_has_descriptors(listener)) {
			listener_pause(listener, LISTENER_PAUSE_MS,
				"the broker is short of file descriptors");
			break;
		}
		accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (accepted >= 0) {
			listener_welcome(listener, accepted);
			continue;
		}
		if (errno == ECONNABORTED || errno == EINTR)
			continue;
		if (errno != EAGAIN)
			listener_pause(listener, LISTENER_PAUSE_MS, g_strerror(errno));
		break;
	}
	return G_SOURCE_CONTINUE;
}

static void listener_watch(struct listener *listener)
{
	for (guint i = 0; i < listener->sockets->len; i++) {
		struct socket *socket = g_ptr_array_index(listener->sockets, i);

		if (socket->watch == 0)
			socket->watch =
				g_unix_fd_add(socket->fd, G_IO_IN, listener_on_connection, socket);
	}
}

/* Whether somebody accepts connections at ADDRESS. */
static bool listener_is_taken(const struct sockaddr_un *address)
{
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return true;
	return connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
	       errno != ECONNREFUSED;
}

static int listener_bind_at(int fd, const struct sockaddr_un *address)
{
	mode_t mask = umask(0111);
	int r = bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 ? -errno : 0;

	umask(mask);
	return r;
}

bool listener_bind(struct listener *listener, const char *path, char **ret_problem)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct socket *socket;
	struct stat status;
	int r = fd < 0 ? -errno : 0;

	if (strlen(path) >= sizeof address.sun_path)
		r = -ENAMETOOLONG;
	if (r == 0) {
		memcpy(address.sun_path, path, strlen(path));
		r = listener_bind_at(fd, &address);
	}
	if (r == -EADDRINUSE && lstat(path, &status) == 0 && S_ISSOCK(status.st_mode) &&
		!listener_is_taken(&address)) {
		unlink(path);
		r = listener_bind_at(fd, &address);
	}
	if (r == 0 && (listen(fd, LISTENER_BACKLOG) < 0 || lstat(path, &status) < 0))
		r = -errno;
	if (r < 0) {
		*ret_problem = g_strdup_printf("cannot listen at %s: %s", path, g_strerror(-r));
		return false;
	}
	socket = listener_add(listener, TAKE_FD(fd));
	socket->path = g_strdup(path);
	socket->status = status;
	return true;
}

static bool listener_is_ours(const struct activation_fd *given)
{
	static const char *const names[] = {"tpmgate.socket", "connection", "unknown", ""};

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if (strcmp(given->name, names[i]) == 0)
			return true;
	return false;
}

static bool listener_is_listening(int fd)
{
	int domain;
	int type;
	int listening;
	socklen_t size = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening;
}

void listener_adopt(struct listener *listener, struct activation *activation)
{
	for (size_t i = 0; i < activation->count; i++) {
		struct activation_fd *given = &activation->fds[i];

		if (given->fd < 0 || !listener_is_ours(given) || !listener_is_listening(given->fd))
			continue;
		listener_add(listener, given->fd);
		given->fd = -1;
	}
}

unsigned listener_count(const struct listener *listener)
{
	return listener->sockets->len;
}

void listener_start(struct listener *listener)
{
	listener_watch(listener);
}

bool listener_has_waiting(const struct listener *listener)
{
	for (guint i = 0; i < listener->sockets->len; i++) {
		const struct socket *socket = g_ptr_array_index(listener->sockets, i);
		struct pollfd waiting = {.fd = socket->fd, .events = POLLIN};

		if (poll(&waiting, 1, 0) > 0)
			return true;
	}
	return false;
}
