/*
 * Trusts what an administrator wrote as far as it can be understood: a profile of which one word is
 * not understood is disabled as a whole.
 */
#include "broker/profile.h"

#include "broker/file.h"
#include "broker/keyfile.h"
#include "relay/tpm-table.h"

#include <errno.h>
#include <grp.h>
#include <stddef.h>
#include <string.h>

#define PROFILE_ACTION_PREFIX "io.github.tpmgate."

struct word {
	const char *name;
	uint32_t value;
};

static const char *const profile_shipped[] = {
	"basic", "keys", "unseal", "attest", "persist", "admin", "owner"};

/* TPM_CAP (Part 2, section 6.12). */
static const struct word profile_capabilities[] = {
	{"ALGS", 0},
	{"HANDLES", 1},
	{"COMMANDS", 2},
	{"PP_COMMANDS", 3},
	{"AUDIT_COMMANDS", 4},
	{"PCRS", 5},
	{"TPM_PROPERTIES", 6},
	{"PCR_PROPERTIES", 7},
	{"ECC_CURVES", 8},
	{"AUTH_POLICIES", 9},
	{"ACT", 10},
	{NULL, 0},
};

static const struct word profile_hierarchies[] = {
	{"OWNER", POLICY_OWNER},
	{"ENDORSEMENT", POLICY_ENDORSEMENT},
	{"NULL", POLICY_NULL},
	{"LOCKOUT", POLICY_LOCKOUT},
	{NULL, 0},
};

static const struct word profile_secrets[] = {
	{"OWNER", POLICY_OWNER},
	{"ENDORSEMENT", POLICY_ENDORSEMENT},
	{NULL, 0},
};

/* Keys of [Handles]: what a range is for, and the first byte of its handles. */
static const struct {
	const char *key;
	uint32_t use;
	uint32_t type;
} profile_uses[] = {
	{"UseKey", POLICY_USE_KEY, 0x81},
	{"Evict", POLICY_USE_EVICT, 0x81},
	{"NvRead", POLICY_USE_NV_READ, 0x01},
	{"NvWrite", POLICY_USE_NV_WRITE, 0x01},
	{"NvDefine", POLICY_USE_NV_DEFINE, 0x01},
	{"NvAuthorize", POLICY_USE_NV_AUTHORIZE, 0x01},
};

bool profile_name_is_valid(const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length >= sizeof((struct policy *)0)->name)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!g_ascii_isalnum(name[i]) && name[i] != '_' && name[i] != '-')
			return false;
	return true;
}

const char *profile_capability_name(uint32_t capability)
{
	for (const struct word *word = profile_capabilities; word->name; word++)
		if (word->value == capability)
			return word->name;
	return NULL;
}

static bool profile_is_shipped(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(profile_shipped); i++)
		if (strcmp(name, profile_shipped[i]) == 0)
			return true;
	return false;
}

static const struct word *profile_word(const struct word *words, const char *name)
{
	while (words->name && strcmp(words->name, name) != 0)
		words++;
	return words->name ? words : NULL;
}

static void profile_read_commands(struct keyfile *keyfile, struct policy *policy)
{
	g_auto(GStrv) names = keyfile_list(keyfile, "Allow", "Commands");

	if (!names || !names[0])
		keyfile_fault(keyfile, "Allow", "Commands", "[Allow] has no Commands=");
	for (size_t i = 0; names && names[i]; i++) {
		const struct tpm_command_info *info = tpm_table_by_name(names[i]);

		if (!info)
			keyfile_fault(keyfile, "Allow", "Commands",
				"'%s' is no command of the TPM 2.0 specification", names[i]);
		else if (info->scope != TPM_SCOPE_PROFILE)
			keyfile_fault(keyfile, "Allow", "Commands", "%s never goes through tpmgate",
				names[i]);
		else if (policy_allow_command(policy, info->code) < 0)
			keyfile_fault(keyfile, "Allow", "Commands",
				"'%s' cannot be part of a profile", names[i]);
	}
}

static void profile_read_capabilities(struct keyfile *keyfile, struct policy *policy)
{
	g_auto(GStrv) names = keyfile_list(keyfile, "Allow", "Capabilities");

	for (size_t i = 0; names && names[i]; i++) {
		const struct word *word = profile_word(profile_capabilities, names[i]);
		guint64 number = word ? word->value : 0;

		if (!word && !g_ascii_string_to_unsigned(
				     names[i], 10, 0, POLICY_CAPABILITIES - 1, &number, NULL))
			keyfile_fault(keyfile, "Allow", "Capabilities",
				"'%s' is no capability and no number below 32", names[i]);
		else
			policy->capabilities |= UINT32_C(1) << number;
	}
}

