#pragma once
/*
 * libtpmgate: a TPM 2.0 for programs without privileges.
 *
 *	struct tpmgate_options options = {.size = sizeof options, .profiles = "keys"};
 *	struct tpmgate_message message;
 *	int tpm = tpmgate_open(&options, &message);
 *
 *	if (tpm < 0)
 *		fprintf(stderr, "example: %s\n", message.text);
 *
 * The library keeps no state. It starts no thread, installs no signal handler, never logs and
 * never ends the program; every function may be called from any thread at any time. Its
 * descriptors are closed on exec, and it never raises SIGPIPE.
 *
 * Functions return 0 or more on success and one of enum tpmgate_error on failure. A function that
 * fails has called no callback and leaves no descriptor open. errno means nothing afterwards.
 */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * How to ask. Zero or NULL in a member means its default, so that a structure with nothing but
 * `size` set is complete. New members may be added at the end: `size` says which of them a program
 * knows. Strings are read during the call only.
 */
struct tpmgate_options {
	size_t size; /* sizeof(struct tpmgate_options), always */
	/* Path of the broker's socket, at most 107 bytes. Default: $TPMGATE_SOCKET (not in a
	 * program that runs with more privileges than its caller), then /run/tpmgate/broker.sock.
	 */
	const char *socket;
	/* tpmgate_open: one profile, or several joined by '+', at most 127 bytes. Default:
	 * $TPMGATE_PROFILES (with the same exception), then "keys". */
	const char *profiles;
	/* tpmgate_open, tpmgate_eventlog: a device name that tpmgate_devices() gives, at most 63
	 * bytes. Default: the broker's first TPM. */
	const char *device;
	/* Not 0: a password prompt may be shown to the user. It may take minutes. */
	int interactive;
	/* Milliseconds that the whole call may take; 0 or less: until the broker answers. */
	int timeout_ms;
};

/* Why a call failed. Values are never reused. */
enum tpmgate_error {
	TPMGATE_E_WOULD_PROMPT = -1, /* allowed after a password prompt, which `interactive` did not
					permit or nobody is there to show */
	TPMGATE_E_DENIED = -2,       /* not authorized */
	TPMGATE_E_NO_BROKER = -3,    /* no socket at the path, or nobody who listens there */
	TPMGATE_E_NO_DEVICE = -4,    /* no TPM, or none of that name */
	TPMGATE_E_BUSY = -5,         /* the TPM serves one session at a time, and has one */
	TPMGATE_E_NO_PROFILE = -6,   /* no such profile, or its file is faulty */
	TPMGATE_E_LIMIT = -7,        /* too many sessions, prompts or connections of this user */
	TPMGATE_E_PROTOCOL = -8,     /* what answers at the socket does not speak this protocol */
	TPMGATE_E_TIMEOUT = -9,      /* timeout_ms have passed */
	TPMGATE_E_MEMORY = -10,      /* out of memory */
	TPMGATE_E_ARGUMENT = -11,    /* options are not valid: nothing was asked */
	TPMGATE_E_NO_SESSION = -12,  /* no such session, or not the caller's */
	TPMGATE_E_FAILED = -13,      /* broker or system failed: see the message */
};

#define TPMGATE_MESSAGE_SIZE 512

/*
 * One line for people: what failed, why, and what to do. UTF-8 without control characters, always
 * NUL-terminated, empty after success. It belongs to the caller, who may pass NULL for none.
 */
struct tpmgate_message {
	char text[TPMGATE_MESSAGE_SIZE];
};

