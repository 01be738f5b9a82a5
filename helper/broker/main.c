/*
 * tpmgate-broker: options, sockets, signals, and the main loop. See docs/architecture.md.
 */
#include "broker/adopt.h"
#include "broker/listener.h"
#include "broker/log.h"

#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAIN_IDLE_EXIT 60 /* seconds, where a service manager keeps the socket */

struct arguments {
	char *listen;
	char *tpm;
	char *config;
	char **profile_dirs;
	char *relay;
	char *rm;
	char *state_dir;
	char *eventlog_dir;
	int idle_exit; /* -1: not given */
	gboolean no_polkit;
	gboolean allow_root;
	gboolean version;
};

struct program {
	GMainLoop *loop;
	struct broker *broker;
	struct listener *listener;
};

static bool main_parse(int argc, char **argv, struct arguments *arguments)
{
	const GOptionEntry entries[] = {
		{"listen", 0, 0, G_OPTION_ARG_FILENAME, &arguments->listen,
			"Listen at PATH, where there is no service manager", "PATH"},
		{"tpm", 0, 0, G_OPTION_ARG_STRING, &arguments->tpm,
			"/dev/tpmrmN, rm:unix:PATH or rm:tcti:NAME:CONF for a TPM without resource "
			"manager, unix:PATH for one session at a time (default: all that udev "
			"knows)",
			"SPEC"},
		{"config", 0, 0, G_OPTION_ARG_FILENAME, &arguments->config,
			"Read this tpmgate.conf and no other", "FILE"},
		{"profiles-dir", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &arguments->profile_dirs,
			"Read profiles from DIR only; may be given several times", "DIR"},
		{"relay", 0, 0, G_OPTION_ARG_FILENAME, &arguments->relay,
			"Program that serves sessions", "PATH"},
		{"rm", 0, 0, G_OPTION_ARG_FILENAME, &arguments->rm,
			"Program that manages a TPM for many sessions", "PATH"},
		{"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &arguments->state_dir,
			"Keep the registry in DIR (default: " TPMGATE_STATE_DIR ")", "DIR"},
		{"idle-exit", 0, 0, G_OPTION_ARG_INT, &arguments->idle_exit,
			"Exit after SECONDS without clients and sessions; 0: never (default: 60 if "
			"started by its socket, else 0)",
			"SECONDS"},
		{"eventlog-dir", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_FILENAME,
			&arguments->eventlog_dir,
			"Look for event logs in DIR instead of /sys/kernel/security", "DIR"},
		{"no-polkit", 0, 0, G_OPTION_ARG_NONE, &arguments->no_polkit,
			"Admit root and members of groups only", NULL},
		{"allow-root", 0, 0, G_OPTION_ARG_NONE, &arguments->allow_root,
			"Run as root all the same", NULL},
		{"version", 0, 0, G_OPTION_ARG_NONE, &arguments->version, "Show the version", NULL},
		{NULL, 0, 0, 0, NULL, NULL, NULL},
	};
	g_autoptr(GOptionContext) context = g_option_context_new(NULL);
	g_autoptr(GError) error = NULL;

	g_option_context_set_summary(
		context, "Gives programs without privileges a filtered TPM 2.0.");
	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &error)) {
		fprintf(stderr, "tpmgate-broker: %s; see --help\n", error->message);
		return false;
	}
	if (argc > 1) {
		fprintf(stderr, "tpmgate-broker: there is no argument '%s'; see --help\n", argv[1]);
		return false;
	}
	if (arguments->idle_exit < -1) {
		fprintf(stderr, "tpmgate-broker: --idle-exit is a number of seconds\n");
		return false;
	}
	return true;
}

static void main_free(struct arguments *arguments)
{
	g_free(arguments->listen);
	g_free(arguments->tpm);
	g_free(arguments->config);
	g_free(arguments->relay);
	g_free(arguments->rm);
	g_free(arguments->state_dir);
	g_free(arguments->eventlog_dir);
	g_strfreev(arguments->profile_dirs);
}

static gboolean main_on_stop(gpointer data)
{
	const struct program *program = data;

	g_main_loop_quit(program->loop);
	return G_SOURCE_CONTINUE;
}

static gboolean main_on_reload(gpointer data)
{
	const struct program *program = data;

	broker_reload(program->broker);
	return G_SOURCE_CONTINUE;
}

static void main_on_idle(void *context)
{
	const struct program *program = context;

	/* whoever connected in the last moment is served; later ones start the next broker */
	if (listener_has_waiting(program->listener))
		broker_touch(program->broker);
	else
		g_main_loop_quit(program->loop);
}

