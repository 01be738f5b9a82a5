#include "common/account-protocol.h"

#include <errno.h>
#include <string.h>

/* Which fields a message uses, and how far `argument` goes. All others must be 0. */
enum {
	HAS_SERIAL = 1,
	HAS_KIND = 2,
	HAS_HANDLE = 4,
	HAS_VALUES = 8,
	HAS_DATA = 16,
};

struct account_shape {
	uint32_t type;
	enum account_sender sender;
	unsigned fields;
	uint32_t argument_max;
};

static const struct account_shape shapes[] = {
	{ACCOUNT_READY, ACCOUNT_FROM_RELAY, 0, 0},
	{ACCOUNT_REVOKE, ACCOUNT_FROM_BROKER, 0, ACCOUNT_REASON_DEVICE_GONE},
	{ACCOUNT_REVOKED, ACCOUNT_FROM_RELAY, 0, 0},
	{ACCOUNT_CLOSED, ACCOUNT_FROM_RELAY, 0, 0},

	{ACCOUNT_DA_BEGIN, ACCOUNT_FROM_RELAY, HAS_SERIAL, 0},
	{ACCOUNT_TURN_BEGIN, ACCOUNT_FROM_RELAY, HAS_SERIAL, 1},
	{ACCOUNT_SESSION_BEGIN, ACCOUNT_FROM_RELAY, HAS_SERIAL | HAS_HANDLE, 0},
	{ACCOUNT_CLAIM, ACCOUNT_FROM_RELAY,
		HAS_SERIAL | HAS_KIND | HAS_HANDLE | HAS_VALUES | HAS_DATA, 0},
	{ACCOUNT_DROP, ACCOUNT_FROM_RELAY, HAS_SERIAL | HAS_KIND | HAS_HANDLE, 0},
	{ACCOUNT_CONFIRM, ACCOUNT_FROM_RELAY, HAS_SERIAL | HAS_KIND | HAS_HANDLE, 1},
	{ACCOUNT_LOOKUP, ACCOUNT_FROM_RELAY, HAS_SERIAL | HAS_KIND | HAS_HANDLE | HAS_DATA, 0},
	{ACCOUNT_CHARGE, ACCOUNT_FROM_RELAY, HAS_SERIAL, 0},
	{ACCOUNT_FLUSH_BEGIN, ACCOUNT_FROM_RELAY, HAS_SERIAL | HAS_HANDLE, 0},
	{ACCOUNT_ANSWER, ACCOUNT_FROM_BROKER, HAS_SERIAL | HAS_VALUES, ACCOUNT_RATE},

	{ACCOUNT_DA_END, ACCOUNT_FROM_RELAY, HAS_VALUES, 1},
	{ACCOUNT_TURN_END, ACCOUNT_FROM_RELAY, 0, 1},
	{ACCOUNT_SESSION_END, ACCOUNT_FROM_RELAY, HAS_HANDLE, 0},
	{ACCOUNT_SAVED, ACCOUNT_FROM_RELAY, HAS_HANDLE, 1},
	{ACCOUNT_GONE, ACCOUNT_FROM_RELAY, HAS_HANDLE, 0},
	{ACCOUNT_SAVES, ACCOUNT_FROM_RELAY, HAS_VALUES, UINT32_MAX},
	{ACCOUNT_REFUSED, ACCOUNT_FROM_RELAY, HAS_VALUES | HAS_DATA, UINT32_MAX},
	{ACCOUNT_STATE, ACCOUNT_FROM_RELAY, 0, ACCOUNT_HELD_ALL},
	{ACCOUNT_FAILED, ACCOUNT_FROM_RELAY, 0, ACCOUNT_FAILURE_HIERARCHY},
	{ACCOUNT_ABSENT, ACCOUNT_FROM_RELAY, HAS_KIND | HAS_HANDLE, 0},

	{ACCOUNT_FLUSH, ACCOUNT_FROM_BROKER, HAS_HANDLE, 0},
	{ACCOUNT_RESUME, ACCOUNT_FROM_BROKER, 0, 0},
};

