#pragma once
/*
 * What broker and resource manager say to each other over the manager's control socket
 * (SOCK_SEQPACKET, one message a packet, machine byte order).
 *
 *   rm -> broker   READY     the TPM answers and the manager is confined; the first message, or
 *   rm -> broker   FAILED    there will be no manager: `text` says why, and it exits
 *   broker -> rm   SESSION   with one descriptor: a session's end of a SOCK_SEQPACKET pair, on
 *                            which one packet is a command, and one its response
 *   rm -> broker   CLEAN     nothing of any session is left in the TPM; the last message
 *
 * When the broker shuts down its side of the socket, or is gone, there will be no further session,
 * and the manager exits with the last that it has.
 */
#include <stddef.h>
#include <stdint.h>

#define RM_MAGIC     0x4d504d54u
#define RM_TEXT_SIZE 240 /* bytes, the NUL among them */

enum rm_type {
	RM_INVALID = 0,
	RM_READY = 1,
	RM_FAILED = 2,
	RM_SESSION = 3,
	RM_CLEAN = 4,
};

struct rm_message {
	uint32_t magic;
	uint32_t type;           /* enum rm_type */
	char text[RM_TEXT_SIZE]; /* FAILED: one line, ended by NUL; otherwise empty */
};

_Static_assert(sizeof(struct rm_message) == 248, "wire format");

/* The descriptors that a resource manager is started with; it closes every other but stderr. */
enum rm_fd {
	RM_FD_CONTROL = 3, /* its end of the control socket */
	RM_FD_END = 4,
};

/* TEXT may be NULL; what does not fit is cut. */
struct rm_message rm_message_new(enum rm_type type, const char *text);

/* Decodes one packet. Returns 0, or -EBADMSG for anything that is not a message as above. */
int rm_message_decode(const void *packet, size_t size, struct rm_message *ret_message);
