/*
 * Every command under every shipped profile, compared with a table that was written down apart from
 * both: tpm-commands-expected.csv. The profiles are the files that are installed; the commands are
 * bytes, with handles that the profile should allow. Then the same with other handles.
 */
#include "filter-scene.h"

#include "broker/profile-set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define QUERIES_MAX 6

static struct profile_set *profiles;

static int setup(void **state)
{
	static const char *const directories[] = {SHIPPED_PROFILES, NULL};
	g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func(g_free);
	struct config config = config_new();

	(void)state;
	config.pcrs = 1u << 16 | 1u << 23;
	profiles = profile_set_load(directories, &config, problems);
	config_done(&config);
	return profile_set_count(profiles) == 7 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	profile_set_unref(profiles);
	return 0;
}

static struct policy_image image_of(const struct profile *profile)
{
	struct policy_image image = policy_image_new();

	image.backend = POLICY_BACKEND_DEVICE;
	image.policy_count = 1;
	image.policies[0] = profile->policy;
	assert_int_equal(policy_image_check(&image), 0);
	return image;
}

/* What IMAGE says to COMMAND when all is known that the TPM can tell. */
static struct filter_verdict judge_image(const struct policy_image *image, struct account *account,
	const struct tpm_command *command)
{
	struct filter_verdict verdict = filter_check(image, account, command);

	for (int i = 0; verdict.kind == FILTER_QUERY && i < QUERIES_MAX; i++) {
		filter_scene_learn(account, command, verdict.query);
		verdict = filter_check(image, account, command);
	}
	return verdict;
}

/* The command with handles that PROFILE should allow, but for handle number I (-1: none). */
static struct filter_verdict judge(
	const struct profile *profile, const struct tpm_command_info *info, int i, uint32_t handle)
{
	struct policy_image image = image_of(profile);
	struct account account = filter_scene_account(&profile->policy);
	uint32_t handles[TPM_HANDLES_MAX];
	uint8_t bytes[TPM_MESSAGE_MAX];
	struct tpm_command command;
	size_t size;

	filter_scene_handles(&profile->policy, info, handles);
	size = filter_scene_write(&profile->policy, info, handles, bytes);
	if (tpm_command_parse(bytes, size, &command) != TPM_RC_SUCCESS)
		fail_msg("%s: its bytes do not parse", info->name);
	if (i >= 0) /* the filter does not rely on the parser */
		command.handles[i] = handle;
	return judge_image(&image, &account, &command);
}

/* ---- what is expected ------------------------------------------------------------------------ */

/* Whether the representative command needs to be known for the uid's own by the broker. */
static bool needs_account(const struct policy *policy, const struct tpm_command_info *info)
{
	if (info->code == TPM_CC_EVICT_CONTROL)
		return filter_scene_first(policy, POLICY_USE_EVICT, 0) == 0;
	if (info->code == TPM_CC_NV_DEFINE_SPACE || info->code == TPM_CC_NV_DEFINE_SPACE_2)
		return filter_scene_first(policy, POLICY_USE_NV_DEFINE, 0) == 0;
	for (unsigned i = 0; i < tpm_command_handle_count(info); i++)
		if (info->handles[i].use != TPM_USE_NV_PUBLIC &&
			info->handles[i].use != TPM_USE_NV_AUTH &&
			info->handles[i].kinds & TPM_KIND_NV &&
			filter_scene_index(policy, info->handles[i].use) == OWN_INDEX &&
			filter_scene_handle(policy, &info->handles[i]) == OWN_INDEX)
			return true;
	return false;
}

static void check_pair(const struct profile *profile, const struct tpm_command_info *info,
	const char *minimum, bool allowed)
{
	struct filter_verdict verdict = judge(profile, info, -1, 0);
	bool good;

	if (strcmp(minimum, "local") == 0)
		good = verdict.kind == FILTER_LOCAL;
	else if (!allowed)
		good = verdict.kind == FILTER_DENY && verdict.code == 0x000b0120 &&
		       strcmp(verdict.rule, strcmp(minimum, "never") == 0 ? "never" : "command") ==
			       0;
	else if (needs_account(&profile->policy, info))
		good = verdict.kind != FILTER_DENY;
	else
		good = verdict.kind == FILTER_ALLOW && verdict.policies == 1;
	if (!good)
		fail_msg("%s under %s: verdict %d, rule %s", info->name, profile->name,
			verdict.kind, verdict.rule ? verdict.rule : "none");
}

