/*
 * Owns: a connected datagram socket and a queue for when the service manager does not read, so that
 * the main loop does not wait for it.
 */
#include "broker/notify.h"

#include "broker/log.h"
#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define NOTIFY_QUEUE_MAX 4096

struct message {
	char *lines;
	int fd; /* -1: none */
};

struct notify {
	int socket; /* -1: nobody to notify */
	GQueue queue;
	guint watch;
};

static int notify_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if ((path[0] != '/' && path[0] != '@') || length < 2 || length >= sizeof address.sun_path)
		return -EINVAL;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	if (connect(fd, (const struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

struct notify *notify_new(const char *address)
{
	struct notify *notify = g_new0(struct notify, 1);

	g_queue_init(&notify->queue);
	notify->socket = address ? notify_connect(address) : -1;
	if (address && notify->socket < 0)
		log_event(LOG_BROKER, G_LOG_LEVEL_WARNING, NULL,
			"cannot reach the service manager at %s: %s", address,
			g_strerror(-notify->socket));
	return notify;
}

static void notify_free_message(gpointer data)
{
	struct message *message = data;

	cleanup_close(&message->fd);
	g_free(message->lines);
	g_free(message);
}

void notify_free(struct notify *notify)
{
	if (!notify)
		return;
	g_queue_clear_full(&notify->queue, notify_free_message);
	g_clear_handle_id(&notify->watch, g_source_remove);
	cleanup_close(&notify->socket);
	g_free(notify);
}

/* Returns 0 or a negative errno; -EAGAIN: later. */
static int notify_transmit(const struct notify *notify, const char *lines, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof fd)];
	} control = {.bytes = {0}};
	struct iovec data = {.iov_base = (void *)(uintptr_t)lines, .iov_len = strlen(lines)};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *header;

		message.msg_control = control.bytes;
		message.msg_controllen = sizeof control.bytes;
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(header), &fd, sizeof fd);
	}
	return sendmsg(notify->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static gboolean notify_on_writable(gint fd, GIOCondition condition, gpointer data)
{
	struct notify *notify = data;
	struct message *message;

	(void)fd;
	(void)condition;
	while ((message = g_queue_peek_head(&notify->queue)) != NULL) {
		if (notify_transmit(notify, message->lines, message->fd) == -EAGAIN)
			return G_SOURCE_CONTINUE;
		notify_free_message(g_queue_pop_head(&notify->queue));
	}
	notify->watch = 0;
	return G_SOURCE_REMOVE;
}

static void notify_enqueue(struct notify *notify, const char *lines, int fd)
{
	struct message *message;

	if (g_queue_get_length(&notify->queue) >= NOTIFY_QUEUE_MAX) {
		log_event(LOG_SESSION, G_LOG_LEVEL_WARNING, NULL,
			"the service manager does not read: a notification is lost");
		return;
	}
	message = g_new0(struct message, 1);
	message->lines = g_strdup(lines);
	message->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
	g_queue_push_tail(&notify->queue, message);
	if (notify->watch == 0)
		notify->watch = g_unix_fd_add(notify->socket, G_IO_OUT, notify_on_writable, notify);
}

static void notify_send_with(struct notify *notify, const char *lines, int fd)
{
	int r;

	if (notify->socket < 0)
		return;
	r = g_queue_is_empty(&notify->queue) ? notify_transmit(notify, lines, fd) : -EAGAIN;
	if (r == -EAGAIN)
		notify_enqueue(notify, lines, fd);
	else if (r < 0)
		log_event(LOG_SESSION, G_LOG_LEVEL_WARNING, NULL,
			"cannot notify the service manager: %s", g_strerror(-r));
}

void notify_send(struct notify *notify, const char *lines)
{
	notify_send_with(notify, lines, -1);
}

void notify_ready(struct notify *notify)
{
	notify_send(notify, "READY=1");
}

void notify_reloading(struct notify *notify)
{
	char lines[64];

	snprintf(lines, sizeof lines, "RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT,
		g_get_monotonic_time());
	notify_send(notify, lines);
}

void notify_stopping(struct notify *notify)
{
	notify_send(notify, "STOPPING=1");
}

void notify_store(struct notify *notify, const char *name, int fd)
{
	g_autofree char *lines = g_strdup_printf("FDSTORE=1\nFDNAME=%s", name);

	notify_send_with(notify, lines, fd);
}

void notify_drop(struct notify *notify, const char *name)
{
	g_autofree char *lines = g_strdup_printf("FDSTOREREMOVE=1\nFDNAME=%s", name);

	notify_send(notify, lines);
}
