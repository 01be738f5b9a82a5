/*
 * tpmgate.conf: any bytes as the file. What is taken is within limits.
 */
#include "broker/config.h"
#include "common/policy.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_config(const struct config *config)
{
	if (config->max_sessions == 0 || config->max_sessions_per_user == 0 ||
		config->max_undecided == 0 || config->max_undecided_per_user == 0 ||
		config->request_timeout == 0 || config->rm_timeout == 0)
		abort();
	if (config->tpm_sessions == 0 || config->tpm_sessions > 64 ||
		config->tpm_sessions_per_user == 0 || config->tpm_sessions_per_user > 64 ||
		config->nv_writes_per_hour == 0 || config->nv_index_size == 0)
		abort();
	if (config->rm_objects < POLICY_SLOTS || config->rm_objects > POLICY_SLOTS_MAX ||
		config->rm_sessions < POLICY_SLOTS || config->rm_sessions > POLICY_SLOTS_MAX)
		abort();
	if (!config->subuid_file || config->subuid_file[0] != '/')
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[64];
	static int fd = -1;
	const struct config_paths paths = {.file = path};
	struct config config;
	char *problem = NULL;

	if (fd < 0) {
		fd = memfd_create("tpmgate.conf", MFD_CLOEXEC);
		if (fd < 0 || fchmod(fd, 0600) < 0)
			abort();
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	}
	if (ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	if (config_load(&paths, &config, &problem)) {
		if (problem)
			abort();
		check_config(&config);
		config_done(&config);
	} else if (!problem || strncmp(problem, path, strlen(path)) != 0) {
		abort();
	}
	g_free(problem);
	return 0;
}
