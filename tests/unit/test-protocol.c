#include "common/protocol.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
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
	bad.flags = 2;
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
		cmocka_unit_test(test_reply_decode_items_must_fill_the_packet),
		cmocka_unit_test(test_reply_decode_message_must_end),
		cmocka_unit_test(test_nonce_is_random_and_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
