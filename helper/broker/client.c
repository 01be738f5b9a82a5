#include "broker/client.h"

#include "broker/log.h"
#include "broker/release.h"
#include "broker/reply.h"

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static void client_free(struct client *client)
{
	struct broker *broker = client->broker;

	if (client->abort)
		client->abort(client);
	permit_free(client->permit);
	g_clear_handle_id(&client->watch, g_source_remove);
	g_clear_handle_id(&client->deadline, g_source_remove);
	release_close(client->fd);
	account_leave(broker->account, client->charged);
	identity_done(&client->identity);
	g_free(client);
	broker_touch(broker);
}

static void client_log(
	const struct client *client, enum protocol_status status, const char *message)
{
	enum log_kind kind = status == PROTOCOL_BAD_REQUEST || status == PROTOCOL_BAD_VERSION
				     ? LOG_CONNECTION
				     : LOG_VERDICT;

	log_event(kind, G_LOG_LEVEL_WARNING,
		&(struct log_about){
			.uid = &client->identity.peer.uid,
			.pid = client->identity.peer.pid,
			.profiles = client->request.profiles,
			.device = client->request.device,
			.verdict = status == PROTOCOL_WOULD_PROMPT ? "prompt" : "refused",
			.event = EVENT_CALLER_REFUSED,
		},
		"refused: %s", message);
}

static void client_reply(struct client *client, const struct reply *reply)
{
	/* a client that does not take its reply has left, or never will */
	reply_send(client->fd, reply);
	client_free(client);
}

void client_refuse(struct client *client, enum protocol_status status, const char *format, ...)
{
	g_autofree char *message = NULL;
	va_list arguments;

	va_start(arguments, format);
	message = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	client_log(client, status, message);
	client_reply(client, &(struct reply){.type = client->request.type,
				     .status = status,
				     .message = message,
				     .fd = -1});
}

void client_reply_items(struct client *client, const void *items, uint32_t count, uint32_t size)
{
	client_reply_told(client, items, count, size, NULL);
}

void client_reply_told(struct client *client, const void *items, uint32_t count, uint32_t size,
	const char *message)
{
	client_reply(client, &(struct reply){.type = client->request.type,
				     .status = PROTOCOL_OK,
				     .message = message,
				     .items = items,
				     .item_count = count,
				     .item_size = size,
				     .fd = -1});
}

void client_reply_session(struct client *client, uint64_t session, int fd)
{
	client_reply(client, &(struct reply){.type = client->request.type,
				     .status = PROTOCOL_OK,
				     .session = session,
				     .fd = fd});
}

static gboolean client_on_deadline(gpointer data)
{
	struct client *client = data;

	client->deadline = 0;
	client_refuse(client,
		client->state == CLIENT_NONCE ? PROTOCOL_DENIED : PROTOCOL_BAD_REQUEST,
		client->state == CLIENT_NONCE
			? "the caller did not prove itself within %u seconds (the nonce did not "
			  "come back)"
			: "no request came within %u seconds",
		client->broker->config.request_timeout);
	return G_SOURCE_REMOVE;
}

static void client_set_deadline(struct client *client)
{
	g_clear_handle_id(&client->deadline, g_source_remove);
	client->deadline = g_timeout_add_seconds(
		client->broker->config.request_timeout, client_on_deadline, client);
}

static void client_on_permitted(void *context, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem)
{
	struct client *client = context;

	client->permitted(client, verdict, item, problem);
}

bool client_describe(struct client *client)
{
	int r;

	if (client->described || client->identity.peer.uid == 0)
		return true;
	r = identity_describe(&client->identity);
	if (r == 0) {
		client->described = true;
		return true;
	}
	if (r == IDENTITY_E_GONE)
		client_refuse(client, PROTOCOL_DENIED, "the program that asked has ended");
	else
		client_refuse(client, PROTOCOL_DENIED,
			"the broker cannot see in /proc whether the program that asked is "
			"sandboxed; is /proc mounted with hidepid=, or the broker started with "
			"ProtectProc=?");
	return false;
}

void client_authorize(
	struct client *client, const struct permit_request *request, client_permitted permitted)
{
	struct permit_request full = *request;
	int r;

	if (!client_describe(client))
		return;
	full.identity = &client->identity;
	client->permitted = permitted;
	permit_free(client->permit);
	client->permit = permit_new(
		client->broker->authz, client->broker->account, &full, client_on_permitted, client);
	if (!permit_needs_polkit(&full) || client->identity.proven ||
		client->identity.peer.pid <= 0) {
		permit_start(client->permit);
		return;
	}
	r = identity_send_nonce(&client->identity, client->fd);
	if (r < 0) {
		client_refuse(client, PROTOCOL_FAILED, "cannot ask the caller to prove itself: %s",
			g_strerror(-r));
		return;
	}
	client->state = CLIENT_NONCE;
	client_set_deadline(client);
}

/* Fields that a type does not use are empty, so that they can mean something one day. */
static bool client_request_is_sound(const struct protocol_request *request)
{
	bool open = request->type == PROTOCOL_OPEN;
	bool device = open || request->type == PROTOCOL_ADOPT ||
		      request->type == PROTOCOL_EVENTLOG || request->type == PROTOCOL_ACCOUNT;
	bool number = request->type == PROTOCOL_REVOKE || request->type == PROTOCOL_FORGET;

	if (request->flags & PROTOCOL_EVERYBODY && request->type != PROTOCOL_SESSIONS)
		return false;
	return (open || request->profiles[0] == '\0') && (device || request->device[0] == '\0') &&
	       (number || request->session == 0);
}

