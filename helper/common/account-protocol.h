#pragma once
/*
 * The account protocol: what broker and relay say to each other over the session's account socket
 * (SOCK_SEQPACKET, one message a packet, machine byte order). The broker ties the socket to the
 * session's uid and TPM when it makes it; no message names one.
 *
 * A message that is malformed or out of turn ends the session. Fields that a message does not use
 * are 0.
 *
 *   the session's life
 *   relay -> broker   READY      confined by seccomp and ready for commands; the first message
 *   broker -> relay   REVOKE     release the TPM; `argument` is an account_reason
 *   relay -> broker   REVOKED    no command of this session reaches the TPM any more: the answer
 *                                to REVOKE, or unasked at a time limit or when the TPM fails
 *   relay -> broker   CLOSED     after that: none is on its way to it either
 *
 *   questions: relay -> broker, one at a time, numbered by `serial`
 *   DA_BEGIN       may this session try an authorization that can raise the TPM's failure counter?
 *                  Waits for the TPM's one token. YES: values[0] = the uid's charge, in failures;
 *                  values[1] = seconds since the last of them. DA_END withdraws the question
 *   TURN_BEGIN     may it have a command executed that takes long? Waits for the uid's turn.
 *                  `argument` 1 = that tries an authorization value of a hierarchy. LIMIT: the
 *                  uid has guessed wrong too often. TURN_END withdraws the question
 *   SESSION_BEGIN  may it have one more TPM session? `handle` = the saved session that is about to
 *                  be loaded, or 0 for a new one
 *   CLAIM          the NV index or persistent handle `handle` is about to be made, as `data` says;
 *                  values[0] = bytes of the NV index. YES: the claim is on disk. For sealed data
 *                  (no handle): it was made, and is recorded
 *   DROP           the own NV index or persistent handle `handle` is about to be removed. YES: that
 *                  is on disk. As a CLAIM of a handle it is an NV write, and charged
 *   CONFIRM        what became of the CLAIM or DROP of `handle`; `argument` 1 = success, else 0
 *   LOOKUP         is `handle`, or for sealed data what `data` says, recorded for this uid and as
 *                  `data` describes it? Without `data`: is the handle recorded at all?
 *   CHARGE         may one more NV write be done?
 *   FLUSH_BEGIN    is the saved TPM session `handle` still to be flushed, as FLUSH said? GONE
 *                  tells that it was
 *   broker -> relay   ANSWER     to the question `serial`; `argument` is an account_answer
 *
 *   facts: relay -> broker, not answered
 *   DA_END         the token comes back; `argument` 1 = an authorization failed and was counted,
 *                  0 = not; values = the TPM's failure counter, its maximum and the recovery
 *                  interval in seconds, as read before the command; all 0: not read
 *   TURN_END       the turn is over; `argument` 1 = the authorization of a hierarchy was wrong, or
 *                  nobody knows, 0 = not
 *   SESSION_END    what became of SESSION_BEGIN: `handle` is loaded here, or 0: nothing came of it
 *   SAVED          the TPM session `handle` was saved by ContextSave: whoever holds the blob has it
 *                  now. `argument` 1 = it is about to be
 *   GONE           the TPM session `handle` is no more
 *   SAVES          the TPM's context counter advanced: `argument` = by so many saves at least;
 *                  values[0] = TPM_PT_CONTEXT_GAP_MAX, 0: not known. More than a relay counts
 *                  before it tells make no sense. All that is loaded here was saved anew
 *   FAILED         an authorization failed; `argument` is an account_failure
 *   ABSENT         the TPM has no NV index or persistent object `handle`: a record of it is stale
 *   REFUSED        a command was refused: `argument` = response code; values[0] = command code, 0
 *                  for what was no command; values[1] = how many more were refused and not told;
 *                  `data` = the rule's name
 *   STATE          the end of the answer to RESUME: `argument` = enum account_held, as bits
 *
 *   orders: broker -> relay
 *   FLUSH          flush the saved TPM session `handle`: it is too old, or one too many. What is
 *                  loaded here is renewed instead, which SAVES tells, or the session ends
 *   RESUME         a broker that started anew asks: SESSION_END for each TPM session loaded here,
 *                  then STATE, then the question that has no answer yet, once more
 *
 * The end of the socket means REVOKE to the relay, and the end of the session to the broker.
 */
#include <stddef.h>
#include <stdint.h>

#define ACCOUNT_MAGIC    0x32504d54u
#define ACCOUNT_DATA_MAX 80 /* bytes: a TPMS_NV_PUBLIC has 78 at most */

enum account_type {
	ACCOUNT_INVALID = 0,
	ACCOUNT_READY = 1,
	ACCOUNT_REVOKE = 2,
	ACCOUNT_REVOKED = 3,
	ACCOUNT_CLOSED = 4,

