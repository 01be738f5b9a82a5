/*
 * tpmgate_open() against brokers that are right, wrong, slow and hostile. Every test also shows
 * that no descriptor is left open.
 */
#include "client/tpmgate.h"
#include "fake-broker.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static struct fake_broker broker;
static struct tpmgate_options options;
static struct tpmgate_message message;
static size_t fds_before;

static int setup(void **state)
{
	(void)state;
	unsetenv("TPMGATE_SOCKET");
	unsetenv("TPMGATE_PROFILES");
	fds_before = fake_broker_count_fds();
	fake_broker_init(&broker);
	options = (struct tpmgate_options){.size = sizeof options, .socket = broker.path};
	memset(&message, 'x', sizeof message);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_broker_done(&broker);
	assert_int_equal(fake_broker_count_fds(), fds_before);
	return 0;
}

/* The scripted broker answers one tpmgate_open(). */
static int open_once(void)
{
	fake_broker_start(&broker);

	int r = tpmgate_open(&options, &message);

	fake_broker_join(&broker);
	assert_non_null(memchr(message.text, '\0', sizeof message.text));
	if (r < 0)
		assert_true(strlen(message.text) > 10);
	return r;
}

static void assert_message(const char *part)
{
	if (!strstr(message.text, part))
		fail_msg("\"%s\" is not in \"%s\"", part, message.text);
}

/* ---- a session --------------------------------------------------------------------------------
 */

static void test_open_gives_a_stream_that_works(void **state)
{
	int peer = fake_broker_session(&broker, SOCK_STREAM);
	int type = 0;
	socklen_t size = sizeof type;
	char bytes[4];
	int fd;

	(void)state;
	options.profiles = "keys+attest";
	options.device = "tpmrm1";
	options.interactive = 1;
	fd = open_once();
	assert_true(fd > 2);
	assert_string_equal(message.text, "");
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size), 0);
	assert_int_equal(type, SOCK_STREAM);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(fd, "ping", 4), 4);
	assert_int_equal(read(peer, bytes, sizeof bytes), 4);
	assert_memory_equal(bytes, "ping", 4);

	assert_int_equal(broker.request_size, sizeof broker.request);
	assert_int_equal(broker.request.magic, PROTOCOL_MAGIC);
	assert_int_equal(broker.request.version, PROTOCOL_VERSION);
	assert_int_equal(broker.request.type, PROTOCOL_OPEN);
	assert_int_equal(broker.request.length, sizeof broker.request);
	assert_int_equal(broker.request.flags, PROTOCOL_INTERACTIVE);
	assert_string_equal(broker.request.profiles, "keys+attest");
	assert_string_equal(broker.request.device, "tpmrm1");
	close(fd);
	close(peer);
}

static void test_open_without_options_asks_as_the_environment_says(void **state)
{
	int peer = fake_broker_session(&broker, SOCK_STREAM);
	int fd;

	(void)state;
	setenv("TPMGATE_SOCKET", broker.path, 1);
	setenv("TPMGATE_PROFILES", "basic", 1);
	fake_broker_start(&broker);
	fd = tpmgate_open(NULL, NULL);
	fake_broker_join(&broker);
	assert_true(fd >= 0);
	assert_string_equal(broker.request.profiles, "basic");
	assert_string_equal(broker.request.device, "");
	assert_int_equal(broker.request.flags, 0);
	close(fd);
	close(peer);
}

static void test_open_without_profiles_asks_for_keys(void **state)
{
	int peer = fake_broker_session(&broker, SOCK_STREAM);
	int fd;

	(void)state;
	setenv("TPMGATE_PROFILES", "", 1);
	fd = open_once();
	assert_true(fd >= 0);
	assert_string_equal(broker.request.profiles, "keys");
	close(fd);
	close(peer);
}

static void test_options_win_over_the_environment(void **state)
{
	int peer = fake_broker_session(&broker, SOCK_STREAM);
	int fd;

	(void)state;
	setenv("TPMGATE_SOCKET", "/nowhere", 1);
	setenv("TPMGATE_PROFILES", "basic", 1);
	options.profiles = "owner";
	fd = open_once();
	assert_true(fd >= 0);
	assert_string_equal(broker.request.profiles, "owner");
	close(fd);
	close(peer);
}

static void test_nonce_is_sent_back_unchanged(void **state)
{
	int peer = fake_broker_session(&broker, SOCK_STREAM);
	int fd;

	(void)state;
	broker.nonces = 1;
	fd = open_once();
	assert_true(fd >= 0);
	assert_int_equal(broker.nonces_returned, 1);
	close(fd);
	close(peer);
}

static void test_second_nonce_is_refused(void **state)
{
	int peer = fake_broker_session(&broker, SOCK_STREAM);

	(void)state;
	broker.nonces = 2;
	assert_int_equal(open_once(), TPMGATE_E_PROTOCOL);
	assert_int_equal(broker.nonces_returned, 1);
	close(peer);
}

/* ---- refusals ---------------------------------------------------------------------------------
 */

