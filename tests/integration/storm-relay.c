/*
 * storm-relay FD ROUNDS SEED: random and mutated commands to the session behind FD.
 *
 * Keeps an exact account of what the relay must make of the stream: how many commands it holds, and
 * so how many answers there are to be. Each answer must have the length it declares, each error ten
 * bytes, and nothing may follow the last. Every thousand rounds GetRandom must work.
 *
 * The stream, as docs/protocol.md promises: commands one after another, each of the size in its
 * header; a header with an impossible size, and half a command for two seconds, are answered once
 * with 0x142, and what is there is dropped.
 */
#include "storm.h"

#include "common/cursor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HEADER      10
#define SIZE_OFFSET 2
#define CODE_OFFSET 6
#define COMMAND_MAX 4096
#define ANSWER_MS   60000
#define HALF_MAX    5 /* waits of two seconds for half a command, in all */

#define ZEROS_16 "00000000000000000000000000000000"
/* An authorization area with one empty password. */
#define PASSWORD "00000009 40000009 0000 00 0000"
/* Public areas as TPM2B: an ECC storage key and sealed data, neither subject to lockout. */
#define ECC_STORAGE "001a 0023 000b 00030472 0000 0006 0080 0043 0010 0003 0010 0000 0000"
#define SEALED      "000e 0008 000b 00000452 0000 0010 0000"

/* Commands as hexadecimal digits, without their size: the mutations start from these. */
static const char *const seeds[] = {
	"8001 0000017b 0008",                                  /* GetRandom */
	"8001 0000017a 00000006 00000100 0000007f",            /* GetCapability */
	"8001 0000017a 00000001 80000000 000000fe",            /* ... of objects */
	"8001 0000017a 00000001 02000000 000000fe",            /* ... of sessions */
	"8001 0000017a 00000000 00000001 000000ff",            /* ... of algorithms */
	"8001 00000144 0000",                                  /* Startup */
	"8001 0000017c",                                       /* GetTestResult */
	"8001 00000181",                                       /* ReadClock */
	"8001 0000017e 00000001 000b 03 010000",               /* PCR_Read */
	"8001 0000017d 0003 616263 000b 40000007",             /* Hash */
	"8001 00000186 0000 000b",                             /* HashSequenceStart */
	"8001 00000173 80000000",                              /* ReadPublic */
	"8001 00000173 81000001",                              /* ... of an SRK */
	"8001 00000165 80000000",                              /* FlushContext */
	"8001 00000165 80000001",                              /* ... */
	"8001 00000165 80000002",                              /* ... */
	"8001 00000165 02000000",                              /* ... of a session */
	"8001 00000165 02000001",                              /* ... */
	"8001 00000165 03000000",                              /* ... */
	"8001 00000162 80000000",                              /* ContextSave */
	"8001 00000162 02000000",                              /* ... of a session */
	"8001 00000189 03000000",                              /* PolicyGetDigest */
	"8001 00000180 03000000",                              /* PolicyRestart */
	"8001 0000017f 03000000 0000 00000001 000b 03 010000", /* PolicyPCR */
	/* StartAuthSession: HMAC, policy, trial bound to the lockout authorization */
	"8001 00000176 40000007 40000007 0010 " ZEROS_16 " 0000 00 0010 000b",
	"8001 00000176 40000007 40000007 0010 " ZEROS_16 " 0000 01 0010 000b",
	"8001 00000176 40000007 4000000a 0010 " ZEROS_16 " 0000 03 0010 000b",
	/* CreatePrimary of an ECC storage key, by the owner and in the NULL hierarchy */
	"8002 00000131 40000001 " PASSWORD " 0004 0000 0000 " ECC_STORAGE " 0000 00000000",
	"8002 00000131 40000007 " PASSWORD " 0004 0000 0000 " ECC_STORAGE " 0000 00000000",
	/* Create of a child of it, and of a sealed secret */
	"8002 00000153 80000000 " PASSWORD " 0004 0000 0000 " ECC_STORAGE " 0000 00000000",
	"8002 00000153 80000000 " PASSWORD " 0007 0000 0003 616263 " SEALED " 0000 00000000",
	/* what must never happen */
	"8002 00000126 4000000a " PASSWORD,                               /* Clear */
	"8002 00000126 4000000c " PASSWORD,                               /* ... by the platform */
	"8002 00000139 4000000a " PASSWORD,                               /* lockout reset */
	"8002 0000013a 4000000a " PASSWORD " 00000001 00000001 00000001", /* its parameters */
	"8002 00000129 40000001 " PASSWORD " 0000",                       /* HierarchyChangeAuth */
	"8002 00000120 40000001 81000100 " PASSWORD " 81000100",          /* EvictControl */
	"8002 00000182 0000000a " PASSWORD " 00000001 000b " ZEROS_16 ZEROS_16, /* PCR_Extend */
	"8002 0000013d 00000010 " PASSWORD,                                     /* PCR_Reset */
	"8002 0000012a 40000001 " PASSWORD " 0000 000e 01800001 000b 00060006 0000 0008",
	"8002 00000122 40000001 01800001 " PASSWORD,              /* NV_UndefineSpace */
	"8002 0000014e 40000001 01800001 " PASSWORD " 0008 0000", /* NV_Read */
	"8001 00000145 0000",                                     /* Shutdown */
};