static uint32_t profile_read_words(
	struct keyfile *keyfile, const char *key, const struct word *words)
{
	g_auto(GStrv) names = keyfile_list(keyfile, "Allow", key);
	uint32_t bits = 0;

	for (size_t i = 0; names && names[i]; i++) {
		const struct word *word = profile_word(words, names[i]);

		if (word)
			bits |= word->value;
		else
			keyfile_fault(keyfile, "Allow", key, "%s= knows no '%s'", key, names[i]);
	}
	return bits;
}

static uint32_t profile_read_pcrs(struct keyfile *keyfile, const struct config *config)
{
	g_auto(GStrv) elements = keyfile_list(keyfile, "Allow", "PCRs");
	uint32_t pcrs = 0;

	if (elements && elements[0] && strcmp(elements[0], "configured") == 0 && !elements[1])
		return config->pcrs;
	for (size_t i = 0; elements && elements[i]; i++)
		if (!config_parse_pcrs(elements[i], &pcrs))
			keyfile_fault(keyfile, "Allow", "PCRs",
				"'%s' is no PCR and no range of PCRs from 0 to 31; 'configured' "
				"stands alone",
				elements[i]);
	return pcrs;
}

static uint32_t profile_read_flag(struct keyfile *keyfile, const char *key, uint32_t flag)
{
	bool value = false;

	keyfile_bool(keyfile, "Allow", key, &value);
	return value ? flag : 0;
}

static bool profile_parse_handle(const char *text, uint32_t *ret_handle)
{
	guint64 handle;

	if (strlen(text) != 10 || !g_str_has_prefix(text, "0x") ||
		!g_ascii_string_to_unsigned(text + 2, 16, 0, UINT32_MAX, &handle, NULL))
		return false;
	*ret_handle = (uint32_t)handle;
	return true;
}

static bool profile_parse_range(
	const char *element, uint32_t type, uint32_t use, struct policy_range *ret_range)
{
	g_auto(GStrv) ends = g_strsplit(element, "-", 3);
	struct policy_range range = {.use = use};

	if (!ends[0] || (ends[1] && ends[2]) || !profile_parse_handle(ends[0], &range.first))
		return false;
	range.last = range.first;
	if (ends[1] && !profile_parse_handle(ends[1], &range.last))
		return false;
	if (range.first > range.last || range.first >> 24 != type || range.last >> 24 != type)
		return false;
	*ret_range = range;
	return true;
}

/* Ranges with the same ends are one range with several uses. Returns 0 or -ENOSPC. */
static int profile_add_range(struct policy *policy, const struct policy_range *range)
{
	for (uint32_t i = 0; i < policy->range_count; i++)
		if (policy->ranges[i].first == range->first &&
			policy->ranges[i].last == range->last) {
			policy->ranges[i].use |= range->use;
			return 0;
		}
	if (policy->range_count == POLICY_RANGES)
		return -ENOSPC;
	policy->ranges[policy->range_count++] = *range;
	return 0;
}

static void profile_read_handles(struct keyfile *keyfile, struct policy *policy)
{
	for (size_t i = 0; i < G_N_ELEMENTS(profile_uses); i++) {
		const char *key = profile_uses[i].key;
		g_auto(GStrv) elements = keyfile_list(keyfile, "Handles", key);

		for (size_t j = 0; elements && elements[j]; j++) {
			struct policy_range range;

			if (!profile_parse_range(
				    elements[j], profile_uses[i].type, profile_uses[i].use, &range))
				keyfile_fault(keyfile, "Handles", key,
					"'%s' is no handle and no range of handles such as "
					"0x%02X000001 or 0x%02X000000-0x%02X00FFFF",
					elements[j], profile_uses[i].type, profile_uses[i].type,
					profile_uses[i].type);
			else if (profile_add_range(policy, &range) < 0)
				keyfile_fault(keyfile, "Handles", key,
					"more than %d different ranges", POLICY_RANGES);
		}
	}
}

static struct policy profile_read_policy(
	struct keyfile *keyfile, const char *name, const struct config *config)
{
	struct policy policy = {.flags = 0};

	g_strlcpy(policy.name, name, sizeof policy.name);
	profile_read_commands(keyfile, &policy);
	profile_read_capabilities(keyfile, &policy);
	policy.hierarchies = profile_read_words(keyfile, "Hierarchies", profile_hierarchies);
	policy.secrets = profile_read_words(keyfile, "PolicySecret", profile_secrets);
	policy.pcrs = profile_read_pcrs(keyfile, config);
	policy.flags = profile_read_flag(keyfile, "StorageRootKey", POLICY_STORAGE_ROOT_KEY) |
		       profile_read_flag(keyfile, "UnsealForeign", POLICY_UNSEAL_FOREIGN) |
		       profile_read_flag(keyfile, "Once", POLICY_ONCE);
	profile_read_handles(keyfile, &policy);
	return policy;
}

