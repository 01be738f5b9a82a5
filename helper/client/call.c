/*
 * Owns: the connection to the broker for the time of one call. Trusts: nobody at the other end, for
 * the path may come from the environment: every length is checked, every descriptor that arrives is
 * taken into account, and all but the one asked for are closed.
 *
 *	connect -> send the request -> receive -> reply: decode, map its status, done
 *	                                  ^ |
 *	                                  | v
 *	                             nonce: send it back, once
 */
#include "client/call.h"

#include "client/text.h"
#include "common/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#define CALL_MAX_FDS 253 /* SCM_MAX_FD of the kernel: more never come in one packet */

int call_fail(struct tpmgate_message *message, int error, const char *format, ...)
{
	char text[2 * TPMGATE_MESSAGE_SIZE];
	va_list arguments;

	if (!message)
		return error;
	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	text_clean(text, sizeof text, message->text, sizeof message->text);
	return error;
}

static int call_fail_connect(const char *path, int number, struct tpmgate_message *message)
{
	bool usual = strcmp(path, PROTOCOL_SOCKET_PATH) == 0;
	const char *hint = usual ? "Is the tpmgate package installed and tpmgate.socket started?"
				 : "Is this path right, and does tpmgate-broker listen there?";

	errno = number;
	switch (number) {
	case ENOENT:
	case ENOTDIR:
	case ECONNREFUSED:
		return call_fail(message, TPMGATE_E_NO_BROKER, "no tpmgate broker at %s: %m. %s",
			path, hint);
	case EACCES:
	case EPERM:
		return call_fail(message, TPMGATE_E_NO_BROKER,
			"cannot reach the tpmgate broker at %s: %m. The socket should be open to "
			"everybody (mode 0666, directory 0755); is this program confined?",
			path);
	case EAGAIN:
		return call_fail(message, TPMGATE_E_TIMEOUT,
			"the tpmgate broker at %s is too busy to accept a connection", path);
	case EPROTOTYPE:
		return call_fail(message, TPMGATE_E_PROTOCOL,
			"%s is a socket of another type than the tpmgate broker's", path);
	case ENOMEM:
	case ENOBUFS:
		return call_fail(message, TPMGATE_E_MEMORY, "out of memory");
	default:
		return call_fail(message, TPMGATE_E_FAILED,
			"cannot connect to the tpmgate broker at %s: %m", path);
	}
}

static int call_fail_wait(const char *path, int r, struct tpmgate_message *message)
{
	if (r == -ETIMEDOUT)
		return call_fail(message, TPMGATE_E_TIMEOUT,
			"the tpmgate broker at %s did not answer in time", path);
	errno = -r;
	return call_fail(message, r == -ENOMEM ? TPMGATE_E_MEMORY : TPMGATE_E_FAILED,
		"cannot talk to the tpmgate broker at %s: %m", path);
}

static int call_connect(
	const char *path, struct deadline deadline, struct tpmgate_message *message, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);

	if (length >= sizeof address.sun_path)
		return call_fail(message, TPMGATE_E_ARGUMENT,
			"the path of the broker's socket has more than %zu bytes",
			sizeof address.sun_path - 1);
	memcpy(address.sun_path, path, length);

	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return call_fail_connect(path, errno, message);
	for (;;) {
		int left = deadline_left(deadline);
		struct timeval limit = {.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000L};

		/* A full backlog blocks a Unix connect(), and poll() cannot wait for it. Zero would
		 * mean "for ever". */
		if (left == 0)
			limit.tv_usec = 1;
		if (left >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
			return call_fail_connect(path, errno, message);
		if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
			break;
		if (errno != EINTR)
			return call_fail_connect(path, errno, message);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/*
 * A broker that refuses a connection without reading the request leaves a reply and hangs up; the
 * end is then no error here, for the reply is still to be read.
 */
static int call_send(int fd, const void *packet, size_t size, struct deadline deadline)
{
	for (;;) {
		ssize_t sent = send(fd, packet, size, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent >= 0 || errno == EPIPE || errno == ECONNRESET)
			return 0;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;

		int r = deadline_poll(deadline, fd, POLLOUT);

		if (r < 0)
			return r;
	}
}

/* What one packet brought. */
struct call_packet {
	size_t size;
	bool cut;     /* bytes did not fit */
	bool fds_cut; /* descriptors did not fit, into the array or into this process */
	size_t fd_count;
	int fd; /* the first descriptor, or -1; the others are closed */
};

static void call_take_fds(struct msghdr *message, struct call_packet *packet)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;

		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (packet->fd_count++ == 0)
				packet->fd = fd;
			else
				close(fd);
		}
	}
}

