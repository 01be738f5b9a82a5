/*
 * storm-broker SOCKET ROUNDS SEED: random and mutated request packets to the broker at SOCKET.
 *
 * Each round is a connection: nothing, one packet or several, cut or oversized, with descriptors
 * attached or without; then mostly a wait for the reply, which must be one well-formed packet of
 * the length it declares, or the end. A session is opened now and then and must answer GetRandom.
 */
#include "storm.h"

#include "common/cleanup.h"
#include "common/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PACKET_MAX 70000
#define REPLY_MS   30000

struct tally {
	unsigned long replies;
	unsigned long ends;
	unsigned long sessions;
};

static int connect_to(const struct storm *storm, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		storm_fail(storm, "connect: %s", strerror(errno));
	return fd;
}

static size_t make_packet(struct storm *storm, uint8_t packet[PACKET_MAX])
{
	static const uint32_t types[] = {PROTOCOL_OPEN, PROTOCOL_PROFILES, PROTOCOL_DEVICES,
		PROTOCOL_SESSIONS, PROTOCOL_REVOKE, PROTOCOL_NONCE, 0, 6, 0xffff};
	static const char *const profiles[] = {"keys", "basic", "keys+attest", "keys+keys", "+",
		"owner", "../keys", "no-such", "basic+keys+unseal+attest+persist+admin+owner"};
	struct protocol_request request;
	size_t size = sizeof request;

	if (storm_one_in(storm, 10)) {
		size = 1 + storm_below(storm, storm_one_in(storm, 10) ? PACKET_MAX - 1 : 300);
		storm_fill(storm, packet, size);
		return size;
	}
	request = protocol_request_new(
		(enum protocol_type)types[storm_below(storm, sizeof types / sizeof types[0])]);
	request.flags = storm_one_in(storm, 8) ? storm_below(storm, 4) : 0;
	if (request.type == PROTOCOL_OPEN)
		snprintf(request.profiles, sizeof request.profiles, "%s",
			profiles[storm_below(storm, sizeof profiles / sizeof profiles[0])]);
	if (request.type == PROTOCOL_REVOKE)
		request.session = storm_below(storm, 1000);
	memcpy(packet, &request, sizeof request);
	if (storm_one_in(storm, 5))
		return size;
	return storm_mutate(storm, packet, size, storm_one_in(storm, 20) ? PACKET_MAX : 400);
}

/* The broker may have hung up before. */
static void send_message(const struct storm *storm, int fd, const struct msghdr *message)
{
	if (sendmsg(fd, message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EPIPE &&
		errno != ECONNRESET && errno != EAGAIN && errno != ETOOMANYREFS)
		storm_fail(storm, "send: %s", strerror(errno));
}

/* Sends PACKET, now and then with up to three descriptors. */
static void send_packet(struct storm *storm, int fd, const uint8_t *packet, size_t size)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(3 * sizeof(int))];
	} control = {0};
	int attached[3] = {0, fd, 2};
	size_t count = 1 + storm_below(storm, 3);
	struct iovec part = {.iov_base = (void *)(uintptr_t)packet, .iov_len = size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (storm_one_in(storm, 4)) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), attached, count * sizeof(int));
		if (sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return;
		/* EPERM: it takes none (SO_PASSRIGHTS, from Linux 6.16); then without */
		message.msg_control = NULL;
		message.msg_controllen = 0;
	}
	send_message(storm, fd, &message);
}

static void check_session(const struct storm *storm, int fd)
{
	static const uint8_t command[] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 8};
	uint8_t answer[64];

	if (send(fd, command, sizeof command, MSG_NOSIGNAL) != sizeof command ||
		!storm_readable(fd, REPLY_MS) || recv(fd, answer, sizeof answer, 0) != 20)
		storm_fail(storm, "the session does not answer GetRandom");
}

static void check_reply(const struct storm *storm, const uint8_t *packet, size_t size, int session,
	struct tally *tally)
{
	struct protocol_reply reply;
	const uint8_t *items;

	if (protocol_reply_decode(packet, size, 0, &reply, &items) < 0 || reply.length != size)
		storm_fail(storm, "a malformed reply of %zu bytes", size);
	if ((session >= 0) != (reply.type == PROTOCOL_OPEN && reply.status == PROTOCOL_OK))
		storm_fail(storm, "status %u, and a descriptor: %s", (unsigned)reply.status,
			session >= 0 ? "yes" : "no");
	tally->replies++;
	if (session < 0)
		return;
	tally->sessions++;
	check_session(storm, session);
}

static int receive_descriptor(const struct storm *storm, struct msghdr *message)
{
	int session = -1;

	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
		header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_type != SCM_RIGHTS || session >= 0 ||
			header->cmsg_len != CMSG_LEN(sizeof session))
			storm_fail(storm, "control data of type %d", header->cmsg_type);
		memcpy(&session, CMSG_DATA(header), sizeof session);
	}
	return session;
}

/* Waits for the reply or the end. */
static void receive_reply(const struct storm *storm, int fd, struct tally *tally)
{
	static uint8_t packet[PACKET_MAX];
	uint8_t control[CMSG_SPACE(4 * sizeof(int))];
	struct iovec part = {.iov_base = packet, .iov_len = sizeof packet};
	struct msghdr message = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof control};
	CLEANUP_FD int session = -1;
	ssize_t size;

	if (!storm_readable(fd, REPLY_MS))
		storm_fail(storm, "no reply and no end");
	size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	/* Said once, where the broker left something unread; its reply comes after that. */
	if (size < 0 && errno == ECONNRESET)
		size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	if (size <= 0) {
		if (size < 0 && errno != ECONNRESET)
			storm_fail(storm, "receive: %s", strerror(errno));
		tally->ends++;
		return;
	}
	session = receive_descriptor(storm, &message);
	check_reply(storm, packet, (size_t)size, session, tally);
	if (storm_readable(fd, 0) && recv(fd, packet, sizeof packet, MSG_DONTWAIT) > 0)
		storm_fail(storm, "a second reply");
}

static void run_round(struct storm *storm, const char *path, struct tally *tally)
{
	static uint8_t packet[PACKET_MAX];
	CLEANUP_FD int fd = connect_to(storm, path);
	uint32_t packets = storm_one_in(storm, 20) ? storm_below(storm, 4) : 1;

	for (uint32_t i = 0; i < packets; i++) {
		size_t size = make_packet(storm, packet);

		send_packet(storm, fd, packet, size);
	}
	if (packets > 0 && !storm_one_in(storm, 16))
		receive_reply(storm, fd, tally);
}

int main(int argc, char **argv)
{
	struct tally tally = {0};
	struct storm storm;
	unsigned long rounds;

	if (argc != 4) {
		fprintf(stderr, "usage: storm-broker SOCKET ROUNDS SEED\n");
		return 2;
	}
	rounds = strtoul(argv[2], NULL, 10);
	storm = storm_new("storm-broker", argv[3]);
	for (storm.round = 0; storm.round < rounds; storm.round++)
		run_round(&storm, argv[1], &tally);
	printf("storm-broker: %lu rounds, %lu replies, %lu ends, %lu sessions\n", rounds,
		tally.replies, tally.ends, tally.sessions);
	return 0;
}
