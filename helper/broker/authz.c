/*
 * Owns: the connection to the system bus, made when first needed and made again after it was lost,
 * so that a bus or a polkitd that comes late, or comes back, is used. Trusts: whoever owns
 * org.freedesktop.PolicyKit1 there. Caches nothing.
 *
 *	(none) --ask--> CONNECTING --> CONNECTED --lost--> (none)
 *	                  | failed: every waiting question is answered UNAVAILABLE
 *	                  v
 *	                (none)
 *
 * A question that shows no prompt has a short time limit, one that shows a prompt a long one.
 *
 * A bus lets one connection wait for 128 answers, ours are for all users. So there is a limit for
 * each user and for all, questions that were taken back count until they are answered, and prompts,
 * which take long, have a connection of their own.
 */
#include "broker/authz.h"

#include <gio/gio.h>
#include <gio/gunixfdlist.h>

#define AUTHZ_NAME                   "org.freedesktop.PolicyKit1"
#define AUTHZ_PATH                   "/org/freedesktop/PolicyKit1/Authority"
#define AUTHZ_INTERFACE              "org.freedesktop.PolicyKit1.Authority"
#define AUTHZ_PROMPT_MS              300000 /* whoever has not typed a password by then, will not */
#define AUTHZ_TIMEOUT_MS             25000
#define AUTHZ_MAX                    112 /* questions outstanding on one connection ... */
#define AUTHZ_OWN_MAX                8   /* ... and of one user */
#define AUTHZ_CONNECT_MS             10000
#define AUTHZ_ALLOW_USER_INTERACTION 1u

struct authz {
	bool enabled;
	GDBusConnection *connection; /* NULL: none yet, or lost */
	GCancellable *connecting;    /* NULL: nobody tries */
	guint connect_timer;
	GPtrArray *checks;     /* all that are not answered, those that nobody waits for too */
	struct authz *prompts; /* asks what shows a prompt, on a connection of its own */
	uint64_t counter;
};

struct authz_check {
	struct authz *authz;
	authz_done done; /* NULL: nobody waits for the answer any more */
	void *context;
	uid_t uid;
	GVariant *parameters;
	GUnixFDList *fds;
	char *id;
	bool interactive;
	GCancellable *cancellable; /* set while polkit has the question */
	char *problem;             /* why polkit cannot be asked; told from `idle` */
	guint idle;
};

static struct authz *authz_make(bool enabled)
{
	struct authz *authz = g_new0(struct authz, 1);

	authz->enabled = enabled;
	authz->checks = g_ptr_array_new();
	return authz;
}

struct authz *authz_new(bool enabled)
{
	struct authz *authz = authz_make(enabled);

	authz->prompts = authz_make(enabled);
	return authz;
}

static void authz_free_check(struct authz_check *check)
{
	g_clear_handle_id(&check->idle, g_source_remove);
	g_clear_object(&check->cancellable);
	g_clear_object(&check->fds);
	g_clear_pointer(&check->parameters, g_variant_unref);
	g_free(check->id);
	g_free(check->problem);
	g_free(check);
}

static void authz_drop_check(struct authz_check *check)
{
	g_ptr_array_remove_fast(check->authz->checks, check);
	authz_free_check(check);
}

static void authz_answer(struct authz_check *check, enum authz_answer answer, const char *problem)
{
	authz_done done = check->done;
	void *context = check->context;

	authz_drop_check(check);
	if (done)
		done(context, answer, problem);
}

static void authz_forget_connection(struct authz *authz)
{
	if (authz->connection)
		g_signal_handlers_disconnect_by_data(authz->connection, authz);
	g_clear_object(&authz->connection);
}

/* Tells polkit that nobody waits for the answer: a prompt is taken off the screen. */
static void authz_withdraw(struct authz_check *check)
{
	if (check->authz->connection)
		g_dbus_connection_call(check->authz->connection, AUTHZ_NAME, AUTHZ_PATH,
			AUTHZ_INTERFACE, "CancelCheckAuthorization",
			g_variant_new("(s)", check->id), NULL, G_DBUS_CALL_FLAGS_NO_AUTO_START,
			AUTHZ_TIMEOUT_MS, NULL, NULL, NULL);
}

