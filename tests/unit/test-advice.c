/*
 * What `tpmgate status` advises: each situation has its line, and no other.
 */
#include "cli/advice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* All is well, until a case changes something. */
static struct tpmgate_profile keys;
static struct tpmgate_profile owner;
static struct tpmgate_device device;
static struct tpmgate_profile *profiles[2] = {&keys, &owner};
static struct tpmgate_device *devices[1] = {&device};
static struct lists lists;
static struct standing standing;
static struct facts facts;
static struct properties properties;
static struct advice_input input;
static struct advice advice;

static int setup(void **state)
{
	(void)state;
	keys = (struct tpmgate_profile){
		.name = "keys", .summary = "own keys", .verdict = TPMGATE_YES};
	owner = (struct tpmgate_profile){
		.name = "owner", .summary = "everything", .verdict = TPMGATE_NO};
	device = (struct tpmgate_device){
		.name = "tpmrm0", .path = "/dev/tpmrm0", .description = "tpm_crb"};
	lists = (struct lists){
		.profiles = profiles, .profile_count = 2, .devices = devices, .device_count = 1};
	facts = (struct facts){.uid = 1000,
		.user = "alice",
		.direct = {.name = "tss", .exists = true},
		.users = {.name = "tpmgate-users", .exists = true},
		.chips = {{.version = 2,
			.node = {.path = "/dev/tpmrm0", .present = true, .as_rules = true}}},
		.chip_count = 1};
	standing = (struct standing){.has_account = false};
	properties = (struct properties){.known = true, .interval = 600, .lockout = LOCKOUT_NO};
	input = (struct advice_input){.facts = &facts,
		.lists = &lists,
		.standing = &standing,
		.properties = &properties,
		.socket = "/run/tpmgate/broker.sock",
		.source = "default",
		.wanted = "keys",
		.reach = REACH_ANSWERS};
	return 0;
}

/* Whether a line has PART in it. */
static bool says(const char *part)
{
	for (size_t i = 0; i < advice.count; i++)
		if (strstr(advice.lines[i], part))
			return true;
	return false;
}

static void assert_says(size_t count, const char *part)
{
	advice_read(&input, &advice);
	assert_int_equal(advice.count, count);
	if (!says(part))
		fail_msg(
			"no line has \"%s\" in it, but the first is \"%s\"", part, advice.lines[0]);
}

static void no_broker(int error)
{
	lists = (struct lists){.profiles = NULL};
	input.broker = error;
	input.reach = error == TPMGATE_E_NO_BROKER ? REACH_MISSING : REACH_SILENT;
}

static void test_all_is_well(void **state)
{
	(void)state;
	assert_says(1, "'keys' works");
	assert_true(advice.works);
}

static void test_missing_broker(void **state)
{
	(void)state;
	no_broker(TPMGATE_E_NO_BROKER);
	assert_says(1, "systemctl enable --now tpmgate.socket");
	assert_false(advice.works);
	input.source = "environment";
	assert_says(1, "$TPMGATE_SOCKET");
	input.source = "given";
	assert_says(1, "--socket");
	no_broker(TPMGATE_E_TIMEOUT);
	assert_says(1, "not the system's");
}

