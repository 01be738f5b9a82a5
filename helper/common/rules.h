#pragma once
/*
 * The rules by which a command is refused, by the names that they have in logs and in
 * `tpmgate status`: what each one means, and what the person whose program it met can do.
 */
#include <stddef.h>

/* The name of rule I, from 0; NULL where there are no more. */
const char *rule_name(size_t i);

/* What RULE says, as a sentence without its full stop. NULL where there is no such rule. */
const char *rule_reason(const char *rule);

/* What to do about a refusal by RULE, in one line. NULL where there is no such rule. */
const char *rule_advice(const char *rule);
