/*
 * The profile compiler: any bytes as the file of a profile. What it compiles must be an image that
 * a relay takes, and never name a command that no profile may name.
 */
#include "broker/profile.h"
#include "relay/tpm-table.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_getgrnam_r(
	const char *name, struct group *group, char *buffer, size_t size, struct group **ret_group);

/* No look at the machine's groups: those with a short name are there. */
int __wrap_getgrnam_r(
	const char *name, struct group *group, char *buffer, size_t size, struct group **ret_group)
{
	size_t length = strlen(name);

	(void)buffer;
	*ret_group = NULL;
	if (length > 64)
		return size < 8192 ? ERANGE : EIO;
	*group = (struct group){.gr_gid = (gid_t)length};
	if (length < 8)
		*ret_group = group;
	return 0;
}

static void check_policy(const struct profile *profile)
{
	struct policy_image image = policy_image_new();

	image.backend = POLICY_BACKEND_DEVICE;
	image.policy_count = 1;
	image.policies[0] = profile->policy;
	if (policy_image_check(&image) < 0 || strcmp(profile->policy.name, profile->name) != 0)
		abort();
	for (uint32_t code = POLICY_FIRST_CODE; code < POLICY_FIRST_CODE + POLICY_CODES; code++) {
		const struct tpm_command_info *info = tpm_table_by_code(code);

		if (policy_allows_command(&profile->policy, code) &&
			(!info || info->scope != TPM_SCOPE_PROFILE))
			abort();
	}
	if (!profile->summary || !profile->action || !profile->action[0])
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config config = config_new();
	GPtrArray *problems = g_ptr_array_new_with_free_func(g_free);
	char *bytes = g_malloc(size + 1); /* as file_read() has it */
	struct profile *profile;

	config.pcrs = 0x00810000;
	memcpy(bytes, data, size);
	bytes[size] = '\0';
	profile =
		profile_compile(size & 1 ? "keys" : "own", "file", bytes, size, &config, problems);
	if (!profile)
		abort();
	if (!profile->fault)
		check_policy(profile);
	else if (!g_str_has_prefix(profile->fault, "file:"))
		abort();
	profile_free(profile);
	g_free(bytes);
	g_ptr_array_unref(problems);
	config_done(&config);
	return 0;
}
