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
#define PROTOCOL_RULE_NAME    32 /* bytes of the name of a filter's rule, the NUL included */
#define PROTOCOL_AREA_MAX     80 /* bytes of an adopted handle's public area */

enum protocol_type {
	PROTOCOL_TYPE_INVALID = 0,
	PROTOCOL_OPEN = 1,      /* a session: the reply carries a descriptor (SCM_RIGHTS) */
	PROTOCOL_PROFILES = 2,  /* the profiles and what this caller may have: protocol_profile */
	PROTOCOL_DEVICES = 3,   /* the TPMs: protocol_device */
	PROTOCOL_SESSIONS = 4,  /* the caller's sessions, all of them for root: protocol_session */
	PROTOCOL_REVOKE = 5,    /* ends the session `session` */
	PROTOCOL_REFUSALS = 6,  /* commands that were refused lately: protocol_refusal */
	PROTOCOL_RECORDS = 7,   /* what the registry has: protocol_record */
	PROTOCOL_ADOPT = 8,     /* an existing handle is a user's: struct protocol_adopt follows */
	PROTOCOL_FORGET = 9,    /* nothing is the uid `session`'s any more: protocol_record */
	PROTOCOL_EVENTLOG = 10, /* the firmware's event log: the reply carries a descriptor */
	PROTOCOL_ACCOUNT = 11,  /* what sessions share of a TPM: one protocol_account */
	PROTOCOL_NONCE = 16,    /* broker to client and back, see struct protocol_nonce */
};

enum protocol_flags {
	PROTOCOL_INTERACTIVE = 1, /* a password prompt may be shown */
	PROTOCOL_EVERYBODY = 2,   /* SESSIONS: everybody's, or a refusal */
	PROTOCOL_FLAGS_ALL = PROTOCOL_INTERACTIVE | PROTOCOL_EVERYBODY,
};

enum protocol_status {
	PROTOCOL_STATUS_INVALID = 0,
	PROTOCOL_OK = 1,
	PROTOCOL_DENIED = 2,       /* not authorized */
	PROTOCOL_WOULD_PROMPT = 3, /* authorized after a prompt, which the request did not allow or
				      nobody is there to show */
	PROTOCOL_NO_PROFILE = 4,   /* unknown or faulty profile */
	PROTOCOL_NO_DEVICE = 5,    /* no such TPM */
	PROTOCOL_BUSY = 6,         /* the TPM serves one session at a time, and has one; FORGET: the
				      user has sessions open */
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
	uint64_t session;   /* REVOKE: which; FORGET: the uid; otherwise 0 */
	char profiles[128]; /* OPEN: names joined by '+'; otherwise empty */
	char device[64]; /* OPEN, ADOPT, EVENTLOG, ACCOUNT: a name that DEVICES gives, or empty for
			    the default; otherwise empty */
};

/* What the registry records. */
enum protocol_kind {
	PROTOCOL_KIND_NONE = 0,
	PROTOCOL_KIND_NV = 1,         /* an NV index */
	PROTOCOL_KIND_PERSISTENT = 2, /* an object at a persistent handle */
	PROTOCOL_KIND_SEALED = 3,     /* sealed data, which has no handle */
};

/*
 * Follows the request ADOPT in its packet, whose length counts both. The broker takes `data` as it
 * is: it reads no TPM structures.
 */