	ACCOUNT_DA_BEGIN = 16,
	ACCOUNT_TURN_BEGIN = 17,
	ACCOUNT_SESSION_BEGIN = 18,
	ACCOUNT_CLAIM = 19,
	ACCOUNT_DROP = 20,
	ACCOUNT_CONFIRM = 21,
	ACCOUNT_LOOKUP = 22,
	ACCOUNT_CHARGE = 23,
	ACCOUNT_FLUSH_BEGIN = 24,
	ACCOUNT_ANSWER = 31,

	ACCOUNT_DA_END = 32,
	ACCOUNT_TURN_END = 33,
	ACCOUNT_SESSION_END = 34,
	ACCOUNT_SAVED = 35,
	ACCOUNT_GONE = 36,
	ACCOUNT_SAVES = 37,
	ACCOUNT_REFUSED = 38,
	ACCOUNT_STATE = 39,
	ACCOUNT_FAILED = 40,
	ACCOUNT_ABSENT = 41,

	ACCOUNT_FLUSH = 48,
	ACCOUNT_RESUME = 49,
};

/* Why a session ends; the relay chooses its response code by it. */
enum account_reason {
	ACCOUNT_REASON_NONE = 0,
	ACCOUNT_REASON_REVOKED = 1,     /* by its user or an administrator */
	ACCOUNT_REASON_DEVICE_GONE = 2, /* the TPM was removed */
};

enum account_answer {
	ACCOUNT_NO = 0, /* not own; not recorded */
	ACCOUNT_YES = 1,
	ACCOUNT_LIMIT = 2,       /* a quota of the uid, or of all, is reached */
	ACCOUNT_TAKEN = 3,       /* the handle is recorded for somebody */
	ACCOUNT_UNAVAILABLE = 4, /* the registry cannot be written */
	ACCOUNT_WAIT = 5,        /* the answer comes later: this one within 5 s, that within 300 */
	ACCOUNT_RATE = 6,        /* the NV writes of this hour are used up */
};

/* What failed, where nothing was held for it. */
enum account_failure {
	ACCOUNT_FAILURE_NONE = 0,
	ACCOUNT_FAILURE_COUNTED = 1,   /* the TPM counted it, though no token was held */
	ACCOUNT_FAILURE_HIERARCHY = 2, /* of a hierarchy, which the TPM does not count */
};

/* Where own NV indices and own persistent objects are made. */
#define ACCOUNT_NV_FIRST         0x01800000u
#define ACCOUNT_NV_LAST          0x01bfffffu
#define ACCOUNT_PERSISTENT_FIRST 0x81000100u
#define ACCOUNT_PERSISTENT_LAST  0x8100ffffu

/* What the registry records; `kind` of CLAIM, DROP, CONFIRM and LOOKUP. */
enum account_kind {
	ACCOUNT_KIND_NONE = 0,
	ACCOUNT_KIND_NV = 1,         /* data: TPMS_NV_PUBLIC, WRITTEN and the locks cleared */
	ACCOUNT_KIND_PERSISTENT = 2, /* data: the object's Name */
	ACCOUNT_KIND_SEALED = 3,     /* data: `unique` of its public area; no handle */
};

/* What a session holds of an account, as bits. */
enum account_held {
	ACCOUNT_HELD_DA = 1,   /* the token */
	ACCOUNT_HELD_TURN = 2, /* the turn */
	ACCOUNT_HELD_ALL = 3,
};

struct account_message {
	uint32_t magic;
	uint32_t type; /* enum account_type */
	uint32_t serial;
	uint32_t argument;
	uint32_t kind; /* enum account_kind */
	uint32_t handle;
	uint32_t values[3];
	uint32_t size; /* bytes of `data` in use; the rest is 0 */
	uint8_t data[ACCOUNT_DATA_MAX];
};

_Static_assert(sizeof(struct account_message) == 40 + ACCOUNT_DATA_MAX, "wire format");

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

/* Sets `data` to SIZE bytes. Returns 0, or -EMSGSIZE above ACCOUNT_DATA_MAX. */
int account_message_set_data(struct account_message *message, const void *data, size_t size);

enum account_sender {
	ACCOUNT_FROM_RELAY = 1,
	ACCOUNT_FROM_BROKER = 2,
};

/*
 * Decodes one packet from SENDER. Returns 0, or -EBADMSG for anything that is not one of its
 * messages as above.
 */
int account_message_decode(const void *packet, size_t size, enum account_sender sender,
	struct account_message *ret_message);

/* Whether a message of TYPE is a question of the relay's. */
int account_is_question(uint32_t type);
