/*
 * The command tpmgate as a person runs it: exit codes, and what goes to which stream.
 */
#include "cli-scene.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- usage ------------------------------------------------------------------------------------
 */

static void test_help_is_on_standard_output(void **state)
{
	static const char *const verbs[] = {
		"status", "profiles", "devices", "sessions", "revoke", "stdio"};
	char line[64];

	(void)state;
	assert_int_equal(run("--help"), 0);
	assert_string_equal(cli.err_text, "");
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		assert_has(cli.out_text, verbs[i]);
	assert_int_equal(run("-h"), 0);
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
		snprintf(line, sizeof line, "%s --help", verbs[i]);
		assert_int_equal(run(line), 0);
		snprintf(line, sizeof line, "Usage: tpmgate %s", verbs[i]);
		assert_has(cli.out_text, line);
		assert_string_equal(cli.err_text, "");
	}
}

static void test_version(void **state)
{
	(void)state;
	assert_int_equal(run("--version"), 0);
	assert_string_equal(cli.out_text, "tpmgate " TPMGATE_VERSION "\n");
}

static void test_wrong_usage_ends_with_2(void **state)
{
	static const char *const wrong[] = {
		"",
		"nonsense",
		"--nonsense",
		"status --nonsense",
		"status more",
		"revoke",
		"revoke 1 2",
		"revoke 1x",
		"revoke -1",
		"revoke +1",
		"revoke 18446744073709551616",
		"stdio --json",
		"revoke 1 --json",
		"status --profile",
		"stdio --profile=a,b=c{\x01",
	};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		int code = run(wrong[i]);

		if (code != 2)
			fail_msg("tpmgate %s ended with %d", wrong[i], code);
		assert_string_equal(cli.out_text, "");
		assert_memory_equal(cli.err_text, "tpmgate: ", 9);
	}
}

static void test_missing_broker_ends_with_4(void **state)
{
	static const char *const verbs[] = {"profiles", "devices", "sessions", "revoke 1", "stdio",
		"profiles --json", "devices --json", "sessions --json"};

	(void)state;
	setenv("TPMGATE_SOCKET", "/nowhere", 1);
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
		assert_int_equal(run(verbs[i]), 4);
		assert_string_equal(cli.out_text, "");
		assert_has(cli.err_text, "tpmgate: no tpmgate broker at /nowhere: No such file");
	}
	assert_int_equal(run("status"), 4);
	assert_has(cli.out_text, "no tpmgate broker at /nowhere");
	assert_has(cli.out_text, "$TPMGATE_SOCKET");
	assert_int_equal(run("--json status --socket /elsewhere"), 4);
	assert_has(cli.out_text, "{\"version\":");
	assert_has(cli.out_text, "\"socket\":\"/elsewhere\"");
	assert_has(cli.out_text, "\"answers\":false");
}