struct protocol_adopt {
	uint32_t uid;      /* whose it is to be */
	uint32_t kind;     /* PROTOCOL_KIND_NV or PROTOCOL_KIND_PERSISTENT */
	uint32_t handle;   /* 0x01000000-0x01FFFFFF, or 0x81000000-0x817FFFFF */
	uint32_t nv_size;  /* bytes of the NV index's data, otherwise 0 */
	uint32_t size;     /* bytes of `data` in use, at least 1; the rest is 0 */
	uint32_t reserved; /* 0 */
	/* NV index: its TPMS_NV_PUBLIC with WRITTEN, WRITELOCKED and READLOCKED cleared; object:
	 * its Name */
	uint8_t data[PROTOCOL_AREA_MAX];
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

/* What the verdict comes from. */
enum protocol_reason {
	PROTOCOL_REASON_NONE = 0,      /* not told */
	PROTOCOL_REASON_ROOT = 1,      /* the caller is root */
	PROTOCOL_REASON_GROUP = 2,     /* a group of the caller's */
	PROTOCOL_REASON_POLKIT = 3,    /* polkit's rules for `action` */
	PROTOCOL_REASON_NO_POLKIT = 4, /* polkit has to decide on `action`, and does not */
};

struct protocol_profile {
	char name[PROTOCOL_PROFILE_NAME];
	uint32_t verdict; /* enum protocol_verdict, for this caller */
	char summary[220];
	/* what follows an older broker does not have */
	uint32_t reason; /* enum protocol_reason */
	char group[32];  /* the first group that the profile lets in; may be empty */
	char action[64]; /* of polkit's that is asked, or was asked last */
};

/* Bytes that an item of PROFILES has at least. */
#define PROTOCOL_PROFILE_LEAST offsetof(struct protocol_profile, reason)

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

/* A command that was refused. */
struct protocol_refusal {
	int64_t time; /* seconds since 1970 */
	uint64_t session;
	uint32_t uid;
	uint32_t command; /* its code; 0: what was no command */
	uint32_t code;    /* that it was answered with */
	uint32_t untold;  /* how many more were refused since the one before */
	char rule[PROTOCOL_RULE_NAME];
};

enum protocol_state {
	PROTOCOL_STATE_NONE = 0,
	PROTOCOL_STATE_CLAIMED = 1, /* the TPM is being asked to make it */
	PROTOCOL_STATE_OWN = 2,
	PROTOCOL_STATE_DROPPED = 3,  /* the TPM is being asked to remove it */
	PROTOCOL_STATE_DOUBTFUL = 4, /* nobody knows what became of either */
};

/* What is recorded for a user: one handle, or all sealed data that they have of one TPM. */
struct protocol_record {
	int64_t changed; /* seconds since 1970; sealed data: of the last */
	uint32_t uid;
	uint32_t kind;   /* enum protocol_kind */
	uint32_t handle; /* 0 for sealed data */
	uint32_t nv_size;
	uint32_t state; /* enum protocol_state */
	uint32_t count; /* how many this item stands for: 1, but for sealed data */
	char device[64];
};

/* What is left of a TPM for the caller. */
struct protocol_account {
	char device[64];
	/* the TPM's protection against guessing, as last read; `maximum` 0: not read yet */
	uint32_t counter;      /* failures that it counts now */
	uint32_t maximum;      /* failures at which it locks everybody out */
	uint32_t limit;        /* failures at which sessions are refused to try */
	uint32_t interval;     /* seconds in which the counter falls by one; 0: it does not */
	uint32_t charge;       /* failures of the caller's own */
	uint32_t charge_limit; /* at which the caller is refused to try */
	uint32_t charge_falls; /* seconds until `charge` falls by one; 0: it does not */
	uint32_t tpm_sessions; /* the caller's, saved ones included */
	uint32_t tpm_sessions_max;
	uint32_t nv_writes; /* that the caller may do now */
	uint32_t nv_writes_max;
	uint32_t reserved; /* 0 */
};

_Static_assert(sizeof(struct protocol_request) == 216, "wire format");
_Static_assert(sizeof(struct protocol_adopt) == 24 + PROTOCOL_AREA_MAX, "wire format");
_Static_assert(sizeof(struct protocol_refusal) == 64, "wire format");
_Static_assert(sizeof(struct protocol_record) == 96, "wire format");
_Static_assert(sizeof(struct protocol_account) == 112, "wire format");
_Static_assert(sizeof(struct protocol_nonce) == 28, "wire format");
_Static_assert(sizeof(struct protocol_reply) == 552, "wire format");
_Static_assert(sizeof(struct protocol_profile) == 356, "wire format");
_Static_assert(PROTOCOL_PROFILE_LEAST == 256, "wire format");
_Static_assert(sizeof(struct protocol_device) == 256, "wire format");
_Static_assert(sizeof(struct protocol_session) == 216, "wire format");

/* Bytes of the largest request packet. */
#define PROTOCOL_REQUEST_MAX (sizeof(struct protocol_request) + sizeof(struct protocol_adopt))

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
 * *ret_problem a constant text that says what is wrong. What follows the request ADOPT has the
 * right length then, and is protocol_adopt_decode()'s to look at.
 */
enum protocol_status protocol_request_decode(const void *packet, size_t size,
	struct protocol_request *ret_request, const char **ret_problem);

/* Decodes what follows in an ADOPT packet that protocol_request_decode() found to be one. As there.
 */
enum protocol_status protocol_adopt_decode(const void *packet, size_t size,
	struct protocol_adopt *ret_adopt, const char **ret_problem);

/* Which kind HANDLE is of, among those that can be adopted; PROTOCOL_KIND_NONE for all others. */
enum protocol_kind protocol_handle_kind(uint32_t handle);

/*
 * Decodes a reply packet. Returns 0 and the header, whose message is then terminated, with
 * *ret_items pointing into PACKET; or -EBADMSG. Items have at least ITEM_SIZE bytes each when there
 * are any.
 */
int protocol_reply_decode(const void *packet, size_t size, size_t item_size,
	struct protocol_reply *ret_reply, const uint8_t **ret_items);

/* Whether PACKET is a well-formed nonce packet; if so, *ret_nonce. Returns 0 or -EBADMSG. */
int protocol_nonce_decode(const void *packet, size_t size, struct protocol_nonce *ret_nonce);
