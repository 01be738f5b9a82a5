#include "fake-broker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A test program that cannot set up its scene must not go on, in any build type. */
#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			perror(#condition);                                                        \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

void fake_broker_init(struct fake_broker *broker)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memset(broker, 0, sizeof *broker);
	snprintf(broker->directory, sizeof broker->directory, "/tmp/tpmgate-test-XXXXXX");
	MUST(mkdtemp(broker->directory) != NULL);
	snprintf(broker->path, sizeof broker->path, "%s/broker.sock", broker->directory);
	snprintf(address.sun_path, sizeof address.sun_path, "%s", broker->path);
	broker->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	MUST(broker->listen_fd >= 0);
	MUST(bind(broker->listen_fd, (struct sockaddr *)&address, sizeof address) == 0);
	MUST(listen(broker->listen_fd, 64) == 0);
	broker->connections = 1;
}

/* Waits for EVENTS, or the client's end. */
static void wait_for(int fd, short events)
{
	struct pollfd end = {.fd = fd, .events = events};

	while (poll(&end, 1, -1) < 0)
		MUST(errno == EINTR);
}

static void exchange_nonce(struct fake_broker *broker, int fd)
{
	struct protocol_nonce nonce;
	unsigned char returned[sizeof nonce + 1];

	MUST(protocol_nonce_new(&nonce) == 0);
	if (send(fd, &nonce, sizeof nonce, MSG_NOSIGNAL) < 0)
		return;
	if (recv(fd, returned, sizeof returned, 0) == sizeof nonce &&
		memcmp(returned, &nonce, sizeof nonce) == 0)
		broker->nonces_returned++;
}

static void send_reply(struct fake_broker *broker, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof broker->fds)];
	} control;
	struct iovec data = {.iov_base = broker->reply, .iov_len = broker->reply_size};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	uint16_t type = broker->request.type;

	if (type < sizeof broker->kept / sizeof *broker->kept && broker->kept[type].reply)
		data = (struct iovec){
			.iov_base = broker->kept[type].reply, .iov_len = broker->kept[type].size};
	memset(&control, 0, sizeof control);
	if (broker->fd_count > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(broker->fd_count * sizeof(int));

		struct cmsghdr *c = CMSG_FIRSTHDR(&message);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(broker->fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), broker->fds, broker->fd_count * sizeof(int));
	}

	ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);

	/* the client may have had enough */
	MUST(sent == (ssize_t)data.iov_len || errno == EPIPE || errno == ECONNRESET);
}

static void receive_request(struct fake_broker *broker, int fd)
{
	struct iovec parts[] = {
		{.iov_base = &broker->request, .iov_len = sizeof broker->request},
		{.iov_base = &broker->adopt, .iov_len = sizeof broker->adopt},
	};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	broker->request_size = recvmsg(fd, &message, MSG_TRUNC);
}

static void serve(struct fake_broker *broker, int fd)
{
	if (!broker->skip_request)
		receive_request(broker, fd);
	else if (!broker->at_once)
		wait_for(fd, POLLIN);
	for (unsigned i = 0; i < broker->nonces; i++)
		exchange_nonce(broker, fd);
	if (broker->no_reply)
		return;
	if (!broker->silent)
		send_reply(broker, fd);
	if (!broker->skip_request)
		wait_for(fd, 0);
}

static void *run(void *context)
{
	struct fake_broker *broker = context;

	while (broker->served < broker->connections) {
		int fd = accept4(broker->listen_fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			break; /* shut down by fake_broker_done() */
		serve(broker, fd);
		close(fd);
		broker->served++;
	}
	return NULL;
}

void fake_broker_start(struct fake_broker *broker)
{
	MUST(pthread_create(&broker->thread, NULL, run, broker) == 0);
	broker->running = true;
}

void fake_broker_join(struct fake_broker *broker)
{
	if (!broker->running)
		return;
	MUST(pthread_join(broker->thread, NULL) == 0);
	broker->running = false;
	for (size_t i = 0; i < broker->fd_count; i++)
		close(broker->fds[i]);
	broker->fd_count = 0;
}

void fake_broker_done(struct fake_broker *broker)
{
	shutdown(broker->listen_fd, SHUT_RDWR);
	fake_broker_join(broker);
	for (size_t i = 0; i < broker->fd_count; i++)
		close(broker->fds[i]);
	for (size_t i = 0; i < sizeof broker->kept / sizeof *broker->kept; i++)
		free(broker->kept[i].reply);
	close(broker->listen_fd);
	unlink(broker->path);
	rmdir(broker->directory);
}

void fake_broker_reply(struct fake_broker *broker, enum protocol_type type,
	enum protocol_status status, const char *message)
{
	struct protocol_reply reply = protocol_reply_new(type, status, message);

	memcpy(broker->reply, &reply, sizeof reply);
	broker->reply_size = sizeof reply;
}

void fake_broker_item(struct fake_broker *broker, const void *item, size_t size, size_t item_size)
{
	struct protocol_reply reply;

	memcpy(&reply, broker->reply, sizeof reply);
	memset(broker->reply + broker->reply_size, 0xff, item_size);
	memcpy(broker->reply + broker->reply_size, item, size);
	broker->reply_size += item_size;
	reply.item_count++;
	reply.item_size = (uint32_t)item_size;
	reply.length = (uint32_t)broker->reply_size;
	memcpy(broker->reply, &reply, sizeof reply);
}

void fake_broker_keep(struct fake_broker *broker)
{
	struct protocol_reply reply;
	struct fake_broker_kept *kept;

	memcpy(&reply, broker->reply, sizeof reply);
	MUST(reply.type < sizeof broker->kept / sizeof *broker->kept);
	kept = &broker->kept[reply.type];
	free(kept->reply);
	kept->reply = malloc(broker->reply_size);
	MUST(kept->reply != NULL);
	memcpy(kept->reply, broker->reply, broker->reply_size);
	kept->size = broker->reply_size;
}

int fake_broker_session(struct fake_broker *broker, int type)
{
	int pair[2];

	MUST(broker->fd_count < FAKE_BROKER_FDS);
	MUST(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) == 0);
	fake_broker_reply(broker, PROTOCOL_OPEN, PROTOCOL_OK, "");
	broker->fds[broker->fd_count++] = pair[0];
	return pair[1];
}

void fake_broker_file(struct fake_broker *broker, const char *text, int flags)
{
	char path[sizeof broker->directory + 8];
	int fd;

	MUST(broker->fd_count < FAKE_BROKER_FDS);
	snprintf(path, sizeof path, "%s/file", broker->directory);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	MUST(fd >= 0);
	MUST(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	fd = open(path, flags | O_CLOEXEC);
	MUST(fd >= 0);
	unlink(path);
	fake_broker_reply(broker, PROTOCOL_EVENTLOG, PROTOCOL_OK, "");
	broker->fds[broker->fd_count++] = fd;
}

size_t fake_broker_count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	size_t count = 0;

	MUST(directory != NULL);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}
