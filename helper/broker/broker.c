/*
 * Owns: the parts, made and freed in order, and the two things that change while it runs: settings
 * (replaced as a whole by a reload) and the time since anything happened.
 */
#include "broker/broker.h"

#include "broker/log.h"

#include <errno.h>
#include <gio/gio.h>
#include <unistd.h>

/* What a reload reads, in a thread: files may be on a slow disk, groups in a slow directory. */
struct settings {
	char *file;
	char **profile_dirs;
	struct config_paths paths;
	struct config config; /* in: what counts now; out: what counts from here on */
	struct profile_set *profiles;
	GPtrArray *problems;
};

static void settings_free(gpointer data)
{
	struct settings *settings = data;

	g_free(settings->file);
	g_strfreev(settings->profile_dirs);
	config_done(&settings->config);
	profile_set_unref(settings->profiles);
	g_ptr_array_unref(settings->problems);
	g_free(settings);
}

static void settings_load_profiles(struct settings *settings)
{
	g_auto(GStrv) directories = config_profile_dirs(&settings->paths);

	settings->profiles = profile_set_load(
		(const char *const *)directories, &settings->config, settings->problems);
}

static void settings_load(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	struct settings *settings = data;
	struct config config;
	char *problem;

	(void)source;
	(void)cancellable;
	if (config_load(&settings->paths, &config, &problem)) {
		config_done(&settings->config);
		settings->config = config;
	} else {
		g_ptr_array_add(settings->problems,
			g_strdup_printf("the configuration stays as it was: %s", problem));
		g_free(problem);
	}
	settings_load_profiles(settings);
	g_task_return_boolean(task, TRUE);
}

static void broker_log_problems(const GPtrArray *problems)
{
	for (guint i = 0; i < problems->len; i++)
		log_event(LOG_BROKER, G_LOG_LEVEL_WARNING,
			&(struct log_about){.event = EVENT_CONFIG_PROBLEM}, "%s",
			(const char *)g_ptr_array_index(problems, i));
}

static void broker_on_reloaded(GObject *source, GAsyncResult *result, gpointer data)
{
	struct settings *settings = g_task_get_task_data(G_TASK(result));
	struct broker *broker = data;
	struct config old;

	(void)source;
	if (!g_task_propagate_boolean(G_TASK(result), NULL))
		return; /* the broker is gone */
	old = broker->config;
	broker->config = settings->config;
	settings->config = old;
	profile_set_unref(broker->profiles);
	broker->profiles = g_steal_pointer(&settings->profiles);
	broker_log_problems(settings->problems);
	log_event(LOG_BROKER, G_LOG_LEVEL_MESSAGE, NULL, "configuration read again: %u profiles",
		profile_set_count(broker->profiles));
	broker->reloading = false;
	notify_ready(broker->notify);
	if (broker->reload_again)
		broker_reload(broker);
}

void broker_reload(struct broker *broker)
{
	struct settings *settings;
	GTask *task;

	broker->reload_again = broker->reloading;
	if (broker->reloading)
		return;
	broker->reloading = true;
	notify_reloading(broker->notify);
	settings = g_new0(struct settings, 1);
	/* copies: the thread may still read them when main has ended */
	settings->file = g_strdup(broker->options.paths.file);
	settings->profile_dirs = g_strdupv((char **)(uintptr_t)broker->options.paths.profile_dirs);
	settings->paths = (struct config_paths){
		.file = settings->file,
		.profile_dirs = (const char *const *)settings->profile_dirs,
	};
	settings->config = config_copy(&broker->config);
	settings->problems = g_ptr_array_new_with_free_func(g_free);
	task = g_task_new(NULL, broker->reload_cancellable, broker_on_reloaded, broker);
	g_task_set_task_data(task, settings, settings_free);
	g_task_run_in_thread(task, settings_load);
	g_object_unref(task);
}

static gboolean broker_on_idle(gpointer data)
{
	struct broker *broker = data;

	broker->idle_timer = 0;
	/* charges, saved TPM sessions and handles that are kept for a while are in memory only */
	if (ledger_is_clear(broker->accounts.ledger) &&
		(!broker->accounts.registry || registry_is_settled(broker->accounts.registry)))
		broker->idle(broker->idle_context);
	else
		broker_touch(broker);
	return G_SOURCE_REMOVE;
}

void broker_touch(struct broker *broker)
{
	g_clear_handle_id(&broker->idle_timer, g_source_remove);
	if (broker->options.idle_exit > 0 && account_connections(broker->account) == 0 &&
		account_sessions(broker->account) == 0)
		broker->idle_timer = g_timeout_add_seconds(
			(guint)broker->options.idle_exit, broker_on_idle, broker);
}