/* Handles that are nobody's in a session without accounts. */
static const uint32_t bad_handles[] = {0, 0x80000777, 0x81000005, 0x81800000, 0x02000777,
	0x03000777, 0x01000001, 0x01d10200, 0x11800001, TPM_RH_PLATFORM, TPM_RH_PLATFORM_NV,
	0x40000010, 0x40000110, 0x40000140, 0x40000143, 0x40010000, 0x4004ffff};

/* Where sessions or what is saved are named, the parser lets no handle of another kind through. */
static bool is_left_to_the_parser(enum tpm_use use, uint32_t handle)
{
	return (use == TPM_USE_POLICY_SESSION || use == TPM_USE_HMAC_SESSION ||
		       use == TPM_USE_CONTEXT) &&
	       tpm_handle_kind(handle) != TPM_KIND_HMAC_SESSION &&
	       tpm_handle_kind(handle) != TPM_KIND_POLICY_SESSION &&
	       tpm_handle_kind(handle) != TPM_KIND_TRANSIENT;
}

static void check_bad_handles(const struct profile *profile, const struct tpm_command_info *info)
{
	const struct policy *policy = &profile->policy;

	for (unsigned i = 0; i < tpm_command_handle_count(info); i++)
		for (size_t j = 0; j < sizeof bad_handles / sizeof *bad_handles; j++) {
			uint32_t handle = bad_handles[j];

			if (info->handles[i].use == TPM_USE_NV_PUBLIC &&
				handle >> 24 == TPM_HT_NV_INDEX)
				continue; /* of every index */
			if (policy_allows_handle(policy, handle, POLICY_USE_EVICT))
				continue;
			if (is_left_to_the_parser(info->handles[i].use, handle))
				continue;
			if (judge(profile, info, (int)i, handle).kind >= FILTER_ALLOW)
				fail_msg("%s under %s is allowed with %s = 0x%08x", info->name,
					profile->name, info->handles[i].name, handle);
		}
}

/* Other handles than the representative one that are allowed for a use in any profile. */
static const struct {
	enum tpm_use use;
	uint32_t handle;
} alternatives[] = {{TPM_USE_KEY_OR_NULL, TPM_RH_NULL}, {TPM_USE_PARENT_OR_NULL, TPM_RH_NULL},
	{TPM_USE_TPM_KEY, TPM_RH_NULL}, {TPM_USE_BIND, TPM_RH_NULL},
	{TPM_USE_HIERARCHY, TPM_RH_NULL}, {TPM_USE_PARENT_OR_HIERARCHY, TPM_RH_NULL},
	{TPM_USE_BASE_HIERARCHY, TPM_RH_ENDORSEMENT}, {TPM_USE_ANY_HIERARCHY, TPM_RH_ENDORSEMENT},
	{TPM_USE_ANY_HIERARCHY, TPM_RH_OWNER}, {TPM_USE_PCR, 23},
	{TPM_USE_PCR_OR_NULL, TPM_RH_NULL}, {TPM_USE_CONTEXT, OWN_OBJECT},
	{TPM_USE_NV_PUBLIC, 0x01c00002}};

static void check_alternatives(const struct profile *profile, const struct tpm_command_info *info)
{
	for (unsigned i = 0; i < tpm_command_handle_count(info); i++)
		for (size_t j = 0; j < sizeof alternatives / sizeof *alternatives; j++) {
			uint32_t handle = alternatives[j].handle;

			if (alternatives[j].use == info->handles[i].use &&
				judge(profile, info, (int)i, handle).kind == FILTER_DENY)
				fail_msg("%s under %s is refused with %s = 0x%08x", info->name,
					profile->name, info->handles[i].name, handle);
		}
}

static bool is_listed(const char *const *names, const char *name)
{
	return g_strv_contains(names, name);
}

