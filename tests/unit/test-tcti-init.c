/*
 * How the TCTI is found, configured and refused, case by case.
 */
#include "tcti-scene.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void test_info_is_complete(void **state)
{
	(void)state;
	assert_int_equal(info->version, 2);
	assert_string_equal(info->name, "tcti-tpmgate");
	assert_non_null(info->description);
	assert_non_null(strstr(info->config_help, "profile="));
	assert_ptr_equal(info->init, dlsym(library, "Tss2_Tcti_Tpmgate_Init"));
	assert_null(dlsym(library, "tpmgate_open")); /* not exported */
}

static void test_init_without_size_is_a_bad_reference(void **state)
{
	(void)state;
	assert_int_equal(info->init(NULL, NULL, NULL), TSS2_TCTI_RC_BAD_REFERENCE);
	assert_int_equal(info->init(context, NULL, NULL), TSS2_TCTI_RC_BAD_REFERENCE);
}

static void test_init_with_another_size_is_a_bad_value(void **state)
{
	size_t smaller = context_size - 1;
	size_t larger = context_size + 1;

	(void)state;
	assert_int_equal(info->init(context, &smaller, NULL), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(info->init(context, &larger, NULL), TSS2_TCTI_RC_BAD_VALUE);
}

static void test_init_fills_the_context(void **state)
{
	(void)state;
	init();
	assert_int_not_equal(TSS2_TCTI_MAGIC(context), 0);
	assert_int_equal(TSS2_TCTI_VERSION(context), 2);
	assert_non_null(TSS2_TCTI_TRANSMIT(context));
	assert_non_null(TSS2_TCTI_RECEIVE(context));
	assert_non_null(TSS2_TCTI_FINALIZE(context));
	assert_non_null(TSS2_TCTI_CANCEL(context));
	assert_non_null(TSS2_TCTI_GET_POLL_HANDLES(context));
	assert_non_null(TSS2_TCTI_SET_LOCALITY(context));
	assert_non_null(TSS2_TCTI_MAKE_STICKY(context));
	assert_string_equal(broker.request.profiles, "keys");
	assert_int_equal(broker.request.flags, 0); /* never a prompt unasked */
	assert_works();
}

static void test_config_reaches_the_broker(void **state)
{
	char config[200];

	(void)state;
	setenv("TPMGATE_SOCKET", "/nowhere", 1);
	setenv("TPMGATE_PROFILES", "basic", 1);
	snprintf(config, sizeof config,
		"socket=%s,profile=keys+attest,device=tpmrm1,interactive=yes", broker.path);
	peer = fake_broker_session(&broker, SOCK_STREAM);
	assert_int_equal(init_with(config), TSS2_RC_SUCCESS);
	assert_string_equal(broker.request.profiles, "keys+attest");
	assert_string_equal(broker.request.device, "tpmrm1");
	assert_int_equal(broker.request.flags, PROTOCOL_INTERACTIVE);
}

static void test_empty_config_is_the_environments(void **state)
{
	(void)state;
	setenv("TPMGATE_PROFILES", "basic", 1);
	peer = fake_broker_session(&broker, SOCK_STREAM);
	assert_int_equal(init_with(""), TSS2_RC_SUCCESS);
	assert_string_equal(broker.request.profiles, "basic");
	Tss2_Tcti_Finalize(context);
	close(peer);

	peer = fake_broker_session(&broker, SOCK_STREAM);
	assert_int_equal(init_with("interactive=no"), TSS2_RC_SUCCESS);
	assert_string_equal(broker.request.profiles, "basic");
	assert_int_equal(broker.request.flags, 0);
}

/* Calls init, and returns what it wrote to standard error. */
static const char *init_and_catch(const char *config, TSS2_RC *ret_rc)
{
	static char text[2000];
	int saved = dup(2);
	int pipes[2];
	ssize_t got;

	assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(dup2(pipes[1], 2), 2);
	*ret_rc = info->init(context, &context_size, config);
	assert_int_equal(dup2(saved, 2), 2);
	close(saved);
	got = read(pipes[0], text, sizeof text - 1);
	text[got > 0 ? got : 0] = '\0';
	close(pipes[0]);
	close(pipes[1]);
	return text;
}

/* One line, from us, that has PART in it. */
static void assert_one_line(const char *text, const char *part)
{
	if (strncmp(text, "tpmgate: ", 9) != 0 || !strstr(text, part) ||
		strchr(text, '\n') != text + strlen(text) - 1)
		fail_msg("\"%s\" is not one line about \"%s\"", text, part);
}

static void test_wrong_config_is_a_bad_value(void **state)
{
	static const struct {
		const char *config;
		const char *part; /* of the message */
	} rows[] = {
		{"/dev/tpmrm0", "/dev/tpmrm0"},
		{"colour=red", "colour"},
		{"profile", "profile"},
		{"profile=", "profile="},
		{"=keys", "unknown key ''"},
		{",", "key=value"},
		{"profile=keys,", "key=value"},
		{"profile=keys,,device=a", "key=value"},
		{"PROFILE=keys", "PROFILE"},
		{"interactive=perhaps", "perhaps"},
		{"profile=two words", "two words"},
	};
	char large[600];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		TSS2_RC rc;
		const char *text = init_and_catch(rows[i].config, &rc);

		assert_int_equal(rc, TSS2_TCTI_RC_BAD_VALUE);
		assert_one_line(text, rows[i].part);
	}
	memset(large, 'a', sizeof large);
	memcpy(large, "profile=", 8);
	large[sizeof large - 1] = '\0';
	assert_int_equal(info->init(context, &context_size, large), TSS2_TCTI_RC_BAD_VALUE);
}

