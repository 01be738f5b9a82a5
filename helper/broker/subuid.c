#include "broker/subuid.h"

#include "broker/log.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

struct subuid {
	char *path; /* what was read, and what it was then */
	struct stat status;
	char *text; /* NULL: there is no such file */
	bool unreadable;
};

struct subuid *subuid_new(void)
{
	return g_new0(struct subuid, 1);
}

void subuid_free(struct subuid *subuid)
{
	if (!subuid)
		return;
	g_free(subuid->path);
	g_free(subuid->text);
	g_free(subuid);
}

static bool subuid_line_contains(const char *line, uint32_t uid)
{
	g_auto(GStrv) fields = g_strsplit(line, ":", 4);
	guint64 first;
	guint64 count;

	if (g_strv_length(fields) != 3)
		return false;
	if (!g_ascii_string_to_unsigned(fields[1], 10, 0, UINT32_MAX, &first, NULL) ||
		!g_ascii_string_to_unsigned(
			g_strchomp(fields[2]), 10, 0, G_MAXUINT32, &count, NULL))
		return false;
	return uid >= first && uid < first + count;
}

bool subuid_text_contains(const char *text, uint32_t uid)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (size_t i = 0; lines[i]; i++)
		if (subuid_line_contains(lines[i], uid))
			return true;
	return false;
}

static bool subuid_is_current(
	const struct subuid *subuid, const char *path, const struct stat *status)
{
	return subuid->path && strcmp(subuid->path, path) == 0 &&
	       subuid->status.st_dev == status->st_dev && subuid->status.st_ino == status->st_ino &&
	       subuid->status.st_size == status->st_size &&
	       subuid->status.st_mtim.tv_sec == status->st_mtim.tv_sec &&
	       subuid->status.st_mtim.tv_nsec == status->st_mtim.tv_nsec;
}

/* Reads PATH where it differs from what was read last. STATUS is zero where there is none. */
static void subuid_refresh(struct subuid *subuid, const char *path)
{
	struct stat status;
	g_autoptr(GError) error = NULL;

	memset(&status, 0, sizeof status);
	if (stat(path, &status) < 0)
		memset(&status, 0, sizeof status);
	else if (!S_ISREG(status.st_mode))
		errno = EINVAL;
	else
		errno = 0;
	if (!subuid->unreadable && subuid_is_current(subuid, path, &status))
		return;
	subuid->unreadable = errno != 0 && errno != ENOENT;
	g_clear_pointer(&subuid->text, g_free);
	if (errno == 0 && !g_file_get_contents(path, &subuid->text, NULL, &error))
		subuid->unreadable = true;
	if (subuid->unreadable)
		log_event(LOG_CONNECTION, G_LOG_LEVEL_WARNING, NULL,
			"cannot read %s, so nobody but root is served%s%s", path, error ? ": " : "",
			error ? error->message : "");
	g_free(subuid->path);
	subuid->path = g_strdup(path);
	subuid->status = status;
}

bool subuid_contains(struct subuid *subuid, const char *path, uint32_t uid)
{
	if (uid == 0)
		return false;
	subuid_refresh(subuid, path);
	if (subuid->unreadable)
		return true;
	return subuid->text && subuid_text_contains(subuid->text, uid);
}
