/*
 * Stands in for tpmgate-rm in tests of the broker. --tpm MODE:PATH says what it does; it appends
 * its arguments to PATH, and "end" when it ends in order.
 */
#include "common/rm-protocol.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *path;

static void note(const char *text)
{
	FILE *file = fopen(path, "ae");

	if (!file || fputs(text, file) < 0 || fclose(file) != 0)
		exit(9);
}

static void tell(enum rm_type type, const char *text)
{
	struct rm_message message = rm_message_new(type, text);

	if (send(RM_FD_CONTROL, &message, sizeof message, MSG_NOSIGNAL) < 0)
		exit(9);
}

/* Returns whether a session came. Its descriptor stays open, and says hello. */
static int receive_session(void)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct rm_message message = {.magic = 0};
	struct iovec data = {.iov_base = &message, .iov_len = sizeof message};
	struct msghdr header = {.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes};
	ssize_t size = recvmsg(RM_FD_CONTROL, &header, 0);
	const struct cmsghdr *part = size > 0 ? CMSG_FIRSTHDR(&header) : NULL;
	int fd;

	if (size <= 0)
		return 0;
	if (size != sizeof message || message.type != RM_SESSION || !part ||
		part->cmsg_len != CMSG_LEN(sizeof fd))
		exit(8);
	memcpy(&fd, CMSG_DATA(part), sizeof fd);
	return send(fd, "hello", 5, MSG_NOSIGNAL) == 5;
}

/* Until the broker says that there will be no more sessions, or for ever. */
static void serve(void)
{
	while (receive_session())
		;
	note("end\n");
	tell(RM_CLEAN, NULL);
}

static void be_killed(void)
{
	poll(NULL, 0, 60000);
	note("survived\n");
}

static int run(const char *mode)
{
	if (strcmp(mode, "dies") == 0)
		return 3;
	if (strcmp(mode, "fails") == 0) {
		tell(RM_FAILED, "the TPM is on fire");
		return 1;
	}
	if (strcmp(mode, "garbage") == 0) {
		if (send(RM_FD_CONTROL, "garbage", 7, MSG_NOSIGNAL) == 7)
			be_killed();
		return 0;
	}
	if (strcmp(mode, "silent") == 0)
		return receive_session() ? 8 : 0;
	tell(RM_READY, NULL);
	if (strcmp(mode, "clean-early") == 0) {
		tell(RM_CLEAN, NULL);
		be_killed();
	} else if (strcmp(mode, "ready-twice") == 0) {
		tell(RM_READY, NULL);
		be_killed();
	} else if (strcmp(mode, "crashes") == 0 || strcmp(mode, "loses") == 0) {
		receive_session();
		if (strcmp(mode, "loses") == 0)
			tell(RM_FAILED, "the TPM is lost");
		return 4;
	}
	serve();
	return 0;
}

int main(int argc, char **argv)
{
	static char mode[32];
	const char *colon;

	if (argc < 3 || strcmp(argv[1], "--tpm") != 0 || !(colon = strchr(argv[2], ':')) ||
		(size_t)(colon - argv[2]) >= sizeof mode)
		return 9;
	memcpy(mode, argv[2], (size_t)(colon - argv[2]));
	path = colon + 1;
	/* before the log tells of it, so that a test can then say what the next one does */
	if (strcmp(mode, "file") == 0) { /* what the first line of PATH.mode says */
		char name[256];
		FILE *file;

		snprintf(name, sizeof name, "%s.mode", path);
		file = fopen(name, "re");
		if (!file || fscanf(file, "%31s", mode) != 1)
			return 9;
		(void)fclose(file);
	}
	for (int i = 3; i < argc; i++) {
		note(argv[i]);
		note(i + 1 < argc ? " " : "\n");
	}
	return run(mode);
}
