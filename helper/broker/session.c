/*
 * Owns: of each session the account socket and the pidfd, copies of which wait in the service
 * manager's store. Trusts relays with nothing: one that says what it must not is killed.
 *
 *	STARTING --READY--> RUNNING --revoke--> REVOKING --REVOKED--> REVOKED --exit--> (freed)
 *	    | no READY in 5 s: killed              | none in 2 s: killed
 *
 * The command that the TPM had to do may be done even then: what the session holds for it, it holds
 * until it says CLOSED, or is killed for want of that after 340 s.
 *
 * Every state ends with the relay's exit, which its pidfd tells.
 */
#include "broker/session.h"

#include "broker/device.h"
#include "broker/fdstore.h"
#include "broker/log.h"
#include "broker/spawn.h"
#include "common/cleanup.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define SESSION_READY_MS  5000
#define SESSION_REVOKE_MS 2000
#define SESSION_CLOSE_MS  340000 /* longer than any command takes */

enum session_state {
	SESSION_STARTING = 0,
	SESSION_RUNNING,
	SESSION_REVOKING,
	SESSION_REVOKED,
};

struct session_list {
	const char *relay;
	struct account *account;
	const struct accounts *accounts;
	struct notify *notify;
	struct stream *stream; /* or NULL */
	struct rm *rm;         /* or NULL */
	session_ended ended;
	void *context;
	GPtrArray *sessions;
	uint64_t last_number;
};

struct session {
	struct session_list *list;
	struct protocol_session facts;
	enum session_state state;
	struct session_hold hold;
	bool stored;
	struct conversation *conversation; /* while a command of the session may reach its TPM */
	int account;
	int pidfd;
	int client; /* until the session was handed over; else -1 */
	guint account_watch;
	guint pidfd_watch;
	guint timer;
	const char *killed_because; /* a constant text; NULL: not by us */
	session_started started;    /* NULL: nobody waits */
	void *context;
	GArray *waiters;
};

struct waiter {
	session_revoked done;
	void *context;
};

struct session_list *session_list_new(const char *relay, struct account *account,
	const struct accounts *accounts, struct notify *notify, struct stream *stream,
	struct rm *rm, session_ended ended, void *context)
{
	struct session_list *list = g_new0(struct session_list, 1);

	list->relay = relay;
	list->account = account;
	list->accounts = accounts;
	list->notify = notify;
	list->stream = stream;
	list->rm = rm;
	list->ended = ended;
	list->context = context;
	list->sessions = g_ptr_array_new();
	return list;
}

static void session_free(struct session *session)
{
	g_clear_handle_id(&session->account_watch, g_source_remove);
	g_clear_handle_id(&session->pidfd_watch, g_source_remove);
	g_clear_handle_id(&session->timer, g_source_remove);
	conversation_free(session->conversation);
	cleanup_close(&session->account);
	cleanup_close(&session->pidfd);
	cleanup_close(&session->client);
	g_array_unref(session->waiters);
	g_free(session);
}

void session_list_free(struct session_list *list)
{
	if (!list)
		return;
	for (guint i = 0; i < list->sessions->len; i++) {
		struct session *session = g_ptr_array_index(list->sessions, i);

		conversation_let_go(session->conversation);
		session->conversation = NULL;
		session_free(session);
	}
	g_ptr_array_unref(list->sessions);
	g_free(list);
}

void session_list_release(struct session_list *list, const struct session_hold *hold)
{
	if (hold->backend == POLICY_BACKEND_STREAM)
		stream_release(list->stream);
	else if (hold->backend == POLICY_BACKEND_MANAGER)
		rm_release(list->rm, hold->manager);
}

static bool session_is_open(const struct session *session)
{
	return session->state == SESSION_RUNNING || session->state == SESSION_REVOKING;
}

guint session_list_count(const struct session_list *list, const char *device)
{
	guint count = 0;

	for (guint i = 0; i < list->sessions->len; i++) {
		const struct session *session = g_ptr_array_index(list->sessions, i);

		if (session_is_open(session) && strcmp(session->facts.device, device) == 0)
			count++;
	}
	return count;
}

