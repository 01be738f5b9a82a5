/*
 * Owns: the public functions: options to request, reply to result. Trusts: its caller's pointers.
 * The environment counts only where the caller has no more privileges than whoever set it.
 */
#include "client/client.h"

#include "client/call.h"
#include "client/text.h"
#include "common/cleanup.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* No older structure exists; members added later are read only where `size` covers them. */
_Static_assert(sizeof(struct tpmgate_options) == 5 * sizeof(void *) ||
		       sizeof(struct tpmgate_options) == 6 * sizeof(void *),
	"size of the first version");

static const char *client_choose(
	const char *given, const char *variable, const char *fallback, const char **ret_source)
{
	const char *value = given;

	*ret_source = "given";
	if (!value || !*value) {
		value = secure_getenv(variable);
		*ret_source = "environment";
	}
	if (!value || !*value) {
		value = fallback;
		*ret_source = "default";
	}
	return value;
}

const char *client_socket(const struct tpmgate_options *options, const char **ret_source)
{
	return client_choose(options ? options->socket : NULL, "TPMGATE_SOCKET",
		PROTOCOL_SOCKET_PATH, ret_source);
}

const char *client_profiles(const struct tpmgate_options *options)
{
	const char *source;

	return client_choose(
		options ? options->profiles : NULL, "TPMGATE_PROFILES", "keys", &source);
}

/* What a newer program sets must not be ignored: it may be what makes the call safe. */
static int client_check_options(
	const struct tpmgate_options *options, struct tpmgate_message *message)
{
	if (message)
		message->text[0] = '\0';
	if (!options)
		return 0;
	if (options->size < sizeof *options)
		return call_fail(message, TPMGATE_E_ARGUMENT,
			"tpmgate_options.size is not set: it must be sizeof(struct "
			"tpmgate_options)");

	const char *bytes = (const char *)options;

	for (size_t i = sizeof *options; i < options->size; i++)
		if (bytes[i] != 0)
			return call_fail(message, TPMGATE_E_ARGUMENT,
				"the program uses options that this libtpmgate does not know; a "
				"newer one is needed");
	return 0;
}

/* Copies TEXT into the zeroed FIELD of a request. */
static int client_copy(const char *text, const char *what, char *field, size_t size,
	struct tpmgate_message *message)
{
	size_t length = strlen(text);

	if (length >= size)
		return call_fail(
			message, TPMGATE_E_ARGUMENT, "%s has more than %zu bytes", what, size - 1);
	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return call_fail(message, TPMGATE_E_ARGUMENT,
				"%s has a character that no name has: '%s'", what, text);
	memcpy(field, text, length + 1);
	return 0;
}

/* Requests of other types leave the field empty. */
static bool client_names_device(uint32_t type)
{
	return type == PROTOCOL_OPEN || type == PROTOCOL_ADOPT || type == PROTOCOL_EVENTLOG ||
	       type == PROTOCOL_ACCOUNT;
}

int client_ask(const struct tpmgate_options *options, struct call_question *question,
	struct tpmgate_message *message, struct call_reply *ret_reply)
{
	int r = client_check_options(options, message);
	const char *source;
	int timeout;

	if (r < 0)
		return r;
	if (options && options->device && client_names_device(question->request.type))
		r = client_copy(options->device, "the device's name", question->request.device,
			sizeof question->request.device, message);
	if (r < 0)
		return r;
	if (options && options->interactive)
		question->request.flags |= PROTOCOL_INTERACTIVE;
	timeout = options && options->timeout_ms > 0 ? options->timeout_ms : -1;
	return call_broker(client_socket(options, &source), question, deadline_new(timeout),
		message, ret_reply);
}

int tpmgate_open(const struct tpmgate_options *options, struct tpmgate_message *message)
{
	struct call_question question = {.request = protocol_request_new(PROTOCOL_OPEN)};
	struct call_reply reply = {.fd = -1};
	int r = client_check_options(options, message);

	if (r == 0)
		r = client_copy(client_profiles(options), "the profile", question.request.profiles,
			sizeof question.request.profiles, message);
	if (r == 0)
		r = client_ask(options, &question, message, &reply);
	if (r < 0)
		return r;

	int fd = TAKE_FD(reply.fd);

	call_reply_done(&reply);
	return fd;
}

/* A request for a list. Each item is ITEM_SIZE bytes here, and perhaps more at the broker. */
static int client_list(const struct tpmgate_options *options, enum protocol_type type,
	size_t item_size, struct tpmgate_message *message, struct call_reply *ret_reply)
{
	struct call_question question = {
		.request = protocol_request_new(type), .item_size = item_size};

	return client_ask(options, &question, message, ret_reply);
}

void client_item(const struct call_reply *reply, uint32_t index, void *ret_item, size_t item_size)
{
	size_t given = reply->header.item_size;

	memset(ret_item, 0, item_size);
	memcpy(ret_item, reply->items + (size_t)index * given,
		given < item_size ? given : item_size);
}

