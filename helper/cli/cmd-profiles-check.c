/*
 * tpmgate profiles --check FILE: what the broker would make of a profile, for the person who writes
 * it. The broker's own code reads it, and no broker has to run.
 */
#include "broker/file.h"
#include "broker/profile.h"
#include "cli/cli.h"
#include "cli/explain.h"
#include "cli/json.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CHECK_SUFFIX ".profile"
#define CHECK_WIDTH  78 /* columns of a line of commands */

/* In the order of printing; a command is of the first group that has it. */
static const struct {
	const char *name;
	const char *const *commands; /* NULL: those that begin with `prefix`, or all of the rest */
	const char *prefix;
} check_groups[] = {
	{"sessions",
		(const char *const[]){
			"StartAuthSession", "FlushContext", "ContextSave", "ContextLoad", NULL},
		NULL},
	{"facts",
		(const char *const[]){"GetCapability", "GetRandom", "StirRandom", "ReadPublic",
			"SelfTest", "IncrementalSelfTest", "GetTestResult", "ReadClock", "Hash",
			"HashSequenceStart", "SequenceUpdate", "SequenceComplete", "PCR_Read",
			"ECC_Parameters", "TestParms", NULL},
		NULL},
	{"hierarchies",
		(const char *const[]){"Clear", "ClearControl", "HierarchyControl",
			"HierarchyChangeAuth", "SetPrimaryPolicy", "ClockSet", "ClockRateAdjust",
			"SetCommandCodeAuditStatus", NULL},
		NULL},
	{"lockout",
		(const char *const[]){
			"DictionaryAttackLockReset", "DictionaryAttackParameters", NULL},
		NULL},
	{"PCR", (const char *const[]){"EventSequenceComplete", NULL}, "PCR_"},
	{"NV", (const char *const[]){NULL}, "NV_"},
	{"policies", (const char *const[]){NULL}, "Policy"},
	{"attestation",
		(const char *const[]){"ActivateCredential", "MakeCredential", "Certify",
			"CertifyCreation", "CertifyX509", "Quote", "GetTime",
			"GetSessionAuditDigest", "GetCommandAuditDigest", NULL},
		NULL},
	{"keys and sealing", NULL, NULL},
};

static const struct {
	const char *key;
	uint32_t use;
	const char *words;
} check_ranges[] = {
	{"UseKey", POLICY_USE_KEY, "persistent keys that may be used, their public areas read"},
	{"Evict", POLICY_USE_EVICT, "persistent handles that may be made and removed"},
	{"NvRead", POLICY_USE_NV_READ, "NV indices that may be read, compared and certified"},
	{"NvWrite", POLICY_USE_NV_WRITE, "NV indices that may be written, extended and locked"},
	{"NvDefine", POLICY_USE_NV_DEFINE, "NV indices that may be defined and removed"},
	{"NvAuthorize", POLICY_USE_NV_AUTHORIZE,
		"NV indices that may hold a policy for PolicyAuthorizeNV, by the owner"},
};

static const char *const check_always[] = {
	"objects and TPM sessions: those that were made or loaded on the same connection",
	"persistent keys, NV indices, sealed data: those recorded for the caller's user, or named "
	"here",
	"the platform hierarchy, its aliases, firmware and vendor commands: never",
	"what has no noda: one command at a time for the whole TPM, while its failure counter is "
	"low",
	"commands that take long: one at a time for each user",
	"quotas: 12 saved TPM sessions, 4 NV indices of 512 bytes, 10 NV writes an hour, 2 "
	"persistent keys, 1024 sealed data for each user",
};

struct check {
	const char *path;
	char *name;
	struct config config;
	GPtrArray *warnings;
	struct profile *profile;
};

static unsigned check_group(const char *command)
{
	unsigned last = G_N_ELEMENTS(check_groups) - 1;

	for (unsigned i = 0; i < last; i++) {
		const char *prefix = check_groups[i].prefix;

		if (g_strv_contains(check_groups[i].commands, command) ||
			(prefix && g_str_has_prefix(command, prefix)))
			return i;
	}
	return last;
}

static const struct tpm_command_info *check_next(
	const struct policy *policy, unsigned group, size_t *at)
{
	while (*at < tpm_table_size) {
		const struct tpm_command_info *info = &tpm_table[(*at)++];

		if (policy_allows_command(policy, info->code) && check_group(info->name) == group)
			return info;
	}
	return NULL;
}

/* ---- reading -------------------------------------------------------------------------------- */

static uid_t check_broker(void)
{
	const struct passwd *user = getpwnam(TPMGATE_USER);

	return user ? user->pw_uid : 0;
}