void session_list_each(const struct session_list *list,
	void (*each)(const struct protocol_session *facts, void *context), void *context)
{
	for (guint i = 0; i < list->sessions->len; i++) {
		const struct session *session = g_ptr_array_index(list->sessions, i);

		if (session_is_open(session))
			each(&session->facts, context);
	}
}

static struct session *session_list_get(const struct session_list *list, uint64_t number)
{
	for (guint i = 0; i < list->sessions->len; i++) {
		struct session *session = g_ptr_array_index(list->sessions, i);

		if (session->facts.session == number)
			return session;
	}
	return NULL;
}

struct session *session_list_find(const struct session_list *list, uint64_t number)
{
	struct session *session = session_list_get(list, number);

	/* A relay that says it has given up the TPM may lie: it can be ended still. */
	return session && session->state != SESSION_STARTING ? session : NULL;
}

const struct protocol_session *session_facts(const struct session *session)
{
	return &session->facts;
}

static struct log_about session_about(const struct session *session)
{
	return (struct log_about){
		.uid = &session->facts.uid,
		.pid = session->facts.pid,
		.session = session->facts.session,
		.profiles = session->facts.profiles,
		.device = session->facts.device,
	};
}

static void session_kill(struct session *session, const char *because)
{
	struct log_about about = session_about(session);

	if (session->killed_because)
		return;
	session->killed_because = because;
	g_clear_handle_id(&session->account_watch, g_source_remove); /* nothing it says counts */
	about.event = EVENT_SESSION_FAILED;
	log_event(LOG_SESSION, G_LOG_LEVEL_WARNING, &about, "relay killed: %s", because);
	syscall(SYS_pidfd_send_signal, session->pidfd, SIGKILL, NULL, 0);
}

static void session_store(struct session *session, bool store)
{
	static const enum fdstore_kind kinds[] = {FDSTORE_ACCOUNT, FDSTORE_PIDFD};
	char name[FDSTORE_NAME_SIZE];

	if (session->stored == store)
		return;
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		if (fdstore_encode(kinds[i], &session->facts, name) < 0)
			return; /* it will end with this broker */
		if (store)
			notify_store(session->list->notify, name,
				kinds[i] == FDSTORE_ACCOUNT ? session->account : session->pidfd);
		else
			notify_drop(session->list->notify, name);
	}
	session->stored = store;
}

static void session_release_tpm(struct session *session)
{
	session_list_release(session->list, &session->hold);
	session->hold.backend = POLICY_BACKEND_INVALID;
}

static void session_tell_waiters(struct session *session)
{
	g_autoptr(GArray) waiters = session->waiters;

	session->waiters = g_array_new(FALSE, FALSE, sizeof(struct waiter));
	for (guint i = 0; i < waiters->len; i++) {
		const struct waiter *waiter = &g_array_index(waiters, struct waiter, i);

		waiter->done(waiter->context);
	}
}

static gboolean session_on_timeout(gpointer data)
{
	struct session *session = data;

	session->timer = 0;
	session_kill(session, session->state == SESSION_STARTING
				      ? "it was not ready within 5 seconds"
			      : session->state == SESSION_REVOKED && session->conversation
				      ? "it did not close the TPM within 340 seconds"
				      : "it did not give up the TPM within 2 seconds");
	return G_SOURCE_REMOVE;
}

static void session_on_nonsense(void *context, const char *because)
{
	session_kill(context, because);
}

static void session_converse(struct session *session, bool adopted)
{
	session->conversation = conversation_new(session->list->accounts, &session->facts,
		session->account, adopted, session_on_nonsense, session);
}

static void session_on_ready(struct session *session)
{
	struct log_about about = session_about(session);
	session_started started = session->started;
	CLEANUP_FD int client = TAKE_FD(session->client);

	g_clear_handle_id(&session->timer, g_source_remove);
	session->state = SESSION_RUNNING;
	session_converse(session, false);
	session->started = NULL;
	about.verdict = "allowed";
	about.event = EVENT_SESSION_OPENED;
	log_event(LOG_SESSION, G_LOG_LEVEL_MESSAGE, &about, "session opened");
	session_store(session, true);
	if (started)
		started(session->context, &session->facts, client, NULL);
}

