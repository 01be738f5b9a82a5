/*
 * `tpmgate stdio`, as the cmd TCTI or ssh runs it: the bytes, and every way to end.
 */
#include "cli-scene.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const uint8_t command[] = {
	0x80, 0x01,             /* TPM_ST_NO_SESSIONS */
	0x00, 0x00, 0x00, 0x0c, /* size: 12 */
	0x00, 0x00, 0x01, 0x7b, /* TPM_CC_GetRandom */
	0x00, 0x02,             /* bytesRequested */
};

static const uint8_t response[] = {
	0x80, 0x01,             /* TPM_ST_NO_SESSIONS */
	0x00, 0x00, 0x00, 0x0a, /* size: 10 */
	0x00, 0x0b, 0x01, 0x20, /* refused */
};

/* A running `tpmgate stdio`. Returns the other end of its session. */
static int start_stdio(void)
{
	char *list[] = {(char[]){"tpmgate"}, (char[]){"stdio"}, NULL};
	int peer = fake_broker_session(&broker, SOCK_STREAM);

	fake_broker_start(&broker);
	start(list);
	fake_broker_join(&broker);
	return peer;
}

static void give(int fd, const void *bytes, size_t size)
{
	assert_int_equal(write(fd, bytes, size), size);
}

/* Reads exactly BYTES, and waits for them. */
static void expect(int fd, const void *bytes, size_t size)
{
	uint8_t got[8192];
	size_t used = 0;

	while (used < size) {
		ssize_t r = read(fd, got + used, size - used);

		assert_true(r > 0);
		used += (size_t)r;
	}
	assert_memory_equal(got, bytes, size);
}

static bool is_readable(int fd, int timeout_ms)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	return poll(&poll_fd, 1, timeout_ms) == 1;
}

static void test_stdio_carries_commands_and_responses(void **state)
{
	int peer = start_stdio();

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		give(cli.in, command, sizeof command);
		expect(peer, command, sizeof command);
		give(peer, response, sizeof response);
		expect(cli.out, response, sizeof response);
	}
	close_stream(&cli.in);
	assert_int_equal(finish(), 0);
	assert_int_equal(cli.out_size, 0); /* nothing but TPM bytes */
	assert_string_equal(cli.err_text, "");
	assert_true(is_readable(peer, 0)); /* its end */
	close(peer);
}

static void test_stdio_puts_parts_together(void **state)
{
	int peer = start_stdio();
	uint8_t large[4096] = {0x80, 0x01, 0x00, 0x00, 0x10, 0x00};

	(void)state;
	for (size_t i = 0; i < sizeof command; i++)
		give(cli.in, command + i, 1);
	expect(peer, command, sizeof command);
	for (size_t i = 0; i < sizeof response; i++)
		give(peer, response + i, 1);
	expect(cli.out, response, sizeof response);

	give(cli.in, large, sizeof large);
	expect(peer, large, sizeof large);
	give(peer, large, sizeof large);
	expect(cli.out, large, sizeof large);
	close_stream(&cli.in);
	assert_int_equal(finish(), 0);
	close(peer);
}

static void test_stdio_sends_one_command_at_a_time(void **state)
{
	int peer = start_stdio();
	uint8_t two[2 * sizeof command];

	(void)state;
	memcpy(two, command, sizeof command);
	memcpy(two + sizeof command, command, sizeof command);
	give(cli.in, two, sizeof two);
	close_stream(&cli.in);
	expect(peer, command, sizeof command);
	assert_false(is_readable(peer, 50)); /* before the response nothing more */
	give(peer, response, sizeof response);
	expect(peer, command, sizeof command);
	give(peer, response, sizeof response);
	expect(cli.out, response, sizeof response);
	expect(cli.out, response, sizeof response);
	assert_int_equal(finish(), 0);
	close(peer);
}

static void test_stdio_waits_for_the_response_at_the_end_of_input(void **state)
{
	int peer = start_stdio();

	(void)state;
	give(cli.in, command, sizeof command);
	close_stream(&cli.in);
	expect(peer, command, sizeof command);
	assert_false(is_readable(cli.out, 50));
	give(peer, response, sizeof response);
	expect(cli.out, response, sizeof response);
	assert_int_equal(finish(), 0);
	close(peer);
}

