/*
 * auth-agent LOCALE PID...: an authentication agent for the processes PID, that answers only when
 * told to.
 *
 * Registers with polkit as the agent of each process, as root may for anybody, and prints
 *
 *   ready                         when all are registered
 *   begin COOKIE ACTION PID ICON TEXT  when polkit asks: PID is the process, TEXT the message
 *   cancel COOKIE                 when polkit no longer wants an answer
 *   done COOKIE                   when an answer that was ordered has been given
 *
 * A line "yes COOKIE UID" on standard input authenticates as the administrator, without a password,
 * where UID is the process's; "no COOKIE" gives up; the end of standard input ends the program.
 */
#include <gio/gio.h>
#include <gio/gunixinputstream.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define AGENT_PATH "/io/github/tpmgate/test/Agent"

static const char interface_xml[] =
	"<node><interface name='org.freedesktop.PolicyKit1.AuthenticationAgent'>"
	"<method name='BeginAuthentication'>"
	"<arg type='s' direction='in'/><arg type='s' direction='in'/>"
	"<arg type='s' direction='in'/><arg type='a{ss}' direction='in'/>"
	"<arg type='s' direction='in'/><arg type='a(sa{sv})' direction='in'/>"
	"</method>"
	"<method name='CancelAuthentication'><arg type='s' direction='in'/></method>"
	"</interface></node>";

struct agent {
	const char *locale;
	GMainLoop *loop;
	GDBusConnection *bus;
	GHashTable *pending; /* cookie -> GDBusMethodInvocation of BeginAuthentication */
};

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	(void)fflush(stdout);
}

static void give_up(struct agent *agent, const char *cookie, const char *error)
{
	GDBusMethodInvocation *invocation = g_hash_table_lookup(agent->pending, cookie);

	if (!invocation)
		return;
	g_dbus_method_invocation_return_dbus_error(
		invocation, "org.freedesktop.PolicyKit1.Error.Cancelled", error);
	g_hash_table_remove(agent->pending, cookie);
}

static void on_call(GDBusConnection *bus, const char *sender, const char *path,
	const char *interface, const char *method, GVariant *parameters,
	GDBusMethodInvocation *invocation, void *data)
{
	struct agent *agent = data;
	const char *action;
	const char *message;
	const char *icon;
	const char *cookie;
	const char *pid = NULL;
	GVariant *details = NULL;

	(void)bus;
	(void)sender;
	(void)path;
	(void)interface;
	if (strcmp(method, "CancelAuthentication") == 0) {
		g_variant_get(parameters, "(&s)", &cookie);
		say("cancel %s", cookie);
		give_up(agent, cookie, "cancelled");
		g_dbus_method_invocation_return_value(invocation, NULL);
		return;
	}
	g_variant_get(parameters, "(&s&s&s@a{ss}&s@a(sa{sv}))", &action, &message, &icon, &details,
		&cookie, NULL);
	if (!g_variant_lookup(details, "polkit.subject-pid", "&s", &pid))
		pid = "?";
	say("begin %s %s %s %s %s", cookie, action, pid, icon[0] ? icon : "-", message);
	g_hash_table_insert(agent->pending, g_strdup(cookie), invocation);
	g_variant_unref(details);
}

static uint64_t start_time_of(unsigned pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%u/stat", pid);
	g_autofree char *stat = NULL;
	g_auto(GStrv) fields = NULL;

	if (!g_file_get_contents(path, &stat, NULL, NULL) || !strrchr(stat, ')'))
		return 0;
	/* Field 22 of stat(5); the second, the name, is behind us and field 3 comes first. */
	fields = g_strsplit(strrchr(stat, ')') + 2, " ", -1);
	return g_strv_length(fields) > 19 ? g_ascii_strtoull(fields[19], NULL, 10) : 0;
}

static bool call_authority(
	struct agent *agent, const char *method, GVariant *parameters, GError **ret_error)
{
	g_autoptr(GVariant) reply = g_dbus_connection_call_sync(agent->bus,
		"org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority",
		"org.freedesktop.PolicyKit1.Authority", method, parameters, NULL,
		G_DBUS_CALL_FLAGS_NONE, -1, NULL, ret_error);

	return reply != NULL;
}

