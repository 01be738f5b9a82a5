/*
 * tpmgate_open() and brokers that are wrong, hostile, slow or not there.
 */
#include "client-scene.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- hostile brokers --------------------------------------------------------------------------
 */

static void test_reply_without_a_descriptor_is_an_error(void **state)
{
	(void)state;
	fake_broker_reply(&broker, PROTOCOL_OPEN, PROTOCOL_OK, "");
	assert_int_equal(open_once(), TPMGATE_E_PROTOCOL);
}

static void open_with_descriptors(size_t count)
{
	int peer = fake_broker_session(&broker, SOCK_STREAM);
	char byte;

	while (broker.fd_count < count)
		broker.fds[broker.fd_count++] = fcntl(broker.fds[0], F_DUPFD_CLOEXEC, 0);
	assert_int_equal(open_once(), TPMGATE_E_PROTOCOL);
	assert_int_equal(read(peer, &byte, 1), 0); /* nobody holds the other end */
	close(peer);
}

static void test_reply_with_two_descriptors_is_an_error(void **state)
{
	(void)state;
	open_with_descriptors(2);
}

static void test_reply_with_the_most_descriptors_is_an_error(void **state)
{
	(void)state;
	open_with_descriptors(FAKE_BROKER_FDS);
}

static void test_reply_with_another_kind_of_descriptor_is_an_error(void **state)
{
	int peer = fake_broker_session(&broker, SOCK_SEQPACKET);

	(void)state;
	assert_int_equal(open_once(), TPMGATE_E_PROTOCOL);
	close(peer);

	fake_broker_reply(&broker, PROTOCOL_OPEN, PROTOCOL_OK, "");
	broker.fds[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	broker.fd_count = 1;
	broker.served = 0;
	assert_int_equal(open_once(), TPMGATE_E_PROTOCOL);
}

static void test_nonce_with_a_descriptor_is_an_error(void **state)
{
	int peer = fake_broker_session(&broker, SOCK_STREAM);
	struct protocol_nonce nonce;

	(void)state;
	assert_int_equal(protocol_nonce_new(&nonce), 0);
	memcpy(broker.reply, &nonce, sizeof nonce);
	broker.reply_size = sizeof nonce;
	assert_int_equal(open_once(), TPMGATE_E_PROTOCOL);
	close(peer);
}

static void test_malformed_replies_are_errors(void **state)
{
	struct protocol_reply good = protocol_reply_new(PROTOCOL_OPEN, PROTOCOL_OK, "");
	struct {
		struct protocol_reply reply;
		size_t size;
	} rows[] = {
		{good, 1},                      /* shorter than a header */
		{good, sizeof good - 1},        /* cut */
		{good, sizeof good + 1},        /* longer than it says */
		{good, PROTOCOL_REPLY_MAX + 1}, /* longer than any */
		{good, sizeof good},            /* wrong magic */
		{good, sizeof good},            /* wrong length */
		{good, sizeof good},            /* unterminated message */
		{good, sizeof good},            /* items that are not there */
		{good, sizeof good},            /* items whose size wraps around */
		{good, sizeof good},            /* another request's */
		{good, PROTOCOL_REPLY_MAX + 1}, /* good but for bytes that do not fit */
	};

	(void)state;
	rows[4].reply.magic ^= 1;
	rows[5].reply.length++;
	memset(rows[6].reply.message, 'x', sizeof rows[6].reply.message);
	rows[7].reply.item_count = 1;
	rows[7].reply.item_size = 256;
	rows[8].reply.item_count = 0x10000;
	rows[8].reply.item_size = 0x10000;
	rows[9].reply.type = PROTOCOL_REVOKE;
	rows[10].reply.length = PROTOCOL_REPLY_MAX;
	rows[10].reply.item_count = 1;
	rows[10].reply.item_size = PROTOCOL_REPLY_MAX - sizeof good;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int peer = fake_broker_session(&broker, SOCK_STREAM);

		memset(broker.reply, 0, sizeof broker.reply);
		memcpy(broker.reply, &rows[i].reply, sizeof rows[i].reply);
		broker.reply_size = rows[i].size;
		broker.served = 0;
		assert_int_equal(open_once(), TPMGATE_E_PROTOCOL);
		close(peer);
	}
}

static void test_early_close_is_an_error(void **state)
{
	(void)state;
	broker.no_reply = true;
	assert_int_equal(open_once(), TPMGATE_E_PROTOCOL);
	assert_message("closed the connection");

	broker.skip_request = true;
	broker.served = 0;
	assert_int_equal(open_once(), TPMGATE_E_PROTOCOL);
	assert_message("closed the connection");
}

