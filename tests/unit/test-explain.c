/*
 * The filter's rules in words: none is missing, and a profile's grants are in them.
 */
#include "cli/explain.h"

#include "broker/profile-set.h"
#include "common/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct profile_set *shipped(void)
{
	static const char *const directories[] = {SOURCE_DIR "/packaging/profiles.d", NULL};
	GPtrArray *problems = g_ptr_array_new_with_free_func(g_free);
	struct config config = config_new();
	struct profile_set *set = profile_set_load(directories, &config, problems);

	config_done(&config);
	g_ptr_array_unref(problems);
	assert_int_equal(profile_set_count(set), 7);
	return set;
}

static void test_explain_has_words_for_every_use(void **state)
{
	FILE *file = fopen(SOURCE_DIR "/helper/relay/tpm-table.h", "re");
	char line[256];
	enum tpm_use use = 0;

	(void)state;
	assert_non_null(file);
	while (fgets(line, sizeof line, file)) {
		if (strncmp(line, "\tTPM_USE_", 9) != 0)
			continue;
		if (!explain_use(use) || !explain_use_rules(use))
			fail_msg("no words for %s", line);

		g_auto(GStrv) rules = g_strsplit(explain_use_rules(use), " ", -1);

		for (size_t i = 0; rules[i]; i++)
			if (!rule_reason(rules[i]))
				fail_msg("no rule '%s' of %s", rules[i], line);
		use++;
	}
	(void)fclose(file);
	assert_true(use > TPM_USE_CONTEXT);
	assert_null(explain_use(use));
}

static void test_explain_every_command_under_every_profile(void **state)
{
	struct profile_set *set = shipped();
	unsigned allowed = 0;
	unsigned refused = 0;

	(void)state;
	for (guint i = 0; i < profile_set_count(set); i++) {
		const struct policy *policy = &profile_set_get(set, i)->policy;

		for (size_t j = 0; j < tpm_table_size; j++) {
			g_autoptr(GPtrArray) conditions = g_ptr_array_new_with_free_func(g_free);
			const char *rule = explain_command(policy, &tpm_table[j], conditions);

			if (rule) {
				assert_non_null(rule_reason(rule));
				assert_int_equal(conditions->len, 0);
				refused++;
				continue;
			}
			allowed++;
			assert_true(conditions->len >= tpm_command_handle_count(&tpm_table[j]));
			for (guint k = 0; k < conditions->len; k++) {
				const char *text = g_ptr_array_index(conditions, k);
				const char *colon = strstr(text, ": ");

				assert_true(strlen(text) > 10);
				assert_true(!colon || strlen(colon) > 4);
			}
		}
	}
	assert_true(allowed > 200 && refused > 200);
	profile_set_unref(set);
}

/* What is said of COMMAND under PROFILE: the rule, or all conditions in one string. */
static char *say(const char *profile, const char *command)
{
	struct profile_set *set = shipped();
	g_autoptr(GPtrArray) conditions = g_ptr_array_new_with_free_func(g_free);
	const struct tpm_command_info *info = explain_find(command);
	const char *rule;

	assert_non_null(info);
	rule = explain_command(&profile_set_find(set, profile)->policy, info, conditions);
	profile_set_unref(set);
	g_ptr_array_add(conditions, NULL);
	return rule ? g_strdup(rule) : g_strjoinv("\n", (char **)conditions->pdata);
}

