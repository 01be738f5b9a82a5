#include "common/protocol.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* Bytes of a packet of TYPE. */
static size_t protocol_request_size(uint32_t type)
{
	return sizeof(struct protocol_request) +
	       (type == PROTOCOL_ADOPT ? sizeof(struct protocol_adopt) : 0);
}

struct protocol_request protocol_request_new(enum protocol_type type)
{
	return (struct protocol_request){
		.magic = PROTOCOL_MAGIC,
		.version = PROTOCOL_VERSION,
		.type = (uint16_t)type,
		.length = (uint32_t)protocol_request_size(type),
	};
}

struct protocol_reply protocol_reply_new(
	uint32_t type, enum protocol_status status, const char *message)
{
	struct protocol_reply reply = {
		.magic = PROTOCOL_MAGIC,
		.version = PROTOCOL_VERSION,
		.type = (uint16_t)type,
		.length = sizeof reply,
		.status = (uint32_t)status,
		.version_min = PROTOCOL_VERSION,
		.version_max = PROTOCOL_VERSION,
	};

	snprintf(reply.message, sizeof reply.message, "%s", message);
	return reply;
}

int protocol_nonce_new(struct protocol_nonce *ret_nonce)
{
	struct protocol_nonce nonce = {
		.magic = PROTOCOL_MAGIC,
		.version = PROTOCOL_VERSION,
		.type = PROTOCOL_NONCE,
		.length = sizeof nonce,
	};
	ssize_t got = getrandom(nonce.nonce, sizeof nonce.nonce, 0);

	if (got != (ssize_t)sizeof nonce.nonce)
		return got < 0 ? -errno : -EIO;
	*ret_nonce = nonce;
	return 0;
}

/* Printable ASCII, a NUL, and nothing but zeros after it: no bytes that nobody looked at. */
static bool text_is_clean(const char *field, size_t size)
{
	size_t length = strnlen(field, size);

	if (length == size)
		return false;
	for (size_t i = 0; i < length; i++)
		if (field[i] <= ' ' || field[i] > '~')
			return false;
	for (size_t i = length; i < size; i++)
		if (field[i] != '\0')
			return false;
	return true;
}

enum protocol_status protocol_request_decode(const void *packet, size_t size,
	struct protocol_request *ret_request, const char **ret_problem)
{
	struct protocol_request request;

	/* Magic and version come first in every version of the protocol. */
	if (size < offsetof(struct protocol_request, type)) {
		*ret_problem = "the packet is shorter than a header";
		return PROTOCOL_BAD_REQUEST;
	}
	memset(&request, 0, sizeof request);
	memcpy(&request, packet, size < sizeof request ? size : sizeof request);
	if (request.magic != PROTOCOL_MAGIC) {
		*ret_problem = "the packet does not start with the magic number";
		return PROTOCOL_BAD_REQUEST;
	}
	if (request.version != PROTOCOL_VERSION) {
		*ret_problem = "the version is not spoken";
		return PROTOCOL_BAD_VERSION;
	}
	if (size != protocol_request_size(request.type) || request.length != size) {
		*ret_problem = "the packet has the wrong length";
		return PROTOCOL_BAD_REQUEST;
	}
	if (request.flags & ~(uint32_t)PROTOCOL_FLAGS_ALL) {
		*ret_problem = "unknown flags are set";
		return PROTOCOL_BAD_REQUEST;
	}
	if (!text_is_clean(request.profiles, sizeof request.profiles) ||
		!text_is_clean(request.device, sizeof request.device)) {
		*ret_problem = "a text is not printable ASCII filled up with zeros";
		return PROTOCOL_BAD_REQUEST;
	}
	*ret_request = request;
	return PROTOCOL_OK;
}

enum protocol_kind protocol_handle_kind(uint32_t handle)
{
	/* TPM_HT_NV_INDEX and TPM_HT_PERSISTENT (Part 2, section 7.2); the upper half of the
	 * persistent handles is the platform's */
	if (handle >> 24 == 0x01)
		return PROTOCOL_KIND_NV;
	return handle >> 23 == 0x81000000u >> 23 ? PROTOCOL_KIND_PERSISTENT : PROTOCOL_KIND_NONE;
}

enum protocol_status protocol_adopt_decode(
	const void *packet, size_t size, struct protocol_adopt *ret_adopt, const char **ret_problem)
{
	struct protocol_adopt adopt;

	if (size != sizeof(struct protocol_request) + sizeof adopt) {
		*ret_problem = "the packet has the wrong length";
		return PROTOCOL_BAD_REQUEST;
	}
	memcpy(&adopt, (const uint8_t *)packet + sizeof(struct protocol_request), sizeof adopt);
	if (adopt.uid == UINT32_MAX) {
		*ret_problem = "the uid is nobody's";
		return PROTOCOL_BAD_REQUEST;
	}
	if (adopt.kind == PROTOCOL_KIND_NONE || adopt.kind != protocol_handle_kind(adopt.handle)) {
		*ret_problem = "the handle is none that can be adopted, or of another kind";
		return PROTOCOL_BAD_REQUEST;
	}
	/* an NV index's size is a UINT16 (Part 2, section 13.5) */
	if (adopt.reserved != 0 ||
		adopt.nv_size > (adopt.kind == PROTOCOL_KIND_NV ? UINT16_MAX : 0u)) {
		*ret_problem = "a field that this kind does not use is not zero";
		return PROTOCOL_BAD_REQUEST;
	}
	if (adopt.size == 0 || adopt.size > sizeof adopt.data) {
		*ret_problem = "the public area has an impossible size";
		return PROTOCOL_BAD_REQUEST;
	}
	for (size_t i = adopt.size; i < sizeof adopt.data; i++) {
		if (adopt.data[i] != 0) {
			*ret_problem = "something follows the public area";
			return PROTOCOL_BAD_REQUEST;
		}
	}
	*ret_adopt = adopt;
	return PROTOCOL_OK;
}

int protocol_reply_decode(const void *packet, size_t size, size_t item_size,
	struct protocol_reply *ret_reply, const uint8_t **ret_items)
{
	struct protocol_reply reply;

	if (size < sizeof reply || size > PROTOCOL_REPLY_MAX)
		return -EBADMSG;
	memcpy(&reply, packet, sizeof reply);
	if (reply.magic != PROTOCOL_MAGIC || reply.length != size)
		return -EBADMSG;
	if (memchr(reply.message, '\0', sizeof reply.message) == NULL)
		return -EBADMSG;
	if (reply.item_count > 0 && reply.item_size < item_size)
		return -EBADMSG;
	if ((uint64_t)reply.item_count * reply.item_size != size - sizeof reply)
		return -EBADMSG;
	*ret_reply = reply;
	*ret_items = (const uint8_t *)packet + sizeof reply;
	return 0;
}

int protocol_nonce_decode(const void *packet, size_t size, struct protocol_nonce *ret_nonce)
{
	struct protocol_nonce nonce;

	if (size != sizeof nonce)
		return -EBADMSG;
	memcpy(&nonce, packet, sizeof nonce);
	if (nonce.magic != PROTOCOL_MAGIC || nonce.version != PROTOCOL_VERSION ||
		nonce.type != PROTOCOL_NONCE || nonce.length != sizeof nonce)
		return -EBADMSG;
	*ret_nonce = nonce;
	return 0;
}