static void test_descriptor_that_does_not_fit_is_an_error(void **state)
{
	int peer = fake_broker_session(&broker, SOCK_STREAM);
	struct rlimit before;
	struct rlimit tight;
	int r;

	(void)state;
	/* room for both ends of the connection only */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	tight = before;
	tight.rlim_cur = 2 + (rlim_t)dup(0);
	close((int)tight.rlim_cur - 2);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	fake_broker_start(&broker);
	r = tpmgate_open(&options, &message);
	fake_broker_join(&broker);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(r, TPMGATE_E_FAILED);
	assert_message("too many open files");
	close(peer);
}

/* ---- no broker, no answer ---------------------------------------------------------------------
 */

static void test_missing_socket_is_no_broker(void **state)
{
	(void)state;
	options.socket = "/nonexistent/broker.sock";
	assert_int_equal(tpmgate_open(&options, &message), TPMGATE_E_NO_BROKER);
	assert_message("no tpmgate broker at /nonexistent/broker.sock: No such file");
}

static void test_socket_without_listener_is_no_broker(void **state)
{
	(void)state;
	shutdown(broker.listen_fd, SHUT_RDWR);
	assert_int_equal(tpmgate_open(&options, &message), TPMGATE_E_NO_BROKER);
	assert_message("Connection refused");
}

static void test_socket_of_another_type_is_a_protocol_error(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	snprintf(address.sun_path, sizeof address.sun_path, "%s/stream", broker.directory);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 1), 0);
	options.socket = address.sun_path;
	assert_int_equal(tpmgate_open(&options, &message), TPMGATE_E_PROTOCOL);
	options.socket = broker.path;
	unlink(address.sun_path);
	close(fd);
}

static long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void test_silent_broker_times_out(void **state)
{
	long before = now_us();

	(void)state;
	broker.silent = true;
	options.timeout_ms = 60;
	assert_int_equal(open_once(), TPMGATE_E_TIMEOUT);
	assert_in_range(now_us() - before, 60000, 5000000);
	assert_message("did not answer in time");
}

static void test_full_backlog_times_out(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int waiting[4];
	size_t count = 0;
	long before;

	(void)state;
	snprintf(address.sun_path, sizeof address.sun_path, "%s", broker.path);
	assert_int_equal(listen(broker.listen_fd, 0), 0);
	for (;;) {
		assert_in_range(count, 0, 3);
		waiting[count] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
		if (connect(waiting[count++], (struct sockaddr *)&address, sizeof address) < 0)
			break;
	}
	assert_int_equal(errno, EAGAIN);
	before = now_us();
	options.timeout_ms = 60;
	assert_int_equal(tpmgate_open(&options, &message), TPMGATE_E_TIMEOUT);
	assert_in_range(now_us() - before, 50000, 5000000);
	while (count > 0)
		close(waiting[--count]);
}

static void do_nothing(int number)
{
	(void)number;
}

static void test_signals_do_not_end_the_wait(void **state)
{
	struct sigaction action = {.sa_handler = do_nothing};
	struct itimerval often = {{0, 2000}, {0, 2000}};
	struct itimerval never = {{0, 0}, {0, 0}};
	long before = now_us();

	(void)state;
	broker.silent = true;
	options.timeout_ms = 60;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	assert_int_equal(open_once(), TPMGATE_E_TIMEOUT);
	setitimer(ITIMER_REAL, &never, NULL);
	assert_in_range(now_us() - before, 60000, 5000000);
}

#define TEST(function)                                                                             \
	cmocka_unit_test_setup_teardown(function, client_scene_setup, client_scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reply_without_a_descriptor_is_an_error),
		TEST(test_reply_with_two_descriptors_is_an_error),
		TEST(test_reply_with_the_most_descriptors_is_an_error),
		TEST(test_reply_with_another_kind_of_descriptor_is_an_error),
		TEST(test_nonce_with_a_descriptor_is_an_error),
		TEST(test_malformed_replies_are_errors),
		TEST(test_early_close_is_an_error),
		TEST(test_descriptor_that_does_not_fit_is_an_error),
		TEST(test_missing_socket_is_no_broker),
		TEST(test_socket_without_listener_is_no_broker),
		TEST(test_socket_of_another_type_is_a_protocol_error),
		TEST(test_silent_broker_times_out),
		TEST(test_full_backlog_times_out),
		TEST(test_signals_do_not_end_the_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
