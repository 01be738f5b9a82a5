#include "common/protocol.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <cmocka.h>

static enum protocol_status decode(const void *packet, size_t size)
{
	struct protocol_request request;
	const char *problem = NULL;
	enum protocol_status status = protocol_request_decode(packet, size, &request, &problem);

	if (status != PROTOCOL_OK)
		assert_non_null(problem);
	return status;
}

static void test_request_decode_accepts_what_new_makes(void **state)
{
	struct protocol_request request = protocol_request_new(PROTOCOL_OPEN);
	struct protocol_request decoded;
	const char *problem;

	(void)state;
	strcpy(request.profiles, "keys+attest");
	strcpy(request.device, "tpmrm0");
	request.flags = PROTOCOL_INTERACTIVE;
	assert_int_equal(
		protocol_request_decode(&request, sizeof request, &decoded, &problem), PROTOCOL_OK);
	assert_memory_equal(&request, &decoded, sizeof request);
}

static void test_request_decode_every_length_but_its_own_is_refused(void **state)
{
	struct protocol_request request = protocol_request_new(PROTOCOL_OPEN);
	uint8_t packet[2 * sizeof request] = {0};

	(void)state;
	memcpy(packet, &request, sizeof request);
	for (size_t size = 0; size <= sizeof packet; size++)
		assert_int_equal(decode(packet, size),
			size == sizeof request ? PROTOCOL_OK : PROTOCOL_BAD_REQUEST);
}

static void test_request_decode_unknown_version_is_told_apart(void **state)
{
	struct protocol_request request = protocol_request_new(PROTOCOL_OPEN);

	(void)state;
	request.version = PROTOCOL_VERSION + 1;
	assert_int_equal(decode(&request, sizeof request), PROTOCOL_BAD_VERSION);
	assert_int_equal(decode(&request, 8), PROTOCOL_BAD_VERSION); /* of any length */
	request.magic++;
	assert_int_equal(decode(&request, sizeof request), PROTOCOL_BAD_REQUEST);
}

static void test_request_decode_unclean_fields_are_refused(void **state)
{
	struct protocol_request good = protocol_request_new(PROTOCOL_OPEN);
	struct protocol_request bad;

	(void)state;
	bad = good;
	bad.flags = 4;
	assert_int_equal(decode(&bad, sizeof bad), PROTOCOL_BAD_REQUEST);
	bad = good;
	memset(bad.profiles, 'a', sizeof bad.profiles);
	assert_int_equal(decode(&bad, sizeof bad), PROTOCOL_BAD_REQUEST);
	bad = good;
	bad.profiles[3] = 'x'; /* after the NUL */
	assert_int_equal(decode(&bad, sizeof bad), PROTOCOL_BAD_REQUEST);
	bad = good;
	bad.device[0] = '\x1b';
	assert_int_equal(decode(&bad, sizeof bad), PROTOCOL_BAD_REQUEST);
	bad = good;
	bad.device[0] = '\xe2';
	assert_int_equal(decode(&bad, sizeof bad), PROTOCOL_BAD_REQUEST);
	bad = good;
	bad.length--;
	assert_int_equal(decode(&bad, sizeof bad), PROTOCOL_BAD_REQUEST);
}

/* ---- ADOPT ------------------------------------------------------------------------------------
 */

struct adopt_packet {
	struct protocol_request request;
	struct protocol_adopt adopt;
};

static struct adopt_packet adopt_packet(uint32_t kind, uint32_t handle)
{
	return (struct adopt_packet){
		.request = protocol_request_new(PROTOCOL_ADOPT),
		.adopt = {.uid = 1000, .kind = kind, .handle = handle, .size = 3, .data = "abc"},
	};
}

static enum protocol_status decode_adopt(const struct adopt_packet *packet)
{
	struct protocol_adopt adopt;
	const char *problem = NULL;
	enum protocol_status status;

	assert_int_equal(decode(packet, sizeof *packet), PROTOCOL_OK);
	status = protocol_adopt_decode(packet, sizeof *packet, &adopt, &problem);
	if (status == PROTOCOL_OK)
		assert_memory_equal(&adopt, &packet->adopt, sizeof adopt);
	else
		assert_non_null(problem);
	return status;
}

