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
	static const char *const verbs[] = {"status", "profiles", "devices", "sessions", "revoke",
		"eventlog", "adopt", "forget", "stdio"};
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
		"eventlog a b",
		"eventlog --json",
		"adopt",
		"adopt 0x01800001", /* for whom? */
		"adopt 0x01800001 --for no-such-user",
		"adopt 0x01800001 --for 4294967295",
		"adopt 0x00000007 --for 1000", /* a PCR */
		"adopt 0x80000001 --for 1000",
		"adopt 0x81800000 --for 1000", /* the platform's */
		"adopt 0x101800001 --for 1000",
		"adopt -1 --for 1000",
		"adopt 0x0180000g --for 1000",
		"forget",
		"forget no-such-user",
		"forget 4294967295",
		"forget 1000 --for 1000",
		"status --for 1000",
		"status --all",
		"revoke 1 --all",
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
		"[{\"name\":\"keys\",\"allowed\":\"prompt\",\"summary\":\"own \\\"keys\\\"\","
		"\"reason\":null,\"group\":null,\"action\":null}]\n");

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

static void test_sessions_of_everybody(void **state)
{
	(void)state;
	fake_broker_reply(&broker, PROTOCOL_SESSIONS, PROTOCOL_OK, "");
	assert_int_equal(run_once("sessions"), 0);
	assert_int_equal(broker.request.flags & PROTOCOL_EVERYBODY, 0);
	assert_int_equal(run_once("sessions --all"), 0);
	assert_int_equal(broker.request.flags, PROTOCOL_EVERYBODY | PROTOCOL_INTERACTIVE);
	assert_int_equal(run_once("sessions --all --json --no-interaction"), 0);
	assert_int_equal(broker.request.flags, PROTOCOL_EVERYBODY);
	assert_string_equal(cli.out_text, "[]\n");
	fake_broker_reply(&broker, PROTOCOL_SESSIONS, PROTOCOL_DENIED, "'manage' is refused");
	assert_int_equal(run_once("sessions --all"), 3);
	assert_has(cli.err_text, "'manage' is refused");
}

static void test_reasons_are_printed(void **state)
{
	static const struct {
		enum protocol_verdict verdict;
		enum protocol_reason reason;
		const char *group;
		const char *text;
		const char *json;
	} rows[] = {
		{PROTOCOL_VERDICT_YES, PROTOCOL_REASON_ROOT, "crew", "because you are root\n",
			"\"root\",\"group\":\"crew\",\"action\":\"a.b\"}"},
		{PROTOCOL_VERDICT_YES, PROTOCOL_REASON_GROUP, "crew",
			"by a group of yours: it lets in crew\n", "\"group\",\"group\":\"crew\""},
		{PROTOCOL_VERDICT_YES, PROTOCOL_REASON_POLKIT, "", "polkit allows a.b here\n",
			"\"polkit\",\"group\":null,\"action\":\"a.b\"}"},
		{PROTOCOL_VERDICT_PROMPT, PROTOCOL_REASON_POLKIT, "crew",
			"polkit wants a password for a.b; members of crew are let in\n",
			"\"polkit\""},
		{PROTOCOL_VERDICT_NO, PROTOCOL_REASON_POLKIT, "", "does not allow a.b here\n",
			"\"polkit\""},
		{PROTOCOL_VERDICT_NO, PROTOCOL_REASON_NO_POLKIT, "crew",
			"polkit has to allow a.b, and cannot be asked; members of crew are let "
			"in\n",
			"\"no-polkit\""},
		{PROTOCOL_VERDICT_NO, 77, "c\033[1m\"rew", "keys       no      own keys\n",
			"null,\"group\":\"c [1m\\\"rew\",\"action\":\"a.b\"}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct protocol_profile profile = {.name = "keys",
			.verdict = rows[i].verdict,
			.summary = "own keys",
			.reason = rows[i].reason,
			.action = "a.b"};

		snprintf(profile.group, sizeof profile.group, "%s", rows[i].group);
		fake_broker_reply(&broker, PROTOCOL_PROFILES, PROTOCOL_OK, "");
		fake_broker_item(&broker, &profile, sizeof profile, sizeof profile);
		assert_int_equal(run_once("profiles"), 0);
		assert_has(cli.out_text, rows[i].text);
		assert_int_equal(run_once("profiles --json"), 0);
		assert_has(cli.out_text, rows[i].json);
	}
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

static void test_eventlog_is_copied(void **state)
{
	char path[80];
	char text[16] = "";
	int fd;

	(void)state;
	fake_broker_file(&broker, "events", O_RDONLY);
	assert_int_equal(run_once("eventlog --device tpmrm1"), 0);
	assert_string_equal(cli.out_text, "events");
	assert_string_equal(broker.request.device, "tpmrm1");
	fake_broker_file(&broker, "more events", O_RDONLY);
	snprintf(path, sizeof path, "eventlog %s/log", broker.directory);
	assert_int_equal(run_once(path), 0);
	assert_string_equal(cli.out_text, "");
	snprintf(path, sizeof path, "%s/log", broker.directory);
	fd = open(path, O_RDONLY);
	unlink(path);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, text, sizeof text), 11);
	assert_string_equal(text, "more events");
	close(fd);
	fake_broker_file(&broker, "events", O_RDONLY);
	assert_int_equal(run_once("eventlog /nowhere/log"), 1);
	assert_has(cli.err_text, "/nowhere/log: No such file");
	fake_broker_reply(&broker, PROTOCOL_EVENTLOG, PROTOCOL_FAILED, "there is no event log");
	assert_int_equal(run_once("eventlog"), 1);
	assert_string_equal(cli.err_text, "tpmgate: there is no event log\n");
}

