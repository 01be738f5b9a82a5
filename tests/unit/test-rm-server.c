/*
 * The server in a process of its own, with its control socket where it expects it, and the TPM's
 * end of the backend: played by the test, or by fake-tpm.h.
 */
#include "common/rm-protocol.h"
#include "fake-tpm.h"
#include "rm/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define CLIENTS 4

struct fixture {
	pid_t server;
	pid_t fake; /* 0: the test is the TPM */
	int control;
	int tpm; /* the TPM's end; with a fake TPM, the manager's */
	int clients[CLIENTS];
};

static void run_server(int control, int tpm)
{
	static struct manager manager;
	struct backend backend = {.fd = tpm, .timeout = 5};
	struct server server;
	int r;

	if (dup2(control, RM_FD_CONTROL) < 0 ||
		manager_init(&manager, &backend, CLIENTS, 4, 4) < 0 ||
		server_init(&server, &manager, tpm, CLIENTS) < 0)
		_exit(255);
	r = server_run(&server);
	server_done(&server);
	manager_done(&manager);
	_exit(-r);
}

/* Descriptors are above those that the server's process wants for itself. */
static void make_pair(int type, int pair[2])
{
	int made[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, made), 0);
	for (unsigned i = 0; i < 2; i++) {
		pair[i] = fcntl(made[i], F_DUPFD_CLOEXEC, 32);
		assert_true(pair[i] >= 32);
		close(made[i]);
	}
}

static void start_server(struct fixture *f, int tpm)
{
	int control[2];

	make_pair(SOCK_SEQPACKET, control);
	f->control = control[0];
	f->server = fork();
	assert_true(f->server >= 0);
	if (f->server == 0) {
		close(control[0]);
		if (f->fake == 0)
			close(f->tpm);
		run_server(control[1], tpm);
	}
	close(control[1]);
	for (unsigned i = 0; i < CLIENTS; i++)
		f->clients[i] = -1;
}

static int setup_tpm(void **state)
{
	static struct fixture fixture;
	int pair[2];

	memset(&fixture, 0, sizeof fixture);
	make_pair(SOCK_STREAM, pair);
	fixture.tpm = pair[0];
	start_server(&fixture, pair[1]);
	close(pair[1]);
	*state = &fixture;
	return 0;
}

static size_t ask_fake(
	struct fixture *f, uint32_t code, const void *parameters, size_t size, uint8_t *response)
{
	struct backend backend = {.fd = f->tpm, .timeout = 5};
	uint8_t command[64];
	struct writer writer = writer_new(command, sizeof command);
	size_t answered = 0;

	writer_u16(&writer, TPM_ST_NO_SESSIONS);
	writer_u32(&writer, (uint32_t)(TPM_HEADER_SIZE + size));
	writer_u32(&writer, code);
	writer_bytes(&writer, parameters, size);
	assert_int_equal(backend_execute(&backend, command, writer.used, response, &answered), 0);
	return answered;
}

static int setup_fake(void **state)
{
	static struct fixture fixture;
	static const uint8_t clear[] = {0, 0};
	uint8_t response[TPM_MESSAGE_MAX];
	int fd = -1;

	memset(&fixture, 0, sizeof fixture);
	fixture.fake = fake_tpm_start(&fd);
	if (fixture.fake < 0)
		return -1;
	fixture.tpm = fcntl(fd, F_DUPFD_CLOEXEC, 32);
	close(fd);
	ask_fake(&fixture, TPM_CC_STARTUP, clear, sizeof clear, response);
	start_server(&fixture, fixture.tpm);
	*state = &fixture;
	return 0;
}

static void hang_up(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hang_up(&f->control);
	for (unsigned i = 0; i < CLIENTS; i++)
		hang_up(&f->clients[i]);
	hang_up(&f->tpm);
	if (f->server > 0)
		waitpid(f->server, NULL, 0);
	if (f->fake > 0)
		waitpid(f->fake, NULL, 0);
	return 0;
}