void authz_free(struct authz *authz)
{
	if (!authz)
		return;
	authz_free(authz->prompts);
	for (guint i = 0; i < authz->checks->len; i++) {
		struct authz_check *check = g_ptr_array_index(authz->checks, i);

		if (check->cancellable) {
			g_cancellable_cancel(check->cancellable);
			authz_withdraw(check);
		}
		authz_free_check(check);
	}
	if (authz->connecting) {
		g_object_set_data(G_OBJECT(authz->connecting), "authz", NULL);
		g_cancellable_cancel(authz->connecting);
	}
	g_clear_object(&authz->connecting);
	g_clear_handle_id(&authz->connect_timer, g_source_remove);
	authz_forget_connection(authz);
	g_ptr_array_unref(authz->checks);
	g_free(authz);
}

static bool authz_is_from_polkit(const char *remote)
{
	return remote && g_str_has_prefix(remote, "org.freedesktop.PolicyKit1.Error.");
}

/* ERROR is polkit's, the bus's or our own. */
static void authz_answer_error(struct authz_check *check, GError *error)
{
	g_autofree char *remote = g_dbus_error_get_remote_error(error);
	enum authz_answer answer = authz_is_from_polkit(remote) ? AUTHZ_FAULT : AUTHZ_UNAVAILABLE;

	g_dbus_error_strip_remote_error(error);
	authz_answer(check, answer, error->message);
}

static void authz_on_answer(GObject *source, GAsyncResult *result, gpointer data)
{
	struct authz_check *check = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(GVariant) reply = g_dbus_connection_call_with_unix_fd_list_finish(
		G_DBUS_CONNECTION(source), NULL, result, &error);
	g_autoptr(GVariant) details = NULL;
	g_autoptr(GVariant) dismissed = NULL;
	gboolean authorized;
	gboolean challenge;

	if (!reply && g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
		return; /* the check is gone */
	if (!reply && g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT)) {
		authz_withdraw(check);
		if (check->interactive) {
			authz_answer(check, AUTHZ_DISMISSED, NULL);
			return;
		}
	}
	if (!reply) {
		authz_answer_error(check, error);
		return;
	}
	g_variant_get(reply, "((bb@a{ss}))", &authorized, &challenge, &details);
	dismissed = g_variant_lookup_value(details, "polkit.dismissed", NULL);
	if (authorized)
		authz_answer(check, AUTHZ_YES, NULL);
	else if (challenge)
		authz_answer(check, AUTHZ_CHALLENGE, NULL);
	else if (dismissed)
		authz_answer(check, AUTHZ_DISMISSED, NULL);
	else
		authz_answer(check, AUTHZ_NO, NULL);
}

static void authz_send(struct authz_check *check)
{
	check->cancellable = g_cancellable_new();
	g_dbus_connection_call_with_unix_fd_list(check->authz->connection, AUTHZ_NAME, AUTHZ_PATH,
		AUTHZ_INTERFACE, "CheckAuthorization", check->parameters,
		G_VARIANT_TYPE("((bba{ss}))"), G_DBUS_CALL_FLAGS_NONE,
		check->interactive ? AUTHZ_PROMPT_MS : AUTHZ_TIMEOUT_MS, check->fds,
		check->cancellable, authz_on_answer, check);
}

static void authz_on_closed(
	GDBusConnection *connection, gboolean vanished, GError *error, gpointer data)
{
	struct authz *authz = data;

	(void)connection;
	(void)vanished;
	(void)error;
	authz_forget_connection(authz);
}

static gboolean authz_on_connect_timeout(gpointer data)
{
	struct authz *authz = data;

	authz->connect_timer = 0;
	g_cancellable_cancel(authz->connecting);
	return G_SOURCE_REMOVE;
}

static gboolean authz_on_idle(gpointer data)
{
	struct authz_check *check = data;
	g_autofree char *problem = g_steal_pointer(&check->problem);

	check->idle = 0;
	authz_answer(check, AUTHZ_UNAVAILABLE, problem);
	return G_SOURCE_REMOVE;
}

/* Answers from the main loop, so that nobody who asks is answered before he expects it. */
static void authz_give_up(struct authz_check *check, const char *problem)
{
	check->problem = g_strdup(problem);
	check->idle = g_idle_add(authz_on_idle, check);
}

static void authz_on_connected(GObject *source, GAsyncResult *result, gpointer data)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GDBusConnection) connection =
		g_dbus_connection_new_for_address_finish(result, &error);
	g_autoptr(GCancellable) attempt = data;
	struct authz *authz = g_object_get_data(G_OBJECT(attempt), "authz");

	(void)source;
	if (!authz)
		return; /* freed meanwhile */
	g_clear_handle_id(&authz->connect_timer, g_source_remove);
	g_clear_object(&authz->connecting);
	if (connection) {
		authz->connection = g_steal_pointer(&connection);
		g_signal_connect(authz->connection, "closed", G_CALLBACK(authz_on_closed), authz);
	}
	for (guint i = 0; i < authz->checks->len; i++) {
		struct authz_check *check = g_ptr_array_index(authz->checks, i);

		if (check->cancellable || check->idle != 0)
			continue; /* it does not wait for the connection */
		if (authz->connection)
			authz_send(check);
		else
			authz_give_up(check, error->message);
	}
}

