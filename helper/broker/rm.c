/*
 * Owns: the manager's control socket and pidfd, copies of which wait in the service manager's
 * store. Trusts it with nothing but its own sessions: one that says what it must not is killed.
 */
#include "broker/rm.h"

#include "broker/fdstore.h"
#include "broker/log.h"
#include "broker/spawn.h"
#include "broker/text.h"
#include "common/cleanup.h"
#include "common/rm-protocol.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define RM_START_SECONDS 20 /* it gives its TPM 8 for the first answer */
#define RM_LONG_COMMAND  10 /* times CommandTimeoutSec= (BACKEND_LONG of rm/backend.h) */

enum rm_state {
	RM_STATE_NONE = 0,
	RM_STATE_STARTING,
	RM_STATE_RUNNING,
	RM_STATE_LEAVING,
};

struct rm {
	const char *program;
	const char *spec;
	const struct config *config;
	struct notify *notify;
	GQueue waits;
	guint idle; /* set where those that wait are about to be looked at */
	enum rm_state state;
	struct rm_lease lease; /* of the current manager */
	unsigned held;         /* sessions that it has */
	int control;
	int pidfd;
	guint control_watch;
	guint pidfd_watch;
	guint timer;        /* it is killed unless it becomes ready, or ends, before */
	bool flushes_saved; /* it was told to flush saved sessions ... */
	bool flush_saved;   /* ... or the next one will be */
	bool adopted;       /* the broker before may have told it to leave already */
	bool clean;
	char problem[RM_TEXT_SIZE]; /* that it has told */
};

static void rm_schedule(struct rm *rm);

struct rm *rm_new(
	const char *program, const char *spec, const struct config *config, struct notify *notify)
{
	struct rm *rm = g_new0(struct rm, 1);

	rm->program = program;
	rm->spec = spec;
	rm->config = config;
	rm->notify = notify;
	rm->control = -1;
	rm->pidfd = -1;
	g_queue_init(&rm->waits);
	return rm;
}

static void rm_close(struct rm *rm)
{
	g_clear_handle_id(&rm->control_watch, g_source_remove);
	g_clear_handle_id(&rm->pidfd_watch, g_source_remove);
	g_clear_handle_id(&rm->timer, g_source_remove);
	cleanup_close(&rm->control);
	cleanup_close(&rm->pidfd);
	rm->control = -1;
	rm->pidfd = -1;
}

void rm_free(struct rm *rm)
{
	if (!rm)
		return;
	wait_cancel_all(&rm->waits);
	g_clear_handle_id(&rm->idle, g_source_remove);
	rm_close(rm);
	g_free(rm);
}

static void rm_store(struct rm *rm, bool store)
{
	const struct {
		enum fdstore_kind kind;
		int fd;
	} parts[] = {{FDSTORE_RM_CONTROL, rm->control}, {FDSTORE_RM_PIDFD, rm->pidfd}};

	for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
		char name[FDSTORE_NAME_SIZE];

		fdstore_encode_rm(parts[i].kind, &rm->lease, name);
		if (store)
			notify_store(rm->notify, name, parts[i].fd);
		else
			notify_drop(rm->notify, name);
	}
}

/* ---- what the manager says ---- */

static void rm_kill(struct rm *rm, const char *because)
{
	log_event(LOG_BROKER, G_LOG_LEVEL_WARNING,
		&(struct log_about){.event = EVENT_MANAGER_FAILED}, "resource manager killed: %s",
		because);
	syscall(SYS_pidfd_send_signal, rm->pidfd, SIGKILL, NULL, 0);
}

static gboolean rm_on_timeout(gpointer data)
{
	struct rm *rm = data;

	rm->timer = 0;
	rm_kill(rm, rm->state == RM_STATE_STARTING ? "it was not ready in time"
						   : "it did not end in time");
	return G_SOURCE_REMOVE;
}

/* No more sessions for this one. It may have the TPM's longest command to wait for. */
static void rm_leave(struct rm *rm)
{
	rm->state = RM_STATE_LEAVING;
	shutdown(rm->control, SHUT_WR);
	g_clear_handle_id(&rm->timer, g_source_remove);
	rm->timer = g_timeout_add_seconds(
		RM_LONG_COMMAND * rm->config->rm_timeout + RM_START_SECONDS, rm_on_timeout, rm);
}