static void session_on_revoked(struct session *session)
{
	struct log_about about = session_about(session);

	g_clear_handle_id(&session->timer, g_source_remove);
	session->state = SESSION_REVOKED;
	session->timer = g_timeout_add(SESSION_CLOSE_MS, session_on_timeout, session);
	log_event(LOG_SESSION, G_LOG_LEVEL_MESSAGE, &about, "session has given up the TPM");
	session_release_tpm(session);
	session_tell_waiters(session);
}

static void session_on_closed(struct session *session)
{
	g_clear_handle_id(&session->timer, g_source_remove);
	conversation_free(session->conversation);
	session->conversation = NULL;
	session_store(session, false);
}

static void session_hear(struct session *session, const struct account_message *message)
{
	switch (message->type) {
	case ACCOUNT_READY:
		if (session->state == SESSION_STARTING)
			session_on_ready(session);
		else
			session_kill(session, "it sent a message out of turn");
		break;
	case ACCOUNT_REVOKED:
		if (session->state == SESSION_STARTING)
			session_kill(session, "the TPM does not answer");
		else if (session_is_open(session)) /* else it was said before, unasked */
			session_on_revoked(session);
		break;
	case ACCOUNT_CLOSED:
		if (session_is_open(session)) /* there was no room for REVOKED */
			session_on_revoked(session);
		if (session->state == SESSION_REVOKED)
			session_on_closed(session);
		else
			session_kill(session, "it sent a message out of turn");
		break;
	default:
		if (session->state == SESSION_REVOKED && account_is_question(message->type))
			break; /* it has no TPM to ask for */
		if (session->conversation)
			conversation_hear(session->conversation, message);
		else if (session->state == SESSION_STARTING)
			session_kill(session, "it sent a message out of turn");
		break; /* or it is about what is over */
	}
}

/* One message. Returns false where there is none; *ret_end: and will be none. */
static bool session_receive(
	struct session *session, struct account_message *ret_message, bool *ret_end)
{
	uint8_t packet[sizeof *ret_message + 1];
	ssize_t size = recv(session->account, packet, sizeof packet, MSG_DONTWAIT);

	*ret_end = size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR);
	if (size <= 0)
		return false;
	if (account_message_decode(packet, (size_t)size, ACCOUNT_FROM_RELAY, ret_message) == 0)
		return true;
	session_kill(session, "it sent what is no message");
	return false;
}

/* What it wanted recorded or charged before it does it: it will not any more. */
static bool session_asks_ahead(const struct account_message *message)
{
	return message->type == ACCOUNT_CLAIM || message->type == ACCOUNT_DROP ||
	       message->type == ACCOUNT_CHARGE;
}

/* What it said before it exited counts. */
static void session_hear_last(struct session *session)
{
	struct account_message message;
	bool end;

	while (session->state != SESSION_STARTING && !session->killed_because &&
		session_receive(session, &message, &end))
		if (!session_asks_ahead(&message))
			session_hear(session, &message);
}

static void session_end(struct session *session)
{
	struct session_list *list = session->list;
	struct log_about about = session_about(session);
	g_autofree char *how = spawn_reap(session->pidfd);
	const char *problem;

	session_hear_last(session);
	problem = session->killed_because ? session->killed_because : how;
	about.event = how && !session->killed_because ? EVENT_SESSION_FAILED : EVENT_SESSION_ENDED;
	if (how && !session->killed_because)
		log_event(LOG_SESSION, G_LOG_LEVEL_WARNING, &about, "session ended: %s", how);
	else
		log_event(LOG_SESSION, G_LOG_LEVEL_MESSAGE, &about, "session ended");
	session_store(session, false);
	session_release_tpm(session);
	account_remove_session(list->account, session->facts.uid);
	g_ptr_array_remove(list->sessions, session);
	if (session->started)
		session->started(session->context, NULL, -1,
			problem ? problem : "the relay ended before it was ready");
	session_tell_waiters(session);
	session_free(session);
	list->ended(list->context);
}

