/*
 * `tpmgate status` as a person reads it, and as JSON.
 */
#include "cli-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define QUESTIONS 7 /* devices, profiles, sessions, account, refusals, records, open */

static void keep(enum protocol_type type, const void *items, size_t count, size_t size)
{
	fake_broker_reply(&broker, type, PROTOCOL_OK, "");
	for (size_t i = 0; i < count; i++)
		fake_broker_item(&broker, (const char *)items + i * size, size, size);
	fake_broker_keep(&broker);
}

/* A broker that has a TPM and lets in, and knows nothing of accounts. */
static int setup(void **state)
{
	const struct protocol_device device = {
		.name = "tpmrm0", .path = "/dev/tpmrm0", .flags = 1, .description = "tpm_crb"};
	const struct protocol_profile profile = {.name = "keys", .verdict = PROTOCOL_VERDICT_YES};

	cli_scene_setup(state);
	keep(PROTOCOL_DEVICES, &device, 1, sizeof device);
	keep(PROTOCOL_PROFILES, &profile, 1, sizeof profile);
	keep(PROTOCOL_SESSIONS, NULL, 0, 0);
	fake_broker_reply(&broker, PROTOCOL_OPEN, PROTOCOL_LIMIT, "you have 16 sessions");
	fake_broker_keep(&broker);
	fake_broker_reply(&broker, PROTOCOL_TYPE_INVALID, PROTOCOL_BAD_REQUEST, "no such request");
	broker.connections = QUESTIONS;
	return 0;
}

static int run_status(const char *arguments)
{
	int code;

	broker.served = 0;
	fake_broker_start(&broker);
	code = run(arguments);
	fake_broker_join(&broker);
	return code;
}

static void assert_has_not(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("\"%s\" is in \"%s\"", part, text);
}

static void test_older_broker(void **state)
{
	(void)state;
	assert_int_equal(run_status("status"), 0);
	assert_has(cli.out_text, "'keys' works");
	assert_has_not(cli.out_text, "Account");
	assert_has_not(cli.out_text, "no such request");
	assert_has(cli.out_text, "nothing lately\n");
	assert_has(cli.out_text, "Lockout    not known: you have 16 sessions\n");
	assert_int_equal(run_status("status --json"), 0);
	assert_has(cli.out_text, "\"account\":null,\"records\":[],\"records_problem\":null,"
				 "\"refusals\":[],\"gone_uids\":[]");
}

static void test_account(void **state)
{
	struct protocol_account account = {.device = "tpmrm0",
		.tpm_sessions = 3,
		.tpm_sessions_max = 12,
		.nv_writes = 9,
		.nv_writes_max = 10};

	(void)state;
	keep(PROTOCOL_ACCOUNT, &account, 1, sizeof account);
	fake_broker_reply(&broker, PROTOCOL_TYPE_INVALID, PROTOCOL_BAD_REQUEST, "");
	assert_int_equal(run_status("status"), 0);
	assert_has(cli.out_text, "Account    of yours, of tpmrm0\n");
	assert_has(cli.out_text, "none was possible yet");
	assert_has(cli.out_text, "TPM sessions: 3 of 12\n");
	assert_has(cli.out_text, "NV writes left in this hour: 9 of 10\n");

	account.counter = 5;
	account.maximum = 32;
	account.limit = 16;
	account.interval = 600;
	account.charge = 2;
	account.charge_limit = 3;
	account.charge_falls = 123;
	keep(PROTOCOL_ACCOUNT, &account, 1, sizeof account);
	fake_broker_reply(&broker, PROTOCOL_TYPE_INVALID, PROTOCOL_BAD_REQUEST, "");
	assert_int_equal(run_status("status"), 0);
	assert_has(cli.out_text, "5 counted by the TPM when a session read it last, which locks "
				 "everybody out at 32; tpmgate "
				 "lets nobody try from 16 on\n");
	assert_has(cli.out_text, "takes one back every 600 s\n");
	assert_has(cli.out_text, "2 of 3 were yours; the next is taken back in 123 s\n");
	assert_int_equal(run_status("status --json"), 0);
	assert_has(cli.out_text,
		"\"account\":{\"device\":\"tpmrm0\",\"known\":true,\"counter\":5,\"maximum\":32,"
		"\"limit\":16,\"interval\":600,\"charge\":2,\"charge_limit\":3,"
		"\"charge_falls\":123,\"tpm_sessions\":3,\"tpm_sessions_max\":12,"
		"\"nv_writes\":9,\"nv_writes_max\":10}");
}