static void test_size_query_is_silent_and_asks_nobody(void **state)
{
	size_t size = 0;

	(void)state;
	assert_int_equal(info->init(NULL, &size, "nonsense"), TSS2_RC_SUCCESS);
	assert_int_equal(size, context_size);
}

static void test_refusals_have_return_codes_and_a_line(void **state)
{
	static const struct {
		enum protocol_status status;
		TSS2_RC rc;
	} rows[] = {
		{PROTOCOL_DENIED, TSS2_TCTI_RC_NOT_PERMITTED},
		{PROTOCOL_WOULD_PROMPT, TSS2_TCTI_RC_NOT_PERMITTED},
		{PROTOCOL_LIMIT, TSS2_TCTI_RC_NOT_PERMITTED},
		{PROTOCOL_NO_PROFILE, TSS2_TCTI_RC_BAD_VALUE},
		{PROTOCOL_NO_DEVICE, TSS2_TCTI_RC_NO_CONNECTION},
		{PROTOCOL_BUSY, TSS2_TCTI_RC_TRY_AGAIN},
		{PROTOCOL_FAILED, TSS2_TCTI_RC_IO_ERROR},
		{PROTOCOL_BAD_REQUEST, TSS2_TCTI_RC_IO_ERROR},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *text;
		TSS2_RC rc;

		fake_broker_reply(&broker, PROTOCOL_OPEN, rows[i].status, "because\nof this");
		broker.served = 0;
		fake_broker_start(&broker);
		text = init_and_catch(NULL, &rc);
		fake_broker_join(&broker);
		assert_int_equal(rc, rows[i].rc);
		assert_one_line(text, "because of this");
		assert_int_equal(TSS2_TCTI_MAGIC(context), 0); /* untouched */
	}
}

static void test_missing_broker_is_no_connection(void **state)
{
	TSS2_RC rc;

	(void)state;
	assert_one_line(init_and_catch("socket=/nowhere", &rc), "no tpmgate broker at /nowhere");
	assert_int_equal(rc, TSS2_TCTI_RC_NO_CONNECTION);
}

static void test_tss2_log_silences(void **state)
{
	static const struct {
		const char *log;
		bool silent;
	} rows[] = {
		{"all+none", true},
		{"ALL+NONE", true},
		{"tcti+none", true},
		{"all+trace,tcti+none", true},
		{"sys+none", false},
		{"all+none,tcti+error", false},
		{"tcti+debug", false},
		{"", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *text;
		TSS2_RC rc;

		setenv("TSS2_LOG", rows[i].log, 1);
		text = init_and_catch("socket=/nowhere", &rc);
		assert_int_equal(rc, TSS2_TCTI_RC_NO_CONNECTION);
		if (rows[i].silent)
			assert_string_equal(text, "");
		else
			assert_one_line(text, "no tpmgate broker");
	}
}

#define TEST(function)                                                                             \
	cmocka_unit_test_setup_teardown(function, tcti_scene_setup, tcti_scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_info_is_complete),
		TEST(test_init_without_size_is_a_bad_reference),
		TEST(test_init_with_another_size_is_a_bad_value),
		TEST(test_init_fills_the_context),
		TEST(test_config_reaches_the_broker),
		TEST(test_empty_config_is_the_environments),
		TEST(test_wrong_config_is_a_bad_value),
		TEST(test_size_query_is_silent_and_asks_nobody),
		TEST(test_refusals_have_return_codes_and_a_line),
		TEST(test_missing_broker_is_no_connection),
		TEST(test_tss2_log_silences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