static void main_close_unknown(struct activation *activation)
{
	for (size_t i = 0; i < activation->count; i++)
		if (activation->fds[i].fd >= 0)
			log_event(LOG_BROKER, G_LOG_LEVEL_WARNING, NULL,
				"closed descriptor %d '%s', which the service manager handed over: "
				"it is neither a listening SOCK_SEQPACKET socket nor a session",
				activation->fds[i].fd, activation->fds[i].name);
	activation_done(activation);
}

static bool main_listen(struct program *program, const struct arguments *arguments,
	struct activation *activation, char **ret_problem)
{
	program->listener = listener_new(program->broker);
	listener_adopt(program->listener, activation);
	if (arguments->idle_exit < 0 && listener_count(program->listener) > 0)
		program->broker->options.idle_exit = MAIN_IDLE_EXIT;
	if (arguments->listen && !listener_bind(program->listener, arguments->listen, ret_problem))
		return false;
	if (listener_count(program->listener) == 0) {
		*ret_problem = g_strdup("there is no socket to listen on: start it by "
					"tpmgate.socket, or with --listen PATH");
		return false;
	}
	return true;
}

static bool main_start(struct program *program, const struct arguments *arguments,
	struct activation *activation, char **ret_problem)
{
	struct broker_options options = {
		.tpm = arguments->tpm ? arguments->tpm : "",
		.relay = arguments->relay ? arguments->relay : TPMGATE_RELAY,
		.rm = arguments->rm ? arguments->rm : TPMGATE_RM,
		.state_dir = arguments->state_dir ? arguments->state_dir : TPMGATE_STATE_DIR,
		.paths = {.file = arguments->config,
			.profile_dirs = (const char *const *)arguments->profile_dirs},
		.polkit = !arguments->no_polkit,
		.idle_exit = arguments->idle_exit > 0 ? arguments->idle_exit : 0,
		.notify_address = g_getenv("NOTIFY_SOCKET"),
		.eventlog_dir = arguments->eventlog_dir,
	};

	program->broker = broker_new(&options, ret_problem);
	if (!program->broker)
		return false;
	program->broker->idle = main_on_idle;
	program->broker->idle_context = program;
	program->broker->options.notify_address = NULL;
	g_unsetenv("NOTIFY_SOCKET");
	if (!main_listen(program, arguments, activation, ret_problem))
		return false;
	if (program->broker->rm)
		adopt_manager(program->broker->rm, activation);
	adopt_sessions(program->broker->sessions, activation);
	if (program->broker->rm)
		rm_settle(program->broker->rm);
	return true;
}

static int main_run(const struct arguments *arguments, struct activation *activation)
{
	struct program program = {.loop = g_main_loop_new(NULL, FALSE)};
	g_autofree char *problem = NULL;
	bool started = main_start(&program, arguments, activation, &problem);

	if (started) {
		main_close_unknown(activation);
		g_unix_signal_add(SIGTERM, main_on_stop, &program);
		g_unix_signal_add(SIGINT, main_on_stop, &program);
		g_unix_signal_add(SIGHUP, main_on_reload, &program);
		listener_start(program.listener);
		notify_ready(program.broker->notify);
		log_event(LOG_BROKER, G_LOG_LEVEL_MESSAGE, NULL, "ready for connections");
		broker_touch(program.broker);
		g_main_loop_run(program.loop);
		notify_stopping(program.broker->notify);
	} else {
		log_event(LOG_BROKER, G_LOG_LEVEL_CRITICAL,
			&(struct log_about){.event = EVENT_BROKER_FAILED}, "%s", problem);
	}
	listener_free(program.listener);
	broker_free(program.broker);
	g_main_loop_unref(program.loop);
	return started ? 0 : 1;
}

/* Standard descriptors that are closed would be filled by the next socket, and written to. */
static bool main_fill_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int main(int argc, char **argv)
{
	struct arguments arguments = {.idle_exit = -1};
	struct activation activation = activation_take();
	int status = 2;

	umask(0077);
	(void)signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#ifndef TPMGATE_SANITIZED
	/* A resource manager with a TCTI may open files as the same user: not this one's memory. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
	if (!main_fill_standard())
		return 1;
	if (!main_parse(argc, argv, &arguments)) {
		status = 2;
	} else if (arguments.version) {
		puts("tpmgate-broker " TPMGATE_VERSION);
		status = 0;
	} else if (geteuid() == 0 && !arguments.allow_root) {
		fprintf(stderr,
			"tpmgate-broker: refusing to run as root: all that it needs is a user in "
			"the group of the TPM's node; --allow-root overrides this\n");
		status = 1;
	} else {
		log_init();
		status = main_run(&arguments, &activation);
	}
	activation_done(&activation);
	main_free(&arguments);
	return status;
}
