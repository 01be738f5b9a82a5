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

struct stream_wait {
	struct stream *stream;
	stream_done done;
	void *context;
	guint timer;
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
	while (!g_queue_is_empty(&stream->waits))
		stream_cancel(g_queue_peek_head(&stream->waits));
	g_clear_handle_id(&stream->idle, g_source_remove);
	g_free(stream->path);
	g_free(stream);
}

void stream_cancel(struct stream_wait *wait)
{
	if (!wait)
		return;
	g_queue_remove(&wait->stream->waits, wait);
	g_clear_handle_id(&wait->timer, g_source_remove);
	g_free(wait);
}

static void stream_answer(
	struct stream_wait *wait, enum stream_result result, int fd, const char *problem)
{
	stream_done done = wait->done;
	void *context = wait->context;

	stream_cancel(wait);
	done(context, result, fd, problem);
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
	struct stream_wait *wait = g_queue_peek_head(&stream->waits);
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
		stream_answer(wait, STREAM_GRANTED, fd, NULL);
	} else {
		stream_answer(wait, STREAM_E_FAILED, -1, g_strerror(-fd));
		stream_schedule(stream, 0);
	}
	return G_SOURCE_REMOVE;
}

static void stream_schedule(struct stream *stream, guint delay_ms)
{
	if (stream->idle == 0 && stream->held == 0 && !g_queue_is_empty(&stream->waits))
		stream->idle = g_timeout_add(delay_ms, stream_serve, stream);
}

static gboolean stream_on_timeout(gpointer data)
{
	struct stream_wait *wait = data;

	wait->timer = 0;
	stream_answer(wait, STREAM_E_BUSY, -1, NULL);
	return G_SOURCE_REMOVE;
}

struct stream_wait *stream_acquire(struct stream *stream, stream_done done, void *context)
{
	struct stream_wait *wait = g_new0(struct stream_wait, 1);

	wait->stream = stream;
	wait->done = done;
	wait->context = context;
	wait->timer = g_timeout_add(stream->wait_ms, stream_on_timeout, wait);
	g_queue_push_tail(&stream->waits, wait);
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