struct session {
	int fd;
	uint8_t pending[COMMAND_MAX]; /* what the relay holds of a command that is not complete */
	size_t pending_size;
	unsigned long answers;
	unsigned long succeeded;
	unsigned halves; /* times that half a command was left to time out */
};

static uint32_t number_at(const uint8_t *bytes)
{
	struct cursor cursor = cursor_new(bytes, sizeof(uint32_t));
	uint32_t number = 0;

	return cursor_u32(&cursor, &number) < 0 ? 0 : number;
}

static void put_number(uint8_t *bytes, uint32_t number)
{
	struct writer writer = writer_new(bytes, sizeof number);

	writer_u32(&writer, number);
}

/* A command from one of the texts above, with its size. */
static size_t from_hex(const char *text, uint8_t *bytes)
{
	size_t size = 0;

	while (*text) {
		char digits[3] = {text[0], text[1], 0};

		if (*text == ' ') {
			text++;
			continue;
		}
		if (size == SIZE_OFFSET)
			size += sizeof(uint32_t);
		bytes[size++] = (uint8_t)strtoul(digits, NULL, 16);
		text += 2;
	}
	put_number(bytes + SIZE_OFFSET, (uint32_t)size);
	return size;
}

/* Receives one answer and checks its length. Returns its code. */
static uint32_t receive_answer(
	const struct storm *storm, struct session *session, uint8_t answer[COMMAND_MAX])
{
	size_t size = HEADER;

	for (size_t have = 0; have < size;) {
		ssize_t got;

		if (!storm_readable(session->fd, ANSWER_MS))
			storm_fail(storm, "no answer (%zu bytes of it)", have);
		got = recv(session->fd, answer + have, size - have, 0);
		if (got <= 0)
			storm_fail(
				storm, "the session ended: %s", got < 0 ? strerror(errno) : "end");
		have += (size_t)got;
		if (have == HEADER) {
			size = number_at(answer + SIZE_OFFSET);
			if (size < HEADER || size > COMMAND_MAX)
				storm_fail(storm, "an answer that declares %zu bytes", size);
		}
	}
	if (answer[0] != 0x80 || (answer[1] != 0x01 && answer[1] != 0x02))
		storm_fail(storm, "an answer with tag %02x%02x", answer[0], answer[1]);
	if (number_at(answer + CODE_OFFSET) != 0 && (size != HEADER || answer[1] != 0x01))
		storm_fail(storm, "an error of %zu bytes", size);
	session->answers++;
	session->succeeded += number_at(answer + CODE_OFFSET) == 0;
	return number_at(answer + CODE_OFFSET);
}

static void receive_size_error(const struct storm *storm, struct session *session)
{
	uint8_t answer[COMMAND_MAX];
	uint32_t code = receive_answer(storm, session, answer);

	if (code != 0x142)
		storm_fail(storm, "an impossible size was answered with 0x%x", code);
}

/*
 * Sends BYTES, of which the relay holds at most COMMAND_MAX with what is pending, and receives the
 * answers to every command that is complete by them. False if the rest was dropped.
 */