static gboolean session_on_exit(gint fd, GIOCondition condition, gpointer data)
{
	struct session *session = data;

	(void)fd;
	(void)condition;
	session->pidfd_watch = 0;
	session_end(session);
	return G_SOURCE_REMOVE;
}

static gboolean session_on_account(gint fd, GIOCondition condition, gpointer data)
{
	struct session *session = data;
	struct account_message message;
	bool end;

	(void)fd;
	(void)condition;
	if (session_receive(session, &message, &end))
		session_hear(session, &message);
	if (!end)
		return G_SOURCE_CONTINUE;
	/* The relay is about to exit. One that stays could not be revoked any more. */
	session->account_watch = 0;
	g_clear_handle_id(&session->timer, g_source_remove);
	session->timer = g_timeout_add(SESSION_REVOKE_MS, session_on_timeout, session);
	return G_SOURCE_REMOVE;
}

/* ACCOUNT and PIDFD are the session's from here on. */
static struct session *session_new(struct session_list *list, const struct protocol_session *facts,
	enum session_state state, int account, int pidfd)
{
	struct session *session = g_new0(struct session, 1);

	session->list = list;
	session->facts = *facts;
	session->state = state;
	session->account = account;
	session->pidfd = pidfd;
	session->client = -1;
	session->waiters = g_array_new(FALSE, FALSE, sizeof(struct waiter));
	session->account_watch =
		g_unix_fd_add(account, G_IO_IN | G_IO_HUP | G_IO_ERR, session_on_account, session);
	session->pidfd_watch =
		g_unix_fd_add(pidfd, G_IO_IN | G_IO_HUP | G_IO_ERR, session_on_exit, session);
	g_ptr_array_add(list->sessions, session);
	account_add_session(list->account, facts->uid);
	return session;
}

/*
 * Milliseconds since 1970, or the next number that is free: it grows, is short enough to be typed,
 * and a broker that comes later does not use it again.
 */
static uint64_t session_choose_number(struct session_list *list)
{
	uint64_t now = (uint64_t)g_get_real_time() / 1000;

	list->last_number = MAX(list->last_number + 1, now);
	while (session_list_get(list, list->last_number))
		list->last_number++;
	return list->last_number;
}

_Static_assert(RELAY_FD_CLIENT + 1 == RELAY_FD_TPM && RELAY_FD_TPM + 1 == RELAY_FD_IMAGE &&
		       RELAY_FD_IMAGE + 1 == RELAY_FD_ACCOUNT &&
		       RELAY_FD_ACCOUNT + 1 == RELAY_FD_LOG && RELAY_FD_LOG + 1 == RELAY_FD_END,
	"the order in which session_spawn() names them");

/* Starts the relay of FACTS. Returns 0 and the broker's ends, or a negative errno. */
static int session_spawn(const struct session_list *list, const struct session_order *order,
	const struct protocol_session *facts, int *ret_account, int *ret_pidfd, int *ret_client)
{
	struct policy_image policy = order->image;
	int pair[2];

	policy.session = facts->session;
	policy.uid = facts->uid;
	policy.pid = facts->pid;

	CLEANUP_FD int image = policy_image_to_memfd(&policy);
	CLEANUP_FD int log = log_journal_socket();

	if (image < 0)
		return image;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;

	CLEANUP_FD int client = pair[0];
	CLEANUP_FD int relay_client = pair[1];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;

	CLEANUP_FD int account = pair[0];
	CLEANUP_FD int relay_account = pair[1];
	const char *const arguments[] = {list->relay, NULL};
	const int fds[] = {relay_client, order->tpm, image, relay_account, log};
	int r = spawn_program(arguments, fds, G_N_ELEMENTS(fds), ret_pidfd);

	if (r < 0)
		return r;
	*ret_account = TAKE_FD(account);
	*ret_client = TAKE_FD(client);
	return 0;
}