static void test_each_status_has_its_error(void **state)
{
	static const struct {
		enum protocol_status status;
		int error;
	} rows[] = {
		{PROTOCOL_STATUS_INVALID, TPMGATE_E_PROTOCOL},
		{PROTOCOL_DENIED, TPMGATE_E_DENIED},
		{PROTOCOL_WOULD_PROMPT, TPMGATE_E_WOULD_PROMPT},
		{PROTOCOL_NO_PROFILE, TPMGATE_E_NO_PROFILE},
		{PROTOCOL_NO_DEVICE, TPMGATE_E_NO_DEVICE},
		{PROTOCOL_BUSY, TPMGATE_E_BUSY},
		{PROTOCOL_LIMIT, TPMGATE_E_LIMIT},
		{PROTOCOL_BAD_REQUEST, TPMGATE_E_PROTOCOL},
		{PROTOCOL_BAD_VERSION, TPMGATE_E_PROTOCOL},
		{PROTOCOL_FAILED, TPMGATE_E_FAILED},
		{PROTOCOL_NO_SESSION, TPMGATE_E_NO_SESSION},
		{(enum protocol_status)12, TPMGATE_E_PROTOCOL},
		{(enum protocol_status)0x7fffffff, TPMGATE_E_PROTOCOL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		fake_broker_reply(&broker, PROTOCOL_OPEN, rows[i].status, "because of this");
		broker.served = 0;
		assert_int_equal(open_once(), rows[i].error);
		if (rows[i].error != TPMGATE_E_PROTOCOL)
			assert_string_equal(message.text, "because of this");

		fake_broker_reply(&broker, PROTOCOL_OPEN, rows[i].status, "");
		broker.served = 0;
		assert_int_equal(open_once(), rows[i].error); /* open_once() wants some text */
	}
}

static void test_bad_version_says_which_are_spoken(void **state)
{
	struct protocol_reply reply = protocol_reply_new(0, PROTOCOL_BAD_VERSION, "");

	(void)state;
	reply.version = 3;
	reply.version_min = 2;
	reply.version_max = 3;
	memcpy(broker.reply, &reply, sizeof reply);
	broker.reply_size = sizeof reply;
	assert_int_equal(open_once(), TPMGATE_E_PROTOCOL);
	assert_message("versions 2 to 3");
}

static void test_message_loses_control_characters(void **state)
{
	(void)state;
	fake_broker_reply(&broker, PROTOCOL_OPEN, PROTOCOL_DENIED,
		"a\033[2Jb\nc\xe2\x80\xae"
		"d\xc2\x9b"
		"e\xff"
		"f \xc3\xa4");
	assert_int_equal(open_once(), TPMGATE_E_DENIED);
	assert_string_equal(message.text, "a [2Jb c d e?f \xc3\xa4");
}

static void test_refusal_without_reading_is_understood(void **state)
{
	(void)state;
	broker.skip_request = true;
	fake_broker_reply(&broker, PROTOCOL_TYPE_INVALID, PROTOCOL_LIMIT, "too many connections");
	assert_int_equal(open_once(), TPMGATE_E_LIMIT);
	assert_string_equal(message.text, "too many connections");
}

static void test_refusal_with_a_descriptor_leaks_none(void **state)
{
	int peer = fake_broker_session(&broker, SOCK_STREAM);
	char byte;

	(void)state;
	fake_broker_reply(&broker, PROTOCOL_OPEN, PROTOCOL_DENIED, "not for you");
	assert_int_equal(open_once(), TPMGATE_E_DENIED);
	assert_int_equal(read(peer, &byte, 1), 0); /* nobody holds the other end */
	close(peer);
}

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
	unlink(address.sun_path);
	close(fd);
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void test_silent_broker_times_out(void **state)
{
	long before = now_ms();

	(void)state;
	broker.silent = true;
	options.timeout_ms = 60;
	assert_int_equal(open_once(), TPMGATE_E_TIMEOUT);
	assert_in_range(now_ms() - before, 59, 5000);
	assert_message("did not answer in time");
}

static void test_full_backlog_times_out(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int waiting[4];
	size_t count = 0;
	long before;

	(void)state;
	strcpy(address.sun_path, broker.path);
	assert_int_equal(listen(broker.listen_fd, 0), 0);
	for (;;) {
		assert_in_range(count, 0, 3);
		waiting[count] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
		if (connect(waiting[count++], (struct sockaddr *)&address, sizeof address) < 0)
			break;
	}
	assert_int_equal(errno, EAGAIN);
	before = now_ms();
	options.timeout_ms = 60;
	assert_int_equal(tpmgate_open(&options, &message), TPMGATE_E_TIMEOUT);
	assert_in_range(now_ms() - before, 50, 5000);
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
	long before = now_ms();

	(void)state;
	broker.silent = true;
	options.timeout_ms = 60;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	assert_int_equal(open_once(), TPMGATE_E_TIMEOUT);
	setitimer(ITIMER_REAL, &never, NULL);
	assert_in_range(now_ms() - before, 59, 5000);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_open_gives_a_stream_that_works),
		TEST(test_open_without_options_asks_as_the_environment_says),
		TEST(test_open_without_profiles_asks_for_keys),
		TEST(test_options_win_over_the_environment),
		TEST(test_nonce_is_sent_back_unchanged),
		TEST(test_second_nonce_is_refused),
		TEST(test_each_status_has_its_error),
		TEST(test_bad_version_says_which_are_spoken),
		TEST(test_message_loses_control_characters),
		TEST(test_refusal_without_reading_is_understood),
		TEST(test_refusal_with_a_descriptor_leaks_none),
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
