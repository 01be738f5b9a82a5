#pragma once
/* The smallest command of all: GetRandom of eight bytes (TPM 2.0 Part 3, section 16.1). */
#include "way.h"

#define RANDOM_COMMAND_CODE 0x17bu

/* Executes it COUNT times. Returns 0 or a negative errno, -EBADMSG for an answer that is no
 * success. */
int random_get(const struct way *way, unsigned int count);

/* For measure.h: CONTEXT is the struct way. */
int random_run(void *context, unsigned int count);
