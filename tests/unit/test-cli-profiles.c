/*
 * tpmgate profiles --check and --explain as a person runs them: without a broker, and as any user.
 */
#include "broker-scene.h"
#include "cli-scene.h"

#include "relay/tpm-table.h"

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD "[Profile]\nSummary=what it is for\nGroups=0\n"
#define BODY HEAD "[Allow]\nCommands=GetRandom;Sign\n"

static const char *const names[] = {
	"admin", "attest", "basic", "keys", "owner", "persist", "unseal"};

static int setup(void **state)
{
	(void)state;
	scene_begin();
	setenv("TPMGATE_SOCKET", "/nowhere", 1); /* nothing here needs a broker */
	unsetenv("TPMGATE_PROFILES");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	scene_end();
	return 0;
}

static int check(const char *path, const char *more)
{
	g_autofree char *line = g_strdup_printf("profiles --check %s%s", path, more);

	return run(line);
}

/* Writes TEXT to NAME with MODE and checks it. Returns the exit code. */
static int check_text(const char *name, const char *text, mode_t mode)
{
	g_autofree char *path = scene_write(name, text, mode);

	return check(path, "");
}

static void assert_lacks(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("\"%s\" is in \"%s\"", part, text);
}

/* ---- --check --------------------------------------------------------------------------------- */

static void test_check_says_what_a_profile_allows(void **state)
{
	(void)state;
	assert_int_equal(check_text("mine.profile",
				 HEAD "[Allow]\nCommands=GetRandom;Sign;NV_Read;PCR_Reset;PolicyOR;"
				      "Clear;DictionaryAttackLockReset;StartAuthSession;Quote\n"
				      "Capabilities=ALGS;31\nHierarchies=OWNER;NULL\n"
				      "PolicySecret=ENDORSEMENT\nPCRs=16-23;7\nStorageRootKey=yes\n"
				      "UnsealForeign=yes\nOnce=yes\n[Handles]\nUseKey=0x81000100\n"
				      "NvRead=0x01800000-0x0180FFFF\n",
				 0644),
		0);
	assert_string_equal(cli.err_text, "");
	assert_has(cli.out_text, "Profile    mine\n");
	assert_has(cli.out_text, "Summary    what it is for\n");
	assert_has(cli.out_text, "members of the group root,");
	assert_has(cli.out_text, "whom polkit grants io.github.tpmgate.custom\n");
	assert_has(cli.out_text, "cannot be joined");
	assert_has(cli.out_text, "\n  sessions: StartAuthSession\n");
	assert_has(cli.out_text, "\n  facts: GetRandom\n");
	assert_has(cli.out_text, "\n  hierarchies: Clear\n");
	assert_has(cli.out_text, "\n  lockout: DictionaryAttackLockReset\n");
	assert_has(cli.out_text, "\n  PCR: PCR_Reset\n");
	assert_has(cli.out_text, "\n  NV: NV_Read\n");
	assert_has(cli.out_text, "\n  policies: PolicyOR\n");
	assert_has(cli.out_text, "\n  attestation: Quote\n");
	assert_has(cli.out_text, "\n  keys and sealing: Sign\n");
	assert_has(cli.out_text, "ALGS, 31: ");
	assert_has(cli.out_text, "Hierarchy  owner, null: ");
	assert_has(cli.out_text, "Secrets    endorsement: ");
	assert_has(cli.out_text, "PCRs       7, 16 to 23: ");
	assert_has(cli.out_text, "SRK        0x81000001");
	assert_has(cli.out_text, "Sealed     own and others'");
	assert_has(cli.out_text, "Once       yes");
	assert_has(cli.out_text, "\n  0x81000100: persistent keys");
	assert_has(cli.out_text, "\n  0x01800000 to 0x0180FFFF: NV indices that may be read");
	assert_has(cli.out_text, "\nAlways\n");
}

