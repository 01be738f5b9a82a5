/*
 * The broker's side of account sockets: three sessions of two uids and one TPM on one ledger, each
 * of which says whatever the input has. The first byte says which of them are of a broker before
 * this one. Then come steps, each a byte:
 *
 *   bits 0-1  which session; 3: no session, seconds pass
 *   bits 2-3  0, 1 it says the message that follows, with a serial number of its own
 *             2    it says a piece, if that is a message
 *             3    it ends, and another takes its place
 *
 * Checks that all answers are messages that a relay takes, to what was asked; and that among
 * sessions that began with this broker, nobody has the token while another has, and no uid has two
 * turns.
 */
#include "broker/config.h"
#include "broker/conversation.h"

#include "pieces.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);
int __real_clock_gettime(clockid_t clock, struct timespec *ret_time);

#define SESSIONS 3

struct session {
	struct conversation *conversation;
	struct protocol_session facts;
	int broker;
	int relay;
	bool adopted;
	bool failed;
	uint32_t serial;
	uint32_t pending; /* serial number of a question that has no answer; 0: none */
	uint32_t asked;   /* its type */
	unsigned held;    /* enum account_held, as bits */
};

static struct {
	struct accounts accounts;
	struct session sessions[SESSIONS];
	int64_t now; /* s */
	bool any_adopted;
} scene;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
	if (clock != CLOCK_BOOTTIME && clock != CLOCK_MONOTONIC)
		return __real_clock_gettime(clock, ret_time);
	*ret_time = (struct timespec){.tv_sec = scene.now};
	return 0;
}

static void on_failed(void *context, const char *because)
{
	struct session *session = context;

	if (!because || !because[0])
		abort();
	session->failed = true;
}

static void session_start(unsigned i, bool adopted)
{
	struct session *session = &scene.sessions[i];
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	*session = (struct session){.broker = fds[0], .relay = fds[1], .adopted = adopted};
	session->facts.uid = 1000 + i / 2;
	session->facts.session = i + 1;
	strcpy(session->facts.device, "tpmrm0");
	scene.any_adopted = scene.any_adopted || adopted;
	session->conversation = conversation_new(
		&scene.accounts, &session->facts, session->broker, adopted, on_failed, session);
}

static void session_end(struct session *session)
{
	conversation_free(session->conversation);
	close(session->broker);
	close(session->relay);
	session->conversation = NULL;
	session->held = 0;
}

static void hear_answer(struct session *session, const struct account_message *message)
{
	if (session->adopted)
		return; /* it may have asked, and been answered, before */
	if (session->pending == 0 || message->serial != session->pending)
		abort();
	if (message->argument == ACCOUNT_WAIT)
		return;
	session->pending = 0;
	if (message->argument == ACCOUNT_YES && session->asked == ACCOUNT_DA_BEGIN)
		session->held |= ACCOUNT_HELD_DA;
	if (message->argument == ACCOUNT_YES && session->asked == ACCOUNT_TURN_BEGIN)
		session->held |= ACCOUNT_HELD_TURN;
}

/* What the broker has said to this one. */
static void session_hear(struct session *session)
{
	struct account_message message;
	uint8_t packet[sizeof message + 1];
	ssize_t size;

	while ((size = recv(session->relay, packet, sizeof packet, MSG_DONTWAIT)) > 0) {
		if (account_message_decode(packet, (size_t)size, ACCOUNT_FROM_BROKER, &message) < 0)
			abort();
		if (message.type == ACCOUNT_ANSWER)
			hear_answer(session, &message);
		else if (message.type == ACCOUNT_RESUME && !session->adopted)
			abort();
	}
}

/* One token for all, one turn for each uid. */
static void check_held(void)
{
	unsigned tokens = 0;
	unsigned turns[SESSIONS] = {0};

	if (scene.any_adopted)
		return; /* they may say that they hold what they like */
	for (unsigned i = 0; i < SESSIONS; i++) {
		tokens += (scene.sessions[i].held & ACCOUNT_HELD_DA) != 0;
		turns[i / 2] += (scene.sessions[i].held & ACCOUNT_HELD_TURN) != 0;
		if (tokens > 1 || turns[i / 2] > 1)
			abort();
	}
}

