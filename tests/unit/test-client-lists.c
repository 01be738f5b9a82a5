/*
 * libtpmgate's options, lists, revocation and event logs, and its use from many threads.
 */
#include "client-scene.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- options ----------------------------------------------------------------------------------
 */

static void assert_bad_options(const struct tpmgate_options *given)
{
	assert_int_equal(tpmgate_open(given, &message), TPMGATE_E_ARGUMENT);
	assert_true(strlen(message.text) > 10);
	assert_int_equal(tpmgate_open(given, NULL), TPMGATE_E_ARGUMENT);
}

static void test_wrong_options_are_errors(void **state)
{
	char name[200];
	struct tpmgate_options given;

	(void)state;
	memset(name, 'a', sizeof name);
	given = options;
	given.size = 0;
	assert_bad_options(&given);
	assert_int_equal(tpmgate_devices(&given, NULL, NULL, &message), TPMGATE_E_ARGUMENT);
	assert_int_equal(tpmgate_revoke(&given, 1, &message), TPMGATE_E_ARGUMENT);
	given.size = sizeof given - 1;
	assert_bad_options(&given);

	name[108] = '\0'; /* one more than a socket's path has */
	given = options;
	given.socket = name;
	assert_bad_options(&given);
	name[108] = 'a';
	name[128] = '\0'; /* one more than the field holds with its NUL */
	given = options;
	given.profiles = name;
	assert_bad_options(&given);
	name[64] = '\0';
	given = options;
	given.device = name;
	assert_bad_options(&given);
	given = options;
	given.profiles = "two words";
	assert_bad_options(&given);
	given.profiles = "\xc3\xa4";
	assert_bad_options(&given);
	given = options;
	given.device = "a\nb";
	assert_bad_options(&given);
}

static void test_newer_options_work_where_they_are_not_used(void **state)
{
	struct {
		struct tpmgate_options known;
		long unknown;
	} given = {.known = options};
	int peer = fake_broker_session(&broker, SOCK_STREAM);
	int fd;

	(void)state;
	given.known.size = sizeof given;
	fake_broker_start(&broker);
	fd = tpmgate_open(&given.known, &message);
	fake_broker_join(&broker);
	assert_true(fd >= 0);
	close(fd);
	close(peer);

	given.unknown = 1;
	assert_bad_options(&given.known);
}

/* ---- lists ------------------------------------------------------------------------------------
 */

static struct {
	unsigned count;
	char text[1024]; /* what the items said, joined */
} seen;

static void see_profile(const struct tpmgate_profile *profile, void *context)
{
	size_t used = strlen(seen.text);

	assert_ptr_equal(context, &seen);
	seen.count++;
	snprintf(seen.text + used, sizeof seen.text - used, "[%s %d %s]", profile->name,
		(int)profile->verdict, profile->summary);
}

static void see_device(const struct tpmgate_device *device, void *context)
{
	size_t used = strlen(seen.text);

	assert_ptr_equal(context, &seen);
	seen.count++;
	snprintf(seen.text + used, sizeof seen.text - used, "[%s %s %s %d %d %u]", device->name,
		device->path, device->description, device->is_default, device->is_single,
		device->sessions);
}

static void see_session(const struct tpmgate_session *session, void *context)
{
	size_t used = strlen(seen.text);

	assert_ptr_equal(context, &seen);
	seen.count++;
	snprintf(seen.text + used, sizeof seen.text - used, "[%llu %lld %u %d %s %s]",
		(unsigned long long)session->session, (long long)session->started, session->uid,
		session->pid, session->profiles, session->device);
}

static int list_profiles(void)
{
	memset(&seen, 0, sizeof seen);
	broker.served = 0;
	fake_broker_start(&broker);

	int r = tpmgate_profiles(&options, see_profile, &seen, &message);

	fake_broker_join(&broker);
	assert_int_equal(broker.request.type, PROTOCOL_PROFILES);
	if (r < 0)
		assert_int_equal(seen.count, 0);
	return r;
}

static void test_profiles_are_listed_whatever_their_size(void **state)
{
	struct protocol_profile one = {.name = "basic", .verdict = 1, .summary = "random numbers"};
	struct protocol_profile two = {.name = "keys", .verdict = 2, .summary = "own\tkeys"};
	struct protocol_profile three = {.name = "new", .verdict = 77, .summary = ""};
	static const size_t sizes[] = {
		PROTOCOL_PROFILE_LEAST, sizeof one - 1, sizeof one, sizeof one + 4, 4096};

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		fake_broker_reply(&broker, PROTOCOL_PROFILES, PROTOCOL_OK, "");
		size_t known = sizes[i] < sizeof one ? sizes[i] : sizeof one;

		fake_broker_item(&broker, &one, known, sizes[i]);
		fake_broker_item(&broker, &two, known, sizes[i]);
		fake_broker_item(&broker, &three, known, sizes[i]);
		assert_int_equal(list_profiles(), 0);
		assert_int_equal(seen.count, 3);
		assert_string_equal(seen.text, "[basic 1 random numbers][keys 2 own keys][new 0 ]");
	}
}

