#include "relay/link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define REFUSALS_BURST     20
#define REFUSALS_REFILL_NS UINT64_C(500000000) /* one more each half second */

struct link link_new(int fd)
{
	return (struct link){.fd = fd, .refusals = REFUSALS_BURST};
}

int link_tell(struct link *link, const struct account_message *message)
{
	if (link->fd < 0)
		return -EPIPE;
	if (sendto(link->fd, message, sizeof *message, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0) < 0)
		return -errno;
	return 0;
}

int link_ask(struct link *link, const struct account_message *question)
{
	struct account_message message = *question;
	int r;

	if (link->question.type != ACCOUNT_INVALID)
		return -EBUSY;
	link->serial++;
	if (link->serial == 0)
		link->serial = 1;
	message.serial = link->serial;
	r = link_tell(link, &message);
	if (r < 0)
		return r;
	link->question = message;
	link->answer.type = ACCOUNT_INVALID;
	link->deferred = false;
	link->abandoned = false;
	return 0;
}

void link_order(struct link *link, uint32_t handle)
{
	for (unsigned i = 0; i < link->order_count; i++)
		if (link->orders[i] == handle)
			return;
	if (link->order_count < LINK_ORDERS_MAX)
		link->orders[link->order_count++] = handle;
}

/* Gives the token or turn back, or takes the question for it back. */
static int link_withdraw(struct link *link)
{
	struct account_message message = account_message_new(
		link->question.type == ACCOUNT_DA_BEGIN ? ACCOUNT_DA_END : ACCOUNT_TURN_END, 0);

	return link_tell(link, &message);
}

static void link_give_back(struct link *link)
{
	struct account_message message;

	switch (link->question.type) {
	case ACCOUNT_SESSION_BEGIN:
		link_tell_session(link, ACCOUNT_SESSION_END, 0);
		break;
	case ACCOUNT_CLAIM:
	case ACCOUNT_DROP:
		if (link->question.kind == ACCOUNT_KIND_SEALED)
			break;
		message = account_message_new(ACCOUNT_CONFIRM, 0);
		message.kind = link->question.kind;
		message.handle = link->question.handle;
		link->question.type = ACCOUNT_INVALID;
		if (link_ask(link, &message) == 0)
			link->abandoned = true;
		return;
	case ACCOUNT_FLUSH_BEGIN: /* it stands, and will be asked once more */
		link_order(link, link->question.handle);
		break;
	case ACCOUNT_DA_BEGIN:
	case ACCOUNT_TURN_BEGIN: /* the socket was full when it should have been withdrawn */
		link_withdraw(link);
		break;
	default:
		break;
	}
	link->question.type = ACCOUNT_INVALID;
}

void link_abandon(struct link *link)
{
	uint32_t type = link->question.type;

	if (type == ACCOUNT_INVALID)
		return;
	/* once withdrawn, an answer that is on its way is not to this question any more */
	if ((type == ACCOUNT_DA_BEGIN || type == ACCOUNT_TURN_BEGIN) && link_withdraw(link) == 0)
		link->question.type = ACCOUNT_INVALID;
	else
		link->abandoned = true;
}

/* What a question asks for, of enum account_held. */
static uint32_t what_is_held(uint32_t type)
{
	if (type == ACCOUNT_DA_BEGIN)
		return ACCOUNT_HELD_DA;
	return type == ACCOUNT_TURN_BEGIN ? ACCOUNT_HELD_TURN : 0;
}

static void link_take_answer(struct link *link, const struct account_message *message)
{
	if (link->question.type == ACCOUNT_INVALID || message->serial != link->question.serial)
		return; /* to one that was withdrawn, or repeated after RESUME */
	if (message->argument == ACCOUNT_WAIT) {
		link->deferred = true;
		return;
	}
	link->answer = *message;
	if (!link->abandoned) {
		/* at once: RESUME may be next */
		if (message->argument == ACCOUNT_YES)
			link->held |= what_is_held(link->question.type);
		link->question.type = ACCOUNT_INVALID;
		return;
	}
	link->abandoned = false;
	if (message->argument == ACCOUNT_YES)
		link_give_back(link);
	else
		link->question.type = ACCOUNT_INVALID;
}

/* A broker that has just started asks what it cannot know. */
static void link_resume(struct link *link)
{
	struct account_message message = account_message_new(ACCOUNT_SESSION_END, 0);

	for (size_t i = 0; i < POLICY_SLOTS_MAX; i++) {
		if (link->sessions[i] == 0)
			continue;
		message.handle = link->sessions[i];
		link_tell(link, &message);
	}
	message = account_message_new(ACCOUNT_STATE, link->held);
	link_tell(link, &message);
	if (link->question.type != ACCOUNT_INVALID)
		link_tell(link, &link->question);
}

enum link_event link_receive(struct link *link)
{
	struct account_message message;
	uint8_t packet[sizeof message + 1];
	ssize_t size = recvfrom(link->fd, packet, sizeof packet, MSG_DONTWAIT, NULL, NULL);

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return LINK_NOTHING;
	if (size <= 0 ||
		account_message_decode(packet, (size_t)size, ACCOUNT_FROM_BROKER, &message) < 0) {
		/* whoever could revoke the session is gone */
		link->reason = ACCOUNT_REASON_REVOKED;
		return LINK_REVOKED;
	}
	switch (message.type) {
	case ACCOUNT_ANSWER:
		link_take_answer(link, &message);
		return LINK_NOTHING;
	case ACCOUNT_FLUSH:
		link_order(link, message.handle);
		return LINK_NOTHING;
	case ACCOUNT_RESUME:
		link_resume(link);
		return LINK_NOTHING;
	case ACCOUNT_REVOKE:
	default:
		link->reason = (enum account_reason)message.argument;
		return LINK_REVOKED;
	}
}

static uint32_t *link_slot(struct link *link, uint32_t handle)
{
	for (size_t i = 0; i < POLICY_SLOTS_MAX; i++)
		if (link->sessions[i] == handle)
			return &link->sessions[i];
	return NULL;
}

int link_tell_session(struct link *link, enum account_type type, uint32_t handle)
{
	struct account_message message = account_message_new(type, 0);
	uint32_t *slot = handle != 0 ? link_slot(link, handle) : NULL;

	if (type != ACCOUNT_SESSION_END) {
		if (slot)
			*slot = 0;
	} else if (handle != 0 && !slot) {
		slot = link_slot(link, 0);
		if (slot)
			*slot = handle;
	}
	message.handle = handle;
	return link_tell(link, &message);
}

void link_refused(
	struct link *link, uint64_t now, uint32_t command, uint32_t code, const char *rule)
{
	struct account_message message = account_message_new(ACCOUNT_REFUSED, code);
	uint64_t earned = (now - link->refusals_at) / REFUSALS_REFILL_NS;

	if (earned > 0) {
		link->refusals = earned >= REFUSALS_BURST - link->refusals
					 ? REFUSALS_BURST
					 : link->refusals + (unsigned)earned;
		link->refusals_at = now;
	}
	message.values[0] = command;
	message.values[1] = link->untold;
	if (link->refusals == 0 || account_message_set_data(&message, rule, strlen(rule)) < 0 ||
		link_tell(link, &message) < 0) {
		link->untold++;
		return;
	}
	link->refusals--;
	link->untold = 0;
}
