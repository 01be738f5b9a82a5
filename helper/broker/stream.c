#include "broker/stream.h"

#include "common/cleanup.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define STREAM_RETRY_MS 50

struct stream {
	char *path;
	unsigned wait_ms;
	unsigned held; /* sessions; more than one only after a broker before this one crashed */
	GQueue waits;
	guint idle; /* set where the first in the queue is about to be served */
};

static void stream_schedule(struct stream *stream, guint delay_ms);

struct stream *stream_new(const char *path, unsigned wait_ms)
{
	struct stream *stream = g_new0(struct stream, 1);

	stream->path = g_strdup(path);
	stream->wait_ms = wait_ms;
	g_queue_init(&stream->waits);
	return stream;
}

void stream_free(struct stream *stream)
{
	if (!stream)
		return;
	wait_cancel_all(&stream->waits);
	g_clear_handle_id(&stream->idle, g_source_remove);
	g_free(stream->path);
	g_free(stream);
}

/* Returns a connection, or a negative errno; -EAGAIN where the server's queue is full. */
static int stream_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static gboolean stream_serve(gpointer data)
{
	struct stream *stream = data;
	struct wait *wait = wait_first(&stream->waits);
	int fd;

	stream->idle = 0;
	if (!wait || stream->held > 0)
		return G_SOURCE_REMOVE;
	fd = stream_connect(stream->path);
	if (fd == -EAGAIN) {
		stream_schedule(stream, STREAM_RETRY_MS);
		return G_SOURCE_REMOVE;
	}
	if (fd >= 0) {
		stream->held++;
		wait_answer(wait, WAIT_GRANTED, fd, NULL);
	} else {
		wait_answer(wait, WAIT_E_FAILED, -1, g_strerror(-fd));
		stream_schedule(stream, 0);
	}
	return G_SOURCE_REMOVE;
}

static void stream_schedule(struct stream *stream, guint delay_ms)
{
	if (stream->idle == 0 && stream->held == 0 && !g_queue_is_empty(&stream->waits))
		stream->idle = g_timeout_add(delay_ms, stream_serve, stream);
}

struct wait *stream_acquire(struct stream *stream, wait_done done, void *context)
{
	struct wait *wait = wait_new(&stream->waits, stream->wait_ms, done, context);

	stream_schedule(stream, 0);
	return wait;
}

void stream_hold(struct stream *stream)
{
	stream->held++;
}

void stream_release(struct stream *stream)
{
	if (stream->held > 0)
		stream->held--;
	stream_schedule(stream, 0);
}

bool stream_is_held(const struct stream *stream)
{
	return stream->held > 0;
}
