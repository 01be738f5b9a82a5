/*
 * Owns: where configuration is looked for. In order of precedence /etc, /run and the distribution's
 * directory: the first tpmgate.conf counts; drop-ins of tpmgate.conf.d in all three follow in the
 * order of their names.
 */
#include "broker/config.h"

#include "broker/file.h"
#include "broker/keyfile.h"
#include "common/policy.h"

#include <stddef.h>
#include <string.h>

static const char *const config_dirs[] = {"/etc/tpmgate", "/run/tpmgate", TPMGATE_LIB_DIR};

static const struct {
	const char *section;
	const char *key;
	size_t offset; /* of a uint32_t in struct config */
	uint32_t min;
	uint32_t max;
} config_numbers[] = {
	{"Broker", "MaxSessions", offsetof(struct config, max_sessions), 1, 65536},
	{"Broker", "MaxSessionsPerUser", offsetof(struct config, max_sessions_per_user), 1, 65536},
	{"Broker", "MaxUndecided", offsetof(struct config, max_undecided), 1, 65536},
	{"Broker", "MaxUndecidedPerUser", offsetof(struct config, max_undecided_per_user), 1,
		65536},
	{"Broker", "RequestTimeoutSec", offsetof(struct config, request_timeout), 1, 3600},
	{"Account", "TpmSessionsPerUser", offsetof(struct config, tpm_sessions_per_user), 1, 64},
	{"Account", "TpmSessions", offsetof(struct config, tpm_sessions), 1, 64},
	{"Account", "NvWritesPerHour", offsetof(struct config, nv_writes_per_hour), 1, 1000000},
	{"Account", "NvIndicesPerUser", offsetof(struct config, nv_indices_per_user), 0, 256},
	{"Account", "NvIndexSize", offsetof(struct config, nv_index_size), 1, 2048},
	{"Account", "NvSizePerUser", offsetof(struct config, nv_user_size), 0, 65536},
	{"Account", "NvTotalSize", offsetof(struct config, nv_total_size), 0, 65536},
	{"Account", "PersistentKeysPerUser", offsetof(struct config, persistent_per_user), 0, 16},
	{"Account", "SealedDataPerUser", offsetof(struct config, sealed_per_user), 0, 65536},
	{"ResourceManager", "MaxObjects", offsetof(struct config, rm_objects), POLICY_SLOTS,
		POLICY_SLOTS_MAX},
	{"ResourceManager", "MaxTpmSessions", offsetof(struct config, rm_sessions), POLICY_SLOTS,
		POLICY_SLOTS_MAX},
	{"ResourceManager", "CommandTimeoutSec", offsetof(struct config, rm_timeout), 1, 3600},
	{"Session", "IdleTimeoutSec", offsetof(struct config, idle_timeout), 0, INT32_MAX},
	{"Session", "MaxLifetimeSec", offsetof(struct config, max_lifetime), 0, INT32_MAX},
};

struct config config_new(void)
{
	return (struct config){
		.max_sessions = 256,
		.max_sessions_per_user = 16,
		.max_undecided = 64,
		.max_undecided_per_user = 4,
		.request_timeout = 5,
		.tpm_sessions_per_user = 12,
		.tpm_sessions = 48,
		.nv_writes_per_hour = 10,
		.nv_indices_per_user = 4,
		.nv_index_size = 512,
		.nv_user_size = 1024,
		.nv_total_size = 2048,
		.persistent_per_user = 2,
		.sealed_per_user = 1024,
		.rm_objects = 32,
		.rm_sessions = 16,
		.rm_timeout = 30,
		.subuid_file = g_strdup("/etc/subuid"),
	};
}

struct config config_copy(const struct config *config)
{
	struct config copy = *config;

	copy.subuid_file = g_strdup(config->subuid_file);
	return copy;
}

void config_done(struct config *config)
{
	g_free(config->subuid_file);
	*config = (struct config){.subuid_file = NULL};
}

bool config_parse_pcrs(const char *element, uint32_t *pcrs)
{
	g_auto(GStrv) ends = g_strsplit(element, "-", 3);
	guint64 first;
	guint64 last;

	if (!ends[0] || (ends[1] && ends[2]))
		return false;
	if (!g_ascii_string_to_unsigned(ends[0], 10, 0, 31, &first, NULL))
		return false;
	last = first;
	if (ends[1] && !g_ascii_string_to_unsigned(ends[1], 10, first, 31, &last, NULL))
		return false;
	for (guint64 i = first; i <= last; i++)
		*pcrs |= UINT32_C(1) << i;
	return true;
}