/* Waits for the server's end; the errno that it gave, 0: none. */
static int wait_server(struct fixture *f)
{
	int status = 0;

	assert_int_equal(waitpid(f->server, &status, 0), f->server);
	f->server = 0;
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* A message with COUNT descriptors. */
static void tell(
	const struct fixture *f, const void *bytes, size_t size, const int *fds, size_t count)
{
	union {
		char bytes[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	struct iovec data = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
	struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1};

	if (count > 0) {
		struct cmsghdr *part;

		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		part = CMSG_FIRSTHDR(&header);
		part->cmsg_level = SOL_SOCKET;
		part->cmsg_type = SCM_RIGHTS;
		part->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(part), fds, count * sizeof(int));
	}
	assert_int_equal(sendmsg(f->control, &header, MSG_NOSIGNAL), size);
}

/* A new session's end. */
static int connect_session(const struct fixture *f)
{
	struct rm_message message = rm_message_new(RM_SESSION, NULL);
	int pair[2];

	make_pair(SOCK_SEQPACKET, pair);
	tell(f, &message, sizeof message, &pair[1], 1);
	close(pair[1]);
	return pair[0];
}

/* GetRandom of NUMBER bytes: how the TPM knows whose it is. */
static void send_command(int fd, uint8_t number)
{
	const uint8_t command[] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, number};

	assert_int_equal(send(fd, command, sizeof command, MSG_NOSIGNAL), sizeof command);
}

static uint32_t take_code(int fd)
{
	uint8_t bytes[TPM_MESSAGE_MAX];
	struct tpm_header header;
	ssize_t size = recv(fd, bytes, sizeof bytes, 0);

	assert_true(size > 0);
	assert_int_equal(tpm_header_parse(bytes, (size_t)size, &header), 0);
	assert_int_equal(header.size, size);
	return header.code;
}

/* Takes a command as the TPM, and returns its number. */
static uint8_t take_asked(const struct fixture *f)
{
	uint8_t command[12];

	assert_int_equal(recv(f->tpm, command, sizeof command, 0), sizeof command);
	assert_int_equal(command[9], 0x7b);
	return command[11];
}

static void answer_asked(const struct fixture *f)
{
	static const uint8_t answer[] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0};

	assert_int_equal(send(f->tpm, answer, sizeof answer, 0), sizeof answer);
}

/* All clients, which the server is sure to know. */
static void connect_all(struct fixture *f)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		f->clients[i] = connect_session(f);
	send_command(f->clients[CLIENTS - 1], 99);
	assert_int_equal(take_asked(f), 99);
	answer_asked(f);
	assert_int_equal(take_code(f->clients[CLIENTS - 1]), 0);
}

static void assert_closed(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	char byte;

	assert_int_equal(poll(&poll_fd, 1, 5000), 1);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
}

/* ---- turns ---- */

static void test_server_takes_turns(void **state)
{
	struct fixture *f = *state;

	connect_all(f);
	/* while this one keeps the TPM, all others come, and each with more than one */
	send_command(f->clients[0], 0);
	assert_int_equal(take_asked(f), 0);
	for (uint8_t i = 0; i < CLIENTS; i++)
		for (uint8_t k = 0; k < 5; k++)
			send_command(f->clients[i], i);
	answer_asked(f);
	for (unsigned k = 0; k < 5 * CLIENTS; k++) {
		assert_int_equal(take_asked(f), (k + 1) % CLIENTS);
		answer_asked(f);
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		for (unsigned k = 0; k < 5 + (i == 0); k++)
			assert_int_equal(take_code(f->clients[i]), 0);
}

/* The first one's commands come without end; each of the others waits for one of them only. */
static void test_server_busy_session_does_not_starve(void **state)
{
	struct fixture *f = *state;

	connect_all(f);
	for (unsigned k = 0; k < 20; k++)
		send_command(f->clients[2], 2);
	assert_int_equal(take_asked(f), 2);
	send_command(f->clients[1], 1);
	answer_asked(f);
	assert_int_equal(take_asked(f), 1);
	answer_asked(f);
	assert_int_equal(take_asked(f), 2);
	answer_asked(f);
}

static void test_server_session_that_leaves_keeps_the_turns(void **state)
{
	struct fixture *f = *state;
	bool seen[CLIENTS] = {false};

	connect_all(f);
	send_command(f->clients[0], 0);
	assert_int_equal(take_asked(f), 0);
	for (uint8_t i = 0; i < CLIENTS; i++)
		if (i != 1)
			send_command(f->clients[i], i);
	hang_up(&f->clients[1]);
	answer_asked(f);
	for (unsigned k = 0; k < CLIENTS - 1; k++) {
		uint8_t number = take_asked(f);

		assert_true(number < CLIENTS && !seen[number]);
		seen[number] = true;
		answer_asked(f);
	}
	/* its place is free again */
	f->clients[1] = connect_session(f);
	send_command(f->clients[1], 77);
	assert_int_equal(take_asked(f), 77);
	answer_asked(f);
	assert_int_equal(take_code(f->clients[1]), 0);
}

/* ---- sessions that end ---- */

static void test_server_drops_who_never_reads(void **state)
{
	static const uint8_t command[] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 4};
	struct fixture *f = *state;
	ssize_t sent = sizeof command;

	f->clients[0] = connect_session(f);
	f->clients[1] = connect_session(f);
	for (int i = 0; i < 100000 && sent > 0; i++)
		sent = send(f->clients[0], command, sizeof command, MSG_NOSIGNAL);
	assert_int_equal(sent, -1);
	assert_true(errno == EPIPE || errno == ECONNRESET);
	send_command(f->clients[1], 1);
	assert_int_equal(take_code(f->clients[1]), TPM_RC_COMMAND_CODE);
}

