#include "relay/tpm-table.h"

#include <string.h>

unsigned tpm_command_authorization_count(const struct tpm_command_info *info)
{
	unsigned count = 0;

	while (count < TPM_HANDLES_MAX && info->handles[count].role != TPM_ROLE_NONE)
		count++;
	return count;
}

const struct tpm_command_info *tpm_table_by_code(uint32_t code)
{
	size_t low = 0;
	size_t high = tpm_table_size;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (tpm_table[middle].code == code)
			return &tpm_table[middle];
		if (tpm_table[middle].code < code)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

const struct tpm_command_info *tpm_table_by_name(const char *name)
{
	for (size_t i = 0; i < tpm_table_size; i++) {
		const struct tpm_command_info *info = &tpm_table[i];

		if (strcmp(info->name, name) == 0 ||
			(info->alias && strcmp(info->alias, name) == 0))
			return info;
	}
	return NULL;
}