static void test_explain_says_what_the_profile_grants(void **state)
{
	static const struct {
		const char *profile;
		const char *command;
		const char *said;
		const char *unsaid; /* NULL: nothing */
	} rows[] = {
		{"keys", "CreatePrimary", "the hierarchy owner or null", "endorsement"},
		{"attest", "CreatePrimary", "the hierarchy endorsement or null", "owner"},
		{"keys", "CreatePrimary", "takes long", NULL},
		{"keys", "Create", "storage root key (0x81000001", NULL},
		{"attest", "Create", "persistent keys 0x81010000 to 0x810100FF or 0x81020000",
			"storage root key"},
		{"keys", "Unseal", "what the own user sealed", "of others"},
		{"unseal", "Unseal", "sealed data of others", NULL},
		{"keys", "Sign", "without the attribute noda", "takes long:"},
		{"keys", "Sign", "takes long with an RSA key", NULL},
		{"keys", "PolicySecret", "an own NV index", "the hierarchy"},
		{"attest", "PolicySecret", "the hierarchy endorsement", NULL},
		{"keys", "StartAuthSession", "without the attribute noda", NULL},
		{"attest", "NV_Read", "0x01C90000 to 0x01C9FFFF", NULL},
		{"persist", "NV_Write", "NV writes of an hour", "NV indices 0x"},
		{"persist", "NV_UndefineSpace", "NV writes of an hour", NULL},
		{"persist", "NV_Read", "an own NV index", "NV writes"},
		{"admin", "ReadPublic", "persistent handles 0x81000000", NULL},
		{"admin", "NV_Write", "NV indices 0x01800000 to 0x01BFFFFF", NULL},
		{"admin", "EvictControl", "persistent handles 0x81000000 to 0x817FFFFF", NULL},
		{"keys", "PolicyAuthorizeNV", "by the owner NV indices 0x01D1020D", NULL},
		{"owner", "Clear", "ends the profile", NULL},
		{"owner", "GetRandom", "", "ends the profile"},
		{"basic", "GetCapability", "TPM_PROPERTIES", "ACT"},
		{"basic", "Startup", "answered by tpmgate", NULL},
		{"admin", "PCR_Reset", "pcr", "0"}, /* nothing is configured */
		{"admin", "PCR_Extend", "no PCR (TPM_RH_NULL)", NULL},
		{"keys", "Rewrap", "command", NULL},
		{"unseal", "Rewrap", "secrets of whomever", NULL},
		{"owner", "PCR_SetAuthValue", "never", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		g_autofree char *text = say(rows[i].profile, rows[i].command);

		if (!strstr(text, rows[i].said) || (rows[i].unsaid && strstr(text, rows[i].unsaid)))
			fail_msg("%s under %s: %s", rows[i].command, rows[i].profile, text);
	}
}

static void test_explain_refuses_what_a_profile_leaves_empty(void **state)
{
	static const struct {
		const char *command;
		const char *rule;
	} rows[] = {{"CreatePrimary", "hierarchy"}, {"PCR_Reset", "pcr"}, {"Rewrap", "rewrap"},
		{"GetCapability", "capability"}, {"Shutdown", "never"}};
	struct policy policy = {.flags = 0};

	(void)state;
	memset(policy.commands, 0xff, sizeof policy.commands);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		g_autoptr(GPtrArray) conditions = g_ptr_array_new_with_free_func(g_free);
		const char *rule =
			explain_command(&policy, explain_find(rows[i].command), conditions);

		assert_non_null(rule);
		assert_string_equal(rule, rows[i].rule);
		assert_int_equal(conditions->len, 0);
	}
}

static void test_explain_find_knows_what_people_write(void **state)
{
	static const char *const names[] = {"HMAC", "TPM2_HMAC", "hmac", "MAC", "TPM2_mac", "0x155",
		"0x00000155", "TPM_CC_HMAC", "TPM2_CC_HMAC"};
	static const char *const unknown[] = {"", "TPM2_", "HMA", "HMACC", "0x", "0x15a", "155",
		"0x100000155", "-1", "tpm2_getrandom "};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const struct tpm_command_info *info = explain_find(names[i]);

		if (!info || info->code != 0x155)
			fail_msg("'%s' is not found", names[i]);
	}
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
		if (explain_find(unknown[i]))
			fail_msg("'%s' is found", unknown[i]);
}

static void test_explain_lists(void **state)
{
	g_autofree char *none = explain_pcrs(0);
	g_autofree char *some = explain_pcrs(0x80ff0801);
	g_autofree char *all = explain_pcrs(UINT32_MAX);
	g_autofree char *hierarchies = explain_hierarchies(POLICY_HIERARCHY_ALL);
	g_autofree char *capabilities = explain_capabilities(1u << 31 | 1);

	(void)state;
	assert_string_equal(none, "");
	assert_string_equal(some, "0, 11, 16 to 23, 31");
	assert_string_equal(all, "0 to 31");
	assert_string_equal(hierarchies, "owner, endorsement, null, lockout");
	assert_string_equal(capabilities, "ALGS, 31");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_explain_has_words_for_every_use),
		cmocka_unit_test(test_explain_every_command_under_every_profile),
		cmocka_unit_test(test_explain_says_what_the_profile_grants),
		cmocka_unit_test(test_explain_refuses_what_a_profile_leaves_empty),
		cmocka_unit_test(test_explain_find_knows_what_people_write),
		cmocka_unit_test(test_explain_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
