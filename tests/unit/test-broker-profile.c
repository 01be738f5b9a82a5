#include "broker-scene.h"

#include "broker/profile-set.h"
#include "relay/tpm-table.h"

#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define HEAD "[Profile]\nSummary=a test\n"
#define BODY HEAD "[Allow]\nCommands=GetRandom\n"

static GPtrArray *problems;
static struct config config;

static int setup(void **state)
{
	(void)state;
	scene_begin();
	problems = g_ptr_array_new_with_free_func(g_free);
	config = config_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	scene_end();
	g_ptr_array_unref(problems);
	config_done(&config);
	return 0;
}

static struct profile *compile(const char *name, const char *text)
{
	return profile_compile(name, "test.profile", text, strlen(text), &config, problems);
}

static struct profile *compile_good(const char *name, const char *text)
{
	struct profile *profile = compile(name, text);

	if (profile->fault)
		fail_msg("%s", profile->fault);
	return profile;
}

static void test_profile_compile_least(void **state)
{
	struct profile *profile = compile_good("dice", BODY);
	struct policy empty = {.name = "dice"};

	(void)state;
	assert_string_equal(profile->name, "dice");
	assert_string_equal(profile->summary, "a test");
	assert_string_equal(profile->action, "io.github.tpmgate.custom");
	assert_true(profile->custom);
	assert_int_equal(profile->group_count, 0);
	assert_null(profile->group_name);
	/* one command and nothing else */
	policy_allow_command(&empty, 0x17b);
	assert_memory_equal(&profile->policy, &empty, sizeof empty);
	profile_free(profile);
}

static void test_profile_compile_every_key(void **state)
{
	struct profile *profile = compile_good("mine",
		"[Profile]\nSummary=all of it\nGroups=4711;0\nPolkitAction=org.example.tpm\n"
		"[Allow]\nCommands=GetRandom;ReadPublic;\n"
		"Capabilities=ALGS;TPM_PROPERTIES;ACT;31\n"
		"Hierarchies=OWNER;ENDORSEMENT;NULL;LOCKOUT\nPolicySecret=OWNER;ENDORSEMENT\n"
		"PCRs=16;20-23\nStorageRootKey=yes\nUnsealForeign=yes\nOnce=yes\n"
		"[Handles]\nUseKey=0x81010001\nEvict=0x81000000-0x8100FFFF\n"
		"NvRead=0x01800000-0x0180ffff\nNvWrite=0x01800000-0x0180FFFF\n"
		"NvDefine=0x01800000-0x0180FFFE\nNvAuthorize=0x01D10200\n");
	const struct policy *policy = &profile->policy;

	(void)state;
	assert_string_equal(profile->action, "org.example.tpm");
	assert_int_equal(profile->group_count, 2);
	assert_int_equal(profile->groups[0], 4711);
	assert_int_equal(profile->groups[1], 0);
	assert_true(policy_allows_command(policy, 0x17b));
	assert_true(policy_allows_command(policy, 0x173));
	assert_false(policy_allows_command(policy, 0x126));
	assert_int_equal(policy->capabilities, 1u << 0 | 1u << 6 | 1u << 10 | 1u << 31);
	assert_int_equal(policy->hierarchies, POLICY_HIERARCHY_ALL);
	assert_int_equal(policy->secrets, POLICY_OWNER | POLICY_ENDORSEMENT);
	assert_int_equal(policy->pcrs, 0x00f10000);
	assert_int_equal(policy->flags, POLICY_FLAG_ALL);
	/* the two with the same ends are one */
	assert_int_equal(policy->range_count, 5);
	assert_true(policy_allows_handle(policy, 0x81010001, POLICY_USE_KEY));
	assert_false(policy_allows_handle(policy, 0x81010002, POLICY_USE_KEY));
	assert_true(policy_allows_handle(policy, 0x8100ffff, POLICY_USE_EVICT));
	assert_true(
		policy_allows_handle(policy, 0x0180ffff, POLICY_USE_NV_READ | POLICY_USE_NV_WRITE));
	assert_false(policy_allows_handle(policy, 0x0180ffff, POLICY_USE_NV_DEFINE));
	assert_true(policy_allows_handle(policy, 0x01d10200, POLICY_USE_NV_AUTHORIZE));
	profile_free(profile);
}

static void test_profile_compile_shipped_names(void **state)
{
	static const char *const names[] = {
		"basic", "keys", "unseal", "attest", "persist", "admin", "owner"};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		struct profile *profile = compile_good(names[i], BODY);
		g_autofree char *action = g_strconcat("io.github.tpmgate.", names[i], NULL);

		assert_string_equal(profile->action, action);
		assert_false(profile->custom);
		profile_free(profile);
	}
}

