#pragma once
/*
 * The public area of an NV index or a persistent object, as the registry records it.
 */
#include "common/protocol.h"

#include <stddef.h>
#include <stdint.h>

#define PUBLIC_AREA_COMMAND 14 /* bytes of a command that reads one */

/* The command that reads the public area of HANDLE, of which protocol_handle_kind() has a kind. */
void public_area_command(uint32_t handle, uint8_t ret_command[PUBLIC_AREA_COMMAND]);

/*
 * Reads the SIZE bytes of RESPONSE to that command. Returns 0 and *ret_adopt, complete but for its
 * uid; the TPM's response code where it is an error; or -EBADMSG where the response is none to that
 * command.
 */
int64_t public_area_parse(
	uint32_t handle, const void *response, size_t size, struct protocol_adopt *ret_adopt);