static void test_items_that_are_too_small_are_an_error(void **state)
{
	struct protocol_profile item = {.name = "basic"};

	(void)state;
	fake_broker_reply(&broker, PROTOCOL_PROFILES, PROTOCOL_OK, "");
	fake_broker_item(&broker, &item, PROTOCOL_PROFILE_LEAST - 1, PROTOCOL_PROFILE_LEAST - 1);
	assert_int_equal(list_profiles(), TPMGATE_E_PROTOCOL);
}

static void test_empty_list_is_no_error(void **state)
{
	(void)state;
	fake_broker_reply(&broker, PROTOCOL_PROFILES, PROTOCOL_OK, "");
	assert_int_equal(list_profiles(), 0);
	assert_int_equal(seen.count, 0);
}

static void test_items_texts_are_terminated_and_cleaned(void **state)
{
	struct protocol_profile item;
	char name[sizeof item.name] = "";
	char summary[sizeof item.summary] = "";
	char expected[300];

	(void)state;
	memset(&item, 'a', sizeof item);
	item.verdict = 1;
	item.summary[0] = '\033';
	fake_broker_reply(&broker, PROTOCOL_PROFILES, PROTOCOL_OK, "");
	fake_broker_item(&broker, &item, sizeof item, sizeof item);
	assert_int_equal(list_profiles(), 0);
	memset(name, 'a', sizeof name - 1); /* cut for the NUL */
	memset(summary, 'a', sizeof summary - 1);
	summary[0] = ' ';
	snprintf(expected, sizeof expected, "[%s 1 %s]", name, summary);
	assert_string_equal(seen.text, expected);
}

static void test_list_with_a_descriptor_is_an_error(void **state)
{
	int peer = fake_broker_session(&broker, SOCK_STREAM);

	(void)state;
	fake_broker_reply(&broker, PROTOCOL_PROFILES, PROTOCOL_OK, "");
	assert_int_equal(list_profiles(), TPMGATE_E_PROTOCOL);
	close(peer);
}

static void test_devices_are_listed(void **state)
{
	struct protocol_device one = {.name = "tpmrm0",
		.path = "/dev/tpmrm0",
		.description = "tpm_crb",
		.flags = PROTOCOL_DEVICE_DEFAULT,
		.sessions = 7};
	struct protocol_device two = {.name = "unix", .path = "/s", .flags = 0xfffffffe};

	(void)state;
	memset(&seen, 0, sizeof seen);
	fake_broker_reply(&broker, PROTOCOL_DEVICES, PROTOCOL_OK, "");
	fake_broker_item(&broker, &one, sizeof one, 300);
	fake_broker_item(&broker, &two, sizeof two, 300);
	fake_broker_start(&broker);
	assert_int_equal(tpmgate_devices(&options, see_device, &seen, &message), 0);
	fake_broker_join(&broker);
	assert_int_equal(broker.request.type, PROTOCOL_DEVICES);
	assert_string_equal(seen.text, "[tpmrm0 /dev/tpmrm0 tpm_crb 1 0 7][unix /s  0 1 0]");
}

static void test_sessions_are_listed(void **state)
{
	struct protocol_session one = {.session = UINT64_MAX,
		.started = 1700000000,
		.uid = 1000,
		.pid = -1,
		.profiles = "keys+attest",
		.device = "tpmrm0"};

	(void)state;
	memset(&seen, 0, sizeof seen);
	fake_broker_reply(&broker, PROTOCOL_SESSIONS, PROTOCOL_OK, "");
	fake_broker_item(&broker, &one, sizeof one, sizeof one);
	fake_broker_start(&broker);
	assert_int_equal(tpmgate_sessions(&options, see_session, &seen, &message), 0);
	fake_broker_join(&broker);
	assert_int_equal(broker.request.type, PROTOCOL_SESSIONS);
	assert_string_equal(
		seen.text, "[18446744073709551615 1700000000 1000 -1 keys+attest tpmrm0]");
}