static void test_check_says_what_a_profile_does_not_allow(void **state)
{
	(void)state;
	assert_int_equal(check_text("mine.profile", BODY, 0644), 0);
	assert_has(cli.out_text, "Hierarchy  none: ");
	assert_has(cli.out_text, "Secrets    none: ");
	assert_has(cli.out_text, "PCRs       none: ");
	assert_has(cli.out_text, "SRK        the storage root key may not be used");
	assert_has(cli.out_text, "Sealed     only what the own user sealed");
	assert_has(cli.out_text, "Once       no");
	assert_has(cli.out_text, "\n  none but own ones\n");
	assert_lacks(cli.out_text, "\n  NV:");
}

static void test_check_of_shipped_profiles(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		g_autofree char *path = g_strdup_printf(SHIPPED_PROFILES "/%s.profile", names[i]);
		g_autofree char *action =
			g_strdup_printf("polkit grants io.github.tpmgate.%s\n", names[i]);

		assert_int_equal(check(path, ""), 0);
		assert_has(cli.out_text, action);
		assert_lacks(cli.out_text, "cannot be joined");
		assert_lacks(cli.out_text, "SavedSessions");
		assert_lacks(cli.out_text, ": :");
		assert_lacks(cli.out_text, "(null)");
		assert_int_equal(check(path, " --json"), 0);
		assert_has(cli.out_text, "\"custom\":false");
		assert_has(cli.out_text, "\"GetRandom\"");
		assert_lacks(cli.out_text, "\"\"");
	}
}

static void test_check_prints_json(void **state)
{
	g_autofree char *path = scene_write("mine.profile", BODY "Hierarchies=OWNER;NULL\n", 0666);

	(void)state;
	assert_int_equal(check(path, " --json"), 0);
	assert_has(cli.out_text,
		"{\"name\":\"mine\",\"summary\":\"what it is for\",\"custom\":true,"
		"\"groups\":[\"root\"],\"action\":\"io.github.tpmgate.custom\"");
	assert_has(cli.out_text, "\"keys and sealing\":[\"Sign\"]");
	assert_has(cli.out_text, "\"hierarchies\":[\"owner\",\"null\"]");
	assert_has(cli.out_text, "\"pcrs\":[]");
	assert_has(cli.out_text, "\"once\":false");
	assert_has(cli.out_text, "\"UseKey\":[]");
	assert_has(cli.out_text, "its group or others can write it\"]}\n");
}

