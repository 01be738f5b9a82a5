#pragma once
/*
 * What the filter demands, in words: of each use of a handle, of the parameters that matter, and
 * what a profile makes of it. The tables in explain.c follow the rules at the head of filter.c.
 */
#include "common/policy.h"
#include "relay/tpm-table.h"

#include <glib.h>

/* What "own" means in all these texts, as one sentence. */
extern const char explain_own[];

/* What is demanded of a handle of USE, whatever the profile. NULL where there are no words for it.
 */
const char *explain_use(enum tpm_use use);
/* The rules that refuse a handle of USE, separated by blanks, the most telling one first. */
const char *explain_use_rules(enum tpm_use use);

/* What is demanded of the parameters of the command CODE; NULL: nothing. */
const char *explain_parameters(uint32_t code);

/*
 * The command under one policy. Returns NULL where it is allowed, and adds a line for each
 * condition to CONDITIONS (to be freed with it); or the rule that refuses it always.
 */
const char *explain_command(
	const struct policy *policy, const struct tpm_command_info *info, GPtrArray *conditions);

/* The command that a person means by NAME: with or without prefix, an alias, or a code in hex. */
const struct tpm_command_info *explain_find(const char *name);

/* Lists in words; empty where there is nothing in them. The caller frees them. */
char *explain_hierarchies(uint32_t hierarchies);
char *explain_pcrs(uint32_t pcrs);
char *explain_capabilities(uint32_t capabilities);
/* The ranges of POLICY for USE (enum policy_use). */
char *explain_ranges(const struct policy *policy, uint32_t use);