static void check_warn(struct check *check, const char *text)
{
	g_ptr_array_add(check->warnings, g_strdup_printf("%s: %s", check->path, text));
}

static void check_name(struct check *check)
{
	struct stat status;

	check->name = g_path_get_basename(check->path);
	if (g_str_has_suffix(check->name, CHECK_SUFFIX))
		check->name[strlen(check->name) - strlen(CHECK_SUFFIX)] = '\0';
	else
		check_warn(check, "the broker reads files only whose names end in .profile");
	if (!profile_name_is_valid(check->name))
		check_warn(check, "a profile's name has 1 to 31 of a-z, A-Z, 0-9, _ and -; the "
				  "broker ignores the file");
	if (lstat(check->path, &status) == 0 && S_ISLNK(status.st_mode))
		check_warn(check, "is a symbolic link; the broker reads what it points to, if that "
				  "file is one to be trusted");
}

/* Returns false and prints why where the file is faulty. */
static bool check_read(struct check *check)
{
	g_autofree char *bytes = NULL;
	g_autofree char *problem = NULL;
	gsize size;
	int r;

	if (!config_load(&(struct config_paths){.file = NULL}, &check->config, &problem)) {
		g_ptr_array_add(check->warnings, g_steal_pointer(&problem));
		check->config = config_new();
	}
	r = file_read_draft(check->path, check_broker(), check->warnings, &bytes, &size, &problem);
	if (r == 0) {
		check_name(check);
		check->profile = profile_compile(
			check->name, check->path, bytes, size, &check->config, check->warnings);
	}
	if (r == 0 && !check->profile->fault)
		return true;
	if (r == FILE_E_MISSING)
		fprintf(stderr, "%s: there is no such file\n", check->path);
	else if (r == FILE_E_MASKED)
		fprintf(stderr,
			"%s: is empty: to the broker it says that there is no such profile\n",
			check->path);
	else
		fprintf(stderr, "%s\n", r == 0 ? check->profile->fault : problem);
	return false;
}

static char *check_group_name(gid_t gid)
{
	const struct group *group = getgrgid(gid);

	return group ? g_strdup(group->gr_name) : g_strdup_printf("%lu", (unsigned long)gid);
}

/* ---- printing ------------------------------------------------------------------------------- */

static void print_who(const struct profile *profile)
{
	printf("Who        root\n");
	for (size_t i = 0; i < profile->group_count; i++) {
		g_autofree char *name = check_group_name(profile->groups[i]);

		printf("           members of the group %s, without a question\n", name);
	}
	printf("           whom polkit grants %s\n", profile->action);
	if (profile->custom)
		puts("           cannot be joined with other profiles by +");
}

static void print_commands(const struct policy *policy)
{
	puts("Commands");
	for (unsigned group = 0; group < G_N_ELEMENTS(check_groups); group++) {
		const struct tpm_command_info *info;
		size_t at = 0;
		size_t column = 0;

		while ((info = check_next(policy, group, &at)) != NULL) {
			if (column == 0)
				column = (size_t)printf("  %s:", check_groups[group].name);
			if (column + 1 + strlen(info->name) > CHECK_WIDTH)
				column = (size_t)printf("\n   ") - 1;
			column += (size_t)printf(" %s", info->name);
		}
		if (column > 0)
			putchar('\n');
	}
}

static void print_list(const char *label, char *list, const char *words, const char *none)
{
	if (list[0])
		printf("%-10s %s: %s\n", label, list, words);
	else
		printf("%-10s none: %s\n", label, none);
	g_free(list);
}

static void print_ranges(const struct policy *policy)
{
	puts("Handles");
	for (size_t i = 0; i < G_N_ELEMENTS(check_ranges); i++) {
		g_autofree char *ranges = explain_ranges(policy, check_ranges[i].use);

		if (ranges[0])
			printf("  %s: %s\n", ranges, check_ranges[i].words);
	}
	if (policy->range_count == 0)
		puts("  none but own ones");
}

