/*
 * Parser and filter: any bytes as a command. Checks that what is parsed is inside the bytes, and
 * that a policy that names nothing allows nothing.
 */
#include "relay/filter.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct cursor part, const uint8_t *data, size_t size)
{
	if (part.left > 0 && (part.next < data || part.next + part.left > data + size))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy_image image = policy_image_new();
	struct account account = {.object_slots = POLICY_SLOTS,
		.session_slots = POLICY_SLOTS,
		.sessions = {0x02000000, 0x03000001},
		.objects = {
			{.handle = 0x80000000, .known = true, .attributes = TPMA_OBJECT_NO_DA}}};
	struct tpm_command command;
	struct filter_verdict verdict;

	if (tpm_command_parse(data, size, &command) != TPM_RC_SUCCESS)
		return 0;
	for (unsigned i = 0; i < command.parameter_count; i++)
		check_inside(command.parameters[i].bytes, data, size);
	image.policy_count = 1;
	if (filter_check(&image, &account, &command).kind == FILTER_ALLOW)
		abort();
	for (uint32_t code = POLICY_FIRST_CODE; code < POLICY_FIRST_CODE + POLICY_CODES; code++)
		policy_allow_command(&image.policies[0], code);
	verdict = filter_check(&image, &account, &command);
	if (command.info->scope == TPM_SCOPE_NEVER && verdict.kind != FILTER_DENY)
		abort();
	/* nothing is granted but the commands: no hierarchy, persistent handle, NV index or PCR */
	if (verdict.kind == FILTER_ALLOW)
		for (unsigned i = 0; i < command.handle_count; i++)
			if (command.handles[i] == TPM_RH_PLATFORM ||
				command.handles[i] >> 24 == TPM_HT_PERSISTENT)
				abort();
	return 0;
}