static bool feed(
	const struct storm *storm, struct session *session, const uint8_t *bytes, size_t size)
{
	uint8_t answer[COMMAND_MAX];
	uint8_t *pending = session->pending;

	if (send(session->fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size)
		storm_fail(storm, "send: %s", strerror(errno));
	memcpy(pending + session->pending_size, bytes, size);
	session->pending_size += size;
	while (session->pending_size >= HEADER) {
		uint32_t declared = number_at(pending + SIZE_OFFSET);

		if (declared < HEADER || declared > COMMAND_MAX) {
			receive_size_error(storm, session);
			session->pending_size = 0;
			return false;
		}
		if (session->pending_size < declared)
			break;
		receive_answer(storm, session, answer);
		session->pending_size -= declared;
		memmove(pending, pending + declared, session->pending_size);
	}
	return true;
}

/* Completes what is pending, or leaves it half a few times, so that the relay gives it up. */
static void settle(struct storm *storm, struct session *session)
{
	uint8_t filler[COMMAND_MAX];

	if (session->pending_size > 0 && session->halves < HALF_MAX && storm_one_in(storm, 500)) {
		session->halves++;
		receive_size_error(storm, session);
		session->pending_size = 0;
	}
	while (session->pending_size > 0) {
		size_t wanted = session->pending_size < HEADER
					? HEADER
					: number_at(session->pending + SIZE_OFFSET);

		storm_fill(storm, filler, wanted - session->pending_size);
		feed(storm, session, filler, wanted - session->pending_size);
	}
	if (storm_readable(session->fd, 0))
		storm_fail(storm, "bytes that answer nothing");
}

static size_t make_command(struct storm *storm, uint8_t bytes[COMMAND_MAX])
{
	size_t size;

	if (storm_one_in(storm, 10)) {
		size = 1 + storm_below(storm, storm_one_in(storm, 10) ? COMMAND_MAX : 100);
		storm_fill(storm, bytes, size);
		return size;
	}
	size = from_hex(seeds[storm_below(storm, sizeof seeds / sizeof seeds[0])], bytes);
	if (storm_one_in(storm, 5))
		return size;
	if (storm_one_in(storm, 10)) /* any code in front of what belongs to another */
		put_number(bytes + CODE_OFFSET, 0x11f + storm_below(storm, 192));
	size = storm_mutate(storm, bytes, size, COMMAND_MAX);
	/* Mostly with the right size in the header, so that more than the header is judged. */
	if (size >= HEADER && !storm_one_in(storm, 8))
		put_number(bytes + SIZE_OFFSET, (uint32_t)size);
	return size;
}

static void check_random(const struct storm *storm, struct session *session)
{
	static const uint8_t command[] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 8};
	uint8_t answer[COMMAND_MAX];
	uint32_t code;

	if (send(session->fd, command, sizeof command, MSG_NOSIGNAL) != sizeof command)
		storm_fail(storm, "send: %s", strerror(errno));
	code = receive_answer(storm, session, answer);
	if (code != 0 || number_at(answer + SIZE_OFFSET) != 20)
		storm_fail(storm, "GetRandom is answered with 0x%x", code);
}

static void run_round(struct storm *storm, struct session *session)
{
	uint8_t bytes[COMMAND_MAX];
	size_t size = make_command(storm, bytes);

	if (storm_one_in(storm, 50)) {
		for (size_t i = 0; i < size; i++)
			if (!feed(storm, session, bytes + i, 1))
				break;
	} else {
		feed(storm, session, bytes, size);
	}
	settle(storm, session);
}

int main(int argc, char **argv)
{
	struct session session = {0};
	struct storm storm;
	unsigned long rounds;

	if (argc != 4) {
		fprintf(stderr, "usage: storm-relay FD ROUNDS SEED\n");
		return 2;
	}
	session.fd = (int)strtol(argv[1], NULL, 10);
	rounds = strtoul(argv[2], NULL, 10);
	storm = storm_new("storm-relay", argv[3]);
	for (storm.round = 0; storm.round < rounds; storm.round++) {
		run_round(&storm, &session);
		if (storm.round % 1000 == 999)
			check_random(&storm, &session);
	}
	check_random(&storm, &session);
	printf("storm-relay: %lu rounds, %lu answers, %lu of them successes\n", rounds,
		session.answers, session.succeeded);
	return 0;
}
