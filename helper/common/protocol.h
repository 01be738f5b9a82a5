#pragma once
/*
 * The client protocol: what goes over /run/tpmgate/broker.sock, a SOCK_SEQPACKET socket. One
 * request packet, one reply packet; docs/protocol.md describes it byte for byte.
 *
 * Numbers are in the machine's byte order (the socket never leaves the machine), strings are
 * NUL-terminated within their field and the bytes after the NUL are zero.
 */
#include <stddef.h>
#include <stdint.h>

#define PROTOCOL_SOCKET_PATH  "/run/tpmgate/broker.sock"
#define PROTOCOL_MAGIC        0x474d5054u /* "TPMG" where numbers are little-endian */
#define PROTOCOL_VERSION      1           /* the only one spoken */
#define PROTOCOL_REPLY_MAX    65536       /* bytes of the largest reply */
#define PROTOCOL_PROFILE_NAME 32          /* bytes of a profile's name, the NUL included */
#define PROTOCOL_NONCE_SIZE   16

enum protocol_type {
	PROTOCOL_TYPE_INVALID = 0,
	PROTOCOL_OPEN = 1,     /* a session: the reply carries a descriptor (SCM_RIGHTS) */
	PROTOCOL_PROFILES = 2, /* the profiles and what this caller may have: protocol_profile */
	PROTOCOL_DEVICES = 3,  /* the TPMs: protocol_device */
	PROTOCOL_SESSIONS = 4, /* the caller's sessions, all of them for root: protocol_session */
	PROTOCOL_REVOKE = 5,   /* ends the session `session` */
	PROTOCOL_NONCE = 16,   /* broker to client and back, see struct protocol_nonce */
};

enum protocol_flags {
	PROTOCOL_INTERACTIVE = 1, /* a password prompt may be shown */
	PROTOCOL_FLAGS_ALL = PROTOCOL_INTERACTIVE,
};

enum protocol_status {
	PROTOCOL_STATUS_INVALID = 0,
	PROTOCOL_OK = 1,
	PROTOCOL_DENIED = 2,       /* not authorized */
	PROTOCOL_WOULD_PROMPT = 3, /* authorized after a prompt, which the request did not allow or
				      nobody is there to show */
	PROTOCOL_NO_PROFILE = 4,   /* unknown or faulty profile */
	PROTOCOL_NO_DEVICE = 5,    /* no such TPM */
	PROTOCOL_BUSY = 6,         /* the TPM serves one session at a time, and has one */
	PROTOCOL_LIMIT = 7,        /* too many connections, prompts or sessions of this user */
	PROTOCOL_BAD_REQUEST = 8,  /* the packet is malformed */
	PROTOCOL_BAD_VERSION = 9,  /* spoken versions are in version_min and version_max */
	PROTOCOL_FAILED = 10,      /* the broker or its surroundings failed: see the message */
	PROTOCOL_NO_SESSION = 11,  /* no such session, or not the caller's */
};

struct protocol_request {
	uint32_t magic;
	uint16_t version;
	uint16_t type;      /* enum protocol_type */
	uint32_t length;    /* bytes of this packet */
	uint32_t flags;     /* enum protocol_flags; others are refused */
	uint64_t session;   /* REVOKE: which; otherwise 0 */
	char profiles[128]; /* OPEN: names joined by '+'; otherwise empty */
	char device[64];    /* OPEN: a name that DEVICES gives, or empty for the default */
};

/*
 * Before Linux 6.5 the broker cannot be sure which process connected. Where it must ask polkit
 * about that process, it sends this packet first and the client sends it back unchanged; the
 * kernel stamps the sender's pid and uid on it. `type` is PROTOCOL_NONCE.
 */
struct protocol_nonce {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
	uint32_t length;
	uint8_t nonce[PROTOCOL_NONCE_SIZE];
};

struct protocol_reply {
	uint32_t magic;
	uint16_t version;
	uint16_t type;   /* the request's */
	uint32_t length; /* bytes of this packet, items included */
	uint32_t status; /* enum protocol_status */
	uint16_t version_min;
	uint16_t version_max;
	uint32_t item_count; /* how many items follow this header */
	uint32_t item_size;  /* bytes of each */
	uint32_t reserved;   /* 0 */
	uint64_t session;    /* OPEN: the session's number */
	char message[512];   /* what went wrong, why, and what to do; UTF-8, no newline */
};

enum protocol_verdict {
	PROTOCOL_VERDICT_NO = 0,
	PROTOCOL_VERDICT_YES = 1,
	PROTOCOL_VERDICT_PROMPT = 2, /* after a password prompt */
	PROTOCOL_VERDICT_FAULTY = 3, /* the profile's file is faulty: summary says where */
};

struct protocol_profile {
	char name[PROTOCOL_PROFILE_NAME];
	uint32_t verdict; /* enum protocol_verdict, for this caller */
	char summary[220];
};

enum protocol_device_flags {
	PROTOCOL_DEVICE_DEFAULT = 1, /* taken where a request names none */
	PROTOCOL_DEVICE_SINGLE = 2,  /* one session at a time: no resource manager */
};

struct protocol_device {
	char name[64];        /* "tpmrm0", or "unix" for the software TPM that --tpm gave */
	char path[108];       /* device node or socket */
	uint32_t flags;       /* enum protocol_device_flags */
	uint32_t sessions;    /* open now */
	char description[76]; /* driver or bus, for people */
};

struct protocol_session {
	uint64_t session;
	int64_t started; /* seconds since 1970 */
	uint32_t uid;
	int32_t pid; /* of the process that asked; it may be gone */
	char profiles[128];
	char device[64];
};

_Static_assert(sizeof(struct protocol_request) == 216, "wire format");
_Static_assert(sizeof(struct protocol_nonce) == 28, "wire format");
_Static_assert(sizeof(struct protocol_reply) == 552, "wire format");
_Static_assert(sizeof(struct protocol_profile) == 256, "wire format");
_Static_assert(sizeof(struct protocol_device) == 256, "wire format");
_Static_assert(sizeof(struct protocol_session) == 216, "wire format");

/* A request with magic, version, type and length filled in and everything else zero. */
struct protocol_request protocol_request_new(enum protocol_type type);

/* A reply without items to a request of TYPE (0 where it was not understood); MESSAGE is cut to
 * fit. */
struct protocol_reply protocol_reply_new(
	uint32_t type, enum protocol_status status, const char *message);

/* A nonce packet with a random nonce. Returns 0 or a negative errno. */
int protocol_nonce_new(struct protocol_nonce *ret_nonce);

/*
 * Decodes one request packet. Returns PROTOCOL_OK and the request, all of whose strings are then
 * terminated and printable ASCII; or PROTOCOL_BAD_REQUEST or PROTOCOL_BAD_VERSION, with
 * *ret_problem a constant text that says what is wrong.
 */
enum protocol_status protocol_request_decode(const void *packet, size_t size,
	struct protocol_request *ret_request, const char **ret_problem);

/*
 * Decodes a reply packet. Returns 0 and the header, whose message is then terminated, with
 * *ret_items pointing into PACKET; or -EBADMSG. Items have at least ITEM_SIZE bytes each when there
 * are any.
 */
int protocol_reply_decode(const void *packet, size_t size, size_t item_size,
	struct protocol_reply *ret_reply, const uint8_t **ret_items);

/* Whether PACKET is a well-formed nonce packet; if so, *ret_nonce. Returns 0 or -EBADMSG. */
int protocol_nonce_decode(const void *packet, size_t size, struct protocol_nonce *ret_nonce);