static void settle(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		;
	for (unsigned i = 0; i < SESSIONS; i++) {
		session_hear(&scene.sessions[i]);
		if (!scene.sessions[i].failed)
			continue;
		session_end(&scene.sessions[i]); /* as the broker does */
		session_start(i, false);
	}
	check_held();
}

static void note_said(struct session *session, const struct account_message *message)
{
	if (account_is_question(message->type) && session->pending == 0) {
		session->pending = message->serial;
		session->asked = message->type;
	}
	if (message->type == ACCOUNT_DA_END || message->type == ACCOUNT_TURN_END) {
		bool token = message->type == ACCOUNT_DA_END;

		session->held &= ~(unsigned)(token ? ACCOUNT_HELD_DA : ACCOUNT_HELD_TURN);
		if (session->pending != 0 &&
			session->asked == (token ? ACCOUNT_DA_BEGIN : ACCOUNT_TURN_BEGIN))
			session->pending = 0;
	}
}

static void session_say(struct session *session, const void *bytes, size_t size)
{
	struct account_message message;

	if (account_message_decode(bytes, size, ACCOUNT_FROM_RELAY, &message) < 0 ||
		message.type == ACCOUNT_READY || message.type == ACCOUNT_REVOKED)
		return; /* session.c's to judge */
	session_hear(session);
	note_said(session, &message);
	conversation_hear(session->conversation, &message);
}

/* The fields that the message's type has; the others stay 0. */
static struct account_message next_message(struct cursor *input, struct session *session)
{
	struct account_message message = account_message_new(pieces_u8(input), 0);
	struct cursor data = pieces_next(input, ACCOUNT_DATA_MAX);
	uint8_t fields = pieces_u8(input);

	if (account_is_question(message.type))
		message.serial = ++session->serial;
	message.argument = fields & 1;
	message.kind = fields >> 1 & 3;
	message.handle = fields & 8 ? pieces_u32(input) : 0;
	for (unsigned i = 0; fields & 16 && i < 3; i++)
		message.values[i] = pieces_u8(input);
	account_message_set_data(&message, data.next, data.left);
	return message;
}

static void run_step(struct cursor *input, uint8_t step)
{
	struct session *session = &scene.sessions[step & 3];
	struct account_message message;
	struct cursor packet;

	if ((step & 3) == SESSIONS) {
		scene.now += step >> 2 << (step >> 4);
		return;
	}
	switch (step >> 2 & 3) {
	case 2:
		packet = pieces_next(input, sizeof message + 1);
		session_say(session, packet.next, packet.left);
		break;
	case 3:
		session_end(session);
		session_start(step & 3, step & 0x80);
		break;
	default:
		message = next_message(input, session);
		session_say(session, &message, sizeof message);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor input = cursor_new(data, size);
	struct config config = config_new();
	uint8_t adopted = pieces_u8(&input);
	uint8_t step;

	memset(&scene, 0, sizeof scene);
	scene.now = 1000;
	scene.accounts = (struct accounts){
		.ledger = ledger_new(&config), .refusals = refusals_new(), .config = &config};
	for (unsigned i = 0; i < SESSIONS; i++)
		session_start(i, adopted >> i & 1);
	while (cursor_u8(&input, &step) == 0) {
		run_step(&input, step);
		if (step & 0x40)
			settle();
		ledger_report(scene.accounts.ledger, "tpmrm0", 1000);
	}
	settle();
	for (unsigned i = 0; i < SESSIONS; i++)
		session_end(&scene.sessions[i]);
	ledger_free(scene.accounts.ledger);
	refusals_free(scene.accounts.refusals);
	config_done(&config);
	return 0;
}
