#include "broker/name.h"

#include <errno.h>
#include <gio/gio.h>
#include <pwd.h>
#include <stdbool.h>
#include <string.h>

#define NAME_WAIT_MS 1000

struct name_lookup {
	GCancellable *cancellable;
	guint timer;
	name_done done;
	void *context;
};

/* Nothing that a shell would take for more than a word. */
static bool name_is_plain(const char *name)
{
	if (!g_ascii_isalnum(name[0]) && name[0] != '_')
		return false;
	for (const char *p = name; *p; p++)
		if (!g_ascii_isalnum(*p) && !strchr("_-.@", *p))
			return false;
	return strlen(name) <= 64;
}

static void name_run(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	char buffer[16384];
	struct passwd user;
	struct passwd *found = NULL;

	(void)source;
	(void)cancellable;
	if (getpwuid_r(GPOINTER_TO_UINT(data), &user, buffer, sizeof buffer, &found) == 0 &&
		found && name_is_plain(found->pw_name))
		g_task_return_pointer(task, g_strdup(found->pw_name), g_free);
	else
		g_task_return_pointer(task, NULL, NULL);
}

static void name_answer(struct name_lookup *lookup, const char *name)
{
	name_done done = lookup->done;
	void *context = lookup->context;

	name_cancel(lookup);
	done(context, name);
}

static void name_on_found(GObject *source, GAsyncResult *result, gpointer data)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *name = g_task_propagate_pointer(G_TASK(result), &error);

	(void)source;
	if (!error) /* else nobody waits any more */
		name_answer(data, name);
}

static gboolean name_on_timeout(gpointer data)
{
	struct name_lookup *lookup = data;

	lookup->timer = 0;
	name_answer(lookup, NULL);
	return G_SOURCE_REMOVE;
}

struct name_lookup *name_find(uint32_t uid, name_done done, void *context)
{
	struct name_lookup *lookup = g_new0(struct name_lookup, 1);
	g_autoptr(GTask) task = NULL;

	lookup->cancellable = g_cancellable_new();
	lookup->done = done;
	lookup->context = context;
	lookup->timer = g_timeout_add(NAME_WAIT_MS, name_on_timeout, lookup);
	task = g_task_new(NULL, lookup->cancellable, name_on_found, lookup);
	g_task_set_task_data(task, GUINT_TO_POINTER(uid), NULL);
	g_task_run_in_thread(task, name_run);
	return lookup;
}

void name_cancel(struct name_lookup *lookup)
{
	if (!lookup)
		return;
	g_cancellable_cancel(lookup->cancellable);
	g_object_unref(lookup->cancellable);
	g_clear_handle_id(&lookup->timer, g_source_remove);
	g_free(lookup);
}