static void test_how_the_broker_fails(void **state)
{
	static const struct {
		enum reach reach;
		const char *line;
	} rows[] = {
		{REACH_MISSING, "systemctl enable --now tpmgate.socket"},
		{REACH_REFUSED, "sudo systemctl restart tpmgate.socket"},
		{REACH_CLOSED, "0666 and 0755"},
		{REACH_NO_SOCKET, "remove that file"},
		{REACH_SILENT, "sudo systemctl restart tpmgate.service"},
		{REACH_STRANGE, "different versions"},
		{REACH_BUSY, "other programs"},
		{REACH_FAILED, "journalctl -u tpmgate"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		no_broker(TPMGATE_E_FAILED);
		input.reach = rows[i].reach;
		assert_says(1, rows[i].line);
	}
}

static void test_node(void **state)
{
	struct chip_node *node = &facts.chips[0].node;

	(void)state;
	node->as_rules = false;
	node->mode = 0600;
	assert_says(2, "install tpmgate-udev");
	facts.rules[0] = (struct udev_rule){.from = "other", .state = UDEV_RULE_APPLIES};
	facts.rules[1] = (struct udev_rule){.from = "tpmgate", .state = UDEV_RULE_HIDDEN};
	facts.rule_count = 2;
	assert_says(2, "install tpmgate-udev");
	facts.rules[1].state = UDEV_RULE_APPLIES;
	assert_says(2, "udevadm trigger");
	node->mode = 0666;
	assert_says(3, "open to everybody (mode 0666)");
	node->present = false;
	assert_says(1, "'keys' works");
}

static void test_missing_tpm(void **state)
{
	(void)state;
	lists.device_count = 0;
	assert_says(1, "does not serve");
	assert_false(advice.works);
	facts.chips[0].node.present = false;
	assert_says(1, "missing in /dev");
	facts.chips[0].version = 1;
	assert_says(1, "TPM 1.2");
	facts.chip_count = 0;
	assert_says(1, "firmware");
}

static void test_prompt(void **state)
{
	(void)state;
	keys.verdict = TPMGATE_PROMPT;
	assert_says(2, "asks for a password");
	assert_true(says("sudo gpasswd -a alice tpmgate-users, then log in again"));
	assert_true(says("interactive=yes"));
	assert_false(says("ssh"));
	assert_false(advice.works);
	facts.over_ssh = true;
	assert_says(2, "over ssh");
}

static void test_refusal(void **state)
{
	(void)state;
	keys.verdict = TPMGATE_NO;
	assert_says(2, "'keys' is refused to you: neither");
	assert_true(says("gpasswd -a alice tpmgate-users"));
	facts.users.exists = false; /* nothing to be added to */
	assert_says(2, "groupadd --system tpmgate-users");
	assert_false(says("gpasswd"));
	facts.over_ssh = true;
	assert_says(2, "over ssh");
}

static void test_refusal_with_a_reason(void **state)
{
	(void)state;
	keys.verdict = TPMGATE_NO;
	keys.reason = TPMGATE_REASON_NO_POLKIT;
	keys.group = "crew";
	facts.users.exists = false; /* is another group */
	assert_says(2, "polkit cannot be asked");
	assert_true(says("sudo gpasswd -a alice crew, then log in again"));
	keys.reason = TPMGATE_REASON_POLKIT;
	assert_says(2, "nor polkit allows it");
	facts.uid = 0;
	assert_says(2, "nor polkit allows it");
	assert_false(says("gpasswd"));
}

static void test_refusal_that_no_group_helps(void **state)
{
	(void)state;
	input.wanted = "keys+owner";
	assert_says(1, "'owner' is refused");
	assert_false(advice.works);
}

static void test_faulty_and_unknown_profiles(void **state)
{
	(void)state;
	keys.verdict = TPMGATE_FAULTY;
	keys.summary = "keys.profile:3: no such key";
	assert_says(1, "keys.profile:3");
	input.wanted = "colour";
	assert_says(1, "no profile 'colour'");
	assert_false(advice.works);
}

static void test_groups(void **state)
{
	(void)state;
	facts.users.listed = true; /* but not in this login */
	keys.verdict = TPMGATE_NO;
	assert_says(2, "log in again (all of it");
	assert_false(says("gpasswd -a"));

	facts.users.effective = true;
	keys.verdict = TPMGATE_YES;
	assert_says(1, "'keys' works");

	facts.direct.listed = true;
	assert_says(2, "bypass tpmgate");
	assert_true(says("sudo gpasswd -d alice tss"));
	facts.direct.listed = false;
	facts.direct.effective = true;
	assert_says(2, "bypass tpmgate");
	assert_true(advice.works);
}

static void test_root(void **state)
{
	(void)state;
	facts.uid = 0;
	facts.direct.effective = true;
	assert_says(2, "you are root");
	assert_false(says("gpasswd"));
}

static void test_failures(void **state)
{
	(void)state;
	standing.has_account = true; /* but nothing is known */
	assert_says(1, "'keys' works");
	standing.account = (struct protocol_account){.counter = 15,
		.maximum = 32,
		.limit = 16,
		.interval = 600,
		.charge = 2,
		.charge_limit = 3,
		.charge_falls = 77};
	assert_says(1, "'keys' works");
	standing.account.charge = 3;
	assert_says(2, "for 77 s");
	properties.counter = 16;
	properties.lockout = LOCKOUT_NEAR;
	assert_says(2, "has counted 16 wrong authorizations");
	properties.lockout = LOCKOUT_YES;
	assert_says(2, "locked everybody out, after 16");
	assert_true(says("--clear-lockout"));
	properties.lockout = LOCKOUT_NO;
	properties.interval = 0;
	assert_says(2, "recovery time is 0");
	properties.known = false; /* nothing is known of the TPM's counter, but of the user's */
	assert_says(2, "for 77 s");
	assert_true(advice.works);
}

static void test_records(void **state)
{
	struct protocol_record records[] = {
		{.uid = 1000, .handle = 0x01800001, .state = PROTOCOL_STATE_OWN},
		{.uid = 1000, .handle = 0x01800002, .state = PROTOCOL_STATE_DOUBTFUL},
		{.uid = 1000, .handle = 0x01800003, .state = PROTOCOL_STATE_DOUBTFUL},
	};

	(void)state;
	standing.records = records;
	standing.record_count = 1;
	assert_says(1, "'keys' works");
	standing.record_count = 2;
	assert_says(2, "sudo tpmgate adopt 0x01800002 --for");
	assert_false(says("others"));
	standing.record_count = 3;
	assert_says(2, "0x01800002 and others");
	standing.gone[0] = 54321;
	standing.gone[1] = 54322;
	standing.gone_count = 2;
	assert_says(4, "sudo tpmgate forget 54321");
	assert_true(says("sudo tpmgate forget 54322"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_all_is_well, setup),
		cmocka_unit_test_setup(test_missing_broker, setup),
		cmocka_unit_test_setup(test_how_the_broker_fails, setup),
		cmocka_unit_test_setup(test_node, setup),
		cmocka_unit_test_setup(test_missing_tpm, setup),
		cmocka_unit_test_setup(test_prompt, setup),
		cmocka_unit_test_setup(test_refusal, setup),
		cmocka_unit_test_setup(test_refusal_with_a_reason, setup),
		cmocka_unit_test_setup(test_refusal_that_no_group_helps, setup),
		cmocka_unit_test_setup(test_faulty_and_unknown_profiles, setup),
		cmocka_unit_test_setup(test_groups, setup),
		cmocka_unit_test_setup(test_root, setup),
		cmocka_unit_test_setup(test_failures, setup),
		cmocka_unit_test_setup(test_records, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
