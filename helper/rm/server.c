#include "rm/server.h"

#include "common/cleanup.h"
#include "common/rm-protocol.h"
#include "rm/log.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

struct server_client {
	int fd;
	struct space *space;
};

enum { POLL_CONTROL, POLL_BACKEND, POLL_CLIENTS };

int server_init(struct server *server, struct manager *manager, int backend, unsigned limit)
{
	struct server_client *clients = calloc(limit, sizeof *clients);
	struct pollfd *fds = calloc((size_t)limit + POLL_CLIENTS, sizeof *fds);

	if (!clients || !fds) {
		free(clients);
		free(fds);
		return -ENOMEM;
	}
	*server = (struct server){.manager = manager,
		.backend = backend,
		.limit = limit,
		.clients = clients,
		.fds = fds,
		.control_open = true};
	return 0;
}

void server_done(struct server *server)
{
	for (unsigned i = 0; i < server->count; i++)
		close(server->clients[i].fd);
	free(server->clients);
	free(server->fds);
	*server = (struct server){.backend = -1};
}

static void add_client(struct server *server, int fd)
{
	struct space *space = server->count < server->limit ? manager_take(server->manager) : NULL;

	if (!space) {
		log_line("refused a session: there are %u already", server->count);
		close(fd);
		return;
	}
	server->clients[server->count++] = (struct server_client){.fd = fd, .space = space};
}

/* The last takes its place, so that turns shift by at most one session. */
static int remove_client(struct server *server, unsigned i)
{
	struct space *space = server->clients[i].space;

	close(server->clients[i].fd);
	server->clients[i] = server->clients[--server->count];
	return manager_leave(server->manager, space);
}

/* One message of the broker, or the news that it wants no more sessions. */
static void receive_control(struct server *server)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct rm_message message;
	char packet[sizeof message + 1];
	struct iovec data = {.iov_base = packet, .iov_len = sizeof packet};
	struct msghdr header = {.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_LEN(sizeof(int))}; /* there is room for two */
	ssize_t size = recvmsg(RM_FD_CONTROL, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	const struct cmsghdr *part;
	int fd = -1;

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	part = size > 0 ? CMSG_FIRSTHDR(&header) : NULL;
	if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS &&
		part->cmsg_len == CMSG_LEN(sizeof fd))
		memcpy(&fd, CMSG_DATA(part), sizeof fd);
	if (size > 0 && fd < 0 && header.msg_flags & MSG_CTRUNC) {
		/* it did not arrive, which has closed it */
		log_line("refused a session: there are no descriptors left");
		return;
	}
	if (size > 0 && fd >= 0 && !(header.msg_flags & MSG_CTRUNC) &&
		rm_message_decode(packet, (size_t)size, &message) == 0 &&
		message.type == RM_SESSION) {
		add_client(server, fd);
		return;
	}
	cleanup_close(&fd);
	server->control_open = false; /* whatever else the broker says is its last word */
}

/* A command of a session that has ended since would keep the TPM from those that have not. */
static bool has_left(const struct server_client *client)
{
	char byte;

	return recvfrom(client->fd, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT, NULL, NULL) == 0;
}

/*
 * Executes one command of client I. Returns 0; 1 where the client has left or does not read; a
 * negative errno where the TPM is lost.
 */
static int serve(struct server *server, unsigned i)
{
	uint8_t command[TPM_MESSAGE_MAX];
	const struct server_client *client = &server->clients[i];
	struct manager *manager = server->manager;
	ssize_t got =
		recvfrom(client->fd, command, sizeof command, MSG_DONTWAIT | MSG_TRUNC, NULL, NULL);
	size_t size = 0;
	int r;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got <= 0 || has_left(client))
		return 1;
	/* more than fits is no command whatever it says */
	r = manager_execute(manager, client->space, command,
		(size_t)got <= sizeof command ? (size_t)got : 0, &size);
	if (r < 0)
		return r;
	return sendto(client->fd, manager->response, size, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0) <
	       0;
}

static int serve_ready(struct server *server, unsigned polled)
{
	unsigned first = polled > 0 ? server->next % polled : 0;
	int r = 0;

	for (unsigned k = 0; r == 0 && k < polled; k++) {
		unsigned i = (first + k) % polled;

		if (!server->fds[POLL_CLIENTS + i].revents)
			continue;
		r = serve(server, i);
		server->next = i + 1;
		/* the one that moves into its place was looked at, or is with the next poll */
		if (r > 0)
			return remove_client(server, i);
	}
	return r;
}

static int poll_all(struct server *server)
{
	int r;

	server->fds[POLL_CONTROL] =
		(struct pollfd){.fd = server->control_open ? RM_FD_CONTROL : -1, .events = POLLIN};
	server->fds[POLL_BACKEND] = (struct pollfd){.fd = server->backend, .events = POLLIN};
	for (unsigned i = 0; i < server->count; i++)
		server->fds[POLL_CLIENTS + i] =
			(struct pollfd){.fd = server->clients[i].fd, .events = POLLIN};
	do
		r = ppoll(server->fds, POLL_CLIENTS + server->count, NULL, NULL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* Between commands a TPM has nothing to say: it is gone, or makes things up. */
static int hear_backend(int backend)
{
	char byte;

	return recvfrom(backend, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT, NULL, NULL) > 0
		       ? -EBADMSG
		       : -EPIPE;
}

int server_run(struct server *server)
{
	while (server->control_open || server->count > 0) {
		unsigned polled = server->count;
		int r = poll_all(server);

		if (r == 0 && server->fds[POLL_BACKEND].revents)
			r = hear_backend(server->backend);
		if (r == 0)
			r = serve_ready(server, polled);
		if (r < 0)
			return r;
		if (server->fds[POLL_CONTROL].revents)
			receive_control(server);
	}
	return 0;
}
