#include "conversation-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

struct scene scene;

int scene_setup(void **state)
{
	(void)state;
	scene.registry = registry_scene_new();
	scene.accounts = (struct accounts){
		.ledger = ledger_new(&scene.registry.config),
		.registry = scene.registry.registry,
		.refusals = refusals_new(),
		.config = &scene.registry.config,
	};
	return 0;
}

int scene_teardown(void **state)
{
	(void)state;
	ledger_free(scene.accounts.ledger);
	refusals_free(scene.accounts.refusals);
	registry_scene_free(&scene.registry);
	return 0;
}

static void on_failed(void *context, const char *because)
{
	struct relay *relay = context;

	if (!relay->ended)
		relay->ended = because;
}

void relay_begin(struct relay *relay, uint32_t uid, bool adopted)
{
	*relay = (struct relay){.facts = {.session = 7, .uid = uid, .device = "tpm0"}};
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, relay->fds), 0);
	relay->conversation = conversation_new(
		&scene.accounts, &relay->facts, relay->fds[0], adopted, on_failed, relay);
}

void relay_end(struct relay *relay)
{
	conversation_free(relay->conversation);
	close(relay->fds[0]);
	close(relay->fds[1]);
}

struct account_message relay_take(struct relay *relay)
{
	struct account_message message;
	ssize_t got;

	while (g_main_context_iteration(NULL, FALSE))
		;
	got = recv(relay->fds[1], &message, sizeof message, MSG_DONTWAIT);
	if (got < 0)
		return (struct account_message){0};
	assert_int_equal(
		account_message_decode(&message, (size_t)got, ACCOUNT_FROM_BROKER, &message), 0);
	return message;
}

void relay_expect_nothing(struct relay *relay)
{
	assert_int_equal(relay_take(relay).type, ACCOUNT_INVALID);
}

struct account_message relay_await(struct relay *relay)
{
	struct account_message message = relay_take(relay);

	while (message.type == ACCOUNT_INVALID && !relay->ended) {
		g_main_context_iteration(NULL, TRUE);
		message = relay_take(relay);
	}
	if (relay->ended)
		fail_msg("it was ended: %s", relay->ended);
	return message;
}

void relay_say(struct relay *relay, const struct account_message *message)
{
	struct account_message heard;

	assert_int_equal(
		account_message_decode(message, sizeof *message, ACCOUNT_FROM_RELAY, &heard), 0);
	conversation_hear(relay->conversation, &heard);
}

void relay_tell(struct relay *relay, enum account_type type, uint32_t argument, uint32_t handle)
{
	struct account_message message = account_message_new(type, argument);

	message.handle = handle;
	relay_say(relay, &message);
}

void relay_end_da(struct relay *relay, bool failed)
{
	struct account_message message = account_message_new(ACCOUNT_DA_END, failed);

	message.values[1] = 32;
	message.values[2] = 7200;
	relay_say(relay, &message);
}

struct account_message relay_question(struct relay *relay, enum account_type type)
{
	struct account_message message = account_message_new(type, 0);

	message.serial = ++relay->serial;
	return message;
}

void relay_ask(struct relay *relay, enum account_type type, uint32_t handle)
{
	struct account_message message = relay_question(relay, type);

	message.handle = handle;
	relay_say(relay, &message);
}

void relay_ask_about(struct relay *relay, enum account_type type, uint32_t handle, const char *data,
	uint32_t argument)
{
	struct account_message message = relay_question(relay, type);

	message.argument = argument;
	message.handle = handle;
	message.kind = handle != 0 ? ACCOUNT_KIND_NV : ACCOUNT_KIND_SEALED;
	if (type == ACCOUNT_CLAIM && handle != 0)
		message.values[0] = 32;
	if (data)
		account_message_set_data(&message, data, strlen(data));
	relay_say(relay, &message);
}

struct account_message relay_answer(struct relay *relay)
{
	struct account_message message = relay_await(relay);

	assert_int_equal(message.type, ACCOUNT_ANSWER);
	assert_int_equal(message.serial, relay->serial);
	return message;
}

void relay_expect(struct relay *relay, enum account_answer answer)
{
	assert_int_equal(relay_answer(relay).argument, answer);
	assert_null(relay->ended);
}

void relay_expect_ended(struct relay *relay, const char *because)
{
	assert_non_null(relay->ended);
	assert_string_equal(relay->ended, because);
}