static bool register_for(struct agent *agent, const char *argument)
{
	unsigned pid = (unsigned)g_ascii_strtoull(argument, NULL, 10);
	GVariantBuilder subject;
	g_autoptr(GError) error = NULL;

	g_variant_builder_init(&subject, G_VARIANT_TYPE_VARDICT);
	g_variant_builder_add(&subject, "{sv}", "pid", g_variant_new_uint32(pid));
	g_variant_builder_add(
		&subject, "{sv}", "start-time", g_variant_new_uint64(start_time_of(pid)));
	if (call_authority(agent, "RegisterAuthenticationAgent",
		    g_variant_new(
			    "((sa{sv})ss)", "unix-process", &subject, agent->locale, AGENT_PATH),
		    &error))
		return true;
	say("failed to register: %s", error->message);
	return false;
}

/* Tells polkit that the administrator has authenticated, as its helper does after a password. */
static bool respond(struct agent *agent, uint32_t owner, const char *cookie, GError **ret_error)
{
	GVariantBuilder identity;

	g_variant_builder_init(&identity, G_VARIANT_TYPE_VARDICT);
	g_variant_builder_add(&identity, "{sv}", "uid", g_variant_new_uint32(0));
	return call_authority(agent, "AuthenticationAgentResponse2",
		g_variant_new("(us(sa{sv}))", owner, cookie, "unix-user", &identity), ret_error);
}

/* The session belongs to who registered the agent, in newer versions of polkit to the subject. */
static void answer(struct agent *agent, const char *cookie, uint32_t uid)
{
	GDBusMethodInvocation *invocation = g_hash_table_lookup(agent->pending, cookie);
	g_autoptr(GError) error = NULL;

	if (!invocation)
		return;
	if (respond(agent, (uint32_t)getuid(), cookie, NULL) || respond(agent, uid, cookie, &error))
		say("done %s", cookie);
	else
		say("failed to answer: %s", error->message);
	g_dbus_method_invocation_return_value(invocation, NULL);
	g_hash_table_remove(agent->pending, cookie);
}

static void obey(struct agent *agent, const char *line)
{
	g_auto(GStrv) words = g_strsplit(line, " ", 3);
	unsigned count = g_strv_length(words);

	if (count == 3 && strcmp(words[0], "yes") == 0)
		answer(agent, words[1], (uint32_t)g_ascii_strtoull(words[2], NULL, 10));
	else if (count == 2 && strcmp(words[0], "no") == 0)
		give_up(agent, words[1], "given up");
}

static void on_line(GObject *source, GAsyncResult *result, void *data)
{
	struct agent *agent = data;
	GDataInputStream *input = G_DATA_INPUT_STREAM(source);
	g_autofree char *line = g_data_input_stream_read_line_finish(input, result, NULL, NULL);

	if (!line) {
		g_main_loop_quit(agent->loop);
		return;
	}
	obey(agent, line);
	g_data_input_stream_read_line_async(input, G_PRIORITY_DEFAULT, NULL, on_line, agent);
}

static bool start(struct agent *agent, int count, char **pids)
{
	static const GDBusInterfaceVTable vtable = {.method_call = on_call};
	g_autoptr(GError) error = NULL;
	g_autoptr(GDBusNodeInfo) node = g_dbus_node_info_new_for_xml(interface_xml, &error);

	agent->bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, &error);
	if (!agent->bus || !node ||
		g_dbus_connection_register_object(agent->bus, AGENT_PATH, node->interfaces[0],
			&vtable, agent, NULL, &error) == 0) {
		say("failed: %s", error->message);
		return false;
	}
	for (int i = 0; i < count; i++)
		if (!register_for(agent, pids[i]))
			return false;
	say("ready");
	return true;
}

int main(int argc, char **argv)
{
	struct agent agent = {0};
	g_autoptr(GInputStream) standard = g_unix_input_stream_new(STDIN_FILENO, FALSE);
	g_autoptr(GDataInputStream) input = g_data_input_stream_new(standard);

	if (argc < 3) {
		say("usage: auth-agent LOCALE PID...");
		return 2;
	}
	agent.locale = argv[1];
	agent.loop = g_main_loop_new(NULL, FALSE);
	agent.pending = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	if (!start(&agent, argc - 2, argv + 2))
		return 1;
	g_data_input_stream_read_line_async(input, G_PRIORITY_DEFAULT, NULL, on_line, &agent);
	g_main_loop_run(agent.loop);
	g_hash_table_unref(agent.pending);
	g_object_unref(agent.bus);
	g_main_loop_unref(agent.loop);
	return 0;
}