/* Waits for one packet. Returns 0, or a negative errno; -ENOTCONN at the end. */
static int call_receive(
	int fd, void *bytes, size_t size, struct deadline deadline, struct call_packet *ret_packet)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(CALL_MAX_FDS * sizeof(int))];
	} control;
	bool reset = false;

	for (;;) {
		struct iovec data = {.iov_base = bytes, .iov_len = size};
		struct msghdr message = {
			.msg_iov = &data,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = sizeof control.bytes,
		};
		int r = deadline_poll(deadline, fd, POLLIN);

		if (r < 0)
			return r;

		ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (got >= 0) {
			*ret_packet = (struct call_packet){
				.size = (size_t)got,
				.cut = message.msg_flags & MSG_TRUNC,
				.fds_cut = message.msg_flags & MSG_CTRUNC,
				.fd = -1,
			};
			call_take_fds(&message, ret_packet);
			return got == 0 && ret_packet->fd_count == 0 ? -ENOTCONN : 0;
		}
		/* Closed without having read our request: reported before the reply that came
		 * before it, and only once. */
		if (errno == ECONNRESET && !reset) {
			reset = true;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return errno == ECONNRESET ? -ENOTCONN : -errno;
	}
}

/* Receives the reply, and answers the nonce that may come before it. */
static int call_exchange(int fd, const char *path, uint8_t *bytes, struct deadline deadline,
	struct tpmgate_message *message, struct call_packet *ret_packet)
{
	bool nonce_seen = false;

	for (;;) {
		struct call_packet packet = {.fd = -1};
		struct protocol_nonce nonce;
		int r = call_receive(fd, bytes, PROTOCOL_REPLY_MAX, deadline, &packet);

		if (r == -ENOTCONN)
			return call_fail(message, TPMGATE_E_PROTOCOL,
				"the tpmgate broker at %s closed the connection without an answer; "
				"its log says why",
				path);
		if (r < 0)
			return call_fail_wait(path, r, message);
		if (nonce_seen || packet.fd_count > 0 ||
			protocol_nonce_decode(bytes, packet.size, &nonce) < 0) {
			*ret_packet = packet;
			return 0;
		}
		nonce_seen = true;
		r = call_send(fd, &nonce, sizeof nonce, deadline);
		if (r < 0)
			return call_fail_wait(path, r, message);
	}
}

/* The error for a reply that refuses, with the broker's message or one of ours. */
static int call_fail_status(
	const char *path, const struct protocol_reply *reply, struct tpmgate_message *message)
{
	static const struct {
		int error;
		const char *text; /* where the broker gave none */
	} refusals[] = {
		[PROTOCOL_DENIED] = {TPMGATE_E_DENIED, "not authorized"},
		[PROTOCOL_WOULD_PROMPT] = {TPMGATE_E_WOULD_PROMPT,
			"this needs a password prompt, and none was allowed"},
		[PROTOCOL_NO_PROFILE] = {TPMGATE_E_NO_PROFILE, "no such profile"},
		[PROTOCOL_NO_DEVICE] = {TPMGATE_E_NO_DEVICE, "no such TPM"},
		[PROTOCOL_BUSY] = {TPMGATE_E_BUSY, "the TPM is in use"},
		[PROTOCOL_LIMIT] = {TPMGATE_E_LIMIT, "too many sessions or connections"},
		[PROTOCOL_BAD_REQUEST] = {TPMGATE_E_PROTOCOL,
			"the broker did not understand the request"},
		[PROTOCOL_FAILED] = {TPMGATE_E_FAILED, "the broker failed"},
		[PROTOCOL_NO_SESSION] = {TPMGATE_E_NO_SESSION, "no such session"},
	};

	if (reply->status == PROTOCOL_BAD_VERSION)
		return call_fail(message, TPMGATE_E_PROTOCOL,
			"the tpmgate broker at %s speaks versions %u to %u of the protocol, this "
			"program speaks version %u: update the older one",
			path, reply->version_min, reply->version_max, PROTOCOL_VERSION);
	if (reply->status >= sizeof refusals / sizeof *refusals || !refusals[reply->status].error)
		return call_fail(message, TPMGATE_E_PROTOCOL,
			"the tpmgate broker at %s answered with the unknown status %u", path,
			reply->status);
	return call_fail(message, refusals[reply->status].error, "%s",
		reply->message[0] ? reply->message : refusals[reply->status].text);
}