/*
 * Opens a session with the TPM. Returns its descriptor, which the caller closes, or one of enum
 * tpmgate_error. OPTIONS may be NULL.
 *
 * The descriptor is a connected Unix SOCK_STREAM socket that behaves like /dev/tpmrm0: write one
 * TPM command, read one response (in parts if you like, unlike a device's), then the next command.
 * Commands and responses have at most 4096 bytes. It is in blocking mode and closed on exec. What
 * the profiles do not allow is answered with a TPM response, 0x000B0120 in most cases. When the
 * session is revoked or the TPM removed every command is answered with an error; the other end is
 * not closed before yours. Write with send(..., MSG_NOSIGNAL) all the same. Objects and TPM
 * sessions left behind are flushed when the last copy of the descriptor is closed.
 */
int tpmgate_open(const struct tpmgate_options *options, struct tpmgate_message *message);

enum tpmgate_verdict {
	TPMGATE_NO = 0,
	TPMGATE_YES = 1,
	TPMGATE_PROMPT = 2, /* after a password prompt */
	TPMGATE_FAULTY = 3, /* the profile's file is faulty; `summary` says where */
};

/* Where a verdict comes from. */
enum tpmgate_reason {
	TPMGATE_REASON_NONE = 0,      /* the broker does not say */
	TPMGATE_REASON_ROOT = 1,      /* the caller is root */
	TPMGATE_REASON_GROUP = 2,     /* a group of the calling process */
	TPMGATE_REASON_POLKIT = 3,    /* polkit's rules for `action` */
	TPMGATE_REASON_NO_POLKIT = 4, /* polkit has to decide on `action`, and does not answer */
};

/*
 * The structures that callbacks get are valid, with their strings, until the callback returns. New
 * members may be added at their ends. Strings are UTF-8 without control characters, never NULL.
 */
struct tpmgate_profile {
	const char *name;
	const char *summary;          /* what a session with it may do */
	enum tpmgate_verdict verdict; /* for the calling process, now */
	enum tpmgate_reason reason;
	const char *group;  /* the first group whose members may have it; may be empty */
	const char *action; /* polkit's; empty where the broker does not say */
};

struct tpmgate_device {
	const char *name;
	const char *path;        /* device node or socket, as the broker sees it */
	const char *description; /* driver or bus */
	int is_default;          /* taken where options name none */
	int is_single;           /* one session at a time */
	uint32_t sessions;       /* open now, of all users */
};

struct tpmgate_session {
	uint64_t session; /* its number, for tpmgate_revoke() */
	int64_t started;  /* seconds since 1970 */
	uint32_t uid;
	int32_t pid; /* of the process that asked; it may be gone */
	const char *profiles;
	const char *device;
};

/*
 * Each calls EACH once per item, in the broker's order, with CONTEXT as it was given, and returns
 * 0; or returns one of enum tpmgate_error before any call. Of the options `profiles` and `device`
 * are not used. Sessions are the caller's own; root sees everybody's.
 */
int tpmgate_profiles(const struct tpmgate_options *options,
	void (*each)(const struct tpmgate_profile *profile, void *context), void *context,
	struct tpmgate_message *message);
int tpmgate_devices(const struct tpmgate_options *options,
	void (*each)(const struct tpmgate_device *device, void *context), void *context,
	struct tpmgate_message *message);
int tpmgate_sessions(const struct tpmgate_options *options,
	void (*each)(const struct tpmgate_session *session, void *context), void *context,
	struct tpmgate_message *message);

/*
 * Ends the session with number SESSION: its TPM objects are flushed, and its holder gets errors
 * from then on. One's own, or any for root and administrators. Returns 0 or one of enum
 * tpmgate_error.
 */
int tpmgate_revoke(
	const struct tpmgate_options *options, uint64_t session, struct tpmgate_message *message);

/*
 * Opens the event log in which the firmware has written what it measured into the PCRs, for whom
 * the profile "attest" is; of the options `profiles` is not used. Returns a descriptor of a file
 * that can be read, at its beginning, and is closed on exec; or one of enum tpmgate_error:
 * TPMGATE_E_FAILED where the TPM has no such log, as software TPMs.
 */
int tpmgate_eventlog(const struct tpmgate_options *options, struct tpmgate_message *message);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
