/*
 * The decoders of all socket protocols.
 */
#include "common/account-protocol.h"
#include "common/policy.h"
#include "common/protocol.h"
#include "common/rm-protocol.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct protocol_request request;
	struct protocol_adopt adopt;
	struct protocol_reply reply;
	struct protocol_nonce nonce;
	struct account_message message;
	struct rm_message told;
	struct policy_image image;
	const char *problem;
	const uint8_t *items;

	if (protocol_request_decode(data, size, &request, &problem) == PROTOCOL_OK &&
		(strlen(request.profiles) >= sizeof request.profiles ||
			strlen(request.device) >= sizeof request.device))
		abort();
	if (protocol_adopt_decode(data, size, &adopt, &problem) == PROTOCOL_OK &&
		(adopt.size > sizeof adopt.data ||
			adopt.kind != (uint32_t)protocol_handle_kind(adopt.handle) ||
			memcmp(data + sizeof request, &adopt, sizeof adopt) != 0))
		abort();
	if (protocol_reply_decode(data, size, sizeof(struct protocol_device), &reply, &items) ==
			0 &&
		(items + (size_t)reply.item_count * reply.item_size != data + size ||
			strlen(reply.message) >= sizeof reply.message))
		abort();
	protocol_nonce_decode(data, size, &nonce);
	account_message_decode(data, size, ACCOUNT_FROM_RELAY, &message);
	account_message_decode(data, size, ACCOUNT_FROM_BROKER, &message);
	if (rm_message_decode(data, size, &told) == 0 &&
		(size != sizeof told || strlen(told.text) >= sizeof told.text ||
			memcmp(data, &told, size) != 0))
		abort();
	if (size == sizeof image) {
		memcpy(&image, data, size);
		policy_image_check(&image);
	}
	return 0;
}