static void test_server_flushes_who_hangs_up(void **state)
{
	static const uint8_t start[] = {0x80, 0x01, 0, 0, 0, 27, 0, 0, 0x01, 0x76, 0x40, 0, 0, 7,
		0x40, 0, 0, 7, 0, 0, 0, 0, 0x01, 0, 0x10, 0, 0x0b};
	static const uint8_t loaded[] = {0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 16};
	struct fixture *f = *state;
	uint8_t response[TPM_MESSAGE_MAX];

	for (unsigned i = 0; i < 2; i++) {
		f->clients[i] = connect_session(f);
		assert_int_equal(send(f->clients[i], start, sizeof start, 0), sizeof start);
	}
	assert_int_equal(take_code(f->clients[1]), 0);
	assert_int_equal(take_code(f->clients[0]), 0);
	/* one that hangs up before it has its answer, one that is idle */
	assert_int_equal(send(f->clients[0], start, sizeof start, 0), sizeof start);
	hang_up(&f->clients[0]);
	hang_up(&f->clients[1]);
	hang_up(&f->control);
	assert_int_equal(wait_server(f), 0);
	/* more, capability, count */
	assert_int_equal(ask_fake(f, TPM_CC_GET_CAPABILITY, loaded, sizeof loaded, response),
		TPM_HEADER_SIZE + 9);
}

static void test_server_commands_larger_than_any(void **state)
{
	static const uint8_t large[TPM_MESSAGE_MAX + 1] = {
		0x80, 0x01, 0, 0, 0x10, 0x01, 0, 0, 0x01, 0x7b};
	struct fixture *f = *state;

	f->clients[0] = connect_session(f);
	assert_int_equal(send(f->clients[0], large, sizeof large, 0), sizeof large);
	assert_int_equal(take_code(f->clients[0]), TPM_RC_COMMAND_SIZE);
	send_command(f->clients[0], 1);
	assert_int_equal(take_code(f->clients[0]), TPM_RC_COMMAND_CODE);
}

/* ---- what the broker says ---- */

static void test_server_refuses_more_than_its_limit(void **state)
{
	struct fixture *f = *state;
	int one_more;

	connect_all(f);
	one_more = connect_session(f);
	assert_closed(one_more);
	close(one_more);
	hang_up(&f->clients[3]);
	for (int i = 0; i < 2; i++) { /* after the second the server has seen that */
		send_command(f->clients[2], 2);
		assert_int_equal(take_asked(f), 2);
		answer_asked(f);
		assert_int_equal(take_code(f->clients[2]), 0);
	}
	f->clients[3] = connect_session(f);
	send_command(f->clients[3], 3);
	assert_int_equal(take_asked(f), 3);
	answer_asked(f);
	assert_int_equal(take_code(f->clients[3]), 0);
}