static bool rm_on_message(struct rm *rm, const struct rm_message *message)
{
	switch (message->type) {
	case RM_READY:
		if (rm->state != RM_STATE_STARTING)
			return false;
		rm->state = RM_STATE_RUNNING;
		g_clear_handle_id(&rm->timer, g_source_remove);
		if (rm->flushes_saved)
			rm->flush_saved = false;
		rm_store(rm, true);
		rm_schedule(rm);
		return true;
	case RM_FAILED:
		if (rm->problem[0] != '\0')
			return false;
		text_line(message->text, rm->problem, sizeof rm->problem);
		if (rm->state == RM_STATE_RUNNING)
			rm_leave(rm);
		return true;
	case RM_CLEAN:
		if (rm->state == RM_STATE_RUNNING && rm->adopted)
			rm_leave(rm);
		rm->clean = rm->state == RM_STATE_LEAVING && rm->problem[0] == '\0';
		return rm->clean;
	default:
		return false;
	}
}

/* Returns 1 where a message was taken, 0 where there is none yet, -1 where there will be none. */
static int rm_receive(struct rm *rm)
{
	struct rm_message message;
	char packet[sizeof message + 1];
	ssize_t size = recv(rm->control, packet, sizeof packet, MSG_DONTWAIT);

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (size > 0 && rm_message_decode(packet, (size_t)size, &message) == 0 &&
		rm_on_message(rm, &message))
		return 1;
	if (size > 0)
		rm_kill(rm, "it sent what makes no sense");
	return -1;
}

/* Takes all messages that are there. A manager that has closed its side gets no more sessions. */
static void rm_drain(struct rm *rm)
{
	int r;

	do
		r = rm_receive(rm);
	while (r > 0);
	if (r < 0 && rm->state == RM_STATE_RUNNING)
		rm_leave(rm);
}

static gboolean rm_on_control(gint fd, GIOCondition condition, gpointer data)
{
	struct rm *rm = data;

	(void)fd;
	(void)condition;
	if (rm_receive(rm) >= 0)
		return G_SOURCE_CONTINUE;
	rm->control_watch = 0; /* its exit is next */
	return G_SOURCE_REMOVE;
}

static void rm_fail_waits(struct rm *rm)
{
	g_autofree char *problem = g_strdup(
		rm->problem[0] ? rm->problem : "the resource manager ended before it was ready");
	guint count = g_queue_get_length(&rm->waits);

	for (guint i = 0; i < count && !g_queue_is_empty(&rm->waits); i++)
		wait_answer(wait_first(&rm->waits), WAIT_E_FAILED, -1, problem);
}

static gboolean rm_on_exit(gint fd, GIOCondition condition, gpointer data)
{
	struct rm *rm = data;
	enum rm_state state = rm->state;
	g_autofree char *how = NULL;

	(void)fd;
	(void)condition;
	rm->pidfd_watch = 0;
	rm_drain(rm); /* why it failed, or that it is clean, may be there still */
	how = spawn_reap(rm->pidfd);
	if (rm->state != RM_STATE_STARTING) { /* READY may have come with the exit */
		rm_store(rm, false);
		if (!rm->clean) {
			rm->flush_saved = true;
			log_event(LOG_BROKER, G_LOG_LEVEL_WARNING,
				&(struct log_about){.event = EVENT_MANAGER_FAILED},
				"the resource manager of %s ended with %u sessions: %s", rm->spec,
				rm->held, rm->problem[0] ? rm->problem : (how ? how : "unasked"));
		}
	}
	rm_close(rm);
	rm->state = RM_STATE_NONE;
	rm->held = 0;
	if (state == RM_STATE_STARTING)
		rm_fail_waits(rm);
	rm_schedule(rm);
	return G_SOURCE_REMOVE;
}

static void rm_watch(struct rm *rm, int control, int pidfd)
{
	rm->control = control;
	rm->pidfd = pidfd;
	rm->control_watch =
		g_unix_fd_add(control, G_IO_IN | G_IO_HUP | G_IO_ERR, rm_on_control, rm);
	rm->pidfd_watch = g_unix_fd_add(pidfd, G_IO_IN | G_IO_HUP | G_IO_ERR, rm_on_exit, rm);
	rm->clean = false;
	rm->problem[0] = '\0';
	rm->held = 0;
	rm->lease.manager++;
}

/* ---- starting and ending it ---- */