static void config_read_number(struct keyfile *keyfile, size_t i, struct config *config)
{
	g_autofree char *text =
		keyfile_string(keyfile, config_numbers[i].section, config_numbers[i].key);
	guint64 number;
	uint32_t value;

	if (!text)
		return;
	if (!g_ascii_string_to_unsigned(
		    text, 10, config_numbers[i].min, config_numbers[i].max, &number, NULL)) {
		keyfile_fault(keyfile, config_numbers[i].section, config_numbers[i].key,
			"%s= is a number from %u to %u, not '%s'", config_numbers[i].key,
			config_numbers[i].min, config_numbers[i].max, text);
		return;
	}
	value = (uint32_t)number;
	memcpy((char *)config + config_numbers[i].offset, &value, sizeof value);
}

static void config_read_values(struct keyfile *keyfile, struct config *config)
{
	g_autofree char *subuid = keyfile_string(keyfile, "Broker", "SubuidFile");
	g_auto(GStrv) pcrs = keyfile_list(keyfile, "Session", "PCRs");

	for (size_t i = 0; i < G_N_ELEMENTS(config_numbers); i++)
		config_read_number(keyfile, i, config);
	keyfile_bool(keyfile, "Broker", "AllowSubordinate", &config->allow_subordinate);
	if (subuid && !g_path_is_absolute(subuid))
		keyfile_fault(keyfile, "Broker", "SubuidFile", "SubuidFile= is an absolute path");
	if (subuid) {
		g_free(config->subuid_file);
		config->subuid_file = g_steal_pointer(&subuid);
	}
	if (pcrs)
		config->pcrs = 0;
	for (size_t i = 0; pcrs && pcrs[i]; i++)
		if (!config_parse_pcrs(pcrs[i], &config->pcrs))
			keyfile_fault(keyfile, "Session", "PCRs",
				"'%s' is no PCR and no range of PCRs from 0 to 31", pcrs[i]);
}

/* Returns 0 or FILE_E_*; what is masked changes nothing. */
static int config_read(const char *path, struct config *config, char **ret_problem)
{
	g_autofree char *bytes = NULL;
	struct keyfile *keyfile;
	char *problem;
	gsize size;
	int r = file_read(path, &bytes, &size, ret_problem);

	if (r != 0)
		return r;
	keyfile = keyfile_new(path, bytes, size, ret_problem);
	if (!keyfile)
		return FILE_E_FAULTY;
	config_read_values(keyfile, config);
	problem = keyfile_problem(keyfile);
	keyfile_free(keyfile);
	if (problem)
		*ret_problem = problem;
	return problem ? FILE_E_FAULTY : 0;
}

static char **config_subdirs(const char *name)
{
	char **dirs = g_new0(char *, G_N_ELEMENTS(config_dirs) + 1);

	for (size_t i = 0; i < G_N_ELEMENTS(config_dirs); i++)
		dirs[i] = g_build_filename(config_dirs[i], name, NULL);
	return dirs;
}

char **config_profile_dirs(const struct config_paths *paths)
{
	if (paths->profile_dirs)
		return g_strdupv((char **)(uintptr_t)paths->profile_dirs);
	return config_subdirs("profiles.d");
}

static int config_read_dropins(struct config *config, char **ret_problem)
{
	g_auto(GStrv) dirs = config_subdirs("tpmgate.conf.d");
	g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) files = file_search((const char *const *)dirs, ".conf", problems);

	if (problems->len > 0) {
		*ret_problem = g_strdup(g_ptr_array_index(problems, 0));
		return FILE_E_FAULTY;
	}
	for (guint i = 0; i < files->len; i++)
		if (config_read(g_ptr_array_index(files, i), config, ret_problem) == FILE_E_FAULTY)
			return FILE_E_FAULTY;
	return 0;
}

static int config_read_all(
	const struct config_paths *paths, struct config *config, char **ret_problem)
{
	int r = FILE_E_MISSING;

	if (paths->file) {
		r = config_read(paths->file, config, ret_problem);
		if (r == FILE_E_MISSING) {
			*ret_problem = g_strdup_printf("%s: there is no such file", paths->file);
			return FILE_E_FAULTY;
		}
		return r;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(config_dirs) && r == FILE_E_MISSING; i++) {
		g_autofree char *path = g_build_filename(config_dirs[i], "tpmgate.conf", NULL);

		r = config_read(path, config, ret_problem);
	}
	return r == FILE_E_FAULTY ? r : config_read_dropins(config, ret_problem);
}

bool config_load(const struct config_paths *paths, struct config *ret_config, char **ret_problem)
{
	struct config config = config_new();

	if (config_read_all(paths, &config, ret_problem) == FILE_E_FAULTY) {
		config_done(&config);
		return false;
	}
	*ret_config = config;
	return true;
}