/* The lines of the table, and whether they are one for each command. */
static char **expected_lines(void)
{
	g_autofree char *text = NULL;
	g_auto(GStrv) all = NULL;
	g_autoptr(GPtrArray) lines = g_ptr_array_new();

	assert_true(g_file_get_contents(EXPECTED_COMMANDS, &text, NULL, NULL));
	all = g_strsplit(text, "\n", -1);
	for (size_t i = 0; all[i]; i++)
		if (g_str_has_prefix(all[i], "0x"))
			g_ptr_array_add(lines, g_strdup(all[i]));
	assert_int_equal(lines->len, tpm_table_size);
	g_ptr_array_add(lines, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&lines), FALSE);
}

static void test_every_command_under_every_profile(void **state)
{
	g_auto(GStrv) lines = expected_lines();

	(void)state;
	for (size_t i = 0; lines[i]; i++) {
		g_auto(GStrv) fields = g_strsplit(lines[i], ",", 5);
		g_auto(GStrv) names = g_strsplit(fields[3], " ", -1);
		const struct tpm_command_info *info = tpm_table_by_name(fields[1]);

		assert_non_null(info);
		assert_int_equal(info->code, g_ascii_strtoull(fields[0], NULL, 16));
		for (guint j = 0; j < profile_set_count(profiles); j++) {
			const struct profile *profile = profile_set_get(profiles, j);

			check_pair(profile, info, fields[2],
				is_listed((const char *const *)names, profile->name));
		}
	}
}

static void test_every_command_with_other_handles(void **state)
{
	g_auto(GStrv) lines = expected_lines();

	(void)state;
	for (size_t i = 0; lines[i]; i++) {
		g_auto(GStrv) fields = g_strsplit(lines[i], ",", 5);
		g_auto(GStrv) names = g_strsplit(fields[3], " ", -1);

		for (size_t j = 0; strcmp(fields[2], "local") != 0 && names[j]; j++) {
			const struct profile *profile = profile_set_find(profiles, names[j]);

			check_bad_handles(profile, tpm_table_by_name(fields[1]));
			check_alternatives(profile, tpm_table_by_name(fields[1]));
		}
	}
}

/* What the table says follows from `min_profile`, or there is a note. */
static void test_expected_table_is_sound(void **state)
{
	/* from the least powerful */
	static const char *const order[] = {
		"basic", "keys", "unseal", "attest", "persist", "admin", "owner", NULL};
	g_auto(GStrv) lines = expected_lines();

	(void)state;
	for (size_t i = 0; lines[i]; i++) {
		g_auto(GStrv) fields = g_strsplit(lines[i], ",", 5);
		g_auto(GStrv) names = g_strsplit(fields[3], " ", -1);
		const char *minimum = fields[2];

		if (fields[4][0] != '\0' || strcmp(minimum, "local") == 0)
			continue; /* there is a reason */
		if (strcmp(minimum, "never") == 0) {
			assert_string_equal(fields[3], "");
			continue;
		}
		assert_true(is_listed((const char *const *)names, minimum));
		for (size_t j = 0; strcmp(order[j], minimum) != 0; j++)
			if (is_listed((const char *const *)names, order[j]))
				fail_msg("%s is in %s, below %s", fields[1], order[j], minimum);
	}
}

/* ---- rules that no shipped profile meets ----------------------------------------------------- */

/* Every command is named, and the handles from FIRST to LAST are for USE. */
static struct policy_image naming_all(uint32_t first, uint32_t last, uint32_t use)
{
	struct policy_image image = policy_image_new();

	image.backend = POLICY_BACKEND_DEVICE;
	image.policy_count = 1;
	g_strlcpy(image.policies[0].name, "all", sizeof image.policies[0].name);
	memset(image.policies[0].commands, 0xff, sizeof image.policies[0].commands);
	image.policies[0].hierarchies = POLICY_OWNER;
	image.policies[0].range_count = 1;
	image.policies[0].ranges[0] = (struct policy_range){first, last, use};
	return image;
}

static struct tpm_command command_with(const char *name, uint32_t handle)
{
	struct tpm_command command = {.info = tpm_table_by_name(name), .handles = {handle}};

	assert_non_null(command.info);
	command.handle_count = tpm_command_handle_count(command.info);
	return command;
}