static void test_adopt_every_length_but_its_own_is_refused(void **state)
{
	struct adopt_packet packet = adopt_packet(PROTOCOL_KIND_NV, 0x01800001);
	uint8_t bytes[2 * sizeof packet] = {0};
	struct protocol_adopt adopt;
	const char *problem;

	(void)state;
	memcpy(bytes, &packet, sizeof packet);
	for (size_t size = 0; size <= sizeof bytes; size++) {
		assert_int_equal(decode(bytes, size),
			size == sizeof packet ? PROTOCOL_OK : PROTOCOL_BAD_REQUEST);
		assert_int_equal(protocol_adopt_decode(bytes, size, &adopt, &problem),
			size == sizeof packet ? PROTOCOL_OK : PROTOCOL_BAD_REQUEST);
	}
	/* the length in it counts both */
	packet.request.length = sizeof packet.request;
	assert_int_equal(decode(&packet, sizeof packet), PROTOCOL_BAD_REQUEST);
	assert_int_equal(decode(&packet, sizeof packet.request), PROTOCOL_BAD_REQUEST);
	/* and nothing follows any other request */
	packet = adopt_packet(PROTOCOL_KIND_NV, 0x01800001);
	for (uint16_t type = 0; type < 20; type++) {
		packet.request.type = type;
		assert_int_equal(decode(&packet, sizeof packet),
			type == PROTOCOL_ADOPT ? PROTOCOL_OK : PROTOCOL_BAD_REQUEST);
	}
}

