#include "common/account-protocol.h"

#include <errno.h>
#include <string.h>

struct account_message account_message_new(enum account_type type, uint32_t argument)
{
	return (struct account_message){
		.magic = ACCOUNT_MAGIC,
		.type = (uint32_t)type,
		.argument = argument,
	};
}

int account_message_decode(const void *packet, size_t size, struct account_message *ret_message)
{
	struct account_message message;

	if (size != sizeof message)
		return -EBADMSG;
	memcpy(&message, packet, sizeof message);
	if (message.magic != ACCOUNT_MAGIC || message.reserved != 0)
		return -EBADMSG;
	switch (message.type) {
	case ACCOUNT_READY:
	case ACCOUNT_REVOKED:
		if (message.argument != 0)
			return -EBADMSG;
		break;
	case ACCOUNT_REVOKE:
		if (message.argument != ACCOUNT_REASON_REVOKED &&
			message.argument != ACCOUNT_REASON_DEVICE_GONE)
			return -EBADMSG;
		break;
	default:
		return -EBADMSG;
	}
	*ret_message = message;
	return 0;
}
