#include "rm/backend.h"

#include "common/cleanup.h"
#include "relay/tpm-command.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define MILLISECOND      INT64_C(1000000)
#define PAUSE_FIRST_MS   1   /* before a command is sent again; doubled each time ... */
#define PAUSE_LONGEST_MS 250 /* ... up to this */

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now); /* the time asleep counts */
	return (int64_t)now.tv_sec * 1000 * MILLISECOND + now.tv_nsec;
}

static int connect_unix(const char *path, int *ret_fd, char problem[BACKEND_PROBLEM_SIZE])
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = fd < 0 ? -errno : 0;

	if (r == 0 && strlen(path) >= sizeof address.sun_path)
		r = -ENAMETOOLONG;
	if (r == 0) {
		memcpy(address.sun_path, path, strlen(path));
		if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
			r = -errno;
	}
	if (r < 0) {
		snprintf(problem, BACKEND_PROBLEM_SIZE, "cannot connect to %s: %s", path,
			strerror(-r));
		return r;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int backend_open(const char *spec, unsigned timeout, struct backend *ret_backend,
	char problem[BACKEND_PROBLEM_SIZE])
{
	struct backend backend = {.fd = -1, .timeout = timeout};
	int r = -EINVAL;

	if (strncmp(spec, "unix:", 5) == 0)
		r = connect_unix(spec + 5, &backend.fd, problem);
	else if (strncmp(spec, "tcti:", 5) == 0)
		r = backend_tcti_open(spec + 5, &backend.tcti, problem);
	else
		snprintf(problem, BACKEND_PROBLEM_SIZE,
			"'%s' is neither unix:PATH nor tcti:NAME:CONF", spec);
	if (r == 0)
		*ret_backend = backend;
	return r;
}

void backend_close(struct backend *backend)
{
	cleanup_close(&backend->fd);
	backend->fd = -1;
	backend_tcti_close(backend->tcti);
	backend->tcti = NULL;
}

/* Commands that may take minutes: they make keys, or test all there is. */
static bool takes_long(uint32_t code)
{
	switch (code) {
	case TPM_CC_CREATE_PRIMARY:
	case TPM_CC_CREATE:
	case TPM_CC_CREATE_LOADED:
	case TPM_CC_SELF_TEST:
	case TPM_CC_INCREMENTAL_SELF_TEST:
	case TPM_CC_CLEAR:
	case TPM_CC_CHANGE_EPS:
	case TPM_CC_CHANGE_PPS:
		return true;
	default:
		return false;
	}
}

static int wait_readable(int fd, int64_t deadline)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	int r;

	do {
		int64_t left = deadline - now_ns();
		struct timespec timeout = {
			.tv_sec = left > 0 ? left / (1000 * MILLISECOND) : 0,
			.tv_nsec = left > 0 ? left % (1000 * MILLISECOND) : 0,
		};

		r = ppoll(&poll_fd, 1, &timeout, NULL);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r == 0 ? -ETIME : 0;
}

/* Reads a response; more bytes than its header says are a lie about what belongs to it. */
static int read_response(
	int fd, int64_t deadline, uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size)
{
	struct tpm_header header = {.size = TPM_HEADER_SIZE};
	size_t have = 0;

	while (have < header.size) {
		int r = wait_readable(fd, deadline);
		ssize_t got;

		if (r < 0)
			return r;
		got = recvfrom(
			fd, response + have, TPM_MESSAGE_MAX - have, MSG_DONTWAIT, NULL, NULL);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EPIPE;
		have += (size_t)got;
		if (tpm_header_parse(response, have, &header) < 0)
			header.size = TPM_HEADER_SIZE;
		else if (header.size < TPM_HEADER_SIZE || header.size > TPM_MESSAGE_MAX)
			return -EBADMSG;
	}
	*ret_size = have;
	return have == header.size ? 0 : -EBADMSG;
}

static int transact(struct backend *backend, const uint8_t *command, size_t size, int64_t deadline,
	uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size)
{
	struct tpm_header header;
	ssize_t sent;
	int r;

	if (backend->tcti) {
		int64_t left = (deadline - now_ns()) / (1000 * MILLISECOND);

		r = backend_tcti_transact(backend->tcti, command, size,
			left > 0 ? (unsigned)left + 1 : 1, response, ret_size);
		if (r == 0 && (tpm_header_parse(response, *ret_size, &header) < 0 ||
				      header.size != *ret_size))
			r = -EBADMSG;
		return r;
	}
	/* One command is outstanding at a time: a stream that has no room for it is broken. */
	sent = sendto(backend->fd, command, size, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
	if (sent < 0)
		return -errno;
	if ((size_t)sent != size)
		return -EIO;
	return read_response(backend->fd, deadline, response, ret_size);
}

/* Whether a response with CODE only asks for the command CC once more. */
static bool is_not_ready(uint32_t code, uint32_t cc)
{
	if (code == TPM_RC_RETRY || code == TPM_RC_YIELDED)
		return true;
	return code == TPM_RC_TESTING && cc != TPM_CC_SELF_TEST &&
	       cc != TPM_CC_INCREMENTAL_SELF_TEST && cc != TPM_CC_GET_TEST_RESULT;
}

int backend_execute(struct backend *backend, const uint8_t *command, size_t size,
	uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size)
{
	struct tpm_header asked;
	struct tpm_header answered = {0};
	int64_t pause_ms = PAUSE_FIRST_MS;
	int64_t deadline;

	if (tpm_header_parse(command, size, &asked) < 0)
		return -EINVAL;
	deadline = now_ns() + (int64_t)backend->timeout * 1000 * MILLISECOND *
				      (takes_long(asked.code) ? BACKEND_LONG : 1);
	for (;;) {
		struct timespec pause = {.tv_nsec = (long)(pause_ms * MILLISECOND)};
		int r = transact(backend, command, size, deadline, response, ret_size);

		if (r == 0)
			r = tpm_header_parse(response, *ret_size, &answered);
		if (r < 0 || !is_not_ready(answered.code, asked.code))
			return r;
		if (now_ns() + pause_ms * MILLISECOND > deadline)
			return -ETIME; /* a TPM that is never ready */
		ppoll(NULL, 0, &pause, NULL);
		pause_ms = pause_ms * 2 > PAUSE_LONGEST_MS ? PAUSE_LONGEST_MS : pause_ms * 2;
	}
}