static void test_full_standard_output_ends_with_1(void **state)
{
	char *list[] = {(char[]){"tpmgate"}, (char[]){"--help"}, NULL};
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(open("/dev/full", O_WRONLY), 1);
		dup2(open("/dev/null", O_WRONLY), 2);
		execv(TPMGATE_PATH, list);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

/* ---- asking the broker ------------------------------------------------------------------------
 */

static int run_once(const char *arguments)
{
	int code;

	broker.served = 0;
	fake_broker_start(&broker);
	code = run(arguments);
	fake_broker_join(&broker);
	return code;
}

static void test_refusals_have_exit_codes(void **state)
{
	static const struct {
		enum protocol_status status;
		int code;
	} rows[] = {
		{PROTOCOL_DENIED, 3},
		{PROTOCOL_WOULD_PROMPT, 3},
		{PROTOCOL_LIMIT, 3},
		{PROTOCOL_NO_DEVICE, 4},
		{PROTOCOL_NO_PROFILE, 1},
		{PROTOCOL_BUSY, 1},
		{PROTOCOL_FAILED, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		fake_broker_reply(&broker, PROTOCOL_OPEN, rows[i].status, "'keys' is not for you");
		assert_int_equal(run_once("stdio --no-interaction"), rows[i].code);
		assert_string_equal(cli.out_text, "");
		assert_string_equal(cli.err_text,
			rows[i].code == 3 ? "tpmgate: 'keys' is not for you. More: tpmgate status\n"
					  : "tpmgate: 'keys' is not for you\n");
	}
}

static void test_options_reach_the_broker(void **state)
{
	(void)state;
	fake_broker_reply(&broker, PROTOCOL_OPEN, PROTOCOL_DENIED, "no");
	assert_int_equal(run_once("--profile basic stdio --device tpmrm1"), 3);
	assert_string_equal(broker.request.profiles, "basic");
	assert_string_equal(broker.request.device, "tpmrm1");
	assert_int_equal(broker.request.flags, PROTOCOL_INTERACTIVE);

	assert_int_equal(run_once("stdio --profile=keys+attest --no-interaction"), 3);
	assert_string_equal(broker.request.profiles, "keys+attest");
	assert_int_equal(broker.request.flags, 0);
}

static void test_lists_are_printed(void **state)
{
	struct protocol_profile profile = {
		.name = "keys", .verdict = PROTOCOL_VERDICT_PROMPT, .summary = "own \"keys\""};
	struct protocol_device device = {
		.name = "tpmrm0", .path = "/dev/tpmrm0", .flags = 1, .description = "tpm_crb"};
	struct protocol_session session = {.session = UINT64_MAX, .uid = 54321, .pid = 99};

	(void)state;
	fake_broker_reply(&broker, PROTOCOL_PROFILES, PROTOCOL_OK, "");
	fake_broker_item(&broker, &profile, sizeof profile, sizeof profile);
	assert_int_equal(run_once("profiles"), 0);
	assert_has(cli.out_text, "keys       prompt  own \"keys\"\n");
	assert_int_equal(run_once("profiles --json"), 0);
	assert_string_equal(cli.out_text,
		"[{\"name\":\"keys\",\"allowed\":\"prompt\",\"summary\":\"own \\\"keys\\\"\"}]\n");

	fake_broker_reply(&broker, PROTOCOL_DEVICES, PROTOCOL_OK, "");
	fake_broker_item(&broker, &device, sizeof device, sizeof device);
	assert_int_equal(run_once("devices"), 0);
	assert_has(cli.out_text, "tpmrm0     /dev/tpmrm0, tpm_crb, 0 open sessions (default)\n");
	assert_int_equal(run_once("devices --json"), 0);
	assert_string_equal(cli.out_text,
		"[{\"name\":\"tpmrm0\",\"path\":\"/dev/tpmrm0\",\"description\":\"tpm_crb\","
		"\"default\":true,\"single\":false,\"sessions\":0}]\n");

	fake_broker_reply(&broker, PROTOCOL_SESSIONS, PROTOCOL_OK, "");
	fake_broker_item(&broker, &session, sizeof session, sizeof session);
	assert_int_equal(run_once("sessions"), 0);
	assert_has(cli.out_text, "54321");
	assert_int_equal(run_once("sessions --json"), 0);
	assert_string_equal(cli.out_text, "[{\"session\":\"18446744073709551615\",\"started\":0,"
					  "\"uid\":54321,\"pid\":99,\"profiles\":\"\","
					  "\"device\":\"\"}]\n");
}

static void test_no_tpm_ends_with_4(void **state)
{
	(void)state;
	fake_broker_reply(&broker, PROTOCOL_DEVICES, PROTOCOL_OK, "");
	assert_int_equal(run_once("devices"), 4);
	assert_has(cli.err_text, "no TPM 2.0");
}

static void test_revoke(void **state)
{
	(void)state;
	fake_broker_reply(&broker, PROTOCOL_REVOKE, PROTOCOL_OK, "");
	assert_int_equal(run_once("revoke 18446744073709551615"), 0);
	assert_int_equal(broker.request.type, PROTOCOL_REVOKE);
	assert_true(broker.request.session == UINT64_MAX);
	fake_broker_reply(&broker, PROTOCOL_REVOKE, PROTOCOL_NO_SESSION, "there is no session 1");
	assert_int_equal(run_once("revoke 1"), 1);
	assert_string_equal(cli.err_text, "tpmgate: there is no session 1\n");
}

#define TEST(function)                                                                             \
	cmocka_unit_test_setup_teardown(function, cli_scene_setup, cli_scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_help_is_on_standard_output),
		TEST(test_version),
		TEST(test_wrong_usage_ends_with_2),
		TEST(test_missing_broker_ends_with_4),
		TEST(test_full_standard_output_ends_with_1),
		TEST(test_refusals_have_exit_codes),
		TEST(test_options_reach_the_broker),
		TEST(test_lists_are_printed),
		TEST(test_no_tpm_ends_with_4),
		TEST(test_revoke),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