static void test_records(void **state)
{
	const struct protocol_record records[] = {
		{.uid = 0,
			.kind = PROTOCOL_KIND_NV,
			.handle = 0x01800001,
			.nv_size = 32,
			.state = PROTOCOL_STATE_OWN,
			.count = 1,
			.device = "tpmrm0"},
		{.uid = 54321,
			.kind = PROTOCOL_KIND_PERSISTENT,
			.handle = 0x81000010,
			.state = PROTOCOL_STATE_DOUBTFUL,
			.count = 1,
			.device = "tpm\033[1mrm0"},
		{.uid = 54321,
			.kind = PROTOCOL_KIND_SEALED,
			.state = PROTOCOL_STATE_OWN,
			.count = 7,
			.device = "tpmrm0"},
	};

	(void)state;
	fake_broker_reply(&broker, PROTOCOL_RECORDS, PROTOCOL_OK, "3 records were set aside");
	for (size_t i = 0; i < 3; i++)
		fake_broker_item(&broker, &records[i], sizeof records[i], sizeof records[i]);
	fake_broker_keep(&broker);
	fake_broker_reply(&broker, PROTOCOL_TYPE_INVALID, PROTOCOL_BAD_REQUEST, "");
	assert_int_equal(run_status("status"), 0);
	assert_has(cli.out_text, "root       NV index 0x01800001, 32 bytes on tpmrm0\n");
	assert_has(
		cli.out_text, "54321      persistent object 0x81000010 on tpm [1mrm0, in doubt\n");
	assert_has(cli.out_text, "54321      7 sealed secrets on tpmrm0\n");
	assert_has(cli.out_text, "3 records were set aside\n");
	assert_has(cli.out_text, "sudo tpmgate adopt 0x81000010 --for USER\n");
	assert_has(cli.out_text, "sudo tpmgate forget 54321\n");
	assert_int_equal(run_status("status --json"), 0);
	assert_has(cli.out_text, "\"kind\":\"nv\",\"handle\":25165825,\"nv_size\":32,"
				 "\"state\":\"own\",\"changed\":0,\"count\":1}");
	assert_has(cli.out_text, "\"state\":\"doubtful\"");
	assert_has(cli.out_text, "\"records_problem\":\"3 records were set aside\"");
	assert_has(cli.out_text, "\"gone_uids\":[54321]");
}

static void test_refusals(void **state)
{
	struct protocol_refusal refusal = {.session = UINT64_MAX, .code = 0x000b0120};

	(void)state;
	fake_broker_reply(&broker, PROTOCOL_REFUSALS, PROTOCOL_OK, "");
	/* 3 alike, 4 that are not, and 2 alike */
	for (uint32_t i = 0; i < 9; i++) {
		refusal.command = i < 3 ? 0x17e : i < 7 ? 0x126 + i : 0x126;
		refusal.untold = i == 8 ? 2 : 0;
		snprintf(refusal.rule, sizeof refusal.rule, "command");
		fake_broker_item(&broker, &refusal, sizeof refusal, sizeof refusal);
	}
	fake_broker_keep(&broker);
	fake_broker_reply(&broker, PROTOCOL_TYPE_INVALID, PROTOCOL_BAD_REQUEST, "");
	assert_int_equal(run_status("status"), 0);
	assert_has(cli.out_text, "(3 earlier ones: --json)\n");
	assert_has_not(cli.out_text, "PCR_Read");
	assert_has(cli.out_text, "root: Clear, 2 times (command, 0x000b0120)\n");
	assert_has(cli.out_text, "and 2 more that are not listed\n");
	assert_has(cli.out_text, "no profile of the session names the command\n");
	assert_has(cli.out_text, "tpmgate profiles --explain COMMAND");
	assert_int_equal(run_status("status --json"), 0);
	assert_has(cli.out_text, "{\"time\":0,\"session\":\"18446744073709551615\",\"uid\":0,"
				 "\"command\":294,\"name\":\"Clear\",\"code\":721184,\"untold\":2,"
				 "\"rule\":\"command\",\"reason\":\"");
}

