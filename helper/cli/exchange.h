#pragma once
/*
 * One command over a session, and its response.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define EXCHANGE_MAX 4096 /* bytes of the largest response */

/*
 * Sends the COMMAND of SIZE bytes, and waits for TIMEOUT_MS at most. Returns the size of the
 * response, which is that in its header; or a negative errno, after which SESSION is of no more
 * use.
 */
ssize_t exchange(int session, const uint8_t *command, size_t size, int timeout_ms,
	uint8_t ret_response[EXCHANGE_MAX]);