static void test_revoke_names_the_session(void **state)
{
	(void)state;
	fake_broker_reply(&broker, PROTOCOL_REVOKE, PROTOCOL_OK, "");
	fake_broker_start(&broker);
	assert_int_equal(tpmgate_revoke(&options, 0x123456789a, &message), 0);
	fake_broker_join(&broker);
	assert_int_equal(broker.request.type, PROTOCOL_REVOKE);
	assert_int_equal(broker.request.session, 0x123456789a);
	assert_string_equal(broker.request.profiles, "");

	fake_broker_reply(&broker, PROTOCOL_REVOKE, PROTOCOL_NO_SESSION, "no session 5");
	broker.served = 0;
	fake_broker_start(&broker);
	assert_int_equal(tpmgate_revoke(&options, 5, &message), TPMGATE_E_NO_SESSION);
	fake_broker_join(&broker);
	assert_string_equal(message.text, "no session 5");
}

/* ---- event logs -------------------------------------------------------------------------------
 */

static int eventlog_once(void)
{
	broker.served = 0;
	fake_broker_start(&broker);

	int r = tpmgate_eventlog(&options, &message);

	fake_broker_join(&broker);
	assert_int_equal(broker.request.type, PROTOCOL_EVENTLOG);
	assert_int_equal(broker.request_size, sizeof broker.request);
	return r;
}

static void test_eventlog_is_a_file(void **state)
{
	char text[8] = "";
	int fd;

	(void)state;
	fake_broker_file(&broker, "events", O_RDONLY);
	options.device = "tpmrm1";
	options.profiles = "owner"; /* is not asked for */
	fd = eventlog_once();
	assert_true(fd >= 0);
	assert_string_equal(broker.request.device, "tpmrm1");
	assert_string_equal(broker.request.profiles, "");
	assert_int_equal(read(fd, text, sizeof text), 6);
	assert_string_equal(text, "events");
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

static void test_eventlog_of_another_kind_is_an_error(void **state)
{
	int peer;

	(void)state;
	fake_broker_file(&broker, "events", O_RDWR);
	assert_int_equal(eventlog_once(), TPMGATE_E_PROTOCOL);
	assert_message("another kind");
	peer = fake_broker_session(&broker, SOCK_STREAM); /* a session instead */
	fake_broker_reply(&broker, PROTOCOL_EVENTLOG, PROTOCOL_OK, "");
	assert_int_equal(eventlog_once(), TPMGATE_E_PROTOCOL);
	close(peer);
	fake_broker_reply(&broker, PROTOCOL_EVENTLOG, PROTOCOL_OK, ""); /* none */
	assert_int_equal(eventlog_once(), TPMGATE_E_PROTOCOL);
	fake_broker_reply(&broker, PROTOCOL_EVENTLOG, PROTOCOL_FAILED, "no event log here");
	assert_int_equal(eventlog_once(), TPMGATE_E_FAILED);
	assert_string_equal(message.text, "no event log here");
}

static void test_file_instead_of_a_session_is_an_error(void **state)
{
	(void)state;
	fake_broker_file(&broker, "events", O_RDONLY);
	fake_broker_reply(&broker, PROTOCOL_OPEN, PROTOCOL_OK, "");
	assert_int_equal(open_once(), TPMGATE_E_PROTOCOL);
}

/* ---- threads ----------------------------------------------------------------------------------
 */

#define THREADS 4
#define ROUNDS  8

static void *refuse_in_thread(void *context)
{
	unsigned *refused = context;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct tpmgate_message own;

		if (tpmgate_open(&options, &own) == TPMGATE_E_BUSY && strcmp(own.text, "busy") == 0)
			(*refused)++;
	}
	return NULL;
}

static void test_threads_do_not_disturb_each_other(void **state)
{
	pthread_t threads[THREADS];
	unsigned refused[THREADS] = {0};

	(void)state;
	fake_broker_reply(&broker, PROTOCOL_OPEN, PROTOCOL_BUSY, "busy");
	broker.connections = THREADS * ROUNDS;
	fake_broker_start(&broker);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, refuse_in_thread, &refused[i]), 0);
	for (size_t i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(refused[i], ROUNDS);
	}
	fake_broker_join(&broker);
}

#define TEST(function)                                                                             \
	cmocka_unit_test_setup_teardown(function, client_scene_setup, client_scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_wrong_options_are_errors),
		TEST(test_newer_options_work_where_they_are_not_used),
		TEST(test_profiles_are_listed_whatever_their_size),
		TEST(test_items_that_are_too_small_are_an_error),
		TEST(test_empty_list_is_no_error),
		TEST(test_items_texts_are_terminated_and_cleaned),
		TEST(test_list_with_a_descriptor_is_an_error),
		TEST(test_devices_are_listed),
		TEST(test_sessions_are_listed),
		TEST(test_revoke_names_the_session),
		TEST(test_eventlog_is_a_file),
		TEST(test_eventlog_of_another_kind_is_an_error),
		TEST(test_file_instead_of_a_session_is_an_error),
		TEST(test_threads_do_not_disturb_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
