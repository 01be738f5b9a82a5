#include "broker/log.h"

#include "broker/text.h"
#include "common/cleanup.h"

#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define LOG_PER_SECOND 10
#define LOG_LINE_MAX   2048
#define LOG_JOURNAL    "/run/systemd/journal/socket"

static const char *const log_names[LOG_KINDS] = {
	[LOG_BROKER] = "broker",
	[LOG_CONNECTION] = "connection",
	[LOG_VERDICT] = "verdict",
	[LOG_SESSION] = "session",
	[LOG_DEVICE] = "device",
};

/* A log is one for a process, as standard error is. */
static struct {
	int journal;       /* -1: lines go to standard error */
	gint64 second;     /* that `lines` counts */
	GHashTable *lines; /* kind and uid -> lines; NULL: none yet */
	struct {
		unsigned suppressed;
		guint timer;
	} limits[LOG_KINDS];
} log_state = {.journal = -1};

static const char *log_priority(GLogLevelFlags level)
{
	if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
		return "3";
	if (level & G_LOG_LEVEL_WARNING)
		return "4";
	return level & G_LOG_LEVEL_MESSAGE ? "5" : "6";
}

static void log_to_journal(GLogLevelFlags level, const GLogField *fields, gsize count)
{
	g_autoptr(GString) packet = g_string_new("SYSLOG_IDENTIFIER=tpmgate-broker\n");

	g_string_append_printf(packet, "PRIORITY=%s\n", log_priority(level));
	for (gsize i = 0; i < count; i++) {
		char line[LOG_LINE_MAX];

		if (fields[i].length >= 0 || strcmp(fields[i].key, "PRIORITY") == 0)
			continue; /* bytes that are no text: none are ours */
		text_line(fields[i].value, line, sizeof line);
		g_string_append_printf(packet, "%s=%s\n", fields[i].key, line);
	}
	send(log_state.journal, packet->str, packet->len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void log_to_stderr(const GLogField *fields, gsize count)
{
	struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};

	for (gsize i = 0; i < count; i++) {
		char text[LOG_LINE_MAX];
		g_autofree char *line = NULL;

		if (strcmp(fields[i].key, "MESSAGE") != 0)
			continue;
		text_line(fields[i].value, text, sizeof text);
		line = g_strdup_printf("tpmgate-broker: %s\n", text);
		if (poll(&ready, 1, 0) > 0 && ready.revents & POLLOUT &&
			write(STDERR_FILENO, line, strlen(line)) < 0)
			return; /* nobody is left to tell */
	}
}

/* From any thread: GLib's own lines come this way too. */
static GLogWriterOutput log_write(
	GLogLevelFlags level, const GLogField *fields, gsize count, gpointer data)
{
	(void)data;
	if (!(level & (G_LOG_LEVEL_DEBUG | G_LOG_LEVEL_INFO))) {
		if (log_state.journal >= 0)
			log_to_journal(level, fields, count);
		else
			log_to_stderr(fields, count);
	}
	return G_LOG_WRITER_HANDLED;
}

static int log_connect_journal(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = LOG_JOURNAL};
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
		return -1;
	return TAKE_FD(fd);
}

void log_init(void)
{
	if (g_log_writer_is_journald(STDERR_FILENO))
		log_state.journal = log_connect_journal();
	g_log_set_writer_func(log_write, NULL, NULL);
}

int log_journal_socket(void)
{
	return log_state.journal >= 0 ? log_connect_journal() : -1;
}

static gboolean log_tell_suppressed(gpointer data)
{
	enum log_kind kind = (enum log_kind)GPOINTER_TO_UINT(data);
	unsigned suppressed = log_state.limits[kind].suppressed;

	log_state.limits[kind].timer = 0;
	log_state.limits[kind].suppressed = 0;
	log_event(LOG_BROKER, G_LOG_LEVEL_WARNING, NULL, "%u more %s lines suppressed", suppressed,
		log_names[kind]);
	return G_SOURCE_REMOVE;
}

/* How many lines of KIND the user, or everybody where there is none, has had in this second. */
static unsigned log_count(enum log_kind kind, const struct log_about *about)
{
	gint64 second = g_get_monotonic_time() / G_USEC_PER_SEC;
	gint64 key = (gint64)kind << 32 | (about && about->uid ? *about->uid : UINT32_MAX);
	unsigned lines;

	if (!log_state.lines)
		log_state.lines = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	if (log_state.second != second)
		g_hash_table_remove_all(log_state.lines);
	log_state.second = second;
	lines = GPOINTER_TO_UINT(g_hash_table_lookup(log_state.lines, &key)) + 1;
	g_hash_table_insert(log_state.lines, g_memdup2(&key, sizeof key), GUINT_TO_POINTER(lines));
	return lines;
}

static bool log_may_write(enum log_kind kind, const struct log_about *about)
{
	if (kind == LOG_BROKER || kind == LOG_SESSION || log_count(kind, about) <= LOG_PER_SECOND)
		return true;
	log_state.limits[kind].suppressed++;
	if (log_state.limits[kind].timer == 0)
		log_state.limits[kind].timer = g_timeout_add_seconds(
			1, log_tell_suppressed, GUINT_TO_POINTER((unsigned)kind));
	return false;
}

static void log_append(GString *line, const char *name, const char *value)
{
	g_string_append_printf(line, "%s%s %s", line->len > 0 ? ", " : "", name, value);
}

void log_event(enum log_kind kind, GLogLevelFlags level, const struct log_about *about,
	const char *format, ...)
{
	static const struct log_about nothing;
	g_autoptr(GString) details = g_string_new(NULL);
	g_autofree char *text = NULL;
	g_autofree char *message = NULL;
	char uid[16];
	char pid[16];
	char session[24];
	GLogField fields[8]; /* the message, and those of the table below */
	gsize count = 1;
	va_list arguments;

	if (!log_may_write(kind, about))
		return;
	if (!about)
		about = &nothing;
	snprintf(uid, sizeof uid, "%" PRIu32, about->uid ? *about->uid : 0);
	snprintf(pid, sizeof pid, "%" PRId32, about->pid);
	snprintf(session, sizeof session, "%" PRIu64, about->session);

	const struct {
		const char *key;
		const char *name;
		const char *value;
	} table[] = {
		{"TPMGATE_UID", "uid", about->uid ? uid : NULL},
		{"TPMGATE_PID", "pid", about->pid > 0 ? pid : NULL},
		{"TPMGATE_SESSION", "session", about->session ? session : NULL},
		{"TPMGATE_PROFILES", "profiles", about->profiles},
		{"TPMGATE_DEVICE", "device", about->device},
		{"TPMGATE_VERDICT", NULL, about->verdict},
		{"MESSAGE_ID", NULL, about->event},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		if (!table[i].value || !table[i].value[0])
			continue;
		fields[count++] = (GLogField){table[i].key, table[i].value, -1};
		if (table[i].name)
			log_append(details, table[i].name, table[i].value);
	}
	va_start(arguments, format);
	text = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	message =
		details->len > 0 ? g_strdup_printf("%s (%s)", text, details->str) : g_strdup(text);
	fields[0] = (GLogField){"MESSAGE", message, -1};
	g_log_structured_array(level, fields, count);
}
