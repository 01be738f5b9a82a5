#include "common/rm-protocol.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct rm_message rm_message_new(enum rm_type type, const char *text)
{
	struct rm_message message = {.magic = RM_MAGIC, .type = (uint32_t)type};

	if (text)
		snprintf(message.text, sizeof message.text, "%s", text);
	return message;
}

int rm_message_decode(const void *packet, size_t size, struct rm_message *ret_message)
{
	struct rm_message message;

	if (size != sizeof message)
		return -EBADMSG;
	memcpy(&message, packet, sizeof message);
	if (message.magic != RM_MAGIC || message.type < RM_READY || message.type > RM_CLEAN ||
		!memchr(message.text, '\0', sizeof message.text) ||
		(message.type != RM_FAILED && message.text[0] != '\0'))
		return -EBADMSG;
	*ret_message = message;
	return 0;
}