/* It serves those that it has, and ends with the last. */
static void check_last_word(struct fixture *f)
{
	struct pollfd poll_fd = {.fd = f->control, .events = 0};

	send_command(f->clients[0], 1);
	assert_int_equal(take_code(f->clients[0]), TPM_RC_COMMAND_CODE);
	hang_up(&f->clients[0]);
	assert_int_equal(wait_server(f), 0);
	assert_int_equal(poll(&poll_fd, 1, 0), 1);
}

static void test_server_shutdown_of_control(void **state)
{
	struct fixture *f = *state;

	f->clients[0] = connect_session(f);
	shutdown(f->control, SHUT_WR);
	check_last_word(f);
}

static void test_server_shutdown_before_any_session(void **state)
{
	struct fixture *f = *state;

	shutdown(f->control, SHUT_WR);
	assert_int_equal(wait_server(f), 0);
}

static void test_server_session_without_descriptor(void **state)
{
	const struct rm_message message = rm_message_new(RM_SESSION, NULL);
	struct fixture *f = *state;

	f->clients[0] = connect_session(f);
	tell(f, &message, sizeof message, NULL, 0);
	check_last_word(f);
}

static void test_server_messages_that_are_none(void **state)
{
	const struct rm_message message = rm_message_new(RM_READY, NULL);
	struct fixture *f = *state;
	int pair[2];

	f->clients[0] = connect_session(f);
	make_pair(SOCK_SEQPACKET, pair);
	tell(f, &message, sizeof message, &pair[1], 1);
	close(pair[1]);
	assert_closed(pair[0]);
	close(pair[0]);
	check_last_word(f);
}

static void test_server_garbage(void **state)
{
	struct fixture *f = *state;
	int pair[2];

	f->clients[0] = connect_session(f);
	make_pair(SOCK_SEQPACKET, pair);
	tell(f, "garbage", 7, &pair[1], 1);
	close(pair[1]);
	assert_closed(pair[0]);
	close(pair[0]);
	check_last_word(f);
}

/* Neither is kept. */
static void test_server_two_descriptors(void **state)
{
	const struct rm_message message = rm_message_new(RM_SESSION, NULL);
	struct fixture *f = *state;
	int pairs[2][2];
	int fds[2];

	f->clients[0] = connect_session(f);
	for (unsigned i = 0; i < 2; i++) {
		make_pair(SOCK_SEQPACKET, pairs[i]);
		fds[i] = pairs[i][1];
	}
	tell(f, &message, sizeof message, fds, 2);
	for (unsigned i = 0; i < 2; i++) {
		close(fds[i]);
		assert_closed(pairs[i][0]);
		close(pairs[i][0]);
	}
	check_last_word(f);
}

/* ---- the TPM ends ---- */

static void test_server_tpm_is_gone(void **state)
{
	struct fixture *f = *state;

	connect_all(f);
	hang_up(&f->tpm);
	assert_int_equal(wait_server(f), EPIPE);
	for (unsigned i = 0; i < CLIENTS; i++)
		assert_closed(f->clients[i]);
}

static void test_server_tpm_speaks_unasked(void **state)
{
	struct fixture *f = *state;

	connect_all(f);
	answer_asked(f);
	assert_int_equal(wait_server(f), EBADMSG);
}

int main(void)
{
#define WITH_TPM(name)  cmocka_unit_test_setup_teardown(name, setup_tpm, teardown)
#define WITH_FAKE(name) cmocka_unit_test_setup_teardown(name, setup_fake, teardown)
	const struct CMUnitTest tests[] = {
		WITH_TPM(test_server_takes_turns),
		WITH_TPM(test_server_busy_session_does_not_starve),
		WITH_TPM(test_server_session_that_leaves_keeps_the_turns),
		WITH_FAKE(test_server_drops_who_never_reads),
		WITH_FAKE(test_server_flushes_who_hangs_up),
		WITH_FAKE(test_server_commands_larger_than_any),
		WITH_TPM(test_server_refuses_more_than_its_limit),
		WITH_FAKE(test_server_shutdown_of_control),
		WITH_FAKE(test_server_shutdown_before_any_session),
		WITH_FAKE(test_server_session_without_descriptor),
		WITH_FAKE(test_server_messages_that_are_none),
		WITH_FAKE(test_server_garbage),
		WITH_FAKE(test_server_two_descriptors),
		WITH_TPM(test_server_tpm_is_gone),
		WITH_TPM(test_server_tpm_speaks_unasked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
