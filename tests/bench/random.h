#pragma once
/* The one command of all measurements: GetRandom of eight bytes (TPM 2.0 Part 3, section 16.1). */
#include <stddef.h>
#include <stdint.h>

#define RANDOM_COMMAND_CODE  0x17bu
#define RANDOM_COMMAND_SIZE  12
#define RANDOM_RESPONSE_SIZE 20

extern const uint8_t random_command[RANDOM_COMMAND_SIZE];

/* Whether the SIZE bytes in RESPONSE are a successful answer. */
int random_response_check(const uint8_t *response, size_t size);

/* Sends the command over the stream FD, COUNT times, and reads each answer. Returns 0 or a
 * negative errno, -EBADMSG for an answer that is no success. */
int random_get(int fd, unsigned int count);

/* For measure.h: CONTEXT points to the descriptor. */
int random_run(void *context, unsigned int count);