/* A use that the table says is never allowed is refused even if the command were not. */
static void test_use_never_is_refused(void **state)
{
	struct policy_image image = naming_all(0x81000000, 0x81ffffff, POLICY_USE_ALL);
	struct account account = filter_scene_account(&image.policies[0]);
	struct tpm_command command = command_with("Clear", TPM_RH_LOCKOUT);
	struct tpm_command_info info = *command.info;

	(void)state;
	assert_int_equal(judge_image(&image, &account, &command).kind, FILTER_ALLOW);
	info.handles[0].use = TPM_USE_NEVER;
	command.info = &info;
	assert_int_equal(judge_image(&image, &account, &command).kind, FILTER_DENY);
	assert_string_equal(judge_image(&image, &account, &command).rule, "never");
}

/* What sits at the storage root key's handle is read before anything is made below it. */
static void test_storage_root_key_is_read_first(void **state)
{
	struct policy_image image = naming_all(0x81010000, 0x81010000, POLICY_USE_KEY);
	struct account account = filter_scene_account(&image.policies[0]);
	struct tpm_command make = command_with("Create", TPM_SRK_RSA);
	struct tpm_command salt = command_with("StartAuthSession", TPM_SRK_RSA);

	(void)state;
	image.policies[0].flags = POLICY_STORAGE_ROOT_KEY;
	salt.handles[1] = TPM_RH_NULL;
	assert_int_equal(filter_check(&image, &account, &salt).kind, FILTER_QUERY);
	assert_int_equal(filter_check(&image, &account, &salt).query, TPM_SRK_RSA);
	assert_int_equal(judge_image(&image, &account, &make).kind, FILTER_ALLOW);
	account_learn_public(&account, TPM_SRK_RSA, TPM_RC_HANDLE, cursor_new(NULL, 0));
	assert_int_equal(filter_check(&image, &account, &salt).kind, FILTER_DENY);
	assert_string_equal(filter_check(&image, &account, &salt).rule, "storage-root-key");
}

/* A persistent object in UseKey= is sealed data until its public area says that it is not. */
static void test_persistent_secret_is_read_first(void **state)
{
	struct policy_image image = naming_all(0x81010000, 0x81010000, POLICY_USE_KEY);
	struct account account = filter_scene_account(&image.policies[0]);
	struct tpm_command unseal = command_with("Unseal", 0x81010000);

	(void)state;
	assert_int_equal(filter_check(&image, &account, &unseal).kind, FILTER_QUERY);
	assert_int_equal(judge_image(&image, &account, &unseal).kind, FILTER_ALLOW);
	account_learn_public(&account, 0x81010000, TPM_RC_HANDLE, cursor_new(NULL, 0));
	assert_true(filter_check(&image, &account, &unseal).kind < FILTER_ALLOW);
}

/* Who may use or make what is at a handle may know that it is there. */
static void test_handles_that_are_shown(void **state)
{
	static const uint32_t uses[] = {
		POLICY_USE_KEY, POLICY_USE_EVICT, POLICY_USE_NV_READ, POLICY_USE_NV_DEFINE};

	(void)state;
	for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
		bool nv = uses[i] & (POLICY_USE_NV_READ | POLICY_USE_NV_DEFINE);
		uint32_t first = nv ? 0x01800000 : 0x81000100;
		struct policy_image image = naming_all(first, first + 1, uses[i]);

		assert_true(filter_shows_handle(&image, first));
		assert_true(filter_shows_handle(&image, first + 1));
		assert_false(filter_shows_handle(&image, first + 2));
		assert_false(filter_shows_handle(&image, TPM_SRK_ECC));
		image.policies[0].flags = POLICY_STORAGE_ROOT_KEY;
		assert_true(filter_shows_handle(&image, TPM_SRK_ECC));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_command_under_every_profile),
		cmocka_unit_test(test_every_command_with_other_handles),
		cmocka_unit_test(test_expected_table_is_sound),
		cmocka_unit_test(test_use_never_is_refused),
		cmocka_unit_test(test_storage_root_key_is_read_first),
		cmocka_unit_test(test_persistent_secret_is_read_first),
		cmocka_unit_test(test_handles_that_are_shown),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