static void test_stdio_with_non_blocking_streams(void **state)
{
	int peer;

	(void)state;
	non_blocking = O_NONBLOCK;
	peer = start_stdio();
	non_blocking = 0;
	give(cli.in, command, 5);
	give(cli.in, command + 5, sizeof command - 5);
	expect(peer, command, sizeof command);
	give(peer, response, sizeof response);
	expect(cli.out, response, sizeof response);
	close_stream(&cli.in);
	assert_int_equal(finish(), 0);
	close(peer);
}

static void test_stdio_refuses_what_is_no_command(void **state)
{
	int peer = start_stdio();

	(void)state;
	give(cli.in, "GET / HTTP/1.1\r\n\r\n", 18);
	assert_int_equal(finish(), 1);
	assert_int_equal(cli.out_size, 0);
	assert_string_equal(
		cli.err_text, "tpmgate: what is on standard input is not a TPM command\n");
	close(peer);
}

static void test_stdio_reports_half_a_command(void **state)
{
	int peer = start_stdio();

	(void)state;
	give(cli.in, command, 11);
	close_stream(&cli.in);
	assert_int_equal(finish(), 1);
	assert_string_equal(cli.err_text, "tpmgate: standard input ended within a command\n");
	close(peer);
}

static void test_stdio_reports_the_end_of_the_session(void **state)
{
	int peer = start_stdio();

	(void)state;
	give(cli.in, command, sizeof command);
	expect(peer, command, sizeof command);
	close(peer);
	assert_int_equal(finish(), 1);
	assert_string_equal(cli.err_text, "tpmgate: the session has ended\n");

	broker.served = 0;
	peer = start_stdio();
	close(peer); /* before there is a command: not killed by SIGPIPE */
	give(cli.in, command, sizeof command);
	assert_int_equal(finish(), 1);
	assert_string_equal(cli.err_text, "tpmgate: the session has ended\n");
}

static void test_stdio_ends_when_nobody_reads(void **state)
{
	int peer = start_stdio();
	uint8_t byte;

	(void)state;
	give(cli.in, command, sizeof command);
	expect(peer, command, sizeof command);
	give(peer, response, sizeof response);
	expect(cli.out, response, sizeof response);
	close_stream(&cli.out); /* while it waits for a command */
	assert_int_equal(read(peer, &byte, 1), 0);
	assert_int_equal(finish(), 0);
	assert_string_equal(cli.err_text, "");
	close(peer);

	broker.served = 0;
	peer = start_stdio();
	give(cli.in, command, sizeof command);
	expect(peer, command, sizeof command);
	close_stream(&cli.out); /* while it waits for a response: not killed by SIGPIPE */
	assert_int_equal(read(peer, &byte, 1), 0);
	assert_int_equal(finish(), 1);
	close(peer);
}

static void test_stdio_ends_by_sigterm(void **state)
{
	int peer = start_stdio();
	uint8_t byte;

	(void)state;
	give(cli.in, command, sizeof command);
	expect(peer, command, sizeof command);
	assert_int_equal(kill(cli.pid, SIGTERM), 0);
	assert_int_equal(read(peer, &byte, 1), 0); /* the session is closed */
	assert_int_equal(finish(), -SIGTERM);
	close(peer);
}

#define TEST(function)                                                                             \
	cmocka_unit_test_setup_teardown(function, cli_scene_setup, cli_scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stdio_carries_commands_and_responses),
		TEST(test_stdio_puts_parts_together),
		TEST(test_stdio_sends_one_command_at_a_time),
		TEST(test_stdio_waits_for_the_response_at_the_end_of_input),
		TEST(test_stdio_with_non_blocking_streams),
		TEST(test_stdio_refuses_what_is_no_command),
		TEST(test_stdio_reports_half_a_command),
		TEST(test_stdio_reports_the_end_of_the_session),
		TEST(test_stdio_ends_when_nobody_reads),
		TEST(test_stdio_ends_by_sigterm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