static void test_profile_compile_configured_pcrs(void **state)
{
	struct profile *profile;

	(void)state;
	profile = compile_good("admin", BODY "PCRs=configured\n");
	assert_int_equal(profile->policy.pcrs, 0);
	profile_free(profile);
	config.pcrs = 0x00810000;
	profile = compile_good("admin", BODY "PCRs=configured\n");
	assert_int_equal(profile->policy.pcrs, 0x00810000);
	profile_free(profile);
	profile = compile_good("admin", BODY);
	assert_int_equal(profile->policy.pcrs, 0);
	profile_free(profile);
}

static void test_profile_compile_groups_by_name(void **state)
{
	const struct group *group = getgrgid(0);
	g_autofree char *text = g_strdup_printf(
		"[Profile]\nSummary=x\nGroups=tpmgate-no-such-group;%s\n[Allow]\nCommands=Sign\n",
		group->gr_name);
	struct profile *profile = compile_good("dice", text);

	(void)state;
	/* the one that is not there lets nobody in, and somebody is told */
	assert_int_equal(profile->group_count, 1);
	assert_int_equal(profile->groups[0], 0);
	assert_string_equal(profile->group_name, "tpmgate-no-such-group");
	assert_int_equal(problems->len, 1);
	assert_non_null(strstr(g_ptr_array_index(problems, 0), "tpmgate-no-such-group"));
	profile_free(profile);
}

static void test_profile_compile_never_commands(void **state)
{
	(void)state;
	for (size_t i = 0; i < tpm_table_size; i++) {
		g_autofree char *text =
			g_strconcat(HEAD "[Allow]\nCommands=", tpm_table[i].name, "\n", NULL);
		struct profile *profile = compile("dice", text);

		if (tpm_table[i].scope == TPM_SCOPE_PROFILE) {
			assert_null(profile->fault);
			assert_true(policy_allows_command(&profile->policy, tpm_table[i].code));
		} else {
			assert_non_null(strstr(profile->fault, "never"));
		}
		profile_free(profile);
	}
}

static void test_profile_compile_faults_say_where(void **state)
{
	static const struct {
		const char *text;
		const char *where;
		const char *what;
	} table[] = {
		{"", "test.profile:", "Summary="},
		{"[Allow]\nCommands=Sign\n", "test.profile: ", "Summary="},
		{"[Profile]\n[Allow]\nCommands=Sign\n", "test.profile:1:", "Summary="},
		{"[Profile]\nSummary=\n[Allow]\nCommands=Sign\n", "test.profile:2:", "Summary="},
		{HEAD "[Allow]\n", "test.profile:3:", "Commands="},
		{HEAD "[Allow]\nCommands=S\xff\n", "test.profile:4:", "UTF-8"},
		{HEAD "[Allow]\nCommands=Get\033[2JRandom\n", "test.profile:4:", "not shown"},
		{HEAD "[Allow]\rCommands=Sign\n", "test.profile:3:", "not shown"},
		{"[Profile]\nSummary=a\u202eb\n", "test.profile:2:", "not shown"},
		{"[Profile]\nSummary=a\\nb\n[Allow]\nCommands=Sign\n",
			"test.profile:2:", "one line"},
		{HEAD "[Allow]\nCommands=Sign\\nx\n", "test.profile:4:", "one line"},
		{HEAD "[Allow]\nCommands=\n", "test.profile:4:", "Commands="},
		{HEAD "[Allow]\nCommands=Sign;GetRich\n", "test.profile:4:", "'GetRich'"},
		{HEAD "[Allow]\nCommands=sign\n", "test.profile:4:", "'sign'"},
		{HEAD "[Allow]\nCommands=TPM2_Sign\n", "test.profile:4:", "'TPM2_Sign'"},
		{HEAD "[Allow]\nCommands=Sign;;Hash\n", "test.profile:4:", "empty"},
		{HEAD "[Allow]\nCommands=Startup\n", "test.profile:4:", "never"},
		{HEAD "[Allow]\nCommands=PP_Commands\n", "test.profile:4:", "never"},
		{BODY "Capabilities=ALGOS\n", "test.profile:5:", "'ALGOS'"},
		{BODY "Capabilities=32\n", "test.profile:5:", "'32'"},
		{BODY "Hierarchies=PLATFORM\n", "test.profile:5:", "'PLATFORM'"},
		{BODY "Hierarchies=owner\n", "test.profile:5:", "'owner'"},
		{BODY "PolicySecret=LOCKOUT\n", "test.profile:5:", "'LOCKOUT'"},
		{BODY "PCRs=configured;1\n", "test.profile:5:", "configured"},
		{BODY "PCRs=1;32\n", "test.profile:5:", "'32'"},
		{BODY "StorageRootKey=1\n", "test.profile:5:", "yes or no"},
		{BODY "Once=\n", "test.profile:5:", "yes or no"},
		{BODY "Command=Sign\n", "test.profile:5:", "Command="},
		{BODY "Commands[de]=Sign\n", "test.profile:5:", "Commands[de]="},
		{BODY "[Extra]\n", "test.profile:5:", "Extra"},
		{BODY "[Handles]\nUseKey=81000001\n", "test.profile:6:", "'81000001'"},
		{BODY "[Handles]\nUseKey=0x8100001\n", "test.profile:6:", "'0x8100001'"},
		{BODY "[Handles]\nUseKey=0x01800000\n", "test.profile:6:", "'0x01800000'"},
		{BODY "[Handles]\nUseKey=0x80000000\n", "test.profile:6:", "'0x80000000'"},
		{BODY "[Handles]\nEvict=0x40000001\n", "test.profile:6:", "'0x40000001'"},
		{BODY "[Handles]\nNvRead=0x81000001\n", "test.profile:6:", "'0x81000001'"},
		{BODY "[Handles]\nNvRead=0x01000002-0x01000001\n", "test.profile:6:", "0x01000002"},
		{BODY "[Handles]\nNvRead=0x01000000-0x02000000\n", "test.profile:6:", "0x02000000"},
		{BODY "[Handles]\nNvRead=0x01000000-\n", "test.profile:6:", "0x01000000-"},
		{"[Profile]\nSummary=x\nGroups=-1\n[Allow]\nCommands=Sign\n", "", ""},
		{"[Profile]\nSummary=x\nGroups=4294967295\n[Allow]\nCommands=Sign\n",
			"test.profile:3:", "4294967295"},
		{"[Profile]\nSummary=x\nPolkitAction=a b\n[Allow]\nCommands=Sign\n",
			"test.profile:3:", "'a b'"},
		{"[Profile]\nSummary=x\nPolkitAction=\n[Allow]\nCommands=Sign\n",
			"test.profile:3:", "PolkitAction="},
		{"[Profile]\nSummary=x\nSummary=y\n[Allow]\nCommands=Sign\n",
			"test.profile:3:", "twice"},
		{"Summary\n", "test.profile:1:", "[Section]"},
	};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		struct profile *profile = compile("dice", table[i].text);

		if (table[i].where[0] == '\0') {
			/* a name of a group, if a strange one: it lets nobody in */
			assert_null(profile->fault);
			assert_int_equal(profile->group_count, 0);
		} else if (!profile->fault || !strstr(profile->fault, table[i].where) ||
			   !strstr(profile->fault, table[i].what)) {
			fail_msg("'%s' does not say %s ... %s", profile->fault, table[i].where,
				table[i].what);
		}
		profile_free(profile);
	}
}