static void test_check_names_line_and_fault(void **state)
{
	static const struct {
		const char *text;
		const char *where;
		const char *why;
	} rows[] = {
		{HEAD "[Allow]\n", "4: ", "Commands="},
		{"[Profile]\n[Allow]\nCommands=Sign\n", "1: ", "Summary="},
		{HEAD "[Allow]\nCommands=Sing\n", "5: ", "'Sing'"},
		{HEAD "[Allow]\nCommands=Shutdown\n", "5: ", "never"},
		{BODY "Hierarchies=PLATFORM\n", "6: ", "'PLATFORM'"},
		{BODY "PolicySecret=NULL\n", "6: ", "'NULL'"},
		{BODY "PCRs=24-33\n", "6: ", "'24-33'"},
		{BODY "Capabilities=X\n", "6: ", "'X'"},
		{BODY "Once=maybe\n", "6: ", "'maybe'"},
		{BODY "Onec=yes\n", "6: ", "Onec="},
		{BODY "[Handle]\n", "6: ", "Handle"},
		{BODY "[Handles]\nUseKey=0x01800000\n", "7: ", "'0x01800000'"},
		{BODY "[Handles]\nNvRead=1\n", "7: ", "'1'"},
		{BODY "Commands=Sign\n", "6: ", "twice"},
		{BODY "what\n", "6: ", "Key=value"},
		{BODY "# \xff\n", "6: ", "UTF-8"},
		{"Summary=x\n", "1: ", "[Section]"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		g_autofree char *path = scene_path("mine.profile");
		g_autofree char *start = g_strdup_printf("%s:%s", path, rows[i].where);

		assert_int_equal(check_text("mine.profile", rows[i].text, 0644), 1);
		assert_string_equal(cli.out_text, "");
		if (!g_str_has_prefix(cli.err_text, start))
			fail_msg("not at %s: %s", start, cli.err_text);
		assert_has(cli.err_text, rows[i].why);
		assert_ptr_equal(strchr(cli.err_text, '\n') + 1,
			cli.err_text + strlen(cli.err_text)); /* one line */
	}
}

static void test_check_of_what_is_no_file(void **state)
{
	g_autofree char *missing = scene_path("missing.profile");
	g_autofree char *directory = scene_path("");

	(void)state;
	assert_int_equal(check(missing, ""), 1);
	assert_has(cli.err_text, "missing.profile: there is no such file\n");
	assert_int_equal(check(directory, ""), 1);
	assert_has(cli.err_text, ": is not a regular file\n");
	assert_int_equal(check_text("empty.profile", "", 0644), 1);
	assert_has(cli.err_text, "empty.profile: is empty");
	assert_string_equal(cli.out_text, "");
}

static void test_check_warns_of_what_the_broker_refuses(void **state)
{
	g_autofree char *target = scene_write("mine.profile", BODY, 0644);
	g_autofree char *link = scene_path("link.profile");
	g_autofree char *long_name = g_strnfill(32, 'x');
	g_autofree char *longer = g_strconcat(long_name, ".profile", NULL);

	(void)state;
	assert_int_equal(symlink(target, link), 0);
	assert_int_equal(check(link, ""), 0);
	assert_has(cli.err_text, "link.profile: is a symbolic link");
	assert_has(cli.out_text, "Profile    link\n");
	assert_int_equal(check_text("open.profile", BODY, 0646), 0);
	assert_has(cli.err_text, "open.profile: its group or others can write it\n");
	assert_int_equal(check_text("draft.txt", BODY, 0644), 0);
	assert_has(cli.err_text, "draft.txt: the broker reads files only whose names end in");
	assert_int_equal(check_text(longer, BODY, 0644), 0);
	assert_has(cli.err_text, "1 to 31 of");
	assert_int_equal(check_text("group.profile",
				 "[Profile]\nSummary=x\nGroups=no-such-group\n[Allow]\n"
				 "Commands=Sign\n",
				 0644),
		0);
	assert_has(cli.err_text, "'no-such-group' lets nobody in");
	if (geteuid() == 0) {
		assert_int_equal(chown(target, 12345, 12345), 0);
		assert_int_equal(check(target, ""), 0);
		assert_has(cli.err_text, "belongs to another user than root or the broker's");
		assert_has(cli.out_text, "Profile    mine\n");
	}
}

/* ---- --explain ------------------------------------------------------------------------------- */

static int explain(const char *command, const char *more)
{
	g_autofree char *line = g_strdup_printf(
		"profiles --explain %s --profiles-dir %s%s", command, SHIPPED_PROFILES, more);

	return run(line);
}

static void test_explain_every_command(void **state)
{
	(void)state;
	for (size_t i = 0; i < tpm_table_size; i++) {
		g_autofree char *title =
			g_strdup_printf("TPM2_%s (0x%08X)", tpm_table[i].name, tpm_table[i].code);

		assert_int_equal(explain(tpm_table[i].name, ""), 0);
		assert_string_equal(cli.err_text, "");
		assert_has(cli.out_text, title);
		for (size_t j = 0; j < sizeof names / sizeof *names; j++) {
			g_autofree char *line = g_strdup_printf("\n  %-10s ", names[j]);

			assert_has(cli.out_text, line);
		}
		assert_lacks(cli.out_text, "(null)");
		assert_lacks(cli.out_text, " \n");
		assert_lacks(cli.out_text, ":\n");
	}
}

static void test_explain_names_rules_and_conditions(void **state)
{
	(void)state;
	assert_int_equal(explain("TPM2_Clear", ""), 0);
	assert_has(cli.out_text, "Allowed by\n  owner      authHandle: lockout\n");
	assert_has(cli.out_text, "Refused by\n  admin      command: no profile");
	assert_int_equal(explain("0x15d", " --profile keys"), 0);
	assert_has(cli.out_text, "Allowed by\n  keys       keyHandle: an own object\n");
	assert_lacks(cli.out_text, "basic");
	assert_lacks(cli.out_text, "Refused by");
	assert_int_equal(explain("FieldUpgradeStart", " --profile keys+attest"), 0);
	assert_has(cli.out_text, "\n  attest     never: the command never goes through");
	assert_lacks(cli.out_text, "Allowed by");
}

static void test_explain_prints_json(void **state)
{
	(void)state;
	assert_int_equal(explain("mac", " --json --profile keys+basic"), 0);
	assert_has(cli.out_text,
		"{\"command\":\"HMAC\",\"alias\":\"MAC\",\"code\":341,\"handles\":[{"
		"\"name\":\"handle\",\"demand\":\"an own object");
	assert_has(cli.out_text, "{\"name\":\"basic\",\"allowed\":false,\"fault\":null,"
				 "\"rule\":\"command\",\"reason\":\"no profile");
	assert_has(cli.out_text,
		"{\"name\":\"keys\",\"allowed\":true,\"fault\":null,\"rule\":null,"
		"\"reason\":null,\"advice\":null,\"conditions\":[\"handle: an own");
}

static void test_explain_with_faulty_profiles(void **state)
{
	g_autofree char *first = scene_path("a");
	g_autofree char *second = scene_path("b");
	g_autofree char *line = g_strdup_printf(
		"profiles --explain Sign --profiles-dir %s --profiles-dir %s", first, second);

	(void)state;
	g_free(scene_write("a/mine.profile", BODY, 0644));
	g_free(scene_write("b/mine.profile", "broken", 0644)); /* hidden */
	g_free(scene_write("b/bad.profile", "broken", 0644));
	assert_int_equal(run(line), 0);
	assert_has(cli.out_text, "Allowed by\n  mine       keyHandle");
	assert_has(cli.out_text, "Refused by\n  bad        faulty: ");
	assert_has(cli.out_text, "bad.profile:1: ");
}

static void test_explain_unknown_ends_with_2(void **state)
{
	(void)state;
	assert_int_equal(explain("TPM2_Frobnicate", ""), 2);
	assert_string_equal(cli.out_text, "");
	assert_string_equal(cli.err_text, "tpmgate: 'TPM2_Frobnicate' is no command of the TPM 2.0 "
					  "specification\n");
	assert_int_equal(explain("0x20000000", ""), 2);
	assert_int_equal(explain("Sign", " --profile nonsense"), 2);
	assert_string_equal(cli.err_text, "tpmgate: there is no profile 'nonsense'\n");
	assert_int_equal(run("profiles --explain Sign --profiles-dir /nowhere"), 1);
	assert_string_equal(cli.out_text, "");
	assert_has(cli.err_text, "tpmgate: there are no profiles");
}

static void test_options_that_do_not_go_together(void **state)
{
	static const char *const wrong[] = {
		"profiles --check a --explain Sign",
		"profiles --profiles-dir /tmp",
		"profiles --check a --profiles-dir /tmp",
		"profiles --check",
		"profiles --explain",
		"devices --check a",
		"--explain Sign status",
		"stdio --profiles-dir /tmp",
	};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		if (run(wrong[i]) != 2)
			fail_msg("tpmgate %s does not end with 2", wrong[i]);
		assert_string_equal(cli.out_text, "");
		assert_memory_equal(cli.err_text, "tpmgate: ", 9);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_check_says_what_a_profile_allows),
		TEST(test_check_says_what_a_profile_does_not_allow),
		TEST(test_check_of_shipped_profiles),
		TEST(test_check_prints_json),
		TEST(test_check_names_line_and_fault),
		TEST(test_check_of_what_is_no_file),
		TEST(test_check_warns_of_what_the_broker_refuses),
		TEST(test_explain_every_command),
		TEST(test_explain_names_rules_and_conditions),
		TEST(test_explain_prints_json),
		TEST(test_explain_with_faulty_profiles),
		TEST(test_explain_unknown_ends_with_2),
		TEST(test_options_that_do_not_go_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