/* A machine of the test's own: without a TPM, and with one of which nothing is as it should be. */
static void test_facts_without_a_broker(void **state)
{
	char path[100];
	char line[256];
	FILE *file;

	(void)state;
	setenv("TPMGATE_SOCKET", "/nowhere", 1);
	snprintf(line, sizeof line, "status --facts-root %s", broker.directory);
	assert_int_equal(run(line), 4);
	assert_has(cli.out_text, "Broker     none: there is no socket at /nowhere (environment)\n");
	assert_has(cli.out_text, "the kernel shows none\nRules      of udev, which say whose the "
				 "nodes are\n           none\n");
	assert_has(cli.out_text, "switch it on in the firmware's settings");

	snprintf(line, sizeof line,
		"cd %s && mkdir -p sys/class/tpm/tpm0/device dev && echo 2 >"
		"sys/class/tpm/tpm0/tpm_version_major && touch dev/tpmrm0 && chmod 0604 dev/tpmrm0",
		broker.directory);
	assert_int_equal(system(line), 0); /* NOLINT(cert-env33-c): a name of mkdtemp's */
	snprintf(path, sizeof path, "%s/sys/class/tpm/tpm0/device/description", broker.directory);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs("a \"TPM\" \\ \x1b[1m\xff\n", file) >= 0);
	assert_int_equal(fclose(file), 0);
	snprintf(line, sizeof line, "status --facts-root %s", broker.directory);
	assert_int_equal(run(line), 4);
	assert_has(cli.out_text, "the kernel shows tpm0: a TPM 2.0, a \"TPM\" \\  [1m?\n"
				 "             /dev/tpmrm0: ");
	assert_has(cli.out_text, " 0604, not as the rules give it (group tss, mode 0660); open to "
				 "you directly\n");
	assert_has(cli.out_text, "install tpmgate-udev");
	snprintf(line, sizeof line, "status --json --facts-root %s", broker.directory);
	assert_int_equal(run(line), 4);
	assert_has(cli.out_text,
		"\"kernel\":[{\"name\":\"tpm0\",\"version\":2,\"driver\":null,"
		"\"description\":\"a \\\"TPM\\\" \\\\  [1m?\",\"maker\":null,"
		"\"node\":{\"path\":\"/dev/tpmrm0\",\"present\":true,\"owner\":\"");
	assert_has(cli.out_text,
		"\"mode\":\"0604\",\"as_rules\":false,\"usable\":true},"
		"\"raw_node\":{\"path\":\"/dev/tpm0\",\"present\":false,\"owner\":null,"
		"\"group\":null,\"mode\":null,\"as_rules\":false,\"usable\":false}}],"
		"\"rules\":[]");
	assert_has(cli.out_text, "\"state\":\"missing\"");
	snprintf(line, sizeof line, "rm -r %s/sys %s/dev", broker.directory, broker.directory);
	assert_int_equal(system(line), 0); /* NOLINT(cert-env33-c) */
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, cli_scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_older_broker),
		TEST(test_account),
		TEST(test_records),
		TEST(test_refusals),
		TEST(test_facts_without_a_broker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