int tpmgate_profiles(const struct tpmgate_options *options,
	void (*each)(const struct tpmgate_profile *profile, void *context), void *context,
	struct tpmgate_message *message)
{
	struct protocol_profile item;
	struct call_reply reply = {.fd = -1};
	int r = client_list(options, PROTOCOL_PROFILES, PROTOCOL_PROFILE_LEAST, message, &reply);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < reply.header.item_count; i++) {
		char name[sizeof item.name];
		char summary[sizeof item.summary];
		char group[sizeof item.group];
		char action[sizeof item.action];

		client_item(&reply, i, &item, sizeof item);
		text_clean(item.name, sizeof item.name, name, sizeof name);
		text_clean(item.summary, sizeof item.summary, summary, sizeof summary);
		text_clean(item.group, sizeof item.group, group, sizeof group);
		text_clean(item.action, sizeof item.action, action, sizeof action);
		each(
			&(struct tpmgate_profile){
				.name = name,
				.summary = summary,
				/* what a newer broker may say besides is not a yes */
				.verdict = item.verdict <= PROTOCOL_VERDICT_FAULTY
						   ? (enum tpmgate_verdict)item.verdict
						   : TPMGATE_NO,
				.reason = item.reason <= PROTOCOL_REASON_NO_POLKIT
						  ? (enum tpmgate_reason)item.reason
						  : TPMGATE_REASON_NONE,
				.group = group,
				.action = action,
			},
			context);
	}
	call_reply_done(&reply);
	return 0;
}

int tpmgate_devices(const struct tpmgate_options *options,
	void (*each)(const struct tpmgate_device *device, void *context), void *context,
	struct tpmgate_message *message)
{
	struct protocol_device item;
	struct call_reply reply = {.fd = -1};
	int r = client_list(options, PROTOCOL_DEVICES, sizeof item, message, &reply);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < reply.header.item_count; i++) {
		char name[sizeof item.name];
		char path[sizeof item.path];
		char description[sizeof item.description];

		client_item(&reply, i, &item, sizeof item);
		text_clean(item.name, sizeof item.name, name, sizeof name);
		text_clean(item.path, sizeof item.path, path, sizeof path);
		text_clean(
			item.description, sizeof item.description, description, sizeof description);
		each(
			&(struct tpmgate_device){
				.name = name,
				.path = path,
				.description = description,
				.is_default = (item.flags & PROTOCOL_DEVICE_DEFAULT) != 0,
				.is_single = (item.flags & PROTOCOL_DEVICE_SINGLE) != 0,
				.sessions = item.sessions,
			},
			context);
	}
	call_reply_done(&reply);
	return 0;
}

int client_sessions(const struct tpmgate_options *options, bool everybody,
	void (*each)(const struct tpmgate_session *session, void *context), void *context,
	struct tpmgate_message *message)
{
	struct protocol_session item;
	struct call_question question = {
		.request = protocol_request_new(PROTOCOL_SESSIONS), .item_size = sizeof item};
	struct call_reply reply = {.fd = -1};
	int r;

	if (everybody)
		question.request.flags |= PROTOCOL_EVERYBODY;
	r = client_ask(options, &question, message, &reply);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < reply.header.item_count; i++) {
		char profiles[sizeof item.profiles];
		char device[sizeof item.device];

		client_item(&reply, i, &item, sizeof item);
		text_clean(item.profiles, sizeof item.profiles, profiles, sizeof profiles);
		text_clean(item.device, sizeof item.device, device, sizeof device);
		each(
			&(struct tpmgate_session){
				.session = item.session,
				.started = item.started,
				.uid = item.uid,
				.pid = item.pid,
				.profiles = profiles,
				.device = device,
			},
			context);
	}
	call_reply_done(&reply);
	return 0;
}

int tpmgate_sessions(const struct tpmgate_options *options,
	void (*each)(const struct tpmgate_session *session, void *context), void *context,
	struct tpmgate_message *message)
{
	return client_sessions(options, false, each, context, message);
}

int tpmgate_revoke(
	const struct tpmgate_options *options, uint64_t session, struct tpmgate_message *message)
{
	struct call_question question = {.request = protocol_request_new(PROTOCOL_REVOKE)};
	struct call_reply reply = {.fd = -1};
	int r;

	question.request.session = session;
	r = client_ask(options, &question, message, &reply);
	if (r == 0)
		call_reply_done(&reply);
	return r;
}

int tpmgate_eventlog(const struct tpmgate_options *options, struct tpmgate_message *message)
{
	struct call_question question = {.request = protocol_request_new(PROTOCOL_EVENTLOG)};
	struct call_reply reply = {.fd = -1};
	int r = client_ask(options, &question, message, &reply);

	if (r < 0)
		return r;

	int fd = TAKE_FD(reply.fd);

	call_reply_done(&reply);
	return fd;
}
