#include "strict-broker.h"

#include "pieces.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/types.h>

static void send_message(struct strict_broker *broker, const struct account_message *message)
{
	send(broker->fd, message, sizeof *message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static uint32_t *session_slot(struct strict_broker *broker, uint32_t handle)
{
	for (unsigned i = 0; i < POLICY_SLOTS_MAX; i++)
		if (broker->sessions[i] == handle)
			return &broker->sessions[i];
	return NULL;
}

/* The token or turn comes back, or the question for it is withdrawn. */
static void take_back(struct strict_broker *broker, enum account_type question, bool *held)
{
	if (broker->question.type == question)
		broker->question.type = ACCOUNT_INVALID;
	else
		DEMAND(*held);
	*held = false;
}

static void end_session(struct strict_broker *broker, uint32_t handle)
{
	uint32_t *slot = session_slot(broker, handle);

	DEMAND(handle == 0 || handle >> 24 == 0x02 || handle >> 24 == 0x03);
	DEMAND(broker->session || broker->resumed);
	broker->session = false;
	if (handle != 0 && !slot)
		slot = session_slot(broker, 0);
	DEMAND(slot != NULL);
	*slot = handle;
}

static void lose_session(struct strict_broker *broker, uint32_t handle)
{
	uint32_t *slot = handle != 0 ? session_slot(broker, handle) : NULL;

	if (slot)
		*slot = 0;
}

/* Ahead, so that nothing is lost with a session that ends meanwhile; and when it is done. */
static void save_session(struct strict_broker *broker, uint32_t handle, bool done)
{
	DEMAND(broker->resumed || (handle != 0 && session_slot(broker, handle)));
	DEMAND(!done || broker->saving == handle);
	broker->saving = done ? 0 : handle;
	if (done)
		lose_session(broker, handle);
}

static void hear_question(struct strict_broker *broker, const struct account_message *message)
{
	bool claims = message->kind != ACCOUNT_KIND_SEALED;

	if (broker->resumed && broker->question.serial == message->serial)
		return; /* once more */
	DEMAND(broker->question.type == ACCOUNT_INVALID);
	switch (message->type) {
	case ACCOUNT_DA_BEGIN:
		DEMAND(!broker->token);
		break;
	case ACCOUNT_TURN_BEGIN:
		DEMAND(!broker->turn);
		break;
	case ACCOUNT_SESSION_BEGIN:
		DEMAND(message->handle == 0 || message->handle >> 24 == 0x02 ||
			message->handle >> 24 == 0x03);
		DEMAND(!broker->session);
		break;
	case ACCOUNT_CLAIM:
	case ACCOUNT_DROP:
		DEMAND(!claims || !broker->claim);
		break;
	case ACCOUNT_CONFIRM:
		DEMAND(broker->claim && broker->claimed == message->handle);
		broker->claim = false;
		break;
	default:
		break;
	}
	broker->question = *message;
}

static void hear_message(struct strict_broker *broker, const struct account_message *message)
{
	if (account_is_question(message->type)) {
		hear_question(broker, message);
		return;
	}
	switch (message->type) {
	case ACCOUNT_DA_END:
		take_back(broker, ACCOUNT_DA_BEGIN, &broker->token);
		break;
	case ACCOUNT_TURN_END:
		take_back(broker, ACCOUNT_TURN_BEGIN, &broker->turn);
		break;
	case ACCOUNT_SESSION_END:
		end_session(broker, message->handle);
		break;
	case ACCOUNT_SAVED:
		save_session(broker, message->handle, message->argument == 0);
		break;
	case ACCOUNT_GONE:
		lose_session(broker, message->handle);
		break;
	case ACCOUNT_REVOKED: /* once more where it crosses with REVOKE */
		broker->revoked = true;
		break;
	case ACCOUNT_CLOSED:
		DEMAND(broker->revoked && !broker->closed);
		broker->closed = true;
		break;
	case ACCOUNT_STATE:
		DEMAND(broker->resumed);
		break;
	default:
		break;
	}
}

bool strict_broker_hear(struct strict_broker *broker)
{
	struct account_message message;
	uint8_t packet[sizeof message + 1];
	bool asked = false;
	ssize_t size;

	while ((size = recv(broker->fd, packet, sizeof packet, MSG_DONTWAIT)) > 0) {
		DEMAND(account_message_decode(packet, (size_t)size, ACCOUNT_FROM_RELAY, &message) ==
			0);
		hear_message(broker, &message);
		asked = asked || account_is_question(message.type);
	}
	return asked;
}

void strict_broker_answer(struct strict_broker *broker, enum account_answer answer)
{
	struct account_message message = account_message_new(ACCOUNT_ANSWER, answer);
	const struct account_message *question = &broker->question;
	bool yes = answer == ACCOUNT_YES;

	if (question->type == ACCOUNT_INVALID)
		return;
	message.serial = question->serial;
	broker->token = broker->token || (yes && question->type == ACCOUNT_DA_BEGIN);
	broker->turn = broker->turn || (yes && question->type == ACCOUNT_TURN_BEGIN);
	broker->session = broker->session || (yes && question->type == ACCOUNT_SESSION_BEGIN);
	if (yes && question->kind != ACCOUNT_KIND_SEALED &&
		(question->type == ACCOUNT_CLAIM || question->type == ACCOUNT_DROP)) {
		broker->claim = true;
		broker->claimed = question->handle;
	}
	if (answer != ACCOUNT_WAIT)
		broker->question.type = ACCOUNT_INVALID;
	send_message(broker, &message);
}

void strict_broker_say(struct strict_broker *broker, enum account_type type, uint32_t value)
{
	struct account_message message = account_message_new(type, 0);

	if (type == ACCOUNT_FLUSH)
		message.handle = value;
	if (type == ACCOUNT_REVOKE)
		message.argument = value % ACCOUNT_REASON_DEVICE_GONE + 1;
	broker->resumed = broker->resumed || type == ACCOUNT_RESUME;
	send_message(broker, &message);
}
