#include "broker/linger.h"

#include "broker/release.h"
#include "broker/reply.h"

#include <glib.h>

#define LINGER_MAX 16
#define LINGER_MS  1000

struct linger {
	GQueue entries; /* the oldest first */
};

struct entry {
	struct linger *linger;
	int fd;
	guint timer;
};

struct linger *linger_new(void)
{
	struct linger *linger = g_new0(struct linger, 1);

	g_queue_init(&linger->entries);
	return linger;
}

static void linger_close(struct entry *entry)
{
	g_queue_remove(&entry->linger->entries, entry);
	g_clear_handle_id(&entry->timer, g_source_remove);
	reply_drain(entry->fd);
	release_close(entry->fd);
	g_free(entry);
}

void linger_free(struct linger *linger)
{
	if (!linger)
		return;
	while (!g_queue_is_empty(&linger->entries))
		linger_close(g_queue_peek_head(&linger->entries));
	g_free(linger);
}

static gboolean linger_on_timeout(gpointer data)
{
	struct entry *entry = data;

	entry->timer = 0;
	linger_close(entry);
	return G_SOURCE_REMOVE;
}

void linger_add(struct linger *linger, int fd)
{
	struct entry *entry = g_new0(struct entry, 1);

	if (g_queue_get_length(&linger->entries) >= LINGER_MAX)
		linger_close(g_queue_peek_head(&linger->entries));
	entry->linger = linger;
	entry->fd = fd;
	entry->timer = g_timeout_add(LINGER_MS, linger_on_timeout, entry);
	g_queue_push_tail(&linger->entries, entry);
}

unsigned linger_count(const struct linger *linger)
{
	return g_queue_get_length((GQueue *)(uintptr_t)&linger->entries);
}