static int rm_spawn(struct rm *rm)
{
	const struct config *config = rm->config;
	g_autofree char *objects = g_strdup_printf("%u", config->rm_objects);
	g_autofree char *sessions = g_strdup_printf("%u", config->rm_sessions);
	g_autofree char *clients = g_strdup_printf("%u", config->max_sessions);
	g_autofree char *timeout = g_strdup_printf("%u", config->rm_timeout);
	const char *const arguments[] = {rm->program, "--tpm", rm->spec, "--objects", objects,
		"--sessions", sessions, "--clients", clients, "--timeout", timeout,
		rm->flush_saved ? "--flush-saved" : NULL, NULL};
	int pair[2];
	int pidfd = -1;
	int r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;

	CLEANUP_FD int control = pair[0];
	CLEANUP_FD int other = pair[1];

	r = spawn_program(arguments, &other, 1, &pidfd);
	if (r < 0)
		return r;
	rm->lease.object_slots = config->rm_objects;
	rm->lease.session_slots = config->rm_sessions;
	rm->flushes_saved = rm->flush_saved;
	rm->adopted = false;
	rm_watch(rm, TAKE_FD(control), pidfd);
	rm->state = RM_STATE_STARTING;
	rm->timer = g_timeout_add_seconds(RM_START_SECONDS, rm_on_timeout, rm);
	return 0;
}

static void rm_start(struct rm *rm)
{
	int r = rm_spawn(rm);

	if (r == 0)
		return;
	snprintf(rm->problem, sizeof rm->problem, "cannot start the resource manager (%s): %s",
		rm->program, g_strerror(-r));
	rm_fail_waits(rm);
}

/* ---- sessions ---- */

/* Hands the manager the other end of a new pair. Returns the session's end or a negative errno. */
static int rm_connect(struct rm *rm)
{
	struct rm_message message = rm_message_new(RM_SESSION, NULL);
	struct iovec data = {.iov_base = &message, .iov_len = sizeof message};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	struct msghdr header = {.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes};
	struct cmsghdr *part = CMSG_FIRSTHDR(&header);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;

	CLEANUP_FD int ours = pair[0];
	CLEANUP_FD int theirs = pair[1];

	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SCM_RIGHTS;
	part->cmsg_len = CMSG_LEN(sizeof theirs);
	memcpy(CMSG_DATA(part), &theirs, sizeof theirs);
	if (sendmsg(rm->control, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -errno;
	return TAKE_FD(ours);
}

static void rm_grant(struct rm *rm, struct wait *wait)
{
	int fd = rm_connect(rm);

	if (fd >= 0) {
		rm->held++;
		wait_answer(wait, WAIT_GRANTED, fd, NULL);
	} else if (fd == -EPIPE) {
		rm_leave(rm); /* it goes already; the next one is for WAIT */
	} else if (fd == -EAGAIN) {
		wait_answer(wait, WAIT_E_BUSY, -1, NULL);
	} else {
		wait_answer(wait, WAIT_E_FAILED, -1, g_strerror(-fd));
	}
}

static gboolean rm_on_idle(gpointer data)
{
	struct rm *rm = data;
	guint count = g_queue_get_length(&rm->waits);

	rm->idle = 0;
	if (rm->state == RM_STATE_NONE && count > 0)
		rm_start(rm);
	if (rm->state == RM_STATE_RUNNING)
		rm_drain(rm); /* one that is about to end would take a session with it */
	for (guint i = 0; i < count && rm->state == RM_STATE_RUNNING; i++)
		if (!g_queue_is_empty(&rm->waits))
			rm_grant(rm, wait_first(&rm->waits));
	if (rm->state == RM_STATE_RUNNING && rm->held == 0)
		rm_leave(rm); /* whoever it was started for has left */
	return G_SOURCE_REMOVE;
}

static void rm_schedule(struct rm *rm)
{
	if (rm->idle == 0)
		rm->idle = g_idle_add(rm_on_idle, rm);
}

struct wait *rm_acquire(struct rm *rm, wait_done done, void *context)
{
	struct wait *wait = wait_new(&rm->waits, WAIT_MS, done, context);

	rm_schedule(rm);
	return wait;
}

struct rm_lease rm_lease(const struct rm *rm)
{
	return rm->lease;
}

void rm_release(struct rm *rm, unsigned manager)
{
	if (manager != rm->lease.manager || rm->held == 0)
		return; /* of one that is gone */
	rm->held--;
	rm_settle(rm);
}

void rm_settle(struct rm *rm)
{
	if (rm->state == RM_STATE_RUNNING && rm->held == 0)
		rm_schedule(rm);
}

/* ---- after a broker that crashed ---- */

void rm_adopt(struct rm *rm, const struct rm_lease *lease, int control, int pidfd)
{
	rm->lease.object_slots = lease->object_slots;
	rm->lease.session_slots = lease->session_slots;
	rm->adopted = true;
	rm_watch(rm, control, pidfd);
	rm->state = RM_STATE_RUNNING;
	log_event(LOG_BROKER, G_LOG_LEVEL_MESSAGE, NULL, "resource manager of %s taken over",
		rm->spec);
}

unsigned rm_hold(struct rm *rm)
{
	if (rm->state != RM_STATE_RUNNING)
		return 0;
	rm->held++;
	return rm->lease.manager;
}