static void test_profile_compile_too_many_ranges(void **state)
{
	g_autoptr(GString) text = g_string_new(BODY "[Handles]\nNvRead=");
	struct profile *profile;

	(void)state;
	for (unsigned i = 0; i < POLICY_RANGES; i++)
		g_string_append_printf(text, "0x018%05X;", i);
	profile = compile_good("dice", text->str);
	assert_int_equal(profile->policy.range_count, POLICY_RANGES);
	profile_free(profile);
	g_string_append(text, "0x01900000");
	profile = compile("dice", text->str);
	assert_non_null(strstr(profile->fault, "ranges"));
	profile_free(profile);
}

static void test_profile_name_is_valid(void **state)
{
	(void)state;
	assert_true(profile_name_is_valid("keys"));
	assert_true(profile_name_is_valid("A-b_9"));
	assert_true(profile_name_is_valid("1234567890123456789012345678901"));
	assert_false(profile_name_is_valid("12345678901234567890123456789012"));
	assert_false(profile_name_is_valid(""));
	assert_false(profile_name_is_valid("../keys"));
	assert_false(profile_name_is_valid("k\xc3\xa9y"));
	assert_false(profile_name_is_valid("a+b"));
}

static struct profile_set *load_set(void)
{
	g_autofree char *etc = scene_path("etc");
	g_autofree char *lib = scene_path("lib");
	const char *const directories[] = {etc, lib, NULL};
	static const struct {
		const char *name;
		const char *text;
		mode_t mode;
	} files[] = {
		{"etc/keys.profile", BODY, 0644},
		{"lib/keys.profile", "broken", 0644}, /* hidden */
		{"lib/basic.profile", BODY, 0644},
		{"etc/attest.profile", "", 0644}, /* masks */
		{"lib/attest.profile", BODY, 0644},
		{"lib/dice.profile", BODY, 0644},
		{"lib/open.profile", BODY, 0666},
		{"lib/a b.profile", BODY, 0644},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(files); i++)
		g_free(scene_write(files[i].name, files[i].text, files[i].mode));
	return profile_set_load(directories, &config, problems);
}