/* Whether a packet with these descriptors is what a session's reply is: one stream socket. */
static int call_check_session(
	const struct call_packet *packet, const char *path, struct tpmgate_message *message)
{
	int type = 0;
	socklen_t size = sizeof type;

	if (packet->fd_count != 1)
		return call_fail(message, TPMGATE_E_PROTOCOL,
			"the tpmgate broker at %s answered with %zu descriptors instead of one",
			path, packet->fd_count);
	if (getsockopt(packet->fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
		return call_fail(message, TPMGATE_E_PROTOCOL,
			"the tpmgate broker at %s answered with a descriptor of another kind",
			path);
	return 0;
}

/* The same for an event log: one file that can only be read. */
static int call_check_file(
	const struct call_packet *packet, const char *path, struct tpmgate_message *message)
{
	struct stat status;
	int flags;

	if (packet->fd_count != 1)
		return call_fail(message, TPMGATE_E_PROTOCOL,
			"the tpmgate broker at %s answered with %zu descriptors instead of one",
			path, packet->fd_count);
	flags = fcntl(packet->fd, F_GETFL);
	if (flags < 0 || (flags & O_ACCMODE) != O_RDONLY || fstat(packet->fd, &status) < 0 ||
		!S_ISREG(status.st_mode))
		return call_fail(message, TPMGATE_E_PROTOCOL,
			"the tpmgate broker at %s answered with a descriptor of another kind",
			path);
	return 0;
}

/* Whether the descriptors of the reply to a request of TYPE are those that were asked for. */
static int call_check_fds(const struct call_packet *packet, uint32_t type, const char *path,
	struct tpmgate_message *message)
{
	if (type == PROTOCOL_OPEN)
		return call_check_session(packet, path, message);
	if (type == PROTOCOL_EVENTLOG)
		return call_check_file(packet, path, message);
	if (packet->fd_count > 0)
		return call_fail(message, TPMGATE_E_PROTOCOL,
			"the tpmgate broker at %s sent a descriptor that nobody asked for", path);
	return 0;
}

static int call_send_question(
	int fd, const struct call_question *question, struct deadline deadline)
{
	uint8_t packet[PROTOCOL_REQUEST_MAX];
	size_t size = sizeof question->request;

	memcpy(packet, &question->request, size);
	if (question->request.type == PROTOCOL_ADOPT) {
		memcpy(packet + size, &question->adopt, sizeof question->adopt);
		size += sizeof question->adopt;
	}
	return call_send(fd, packet, size, deadline);
}

/* BYTES has room for the largest packet, stays the caller's, and has the reply's items. */
static int call_run(const char *path, const struct call_question *question,
	struct deadline deadline, struct tpmgate_message *message, uint8_t *bytes,
	struct call_reply *ret_reply)
{
	struct call_packet packet = {.fd = -1};
	struct call_reply reply = {.fd = -1};
	CLEANUP_FD int fd = -1;
	int r;

	r = call_connect(path, deadline, message, &fd);
	if (r < 0)
		return r;
	r = call_send_question(fd, question, deadline);
	if (r < 0)
		return call_fail_wait(path, r, message);
	r = call_exchange(fd, path, bytes, deadline, message, &packet);
	if (r < 0)
		return r;

	CLEANUP_FD int brought = packet.fd;

	if (packet.fds_cut)
		return call_fail(message, TPMGATE_E_FAILED,
			"the descriptor could not be received: this process has too many open "
			"files");
	if (packet.cut || protocol_reply_decode(bytes, packet.size, question->item_size,
				  &reply.header, &reply.items) < 0)
		return call_fail(message, TPMGATE_E_PROTOCOL,
			"what answers at %s does not speak the tpmgate protocol", path);
	if (reply.header.status != PROTOCOL_OK)
		return call_fail_status(path, &reply.header, message);
	if (reply.header.type != question->request.type)
		return call_fail(message, TPMGATE_E_PROTOCOL,
			"the tpmgate broker at %s answered another request than ours", path);
	r = call_check_fds(&packet, question->request.type, path, message);
	if (r < 0)
		return r;
	reply.fd = TAKE_FD(brought);
	*ret_reply = reply;
	return 0;
}

int call_broker(const char *path, const struct call_question *question, struct deadline deadline,
	struct tpmgate_message *message, struct call_reply *ret_reply)
{
	uint8_t *bytes = malloc(PROTOCOL_REPLY_MAX);
	int r;

	if (!bytes)
		return call_fail(message, TPMGATE_E_MEMORY, "out of memory");
	r = call_run(path, question, deadline, message, bytes, ret_reply);
	if (r != 0) {
		free(bytes);
		return r;
	}
	ret_reply->packet = bytes;
	return 0;
}

void call_reply_done(struct call_reply *reply)
{
	if (reply->fd >= 0)
		close(reply->fd);
	free(reply->packet);
	*reply = (struct call_reply){.fd = -1};
}
