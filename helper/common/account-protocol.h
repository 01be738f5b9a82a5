#pragma once
/*
 * The account protocol: what broker and relay say to each other over the session's account socket
 * (SOCK_SEQPACKET, one message a packet, machine byte order). The broker ties the socket to the
 * session's uid when it makes it; no message names one.
 *
 *   relay -> broker   READY      confined by seccomp and ready for commands; the first message
 *   broker -> relay   REVOKE     release the TPM; `argument` says why
 *   relay -> broker   REVOKED    no command of this session reaches the TPM any more: the answer
 *                                to REVOKE, or unasked at a time limit or when the TPM fails
 *
 * The end of the socket means REVOKE to the relay, and the end of the session to the broker.
 */
#include <stddef.h>
#include <stdint.h>

#define ACCOUNT_MAGIC 0x41504d54u

enum account_type {
	ACCOUNT_INVALID = 0,
	ACCOUNT_READY = 1,
	ACCOUNT_REVOKE = 2,
	ACCOUNT_REVOKED = 3,
};

/* Why a session ends; the relay chooses its response code by it. */
enum account_reason {
	ACCOUNT_REASON_NONE = 0,
	ACCOUNT_REASON_REVOKED = 1,     /* by its user or an administrator */
	ACCOUNT_REASON_DEVICE_GONE = 2, /* the TPM was removed */
};

struct account_message {
	uint32_t magic;
	uint32_t type;     /* enum account_type */
	uint32_t argument; /* REVOKE: enum account_reason; otherwise 0 */
	uint32_t reserved; /* 0 */
};

_Static_assert(sizeof(struct account_message) == 16, "wire format");

/* The descriptors that a relay is started with; it closes every other one but stderr. */
enum relay_fd {
	RELAY_FD_CLIENT = 3,  /* its end of the client's SOCK_STREAM pair */
	RELAY_FD_TPM = 4,     /* TPM device node or connected stream, non-blocking */
	RELAY_FD_IMAGE = 5,   /* sealed memfd with a struct policy_image */
	RELAY_FD_ACCOUNT = 6, /* its end of the account socket */
	RELAY_FD_LOG = 7,     /* datagram socket connected to the journal; closed: log to stderr */
	RELAY_FD_END = 8,
};

struct account_message account_message_new(enum account_type type, uint32_t argument);

/* Decodes one packet. Returns 0, or -EBADMSG for anything that is not a message as above. */
int account_message_decode(const void *packet, size_t size, struct account_message *ret_message);