static void test_adopt_handles_are_of_their_kind(void **state)
{
	static const struct {
		uint32_t handle;
		enum protocol_kind kind;
	} rows[] = {
		{0x00000000, PROTOCOL_KIND_NONE}, /* a PCR */
		{0x00ffffff, PROTOCOL_KIND_NONE},
		{0x01000000, PROTOCOL_KIND_NV},
		{0x01ffffff, PROTOCOL_KIND_NV},
		{0x02000000, PROTOCOL_KIND_NONE}, /* TPM sessions */
		{0x11000000, PROTOCOL_KIND_NONE}, /* external NV */
		{0x40000001, PROTOCOL_KIND_NONE}, /* the owner */
		{0x80000000, PROTOCOL_KIND_NONE}, /* a transient object */
		{0x80ffffff, PROTOCOL_KIND_NONE},
		{0x81000000, PROTOCOL_KIND_PERSISTENT},
		{0x817fffff, PROTOCOL_KIND_PERSISTENT},
		{0x81800000, PROTOCOL_KIND_NONE}, /* the platform's */
		{0x82000000, PROTOCOL_KIND_NONE},
		{0xffffffff, PROTOCOL_KIND_NONE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(protocol_handle_kind(rows[i].handle), rows[i].kind);
		for (uint32_t kind = 0; kind < 5; kind++) {
			struct adopt_packet packet = adopt_packet(kind, rows[i].handle);
			bool right = kind == rows[i].kind && kind != PROTOCOL_KIND_NONE;

			assert_int_equal(
				decode_adopt(&packet), right ? PROTOCOL_OK : PROTOCOL_BAD_REQUEST);
		}
	}
}

static void test_adopt_unclean_fields_are_refused(void **state)
{
	const struct adopt_packet good = adopt_packet(PROTOCOL_KIND_NV, 0x01800001);
	struct adopt_packet bad;

	(void)state;
	assert_int_equal(decode_adopt(&good), PROTOCOL_OK);
	bad = good;
	bad.adopt.uid = UINT32_MAX;
	assert_int_equal(decode_adopt(&bad), PROTOCOL_BAD_REQUEST);
	bad = good;
	bad.adopt.reserved = 1;
	assert_int_equal(decode_adopt(&bad), PROTOCOL_BAD_REQUEST);
	bad = good;
	bad.adopt.size = 0;
	assert_int_equal(decode_adopt(&bad), PROTOCOL_BAD_REQUEST);
	bad.adopt.size = sizeof bad.adopt.data + 1;
	assert_int_equal(decode_adopt(&bad), PROTOCOL_BAD_REQUEST);
	bad.adopt.size = UINT32_MAX;
	assert_int_equal(decode_adopt(&bad), PROTOCOL_BAD_REQUEST);
	bad.adopt.size = sizeof bad.adopt.data;
	assert_int_equal(decode_adopt(&bad), PROTOCOL_OK);
	bad = good;
	bad.adopt.data[sizeof bad.adopt.data - 1] = 1; /* after its size */
	assert_int_equal(decode_adopt(&bad), PROTOCOL_BAD_REQUEST);
	bad = good;
	bad.adopt.nv_size = UINT16_MAX;
	assert_int_equal(decode_adopt(&bad), PROTOCOL_OK);
	bad.adopt.nv_size++;
	assert_int_equal(decode_adopt(&bad), PROTOCOL_BAD_REQUEST);
	bad = adopt_packet(PROTOCOL_KIND_PERSISTENT, 0x81000001);
	bad.adopt.nv_size = 1;
	assert_int_equal(decode_adopt(&bad), PROTOCOL_BAD_REQUEST);
}

/* ---- replies ----------------------------------------------------------------------------------
 */

static void test_reply_decode_items_must_fill_the_packet(void **state)
{
	uint8_t packet[sizeof(struct protocol_reply) + 2 * sizeof(struct protocol_device)] = {0};
	struct protocol_reply reply = protocol_reply_new(PROTOCOL_DEVICES, PROTOCOL_OK, "");
	struct protocol_reply decoded;
	const uint8_t *items;

	(void)state;
	reply.item_count = 2;
	reply.item_size = sizeof(struct protocol_device);
	reply.length = sizeof packet;
	memcpy(packet, &reply, sizeof reply);
	assert_int_equal(protocol_reply_decode(packet, sizeof packet,
				 sizeof(struct protocol_device), &decoded, &items),
		0);
	assert_ptr_equal(items, packet + sizeof reply);
	/* items that are smaller than what the caller will read of them */
	assert_int_equal(protocol_reply_decode(packet, sizeof packet,
				 sizeof(struct protocol_device) + 1, &decoded, &items),
		-EBADMSG);
	/* a count whose product with the size wraps */
	reply.item_count = 0x80000000u;
	reply.item_size = 0x20000000u;
	memcpy(packet, &reply, sizeof reply);
	assert_int_equal(
		protocol_reply_decode(packet, sizeof packet, 1, &decoded, &items), -EBADMSG);
}

static void test_reply_decode_message_must_end(void **state)
{
	struct protocol_reply reply = protocol_reply_new(PROTOCOL_OPEN, PROTOCOL_DENIED, "no");
	struct protocol_reply decoded;
	const uint8_t *items;

	(void)state;
	assert_int_equal(protocol_reply_decode(&reply, sizeof reply, 0, &decoded, &items), 0);
	memset(reply.message, 'x', sizeof reply.message);
	assert_int_equal(
		protocol_reply_decode(&reply, sizeof reply, 0, &decoded, &items), -EBADMSG);
}

static void test_nonce_is_random_and_round(void **state)
{
	struct protocol_nonce a;
	struct protocol_nonce b;
	struct protocol_nonce decoded;

	(void)state;
	assert_int_equal(protocol_nonce_new(&a), 0);
	assert_int_equal(protocol_nonce_new(&b), 0);
	assert_memory_not_equal(a.nonce, b.nonce, sizeof a.nonce);
	assert_int_equal(protocol_nonce_decode(&a, sizeof a, &decoded), 0);
	assert_memory_equal(&a, &decoded, sizeof a);
	assert_int_equal(protocol_nonce_decode(&a, sizeof a - 1, &decoded), -EBADMSG);
	a.type = PROTOCOL_OPEN;
	assert_int_equal(protocol_nonce_decode(&a, sizeof a, &decoded), -EBADMSG);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_decode_accepts_what_new_makes),
		cmocka_unit_test(test_request_decode_every_length_but_its_own_is_refused),
		cmocka_unit_test(test_request_decode_unknown_version_is_told_apart),
		cmocka_unit_test(test_request_decode_unclean_fields_are_refused),
		cmocka_unit_test(test_adopt_every_length_but_its_own_is_refused),
		cmocka_unit_test(test_adopt_handles_are_of_their_kind),
		cmocka_unit_test(test_adopt_unclean_fields_are_refused),
		cmocka_unit_test(test_reply_decode_items_must_fill_the_packet),
		cmocka_unit_test(test_reply_decode_message_must_end),
		cmocka_unit_test(test_nonce_is_random_and_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
