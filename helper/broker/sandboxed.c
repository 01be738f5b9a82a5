/*
 * Trusts the kernel, that it shows the process it was asked about: whoever reads /proc sees to it.
 *
 *	label	"snap.NAME.APP (enforce)", alone or stacked     Snap, with AppArmor
 *	cgroup	.../snap.NAME.APP-UUID.scope, .../snap.NAME.APP.service   Snap, without
 *		.../app-flatpak-ID-NUMBER.scope                 Flatpak, with a systemd of the user
 *	mounts	/.flatpak-info, and ID's files at /app          Flatpak, without
 *
 * /.flatpak-info itself, which has the name, is out of reach: /proc/PID/root of another user's
 * process opens for nobody without privileges.
 */
#include "broker/sandboxed.h"

#include "broker/text.h"

#include <glib.h>
#include <string.h>

/* systemd escapes '-' and other bytes of a unit's name as \xHH. */
static void sandboxed_unescape(char *name)
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

static bool sandboxed_by_flatpak_unit(const char *unit, char *ret_name, size_t size)
{
	/* Flatpak before 1.9 names them without "app-". */
	static const char *const prefixes[] = {"app-flatpak-", "flatpak-"};

	for (size_t i = 0; i < G_N_ELEMENTS(prefixes); i++) {
		g_autofree char *name = NULL;
		char *dash;

		if (!g_str_has_prefix(unit, prefixes[i]) || !g_str_has_suffix(unit, ".scope"))
			continue;
		name = g_strdup(unit + strlen(prefixes[i]));
		dash = strrchr(name, '-');
		if (dash)
			*dash = '\0';
		sandboxed_unescape(name);
		text_name(name, ret_name, size);
		return true;
	}
	return false;
}

/* NAME is that of a unit or of a profile of AppArmor. */
static bool sandboxed_by_snap_name(const char *name, char *ret_name, size_t size)
{
	static const char prefix[] = "snap.";
	g_autofree char *snap = NULL;

	if (!g_str_has_prefix(name, prefix))
		return false;
	snap = g_strdup(name + strlen(prefix));
	snap[strcspn(snap, ". ")] = '\0';
	sandboxed_unescape(snap);
	text_name(snap, ret_name, size);
	return true;
}

bool sandboxed_by_label(const char *label, char *ret_name, size_t size)
{
	g_auto(GStrv) stacked = g_strsplit(label ? label : "", "//&", -1);

	for (size_t i = 0; stacked[i]; i++) {
		const char *name = stacked[i];

		/* ":NAMESPACE:PROFILE" or ":NAMESPACE://PROFILE", as in a container */
		if (name[0] == ':' && strchr(name + 1, ':'))
			name = strchr(name + 1, ':') + 1;
		if (g_str_has_prefix(name, "//"))
			name += 2;
		if (sandboxed_by_snap_name(name, ret_name, size))
			return true;
	}
	return false;
}

bool sandboxed_by_cgroups(const char *cgroups, char *ret_name, size_t size)
{
	g_auto(GStrv) units = g_strsplit_set(cgroups, "/\n", -1);

	for (size_t i = 0; units[i]; i++)
		if (sandboxed_by_flatpak_unit(units[i], ret_name, size) ||
			sandboxed_by_snap_name(units[i], ret_name, size))
			return true;
	return false;
}

bool sandboxed_is_over(const char *status)
{
	static const char key[] = "\nState:\t";
	const char *line = strstr(status, key);

	return !line || line[strlen(key)] == 'Z' || line[strlen(key)] == 'X';
}

bool sandboxed_may_have_mounts(const char *status)
{
	static const char key[] = "\nNSpid:";
	const char *line = strstr(status, key);
	g_auto(GStrv) pids = NULL;

	if (!line)
		return true;
	line += strlen(key);
	pids = g_strsplit_set(line, "\t\n", 4); /* "", our number, and of a nested one the next */
	return g_strv_length(pids) < 3 || g_ascii_isdigit(pids[2][0]);
}

/* "/var/lib/flatpak/app/org.example.App/x86_64/...", what is mounted at /app: org.example.App. */
static bool sandboxed_name_application(const char *root, char *ret_name, size_t size)
{
	static const char before[] = "/flatpak/app/";
	const char *found = strstr(root, before);
	g_autofree char *name = NULL;

	if (!found)
		return false;
	name = g_strdup(found + strlen(before));
	name[strcspn(name, "/")] = '\0';
	text_name(name, ret_name, size);
	return true;
}

bool sandboxed_by_mounts(const char *mounts, char *ret_name, size_t size)
{
	g_auto(GStrv) lines = g_strsplit(mounts, "\n", -1);
	bool found = false;

	for (size_t i = 0; lines[i] && !found; i++) {
		/* "id parent major:minor root mountpoint ...", as proc(5) has it */
		g_auto(GStrv) fields = g_strsplit(lines[i], " ", 6);

		found = g_strv_length(fields) >= 5 && strcmp(fields[4], "/.flatpak-info") == 0;
	}
	if (!found)
		return false;
	for (size_t i = 0; lines[i]; i++) {
		g_auto(GStrv) fields = g_strsplit(lines[i], " ", 6);

		if (g_strv_length(fields) >= 5 && strcmp(fields[4], "/app") == 0 &&
			sandboxed_name_application(fields[3], ret_name, size))
			return true;
	}
	g_strlcpy(ret_name, "Flatpak", size);
	return true;
}