static void test_forget_says_what_stays(void **state)
{
	const struct protocol_record index = {.uid = 54321,
		.kind = PROTOCOL_KIND_NV,
		.handle = 0x01800001,
		.nv_size = 32,
		.count = 1,
		.device = "tpmrm0"};
	const struct protocol_record object = {.uid = 54321,
		.kind = PROTOCOL_KIND_PERSISTENT,
		.handle = 0x81000010,
		.count = 1,
		.device = "tpmrm0"};
	const struct protocol_record sealed = {
		.uid = 54321, .kind = PROTOCOL_KIND_SEALED, .count = 7, .device = "tpmrm0"};

	(void)state;
	fake_broker_reply(&broker, PROTOCOL_FORGET, PROTOCOL_OK, "");
	assert_int_equal(run_once("forget 54321"), 0);
	assert_int_equal(broker.request.type, PROTOCOL_FORGET);
	assert_int_equal(broker.request.session, 54321);
	assert_string_equal(cli.out_text, "nothing was recorded for uid 54321\n");
	fake_broker_item(&broker, &index, sizeof index, sizeof index);
	fake_broker_item(&broker, &object, sizeof object, sizeof object);
	fake_broker_item(&broker, &sealed, sizeof sealed, sizeof sealed);
	assert_int_equal(run_once("forget 54321"), 0);
	assert_has(cli.out_text, "nothing is recorded for uid 54321 any more\n");
	assert_has(cli.out_text, "  7 sealed secrets: ");
	assert_has(cli.out_text, "NV index 0x01800001 of tpmrm0, 32 bytes");
	assert_has(cli.out_text, "device=tpmrm0 tpm2_nvundefine -C o 0x01800001\n");
	assert_has(cli.out_text, "device=tpmrm0 tpm2_evictcontrol -C o -c 0x81000010\n");
	assert_int_equal(run_once("forget root"), 0);
	assert_int_equal(broker.request.session, 0);
	assert_has(cli.out_text, "recorded for root any more\n");
	fake_broker_reply(&broker, PROTOCOL_FORGET, PROTOCOL_BUSY, "uid 54321 has 1 session open");
	assert_int_equal(run_once("forget 54321"), 1);
	assert_string_equal(cli.err_text, "tpmgate: uid 54321 has 1 session open\n");
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
		TEST(test_sessions_of_everybody),
		TEST(test_reasons_are_printed),
		TEST(test_no_tpm_ends_with_4),
		TEST(test_revoke),
		TEST(test_eventlog_is_copied),
		TEST(test_forget_says_what_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