static void check_print(const struct profile *profile)
{
	const struct policy *policy = &profile->policy;
	const char *foreign = policy->flags & POLICY_UNSEAL_FOREIGN
				      ? "own and others' may be unsealed, duplicated and rewrapped"
				      : "only what the own user sealed may be unsealed";

	printf("Profile    %s\n", profile->name);
	printf("Summary    %s\n", profile->summary);
	print_who(profile);
	print_commands(policy);
	print_list("Facts", explain_capabilities(policy->capabilities),
		"what GetCapability may ask for", "GetCapability may ask for nothing");
	print_list("Hierarchy", explain_hierarchies(policy->hierarchies),
		"where primary objects may be made, saved objects loaded",
		"no primary object may be made, no saved object loaded");
	print_list("Secrets", explain_hierarchies(policy->secrets),
		"hierarchies whose authorization PolicySecret may prove",
		"PolicySecret may prove no hierarchy's authorization");
	print_list("PCRs", explain_pcrs(policy->pcrs), "may be extended and reset",
		"no PCR may be changed");
	printf("SRK        %s\n",
		policy->flags & POLICY_STORAGE_ROOT_KEY
			? "0x81000001, 0x81000002: as parent, for salting and binding sessions"
			: "the storage root key may not be used");
	printf("Sealed     %s\n", foreign);
	printf("Once       %s\n",
		policy->flags & POLICY_ONCE
			? "yes: spent after one success or one failed authorization of a hierarchy"
			: "no");
	print_ranges(policy);
	puts("Always");
	for (size_t i = 0; i < G_N_ELEMENTS(check_always); i++)
		printf("  %s\n", check_always[i]);
}

static void json_list(struct json *json, const char *key, char *list)
{
	g_auto(GStrv) elements = g_strsplit(list, ", ", -1);

	json_open(json, key, '[');
	for (size_t i = 0; elements[i]; i++)
		json_text(json, NULL, elements[i]);
	json_close(json, ']');
	g_free(list);
}

static void json_commands(struct json *json, const struct policy *policy)
{
	json_open(json, "commands", '{');
	for (unsigned group = 0; group < G_N_ELEMENTS(check_groups); group++) {
		const struct tpm_command_info *info;
		size_t at = 0;

		json_open(json, check_groups[group].name, '[');
		while ((info = check_next(policy, group, &at)) != NULL)
			json_text(json, NULL, info->name);
		json_close(json, ']');
	}
	json_close(json, '}');
}

static void check_json(const struct check *check)
{
	const struct profile *profile = check->profile;
	const struct policy *policy = &profile->policy;
	struct json json = {.stream = stdout};

	json_open(&json, NULL, '{');
	json_text(&json, "name", profile->name);
	json_text(&json, "summary", profile->summary);
	json_bool(&json, "custom", profile->custom);
	json_open(&json, "groups", '[');
	for (size_t i = 0; i < profile->group_count; i++) {
		g_autofree char *name = check_group_name(profile->groups[i]);

		json_text(&json, NULL, name);
	}
	json_close(&json, ']');
	json_text(&json, "action", profile->action);
	json_commands(&json, policy);
	json_list(&json, "capabilities", explain_capabilities(policy->capabilities));
	json_list(&json, "hierarchies", explain_hierarchies(policy->hierarchies));
	json_list(&json, "secrets", explain_hierarchies(policy->secrets));
	json_list(&json, "pcrs", explain_pcrs(policy->pcrs));
	json_bool(&json, "storage_root_key", policy->flags & POLICY_STORAGE_ROOT_KEY);
	json_bool(&json, "unseal_foreign", policy->flags & POLICY_UNSEAL_FOREIGN);
	json_bool(&json, "once", policy->flags & POLICY_ONCE);
	json_open(&json, "handles", '{');
	for (size_t i = 0; i < G_N_ELEMENTS(check_ranges); i++)
		json_list(&json, check_ranges[i].key, explain_ranges(policy, check_ranges[i].use));
	json_close(&json, '}');
	json_open(&json, "always", '[');
	for (size_t i = 0; i < G_N_ELEMENTS(check_always); i++)
		json_text(&json, NULL, check_always[i]);
	json_close(&json, ']');
	json_open(&json, "warnings", '[');
	for (guint i = 0; i < check->warnings->len; i++)
		json_text(&json, NULL, g_ptr_array_index(check->warnings, i));
	json_close(&json, ']');
	json_close(&json, '}');
	putchar('\n');
}

enum cli_exit cmd_profiles_check(const struct cli *cli)
{
	struct check check = {
		.path = cli->check, .warnings = g_ptr_array_new_with_free_func(g_free)};
	bool good = check_read(&check);

	for (guint i = 0; good && i < check.warnings->len; i++)
		fprintf(stderr, "warning: %s\n",
			(const char *)g_ptr_array_index(check.warnings, i));
	if (good && cli->json)
		check_json(&check);
	else if (good)
		check_print(check.profile);
	profile_free(check.profile);
	config_done(&check.config);
	g_ptr_array_unref(check.warnings);
	g_free(check.name);
	return good ? CLI_OK : CLI_FAILED;
}
