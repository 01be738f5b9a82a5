#pragma once
/*
 * What must hold of every verdict of the filter, whatever the policy: shared by the targets that
 * have verdicts made. Ends the program where something does not.
 */
#include "relay/filter.h"

/* What the filter wanted to know. */
struct filter_question_asked {
	enum filter_fact fact;
	uint32_t query;
};

void oracle_check(const struct policy_image *image, const struct account *account,
	const struct tpm_command *command, const struct filter_verdict *verdict);