static void broker_on_session_ended(void *context)
{
	broker_touch(context);
}

static void broker_on_device_gone(void *context, const char *name)
{
	struct broker *broker = context;

	if (broker->sessions)
		session_list_revoke_device(broker->sessions, name);
}

static bool broker_load_settings(struct broker *broker, char **ret_problem)
{
	g_auto(GStrv) directories = config_profile_dirs(&broker->options.paths);
	g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func(g_free);

	if (!config_load(&broker->options.paths, &broker->config, ret_problem))
		return false;
	broker->profiles =
		profile_set_load((const char *const *)directories, &broker->config, problems);
	broker_log_problems(problems);
	if (profile_set_count(broker->profiles) == 0)
		log_event(LOG_BROKER, G_LOG_LEVEL_WARNING,
			&(struct log_about){.event = EVENT_CONFIG_PROBLEM},
			"there is no profile, so there will be no session");
	return true;
}

static bool broker_may_execute(const char *program, const char *option, char **ret_problem)
{
	if (access(program, X_OK) == 0)
		return true;
	*ret_problem = g_strdup_printf(
		"cannot execute %s: %s (see %s)", program, g_strerror(errno), option);
	return false;
}

/* Without a registry there are sessions all the same, but nothing can be own that outlives them. */
static void broker_open_accounts(struct broker *broker)
{
	const struct log_about about = {.event = EVENT_REGISTRY_PROBLEM};
	g_autofree char *problem = NULL;

	broker->accounts = (struct accounts){
		.ledger = ledger_new(&broker->config),
		.registry = registry_open(broker->options.state_dir, &problem),
		.refusals = refusals_new(),
		.config = &broker->config,
	};
	if (!broker->accounts.registry)
		log_event(LOG_BROKER, G_LOG_LEVEL_WARNING, &about,
			"nothing can be sealed, and no NV index or key be kept in the TPM: %s",
			problem);
	else if (registry_problem(broker->accounts.registry))
		log_event(LOG_BROKER, G_LOG_LEVEL_WARNING, &about, "%s",
			registry_problem(broker->accounts.registry));
}

static bool broker_start(struct broker *broker, char **ret_problem)
{
	const char *socket;
	const char *managed;

	if (!broker_load_settings(broker, ret_problem))
		return false;
	if (!broker_may_execute(broker->options.relay, "--relay", ret_problem))
		return false;
	broker->devices =
		device_list_new(broker->options.tpm, broker_on_device_gone, broker, ret_problem);
	if (!broker->devices)
		return false;
	socket = device_list_socket(broker->devices);
	if (socket)
		broker->stream = stream_new(socket, WAIT_MS);
	managed = device_list_managed(broker->devices);
	if (managed && !broker_may_execute(broker->options.rm, "--rm", ret_problem))
		return false;
	broker->account = account_new();
	broker_open_accounts(broker);
	broker->authz = authz_new(broker->options.polkit);
	broker->subuid = subuid_new();
	broker->notify = notify_new(broker->options.notify_address);
	if (managed)
		broker->rm = rm_new(broker->options.rm, managed, &broker->config, broker->notify);
	broker->sessions = session_list_new(broker->options.relay, broker->account,
		&broker->accounts, broker->notify, broker->stream, broker->rm,
		broker_on_session_ended, broker);
	return true;
}

struct broker *broker_new(const struct broker_options *options, char **ret_problem)
{
	struct broker *broker = g_new0(struct broker, 1);

	broker->options = *options;
	broker->reload_cancellable = g_cancellable_new();
	if (!broker_start(broker, ret_problem)) {
		broker_free(broker);
		return NULL;
	}
	return broker;
}

void broker_free(struct broker *broker)
{
	if (!broker)
		return;
	g_cancellable_cancel(broker->reload_cancellable);
	g_object_unref(broker->reload_cancellable);
	g_clear_handle_id(&broker->idle_timer, g_source_remove);
	session_list_free(broker->sessions);
	rm_free(broker->rm);
	notify_free(broker->notify);
	subuid_free(broker->subuid);
	authz_free(broker->authz);
	stream_free(broker->stream);
	device_list_free(broker->devices);
	registry_close(broker->accounts.registry);
	refusals_free(broker->accounts.refusals);
	ledger_free(broker->accounts.ledger);
	account_free(broker->account);
	profile_set_unref(broker->profiles);
	config_done(&broker->config);
	g_free(broker);
}
