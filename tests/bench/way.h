#pragma once
/* A way to a TPM: whatever takes a command there and brings the response back. */
#include "common/cursor.h"
#include "relay/tpm.h"

#include <stddef.h>
#include <stdint.h>

struct way {
	/* Returns 0 and a response as it came, or a negative errno. */
	int (*transact)(void *context, const uint8_t *command, size_t size,
		uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size);
	void *context;
};

/* Over a descriptor, whether of a stream or of packets. FD must outlive it. */
struct way way_over_fd(int *fd);

/*
 * Executes the SIZE bytes of COMMAND. Returns 0 and what follows the header of RESPONSE; -EBADMSG
 * for every response that is no success, or another negative errno.
 */
int way_execute(const struct way *way, const uint8_t *command, size_t size,
	uint8_t response[TPM_MESSAGE_MAX], struct cursor *ret_body);
