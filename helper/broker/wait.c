#include "broker/wait.h"

struct wait {
	GQueue *queue;
	wait_done done;
	void *context;
	guint timer;
};

static gboolean wait_on_timeout(gpointer data)
{
	struct wait *wait = data;

	wait->timer = 0;
	wait_answer(wait, WAIT_E_BUSY, -1, NULL);
	return G_SOURCE_REMOVE;
}

struct wait *wait_new(GQueue *queue, unsigned milliseconds, wait_done done, void *context)
{
	struct wait *wait = g_new0(struct wait, 1);

	wait->queue = queue;
	wait->done = done;
	wait->context = context;
	wait->timer = g_timeout_add(milliseconds, wait_on_timeout, wait);
	g_queue_push_tail(queue, wait);
	return wait;
}

void wait_cancel(struct wait *wait)
{
	if (!wait)
		return;
	g_queue_remove(wait->queue, wait);
	g_clear_handle_id(&wait->timer, g_source_remove);
	g_free(wait);
}

void wait_answer(struct wait *wait, enum wait_result result, int fd, const char *problem)
{
	wait_done done = wait->done;
	void *context = wait->context;

	wait_cancel(wait);
	done(context, result, fd, problem);
}

struct wait *wait_first(GQueue *queue)
{
	return g_queue_peek_head(queue);
}

void wait_cancel_all(GQueue *queue)
{
	while (!g_queue_is_empty(queue))
		wait_cancel(wait_first(queue));
}