struct account_message account_message_new(enum account_type type, uint32_t argument)
{
	return (struct account_message){
		.magic = ACCOUNT_MAGIC,
		.type = (uint32_t)type,
		.argument = argument,
	};
}

int account_message_set_data(struct account_message *message, const void *data, size_t size)
{
	if (size > sizeof message->data)
		return -EMSGSIZE;
	memset(message->data, 0, sizeof message->data);
	if (size > 0)
		memcpy(message->data, data, size);
	message->size = (uint32_t)size;
	return 0;
}

static const struct account_shape *account_shape(uint32_t type, enum account_sender sender)
{
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
		if (shapes[i].type == type && shapes[i].sender == sender)
			return &shapes[i];
	return NULL;
}

/* Whether MESSAGE leaves alone what SHAPE has no use for. */
static int account_fits(const struct account_message *message, const struct account_shape *shape)
{
	if (message->argument > shape->argument_max)
		return 0;
	if (!(shape->fields & HAS_SERIAL) != !message->serial)
		return 0; /* 0 is no serial number */
	if (shape->fields & HAS_KIND ? message->kind == 0 || message->kind > ACCOUNT_KIND_SEALED
				     : message->kind != 0)
		return 0;
	if (!(shape->fields & HAS_HANDLE) && message->handle != 0)
		return 0;
	if (!(shape->fields & HAS_VALUES) &&
		(message->values[0] | message->values[1] | message->values[2]) != 0)
		return 0;
	if (message->size > (shape->fields & HAS_DATA ? sizeof message->data : 0))
		return 0;
	for (size_t i = message->size; i < sizeof message->data; i++)
		if (message->data[i] != 0)
			return 0;
	return 1;
}

/* What there is a handle of has one, and what is told of it has a size. */
static int account_names_something(const struct account_message *message)
{
	if (message->kind == ACCOUNT_KIND_NONE)
		return 1;
	if ((message->kind == ACCOUNT_KIND_SEALED) != (message->handle == 0))
		return 0;
	if (message->kind == ACCOUNT_KIND_SEALED && message->type != ACCOUNT_CLAIM &&
		message->type != ACCOUNT_LOOKUP)
		return 0;
	return message->size > 0 || (message->type != ACCOUNT_CLAIM && message->handle != 0);
}

/* Handles are claimed where own ones are made. */
static int account_claims_in_range(const struct account_message *message)
{
	if (message->type != ACCOUNT_CLAIM || message->kind == ACCOUNT_KIND_SEALED)
		return 1;
	if (message->kind == ACCOUNT_KIND_NV)
		return message->handle >= ACCOUNT_NV_FIRST && message->handle <= ACCOUNT_NV_LAST;
	return message->handle >= ACCOUNT_PERSISTENT_FIRST &&
	       message->handle <= ACCOUNT_PERSISTENT_LAST;
}

int account_message_decode(const void *packet, size_t size, enum account_sender sender,
	struct account_message *ret_message)
{
	struct account_message message;
	const struct account_shape *shape;

	if (size != sizeof message)
		return -EBADMSG;
	memcpy(&message, packet, sizeof message);
	shape = account_shape(message.type, sender);
	if (message.magic != ACCOUNT_MAGIC || !shape || !account_fits(&message, shape) ||
		!account_names_something(&message) || !account_claims_in_range(&message))
		return -EBADMSG;
	if ((message.type == ACCOUNT_REVOKE || message.type == ACCOUNT_FAILED) &&
		message.argument == 0)
		return -EBADMSG;
	*ret_message = message;
	return 0;
}

int account_is_question(uint32_t type)
{
	return type >= ACCOUNT_DA_BEGIN && type <= ACCOUNT_FLUSH_BEGIN;
}