static void client_dispatch(struct client *client)
{
	if (!client_request_is_sound(&client->request)) {
		client_refuse(client, PROTOCOL_BAD_REQUEST,
			"a field that this request does not use is not empty");
		return;
	}
	switch (client->request.type) {
	case PROTOCOL_OPEN:
		open_start(client);
		return;
	case PROTOCOL_PROFILES:
		facts_profiles(client);
		return;
	case PROTOCOL_DEVICES:
		facts_devices(client);
		return;
	case PROTOCOL_SESSIONS:
		facts_sessions(client);
		return;
	case PROTOCOL_REVOKE:
		revoke_start(client);
		return;
	case PROTOCOL_REFUSALS:
		refused_list(client);
		return;
	case PROTOCOL_RECORDS:
		records_list(client);
		return;
	case PROTOCOL_ADOPT:
		handover_start(client);
		return;
	case PROTOCOL_FORGET:
		forget_start(client);
		return;
	case PROTOCOL_EVENTLOG:
		eventlog_start(client);
		return;
	case PROTOCOL_ACCOUNT:
		balance_tell(client);
		return;
	default:
		client_refuse(client, PROTOCOL_BAD_REQUEST, "there is no request of type %u",
			client->request.type);
		return;
	}
}

static void client_on_request(struct client *client, const void *packet, size_t size)
{
	const char *problem;
	enum protocol_status status =
		protocol_request_decode(packet, size, &client->request, &problem);

	if (status == PROTOCOL_OK && client->request.type == PROTOCOL_ADOPT)
		status = protocol_adopt_decode(packet, size, &client->adopt, &problem);
	g_clear_handle_id(&client->deadline, g_source_remove);
	if (status != PROTOCOL_OK) {
		client_refuse(client, status, "the request is malformed: %s", problem);
		return;
	}
	client->state = CLIENT_WORKING;
	if (client->subordinate)
		client_refuse(client, PROTOCOL_DENIED,
			"uid %u is a subordinate uid of another user (%s); AllowSubordinate=yes of "
			"tpmgate.conf lets these in",
			client->identity.peer.uid, client->broker->config.subuid_file);
	else
		client_dispatch(client);
}

static void client_on_nonce(
	struct client *client, const void *packet, size_t size, pid_t pid, uid_t uid)
{
	int r = identity_check_nonce(&client->identity, packet, size, pid, uid);

	g_clear_handle_id(&client->deadline, g_source_remove);
	if (r == IDENTITY_E_GONE) {
		client_refuse(client, PROTOCOL_DENIED, "the program that asked has ended");
		return;
	}
	if (r != 0) {
		client_refuse(client, PROTOCOL_DENIED,
			"the caller did not prove itself: the nonce has to come back unchanged, "
			"from the process that connected");
		return;
	}
	client->state = CLIENT_WORKING;
	permit_start(client->permit);
}

static bool client_has_left(const struct client *client)
{
	struct pollfd end = {.fd = client->fd, .events = POLLRDHUP};

	return poll(&end, 1, 0) > 0;
}

static void client_on_packet(
	struct client *client, const void *packet, size_t size, pid_t pid, uid_t uid)
{
	switch (client->state) {
	case CLIENT_REQUEST:
		client_on_request(client, packet, size);
		return;
	case CLIENT_NONCE:
		client_on_nonce(client, packet, size, pid, uid);
		return;
	case CLIENT_WORKING:
	default:
		client_refuse(client, PROTOCOL_BAD_REQUEST,
			"a second packet came before the first was answered");
		return;
	}
}

static gboolean client_on_input(gint fd, GIOCondition condition, gpointer data)
{
	struct client *client = data;
	/* one more byte than any packet has: what is larger is not a smaller one */
	uint8_t packet[PROTOCOL_REQUEST_MAX + 1];
	pid_t pid;
	uid_t uid;
	ssize_t size = peer_receive(fd, packet, sizeof packet, &pid, &uid);

	if (size == -EBADMSG) {
		client_refuse(client, PROTOCOL_BAD_REQUEST,
			"the packet brought descriptors or other control data");
		return G_SOURCE_CONTINUE; /* the source is gone with the client */
	}
	if (size == -EAGAIN && !(condition & (G_IO_HUP | G_IO_ERR)))
		return G_SOURCE_CONTINUE;
	if (size < 0 || client_has_left(client)) {
		client_free(client);
		return G_SOURCE_CONTINUE;
	}
	client_on_packet(client, packet, MIN((size_t)size, sizeof packet), pid, uid);
	return G_SOURCE_CONTINUE;
}

void client_new(struct broker *broker, int fd, const struct identity *identity, bool subordinate,
	uint32_t charged)
{
	struct client *client = g_new0(struct client, 1);

	client->broker = broker;
	client->fd = fd;
	client->identity = *identity;
	client->subordinate = subordinate;
	client->charged = charged;
	client->watch = g_unix_fd_add(fd, G_IO_IN | G_IO_HUP | G_IO_ERR, client_on_input, client);
	client_set_deadline(client);
	broker_touch(broker);
}