struct session *session_start(struct session_list *list, const struct session_order *order,
	session_started started, void *context, char **ret_problem)
{
	struct protocol_session facts = order->facts;
	struct session *session;
	int account = -1;
	int pidfd = -1;
	int client = -1;
	int r;

	facts.session = session_choose_number(list);
	facts.started = g_get_real_time() / G_USEC_PER_SEC;
	r = session_spawn(list, order, &facts, &account, &pidfd, &client);
	if (r < 0) {
		*ret_problem = g_strdup_printf(
			"cannot start a relay (%s): %s", list->relay, g_strerror(-r));
		return NULL;
	}
	session = session_new(list, &facts, SESSION_STARTING, account, pidfd);
	session->client = client;
	session->hold = order->hold;
	session->started = started;
	session->context = context;
	session->timer = g_timeout_add(SESSION_READY_MS, session_on_timeout, session);
	return session;
}

/* The relay sees that its client has left, and exits; until then the timer stays. */
void session_abandon(struct session *session)
{
	session->started = NULL;
	cleanup_close(&session->client);
	session->client = -1;
}

/* What an adopted session on DEVICE has of a TPM that is not free for all. */
static struct session_hold session_list_hold(struct session_list *list, const char *device)
{
	struct session_hold hold = {.backend = POLICY_BACKEND_INVALID};

	if (list->stream && strcmp(device, DEVICE_UNIX) == 0) {
		stream_hold(list->stream);
		hold.backend = POLICY_BACKEND_STREAM;
	} else if (list->rm && strcmp(device, DEVICE_RM) == 0) {
		hold.manager = rm_hold(list->rm);
		hold.backend = POLICY_BACKEND_MANAGER;
	}
	return hold;
}

bool session_adopt(
	struct session_list *list, const struct protocol_session *facts, int account, int pidfd)
{
	struct session *session;
	struct log_about about;

	if (session_list_get(list, facts->session)) {
		close(account);
		close(pidfd);
		return false;
	}
	session = session_new(list, facts, SESSION_RUNNING, account, pidfd);
	session->stored = true;
	session_converse(session, true);
	session->hold = session_list_hold(list, facts->device);
	about = session_about(session);
	log_event(LOG_BROKER, G_LOG_LEVEL_MESSAGE, &about, "session taken over");
	return true;
}

static void session_send_revoke(struct session *session, enum account_reason reason)
{
	struct account_message message = account_message_new(ACCOUNT_REVOKE, (uint32_t)reason);

	session->state = SESSION_REVOKING;
	g_clear_handle_id(&session->timer, g_source_remove);
	session->timer = g_timeout_add(SESSION_REVOKE_MS, session_on_timeout, session);
	if (send(session->account, &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		session_kill(session, "it does not listen to the broker");
}

void session_revoke(
	struct session *session, enum account_reason reason, session_revoked done, void *context)
{
	struct waiter waiter = {.done = done, .context = context};

	if (done)
		g_array_append_val(session->waiters, waiter);
	if (session->state == SESSION_STARTING)
		session_kill(session, "its TPM is gone");
	else if (session->state == SESSION_REVOKED)
		session_kill(session, "it is revoked a second time");
	else if (session->state == SESSION_RUNNING)
		session_send_revoke(session, reason);
}

void session_forget_waiter(struct session_list *list, const void *context)
{
	for (guint i = 0; i < list->sessions->len; i++) {
		struct session *session = g_ptr_array_index(list->sessions, i);

		for (guint j = session->waiters->len; j-- > 0;)
			if (g_array_index(session->waiters, struct waiter, j).context == context)
				g_array_remove_index(session->waiters, j);
	}
}

void session_list_revoke_device(struct session_list *list, const char *device)
{
	for (guint i = 0; i < list->sessions->len; i++) {
		struct session *session = g_ptr_array_index(list->sessions, i);

		if (strcmp(session->facts.device, device) == 0 && session->state != SESSION_REVOKED)
			session_revoke(session, ACCOUNT_REASON_DEVICE_GONE, NULL, NULL);
	}
}
