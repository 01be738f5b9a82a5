/*
 * Conformance of the TCTI with the TSS 2.0 TCTI specification, case by case.
 */
#include "tcti-scene.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- transmit ---------------------------------------------------------------------------------
 */

static void test_transmit_checks_its_arguments(void **state)
{
	uint8_t command[4097] = {0x80, 0x01, 0x00, 0x00, 0x10, 0x01};
	char byte;

	(void)state;
	init();
	assert_int_equal(Tss2_Tcti_Transmit(context, 12, NULL), TSS2_TCTI_RC_BAD_REFERENCE);
	assert_int_equal(TSS2_TCTI_TRANSMIT(context)(NULL, sizeof get_random, get_random),
		TSS2_TCTI_RC_BAD_REFERENCE);
	/* sizes that are not the header's */
	assert_int_equal(Tss2_Tcti_Transmit(context, 11, get_random), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(Tss2_Tcti_Transmit(context, 0, get_random), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(Tss2_Tcti_Transmit(context, 9, get_random), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(Tss2_Tcti_Transmit(context, 13, command), TSS2_TCTI_RC_BAD_VALUE);
	/* 4097 bytes, as the header says, are too many */
	assert_int_equal(
		Tss2_Tcti_Transmit(context, sizeof command, command), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(recv(peer, &byte, 1, MSG_DONTWAIT), -1); /* nothing was sent */
	assert_works();
}

static void test_transmit_sends_the_largest_command(void **state)
{
	uint8_t command[4096] = {0x80, 0x01, 0x00, 0x00, 0x10, 0x00};
	uint8_t arrived[4097];

	(void)state;
	init();
	memset(command + 6, 0x5a, sizeof command - 6);
	assert_int_equal(Tss2_Tcti_Transmit(context, sizeof command, command), 0);
	assert_int_equal(recv(peer, arrived, sizeof arrived, 0), sizeof command);
	assert_memory_equal(arrived, command, sizeof command);
}

static void test_transmit_twice_is_a_bad_sequence(void **state)
{
	(void)state;
	init_and_transmit();
	assert_int_equal(Tss2_Tcti_Transmit(context, sizeof get_random, get_random),
		TSS2_TCTI_RC_BAD_SEQUENCE);
}

static void test_transmit_to_a_closed_session_is_no_connection(void **state)
{
	(void)state;
	init();
	close(peer);
	peer = -1;
	/* without SIGPIPE, which would end this program */
	assert_int_equal(Tss2_Tcti_Transmit(context, sizeof get_random, get_random),
		TSS2_TCTI_RC_NO_CONNECTION);
	assert_int_equal(Tss2_Tcti_Transmit(context, sizeof get_random, get_random),
		TSS2_TCTI_RC_NO_CONNECTION);
}

/* ---- receive ----------------------------------------------------------------------------------
 */

static void test_receive_checks_its_arguments(void **state)
{
	uint8_t response[100];
	size_t size = sizeof response;

	(void)state;
	init();
	assert_int_equal(receive(response, &size, 0), TSS2_TCTI_RC_BAD_SEQUENCE);
	assert_int_equal(Tss2_Tcti_Transmit(context, sizeof get_random, get_random), 0);
	answer(random_response, sizeof random_response);
	assert_int_equal(receive(response, NULL, 0), TSS2_TCTI_RC_BAD_REFERENCE);
	assert_int_equal(
		TSS2_TCTI_RECEIVE(context)(NULL, &size, response, 0), TSS2_TCTI_RC_BAD_REFERENCE);
	assert_int_equal(receive(response, &size, -2), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(receive(response, &size, INT32_MIN), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(receive(response, &size, 0), TSS2_RC_SUCCESS);
	assert_int_equal(size, sizeof random_response);
	assert_int_equal(receive(response, &size, 0), TSS2_TCTI_RC_BAD_SEQUENCE);
}

static void test_receive_without_a_buffer_gives_the_exact_size(void **state)
{
	uint8_t response[100];
	size_t size = 0;

	(void)state;
	init_and_transmit();
	answer(random_response, 10); /* the header is enough */
	for (unsigned i = 0; i < 2; i++) {
		size = 4096;
		assert_int_equal(receive(NULL, &size, 0), TSS2_RC_SUCCESS);
		assert_int_equal(size, sizeof random_response);
	}
	answer(random_response + 10, sizeof random_response - 10);
	assert_int_equal(receive(response, &size, 0), TSS2_RC_SUCCESS); /* of exactly that size */
	assert_int_equal(size, sizeof random_response);
	assert_memory_equal(response, random_response, size);
	assert_works();
}

static void test_receive_into_too_small_a_buffer_keeps_the_response(void **state)
{
	uint8_t response[100];
	size_t size;

	(void)state;
	init_and_transmit();
	answer(random_response, sizeof random_response);
	for (size = 0; size < sizeof random_response; size++) {
		size_t given = size;

		memset(response, 0xee, sizeof response);
		assert_int_equal(receive(response, &given, 0), TSS2_TCTI_RC_INSUFFICIENT_BUFFER);
		assert_int_equal(given, sizeof random_response);
		assert_int_equal(response[0], 0xee); /* nothing written */
	}
	assert_int_equal(receive(response, &size, 0), TSS2_RC_SUCCESS);
	assert_memory_equal(response, random_response, sizeof random_response);
}

static void test_receive_byte_by_byte_tries_again(void **state)
{
	uint8_t response[100];
	size_t size;

	(void)state;
	init_and_transmit();
	for (size_t i = 0; i < sizeof random_response; i++) {
		size = sizeof response;
		assert_int_equal(receive(response, &size, 0), TSS2_TCTI_RC_TRY_AGAIN);
		assert_int_equal(receive(response, &size, 1), TSS2_TCTI_RC_TRY_AGAIN);
		assert_int_equal(Tss2_Tcti_Transmit(context, sizeof get_random, get_random),
			TSS2_TCTI_RC_BAD_SEQUENCE); /* still waiting for the response */
		answer(random_response + i, 1);
	}
	assert_int_equal(receive(response, &size, 0), TSS2_RC_SUCCESS);
	assert_int_equal(size, sizeof random_response);
	assert_memory_equal(response, random_response, size);
	assert_works();
}

static void test_receive_size_query_tries_again(void **state)
{
	size_t size = 1;

	(void)state;
	init_and_transmit();
	answer(random_response, 9);
	assert_int_equal(receive(NULL, &size, 0), TSS2_TCTI_RC_TRY_AGAIN);
	assert_int_equal(size, 1);
	answer(random_response + 9, 1);
	assert_int_equal(receive(NULL, &size, 0), TSS2_RC_SUCCESS);
	assert_int_equal(size, sizeof random_response);
}

static void test_receive_waits_as_long_as_it_is_told(void **state)
{
	uint8_t response[100];
	size_t size = sizeof response;
	long before = now_us();

	(void)state;
	init_and_transmit();
	assert_int_equal(receive(response, &size, 60), TSS2_TCTI_RC_TRY_AGAIN);
	assert_in_range(now_us() - before, 60000, 5000000);
	answer(random_response, sizeof random_response);
	assert_int_equal(receive(response, &size, 60), TSS2_RC_SUCCESS);
}

/* Answers in three parts, each when the command or nothing more of the last part is to be read. */
static void *answer_in_parts(void *argument)
{
	uint8_t command[sizeof get_random];

	(void)argument;
	if (recv(peer, command, sizeof command, MSG_WAITALL) == sizeof command)
		for (size_t i = 0; i < sizeof random_response; i += 5) {
			size_t left = sizeof random_response - i;

			send(peer, random_response + i, left < 5 ? left : 5, MSG_NOSIGNAL);
			sched_yield();
		}
	return NULL;
}

static void test_receive_blocks_until_all_is_there(void **state)
{
	uint8_t response[100];
	size_t size = sizeof response;
	pthread_t thread;
	TSS2_RC rc;

	(void)state;
	init();
	assert_int_equal(pthread_create(&thread, NULL, answer_in_parts, NULL), 0);
	rc = Tss2_Tcti_Transmit(context, sizeof get_random, get_random);
	if (rc == TSS2_RC_SUCCESS)
		rc = receive(response, &size, TSS2_TCTI_TIMEOUT_BLOCK);
	pthread_join(thread, NULL);
	assert_int_equal(rc, TSS2_RC_SUCCESS);
	assert_int_equal(size, sizeof random_response);
	assert_memory_equal(response, random_response, size);
}

static void test_receive_leaves_what_comes_after(void **state)
{
	uint8_t response[100];
	size_t size = sizeof response;

	(void)state;
	init_and_transmit();
	answer(random_response, sizeof random_response);
	answer(random_response, sizeof random_response);
	assert_int_equal(receive(response, &size, 0), TSS2_RC_SUCCESS);
	assert_int_equal(size, sizeof random_response);
	assert_int_equal(receive(response, &size, 0), TSS2_TCTI_RC_BAD_SEQUENCE);
}

static void test_receive_the_largest_response(void **state)
{
	uint8_t sent[4096] = {0x80, 0x01, 0x00, 0x00, 0x10, 0x00};
	uint8_t response[4096];
	size_t size = sizeof response;

	(void)state;
	memset(sent + 6, 0xa5, sizeof sent - 6);
	init_and_transmit();
	answer(sent, sizeof sent);
	assert_int_equal(receive(response, &size, TSS2_TCTI_TIMEOUT_BLOCK), TSS2_RC_SUCCESS);
	assert_int_equal(size, sizeof sent);
	assert_memory_equal(response, sent, sizeof sent);
}

static void test_impossible_response_sizes_break_the_session(void **state)
{
	static const uint8_t sizes[][4] = {
		{0, 0, 0, 0},
		{0, 0, 0, 9},       /* smaller than a header */
		{0, 0, 0x10, 0x01}, /* 4097 */
		{0x80, 0, 0, 0x0a},
		{0xff, 0xff, 0xff, 0xff},
	};

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		uint8_t header[10] = {0x80, 0x01};
		uint8_t response[100];
		size_t size = sizeof response;

		memcpy(header + 2, sizes[i], 4);
		init_and_transmit();
		answer(header, sizeof header);
		assert_int_equal(receive(response, &size, 0), TSS2_TCTI_RC_MALFORMED_RESPONSE);
		assert_int_equal(receive(response, &size, 0), TSS2_TCTI_RC_NO_CONNECTION);
		assert_int_equal(Tss2_Tcti_Transmit(context, sizeof get_random, get_random),
			TSS2_TCTI_RC_NO_CONNECTION);
		Tss2_Tcti_Finalize(context);
		close(peer);
		peer = -1;
	}
}

static void test_end_of_the_session_is_no_connection(void **state)
{
	(void)state;
	for (size_t sent = 0; sent < sizeof random_response; sent++) {
		uint8_t response[100];
		size_t size = sizeof response;

		init_and_transmit();
		if (sent > 0)
			answer(random_response, sent);
		close(peer);
		peer = -1;
		assert_int_equal(receive(response, &size, -1), TSS2_TCTI_RC_NO_CONNECTION);
		assert_int_equal(receive(NULL, &size, -1), TSS2_TCTI_RC_NO_CONNECTION);
		Tss2_Tcti_Finalize(context);
	}
}

static void test_error_of_the_descriptor_is_an_io_error(void **state)
{
	TSS2_TCTI_POLL_HANDLE handle = {.fd = -1};
	uint8_t response[100];
	size_t count = 1;
	size_t size = sizeof response;
	int kept;

	(void)state;
	init_and_transmit();
	assert_int_equal(Tss2_Tcti_GetPollHandles(context, &handle, &count), 0);
	kept = dup(handle.fd);
	close(handle.fd); /* behind its back */
	assert_int_equal(receive(response, &size, 0), TSS2_TCTI_RC_IO_ERROR);
	assert_int_equal(dup2(kept, handle.fd), handle.fd);
	close(kept);
	assert_int_equal(receive(response, &size, 0), TSS2_TCTI_RC_NO_CONNECTION);
}

static void test_non_blocking_descriptor_works(void **state)
{
	TSS2_TCTI_POLL_HANDLE handle = {.fd = -1};
	size_t count = 1;

	(void)state;
	init();
	assert_int_equal(Tss2_Tcti_GetPollHandles(context, &handle, &count), 0);
	assert_int_equal(fcntl(handle.fd, F_SETFL, O_NONBLOCK), 0);
	assert_works();
}

/* ---- the other calls --------------------------------------------------------------------------
 */

static void test_poll_handles(void **state)
{
	TSS2_TCTI_POLL_HANDLE handles[2] = {{.fd = -7}, {.fd = -7}};
	size_t count = 9;

	(void)state;
	init_and_transmit();
	assert_int_equal(
		Tss2_Tcti_GetPollHandles(context, handles, NULL), TSS2_TCTI_RC_BAD_REFERENCE);
	assert_int_equal(TSS2_TCTI_GET_POLL_HANDLES(context)(NULL, handles, &count),
		TSS2_TCTI_RC_BAD_REFERENCE);
	assert_int_equal(Tss2_Tcti_GetPollHandles(context, NULL, &count), TSS2_RC_SUCCESS);
	assert_int_equal(count, 1);
	count = 0;
	assert_int_equal(Tss2_Tcti_GetPollHandles(context, handles, &count),
		TSS2_TCTI_RC_INSUFFICIENT_BUFFER);
	assert_int_equal(count, 1);
	assert_int_equal(handles[0].fd, -7);
	count = 2;
	assert_int_equal(Tss2_Tcti_GetPollHandles(context, handles, &count), TSS2_RC_SUCCESS);
	assert_int_equal(count, 1);
	assert_true(handles[0].fd >= 0);
	assert_int_equal(handles[0].events, POLLIN);
	assert_int_equal(handles[1].fd, -7);

	assert_int_equal(poll(handles, 1, 0), 0);
	answer(random_response, sizeof random_response);
	assert_int_equal(poll(handles, 1, 1000), 1);
	assert_int_equal(handles[0].revents, POLLIN);
}

static void test_what_is_not_offered(void **state)
{
	TPM2_HANDLE handle = 0x80000000;

	(void)state;
	init();
	assert_int_equal(Tss2_Tcti_Cancel(context), TSS2_TCTI_RC_NOT_IMPLEMENTED);
	assert_int_equal(Tss2_Tcti_SetLocality(context, 0), TSS2_TCTI_RC_NOT_IMPLEMENTED);
	assert_int_equal(Tss2_Tcti_MakeSticky(context, &handle, 1), TSS2_TCTI_RC_NOT_IMPLEMENTED);
	assert_int_equal(TSS2_TCTI_CANCEL(context)(NULL), TSS2_TCTI_RC_BAD_REFERENCE);
	assert_int_equal(TSS2_TCTI_SET_LOCALITY(context)(NULL, 0), TSS2_TCTI_RC_BAD_REFERENCE);
	assert_int_equal(
		TSS2_TCTI_MAKE_STICKY(context)(NULL, &handle, 1), TSS2_TCTI_RC_BAD_REFERENCE);
	assert_works();
}

static void assert_bad_context(void)
{
	TSS2_TCTI_POLL_HANDLE handle = {.fd = -1};
	uint8_t response[100];
	size_t size = sizeof response;

	assert_int_equal(Tss2_Tcti_Transmit(context, sizeof get_random, get_random),
		TSS2_TCTI_RC_BAD_CONTEXT);
	assert_int_equal(receive(response, &size, 0), TSS2_TCTI_RC_BAD_CONTEXT);
	assert_int_equal(Tss2_Tcti_Cancel(context), TSS2_TCTI_RC_BAD_CONTEXT);
	assert_int_equal(Tss2_Tcti_SetLocality(context, 0), TSS2_TCTI_RC_BAD_CONTEXT);
	assert_int_equal(
		Tss2_Tcti_GetPollHandles(context, &handle, &size), TSS2_TCTI_RC_BAD_CONTEXT);
	Tss2_Tcti_Finalize(context);
}

static void test_foreign_context_is_a_bad_context(void **state)
{
	(void)state;
	init();
	TSS2_TCTI_MAGIC(context) ^= 1;
	assert_bad_context();
	TSS2_TCTI_MAGIC(context) ^= 1;
	TSS2_TCTI_VERSION(context) = 1;
	assert_bad_context();
	TSS2_TCTI_VERSION(context) = 2;
	assert_works(); /* finalize has not touched it */
}

static void test_finalize_is_idempotent(void **state)
{
	uint8_t response[100];
	size_t size = sizeof response;
	char byte;

	(void)state;
	init();
	TSS2_TCTI_FINALIZE(context)(NULL);
	Tss2_Tcti_Finalize(context);
	assert_int_equal(read(peer, &byte, 1), 0); /* the session is closed */

	/* The number may belong to somebody else by now. */
	close(peer);
	peer = dup(0);
	Tss2_Tcti_Finalize(context);
	Tss2_Tcti_Finalize(context);
	assert_true(fcntl(peer, F_GETFD) >= 0);

	assert_int_equal(Tss2_Tcti_Transmit(context, sizeof get_random, get_random),
		TSS2_TCTI_RC_BAD_SEQUENCE);
	assert_int_equal(receive(response, &size, 0), TSS2_TCTI_RC_BAD_SEQUENCE);
	assert_int_equal(Tss2_Tcti_GetPollHandles(context, NULL, &size), TSS2_TCTI_RC_BAD_SEQUENCE);
}

static void test_two_contexts_are_independent(void **state)
{
	TSS2_TCTI_CONTEXT *first = context;
	int first_peer;

	(void)state;
	init();
	first_peer = peer;
	context = calloc(1, context_size);
	assert_non_null(context);
	init();
	assert_works();
	Tss2_Tcti_Finalize(context);
	free(context);
	close(peer);
	context = first;
	peer = first_peer;
	assert_works();
}

#define TEST(function)                                                                             \
	cmocka_unit_test_setup_teardown(function, tcti_scene_setup, tcti_scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_transmit_checks_its_arguments),
		TEST(test_transmit_sends_the_largest_command),
		TEST(test_transmit_twice_is_a_bad_sequence),
		TEST(test_transmit_to_a_closed_session_is_no_connection),
		TEST(test_receive_checks_its_arguments),
		TEST(test_receive_without_a_buffer_gives_the_exact_size),
		TEST(test_receive_into_too_small_a_buffer_keeps_the_response),
		TEST(test_receive_byte_by_byte_tries_again),
		TEST(test_receive_size_query_tries_again),
		TEST(test_receive_waits_as_long_as_it_is_told),
		TEST(test_receive_blocks_until_all_is_there),
		TEST(test_receive_leaves_what_comes_after),
		TEST(test_receive_the_largest_response),
		TEST(test_impossible_response_sizes_break_the_session),
		TEST(test_end_of_the_session_is_no_connection),
		TEST(test_error_of_the_descriptor_is_an_io_error),
		TEST(test_non_blocking_descriptor_works),
		TEST(test_poll_handles),
		TEST(test_what_is_not_offered),
		TEST(test_foreign_context_is_a_bad_context),
		TEST(test_finalize_is_idempotent),
		TEST(test_two_contexts_are_independent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
