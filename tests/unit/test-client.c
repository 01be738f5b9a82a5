/*
 * tpmgate_open() and its answers: a session, or why not.
 */
#include "client-scene.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

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

/*
 * The library's calls, linked with --wrap: where a test says so they wait until the broker has
 * closed its end.
 */
ssize_t __real_send(int fd, const void *bytes, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *received, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *received, int flags);

static bool hold_send;
static bool hold_receive;

ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags)
{
	if (hold_send)
		fake_broker_join(&broker);
	hold_send = false;
	return __real_send(fd, bytes, size, flags);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *received, int flags)
{
	if (hold_receive)
		fake_broker_join(&broker);
	hold_receive = false;
	return __real_recvmsg(fd, received, flags);
}

/* What a broker does that has too many connections. */
static void test_refusal_without_reading_is_understood(void **state)
{
	(void)state;
	broker.skip_request = true;
	fake_broker_reply(&broker, PROTOCOL_TYPE_INVALID, PROTOCOL_LIMIT, "too many connections");
	hold_receive = true; /* the connection is reset: the request was never read */
	assert_int_equal(open_once(), TPMGATE_E_LIMIT);
	assert_string_equal(message.text, "too many connections");

	broker.at_once = true;
	broker.served = 0;
	hold_send = true; /* nobody to send the request to */
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

#define TEST(function)                                                                             \
	cmocka_unit_test_setup_teardown(function, client_scene_setup, client_scene_teardown)

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