/* Returns 0 or a negative errno; -ENOENT where there is no group NAME. */
static int profile_find_group(const char *name, gid_t *ret_gid)
{
	struct group group;
	struct group *found = NULL;
	char *buffer = NULL;
	int r = ERANGE;

	for (size_t size = 4096; r == ERANGE && size <= 4194304; size *= 4) {
		buffer = g_realloc(buffer, size);
		r = getgrnam_r(name, &group, buffer, size, &found);
	}
	if (r == 0 && found)
		*ret_gid = found->gr_gid;
	g_free(buffer);
	if (r == 0 || r == ENOENT || r == ESRCH)
		return r == 0 && found ? 0 : -ENOENT;
	return -r;
}

static void profile_read_groups(
	struct keyfile *keyfile, struct profile *profile, GPtrArray *problems)
{
	g_auto(GStrv) names = keyfile_list(keyfile, "Profile", "Groups");

	profile->groups = g_new(gid_t, names ? g_strv_length(names) : 0);
	for (size_t i = 0; names && names[i]; i++) {
		gid_t gid = (gid_t)-1;
		guint64 number;
		int r;

		if (g_ascii_isdigit(names[i][0])) {
			/* (gid_t) -1 is nobody's group */
			if (!g_ascii_string_to_unsigned(
				    names[i], 10, 0, UINT32_MAX - 1, &number, NULL))
				keyfile_fault(keyfile, "Profile", "Groups",
					"'%s' is no group's number", names[i]);
			else
				profile->groups[profile->group_count++] = (gid_t)number;
			continue;
		}
		if (!profile->group_name)
			profile->group_name = g_strdup(names[i]);
		r = profile_find_group(names[i], &gid);
		if (r == 0)
			profile->groups[profile->group_count++] = gid;
		else
			g_ptr_array_add(problems,
				g_strdup_printf("profile '%s': group '%s' lets nobody in: %s",
					profile->name, names[i],
					r == -ENOENT ? "there is none" : g_strerror(-r)));
	}
}

static void profile_read_action(struct keyfile *keyfile, struct profile *profile)
{
	profile->action = keyfile_string(keyfile, "Profile", "PolkitAction");
	if (!profile->action)
		profile->action = g_strconcat(
			PROFILE_ACTION_PREFIX, profile->custom ? "custom" : profile->name, NULL);
	for (const char *p = profile->action; *p; p++)
		if (!g_ascii_isalnum(*p) && *p != '.' && *p != '-' && *p != '_')
			keyfile_fault(keyfile, "Profile", "PolkitAction",
				"'%s' is no name of a polkit action", profile->action);
	if (profile->action[0] == '\0')
		keyfile_fault(keyfile, "Profile", "PolkitAction", "PolkitAction= is empty");
}

struct profile *profile_compile(const char *name, const char *path, const char *bytes, gsize size,
	const struct config *config, GPtrArray *problems)
{
	struct profile *profile = g_new0(struct profile, 1);
	struct keyfile *keyfile = keyfile_new(path, bytes, size, &profile->fault);

	g_strlcpy(profile->name, name, sizeof profile->name);
	profile->custom = !profile_is_shipped(name);
	if (!keyfile)
		return profile;
	profile->summary = keyfile_string(keyfile, "Profile", "Summary");
	if (!profile->summary || profile->summary[0] == '\0')
		keyfile_fault(keyfile, "Profile", "Summary", "[Profile] has no Summary=");
	profile_read_groups(keyfile, profile, problems);
	profile_read_action(keyfile, profile);
	profile->policy = profile_read_policy(keyfile, name, config);
	profile->fault = keyfile_problem(keyfile);
	keyfile_free(keyfile);
	return profile;
}

struct profile *profile_load(
	const char *name, const char *path, const struct config *config, GPtrArray *problems)
{
	g_autofree char *bytes = NULL;
	g_autofree char *problem = NULL;
	struct profile *profile;
	gsize size;
	int r = file_read(path, &bytes, &size, &problem);

	if (r == 0)
		return profile_compile(name, path, bytes, size, config, problems);
	if (r != FILE_E_FAULTY)
		return NULL;
	profile = g_new0(struct profile, 1);
	g_strlcpy(profile->name, name, sizeof profile->name);
	profile->fault = g_steal_pointer(&problem);
	return profile;
}

void profile_free(struct profile *profile)
{
	if (!profile)
		return;
	g_free(profile->fault);
	g_free(profile->summary);
	g_free(profile->action);
	g_free(profile->groups);
	g_free(profile->group_name);
	g_free(profile);
}
