/*
 * The relay's end of the account socket. The input is cut into steps, each a byte:
 *
 *   bits 0-2  0  the broker sends a packet, the piece that follows
 *             1  it sends the message that follows, put right as far as bits 3-4 say
 *             2  it answers what was asked last
 *             3  the relay asks, the message that follows
 *             4  nobody waits any more
 *             5  the relay tells of a TPM session
 *             6  it tells of a refusal
 *             7  it takes a token or turn, or gives it back
 *
 * Checks that whatever the relay says is a message that a broker takes, and that each question is
 * asked with a number of its own.
 */
#include "relay/link.h"

#include "pieces.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct link link;
	int broker;
	uint32_t asked; /* the serial number of the last question */
	bool resumed;   /* it may be heard once more */
} scene;

/* The fields of a message as they come, at the size that it has. */
static struct account_message next_message(struct cursor *input)
{
	struct account_message message = account_message_new(pieces_u8(input), pieces_u8(input));
	struct cursor data = pieces_next(input, ACCOUNT_DATA_MAX);

	message.kind = pieces_u8(input);
	message.handle = pieces_u32(input);
	message.values[0] = pieces_u8(input);
	account_message_set_data(&message, data.next, data.left);
	return message;
}

/* Reads what the relay has said. */
static void hear_relay(void)
{
	struct account_message message;
	uint8_t packet[sizeof message + 1];
	ssize_t size;

	while ((size = recv(scene.broker, packet, sizeof packet, MSG_DONTWAIT)) > 0) {
		if (account_message_decode(packet, (size_t)size, ACCOUNT_FROM_RELAY, &message) < 0)
			abort();
		if (!account_is_question(message.type))
			continue;
		if (message.serial == scene.asked && !scene.resumed)
			abort();
		scene.asked = message.serial;
	}
}

/* The broker sends SIZE bytes. Returns whether the session goes on. */
static bool tell_relay(const void *bytes, size_t size)
{
	if (send(scene.broker, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return true;
	if (link_receive(&scene.link) == LINK_NOTHING)
		return true;
	if (scene.link.reason != ACCOUNT_REASON_REVOKED &&
		scene.link.reason != ACCOUNT_REASON_DEVICE_GONE)
		abort();
	return false;
}

static bool step_tell(struct cursor *input, uint8_t how)
{
	struct account_message message = next_message(input);

	if (how & 1)
		message.serial = scene.link.question.serial;
	if (how & 2)
		message.values[0] = 0;
	scene.resumed = scene.resumed || message.type == ACCOUNT_RESUME;
	return tell_relay(&message, sizeof message);
}

static bool step_answer(uint8_t how)
{
	struct account_message message =
		account_message_new(ACCOUNT_ANSWER, how % (ACCOUNT_RATE + 1));

	message.serial = scene.asked;
	return message.serial == 0 || tell_relay(&message, sizeof message);
}

static void step_ask(struct cursor *input)
{
	struct account_message message = next_message(input);
	struct account_message decoded;
	bool busy = scene.link.question.type != ACCOUNT_INVALID;

	message.serial = 1;
	if (!account_is_question(message.type) ||
		account_message_decode(&message, sizeof message, ACCOUNT_FROM_RELAY, &decoded) < 0)
		return; /* the relay asks nothing like it */
	if ((link_ask(&scene.link, &message) == -EBUSY) != busy)
		abort();
}

static void step_session(struct cursor *input, uint8_t how)
{
	static const enum account_type types[] = {
		ACCOUNT_SESSION_END, ACCOUNT_SAVED, ACCOUNT_GONE, ACCOUNT_SESSION_END};
	uint32_t handle = pieces_u32(input);
	unsigned known = 0;

	link_tell_session(&scene.link, types[how & 3], handle);
	for (unsigned i = 0; i < POLICY_SLOTS_MAX; i++)
		known += handle != 0 && scene.link.sessions[i] == handle;
	if (known > 1 || (types[how & 3] != ACCOUNT_SESSION_END && known > 0))
		abort();
}

static bool run_step(struct cursor *input, uint8_t step)
{
	uint8_t how = step >> 3;

	switch (step & 7) {
	case 0: {
		struct cursor packet = pieces_next(input, sizeof(struct account_message) + 8);

		return packet.left == 0 || tell_relay(packet.next, packet.left);
	}
	case 1:
		return step_tell(input, how);
	case 2:
		return step_answer(how);
	case 3:
		step_ask(input);
		break;
	case 4:
		link_abandon(&scene.link);
		break;
	case 5:
		step_session(input, how);
		break;
	case 6:
		link_refused(&scene.link, (uint64_t)pieces_u32(input) << 20, how, how, "a-rule");
		break;
	default:
		scene.link.held = how & ACCOUNT_HELD_ALL;
		break;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor input = cursor_new(data, size);
	struct account_message message;
	int fds[2];
	uint8_t step;

	account_message_decode(data, size, ACCOUNT_FROM_RELAY, &message);
	account_message_decode(data, size, ACCOUNT_FROM_BROKER, &message);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	memset(&scene, 0, sizeof scene);
	scene.link = link_new(fds[0]);
	scene.broker = fds[1];
	while (cursor_u8(&input, &step) == 0) {
		bool goes_on = run_step(&input, step);

		if (scene.link.order_count > LINK_ORDERS_MAX)
			abort();
		hear_relay();
		if (!goes_on)
			break;
	}
	close(fds[0]);
	close(fds[1]);
	return 0;
}