static void test_profile_set_load(void **state)
{
	struct profile_set *set = load_set();

	(void)state;
	assert_int_equal(profile_set_count(set), 4);
	assert_null(profile_set_find(set, "attest")); /* masked */
	assert_null(profile_set_find(set, "keys")->fault);
	assert_null(profile_set_find(set, "basic")->fault);
	assert_non_null(strstr(profile_set_find(set, "open")->fault, "write"));
	assert_int_equal(problems->len, 2); /* open.profile and "a b.profile" */
	profile_set_unref(set);
}

static void test_profile_set_resolve(void **state)
{
	static const struct {
		const char *names;
		size_t count; /* 0: refused */
		bool unknown;
		const char *problem;
	} table[] = {
		{"keys", 1, false, NULL},
		{"keys+basic", 2, false, NULL},
		{"keys+keys+basic+keys", 2, false, NULL},
		{"dice", 1, false, NULL},
		{"dice+dice", 1, false, NULL},
		{"keys+dice", 0, false, "dice"},
		{"none", 0, true, "none"},
		{"keys+none", 0, true, "none"},
		{"open", 0, true, "open.profile"},
		{"attest", 0, true, "attest"},
		{"", 0, false, "no profile"},
		{"+", 0, false, "'+'"},
		{"keys+", 0, false, "'keys+'"},
		{"keys++basic", 0, false, "keys++basic"},
		{"../keys", 0, false, "../keys"},
		{"Keys", 0, true, "Keys"},
	};
	struct profile_set *set = load_set();

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		const struct profile *profiles[POLICY_MAX];
		g_autofree char *problem = NULL;
		bool unknown;
		size_t count =
			profile_set_resolve(set, table[i].names, profiles, &unknown, &problem);

		assert_int_equal(count, table[i].count);
		assert_int_equal(unknown, table[i].unknown);
		if (table[i].problem)
			assert_non_null(strstr(problem, table[i].problem));
	}
	profile_set_unref(set);
}

static void test_profile_set_resolve_repeated(void **state)
{
	g_autoptr(GString) names = g_string_new("dice");
	const struct profile *profiles[POLICY_MAX];
	char *problem = NULL;
	struct profile_set *set = load_set();
	bool unknown;

	(void)state;
	/* a name that is repeated takes no place */
	for (int i = 0; i < 2 * POLICY_MAX; i++)
		g_string_append(names, "+dice");
	assert_int_equal(profile_set_resolve(set, names->str, profiles, &unknown, &problem), 1);
	assert_null(problem);
	profile_set_unref(set);
}

/* Copies, because a checkout may belong to another user than the tests run as. */
static void copy_shipped_profiles(void)
{
	GDir *directory = g_dir_open(SHIPPED_PROFILES, 0, NULL);
	const char *name;

	assert_non_null(directory);
	while ((name = g_dir_read_name(directory)) != NULL) {
		g_autofree char *from = g_build_filename(SHIPPED_PROFILES, name, NULL);
		g_autofree char *to = g_build_filename("shipped", name, NULL);
		g_autofree char *text = NULL;

		assert_true(g_file_get_contents(from, &text, NULL, NULL));
		g_free(scene_write(to, text, 0644));
	}
	g_dir_close(directory);
}

static void test_shipped_profiles(void **state)
{
	g_autofree char *path = scene_path("shipped");
	const char *const directories[] = {path, NULL};
	struct profile_set *set;

	(void)state;
	copy_shipped_profiles();
	set = profile_set_load(directories, &config, problems);
	assert_int_equal(profile_set_count(set), 7);
	for (guint i = 0; i < profile_set_count(set); i++) {
		const struct profile *profile = profile_set_get(set, i);

		if (profile->fault)
			fail_msg("%s", profile->fault);
		assert_false(profile->custom);
		assert_false(policy_allows_command(&profile->policy, 0x126) && /* Clear */
			     strcmp(profile->name, "owner") != 0);
	}
	profile_set_unref(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_profile_compile_least, setup, teardown),
		cmocka_unit_test_setup_teardown(test_profile_compile_every_key, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_profile_compile_shipped_names, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_profile_compile_configured_pcrs, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_profile_compile_groups_by_name, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_profile_compile_never_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_profile_compile_faults_say_where, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_profile_compile_too_many_ranges, setup, teardown),
		cmocka_unit_test(test_profile_name_is_valid),
		cmocka_unit_test_setup_teardown(test_profile_set_load, setup, teardown),
		cmocka_unit_test_setup_teardown(test_profile_set_resolve, setup, teardown),
		cmocka_unit_test_setup_teardown(test_profile_set_resolve_repeated, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shipped_profiles, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