static void authz_connect(struct authz *authz)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *address = g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SYSTEM, NULL, &error);

	authz->connecting = g_cancellable_new();
	g_object_set_data(G_OBJECT(authz->connecting), "authz", authz);
	authz->connect_timer = g_timeout_add(AUTHZ_CONNECT_MS, authz_on_connect_timeout, authz);
	g_dbus_connection_new_for_address(address ? address : "",
		G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
			G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
		NULL, authz->connecting, authz_on_connected, g_object_ref(authz->connecting));
}

static void authz_add_detail(GVariantBuilder *details, const char *key, const char *value)
{
	if (value && value[0])
		g_variant_builder_add(details, "{ss}", key, value);
}

/* The arguments of CheckAuthorization. A start time of 0 lets polkit read it. */
static GVariant *authz_parameters(
	const struct authz_question *question, const char *id, bool with_pidfd)
{
	GVariantBuilder subject;
	GVariantBuilder details;

	g_variant_builder_init(&subject, G_VARIANT_TYPE("a{sv}"));
	g_variant_builder_add(
		&subject, "{sv}", "pid", g_variant_new_uint32((guint32)question->pid));
	g_variant_builder_add(&subject, "{sv}", "start-time", g_variant_new_uint64(0));
	g_variant_builder_add(&subject, "{sv}", "uid", g_variant_new_int32((gint32)question->uid));
	if (with_pidfd)
		g_variant_builder_add(&subject, "{sv}", "pidfd", g_variant_new_handle(0));
	g_variant_builder_init(&details, G_VARIANT_TYPE("a{ss}"));
	authz_add_detail(&details, "profile", question->profile);
	authz_add_detail(&details, "program", question->program);
	authz_add_detail(&details, "device", question->device);
	authz_add_detail(&details, "sandbox", question->sandbox);
	return g_variant_new("((sa{sv})sa{ss}us)", "unix-process", &subject, question->action,
		&details, question->interactive ? AUTHZ_ALLOW_USER_INTERACTION : 0, id);
}

/* Whether one more question of UID is too many to be outstanding; if so, why. */
static const char *authz_is_full(const struct authz *authz, uid_t uid)
{
	guint own = 0;

	for (guint i = 0; i < authz->checks->len; i++) {
		const struct authz_check *check = g_ptr_array_index(authz->checks, i);

		own += check->uid == uid;
	}
	if (own >= AUTHZ_OWN_MAX)
		return "it has not answered this user's earlier questions yet";
	return authz->checks->len >= AUTHZ_MAX ? "it has too many questions to answer" : NULL;
}

struct authz_check *authz_ask(
	struct authz *authz, const struct authz_question *question, authz_done done, void *context)
{
	struct authz *asked = question->interactive ? authz->prompts : authz;
	const char *full = authz_is_full(asked, question->uid);
	struct authz_check *check = g_new0(struct authz_check, 1);
	bool attached;

	check->authz = asked;
	check->uid = question->uid;
	check->done = done;
	check->context = context;
	check->interactive = question->interactive;
	check->id = g_strdup_printf("tpmgate-%" G_GUINT64_FORMAT, ++asked->counter);
	g_ptr_array_add(asked->checks, check);
	if (!asked->enabled) {
		authz_give_up(check, "the broker was started with --no-polkit");
		return check;
	}
	if (full) {
		authz_give_up(check, full);
		return check;
	}
	check->fds = g_unix_fd_list_new();
	attached = g_unix_fd_list_append(check->fds, question->pidfd, NULL) == 0;
	check->parameters = g_variant_ref_sink(authz_parameters(question, check->id, attached));
	if (!attached)
		authz_give_up(check, "the broker is short of file descriptors");
	else if (asked->connection)
		authz_send(check);
	else if (!asked->connecting)
		authz_connect(asked);
	return check;
}

void authz_cancel(struct authz_check *check)
{
	if (!check)
		return;
	if (!check->cancellable) {
		authz_drop_check(check);
		return;
	}
	/* The bus goes on counting the question until polkit has answered, so we do too. */
	check->done = NULL;
	g_clear_object(&check->fds);
	authz_withdraw(check);
}
