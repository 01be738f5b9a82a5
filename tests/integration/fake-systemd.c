/*
 * fake-systemd: what polkit (125 and later) asks of systemd, on the bus, by control groups alone.
 *
 * GetUnitByPIDFD answers with the first unit of the process's path, as the system's manager does: a
 * unit of a user's own manager is below user@UID.service. Prints "ready" when it has its name.
 */
#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME "org.freedesktop.systemd1"
#define UNIT "/org/freedesktop/systemd1/unit/it"

static const char interface_xml[] =
	"<node><interface name='org.freedesktop.systemd1.Manager'><method name='GetUnitByPIDFD'>"
	"<arg type='h' direction='in'/><arg type='o' direction='out'/>"
	"<arg type='s' direction='out'/><arg type='ay' direction='out'/></method></interface>"
	"<interface name='org.freedesktop.systemd1.Service'>"
	"<property name='NoNewPrivileges' type='b' access='read'/></interface></node>";

/* What follows KEY in a file of /proc; NULL where there is none. The caller frees it. */
static char *line_of(const char *path, const char *key)
{
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return NULL;
	lines = g_strsplit(text, "\n", -1);
	for (size_t i = 0; lines[i]; i++)
		if (g_str_has_prefix(lines[i], key))
			return g_strdup(g_strstrip(lines[i] + strlen(key)));
	return NULL;
}

static char *unit_of(int pidfd)
{
	g_autofree char *info = g_strdup_printf("/proc/self/fdinfo/%d", pidfd);
	g_autofree char *pid = line_of(info, "Pid:");
	g_autofree char *path = g_strdup_printf("/proc/%s/cgroup", pid ? pid : "none");
	g_autofree char *group = line_of(path, "0::");
	g_auto(GStrv) parts = g_strsplit(group ? group : "", "/", -1);

	for (size_t i = 0; parts[i]; i++)
		if (g_str_has_suffix(parts[i], ".service") || g_str_has_suffix(parts[i], ".scope"))
			return g_strdup(parts[i]);
	return g_strdup("init.scope");
}

static void on_call(GDBusConnection *bus, const char *sender, const char *path,
	const char *interface, const char *method, GVariant *parameters,
	GDBusMethodInvocation *invocation, void *data)
{
	static const guint8 id[16];
	GUnixFDList *fds =
		g_dbus_message_get_unix_fd_list(g_dbus_method_invocation_get_message(invocation));
	gint32 handle;
	int pidfd;
	g_autofree char *unit = NULL;

	(void)bus;
	(void)sender;
	(void)path;
	(void)interface;
	(void)method;
	(void)data;
	g_variant_get(parameters, "(h)", &handle);
	pidfd = fds ? g_unix_fd_list_get(fds, handle, NULL) : -1;
	unit = unit_of(pidfd);
	if (pidfd >= 0)
		(void)close(pidfd);
	g_dbus_method_invocation_return_value(invocation,
		g_variant_new("(os@ay)", UNIT, unit,
			g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, id, sizeof id, 1)));
}

static GVariant *on_get(GDBusConnection *bus, const char *sender, const char *path,
	const char *interface, const char *property, GError **ret_error, void *data)
{
	(void)bus;
	(void)sender;
	(void)path;
	(void)interface;
	(void)property;
	(void)ret_error;
	(void)data;
	return g_variant_new_boolean(FALSE);
}

static void on_name(GDBusConnection *bus, const char *name, void *data)
{
	(void)bus;
	(void)name;
	(void)data;
	printf("ready\n");
	(void)fflush(stdout);
}

int main(void)
{
	static const GDBusInterfaceVTable manager = {.method_call = on_call};
	static const GDBusInterfaceVTable unit = {.get_property = on_get};
	g_autoptr(GError) error = NULL;
	g_autoptr(GDBusConnection) bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, &error);
	g_autoptr(GDBusNodeInfo) node =
		bus ? g_dbus_node_info_new_for_xml(interface_xml, &error) : NULL;
	GMainLoop *loop;

	if (!node ||
		g_dbus_connection_register_object(bus, "/org/freedesktop/systemd1",
			node->interfaces[0], &manager, NULL, NULL, &error) == 0 ||
		g_dbus_connection_register_object(
			bus, UNIT, node->interfaces[1], &unit, NULL, NULL, &error) == 0) {
		fprintf(stderr, "fake-systemd: %s\n", error->message);
		return 1;
	}
	g_bus_own_name_on_connection(
		bus, NAME, G_BUS_NAME_OWNER_FLAGS_NONE, on_name, NULL, NULL, NULL);
	loop = g_main_loop_new(NULL, FALSE);
	g_main_loop_run(loop); /* until it is killed */
	g_main_loop_unref(loop);
	return 0;
}
