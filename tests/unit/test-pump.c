/*
 * The pump with real sockets and a TPM whose answers are written before it is asked.
 */
#include "relay/pump.h"

#include "common/account-protocol.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

struct fixture {
	struct policy_image image;
	struct pump pump;
	int client; /* the other ends */
	int tpm;
	int account;
};

static const uint8_t get_random[] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 4};
static const uint8_t random_bytes[] = {
	0x80, 0x01, 0, 0, 0, 16, 0, 0, 0, 0, 0, 4, 0xde, 0xad, 0xbe, 0xef};
static const uint8_t startup[] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0};
static const uint8_t clear[] = {0x80, 0x02, 0, 0, 0, 27, 0, 0, 0x01, 0x26, 0x40, 0, 0, 0x0a, 0, 0,
	0, 9, 0x40, 0, 0, 9, 0, 0, 1, 0, 0};
static const uint8_t start_session[] = {0x80, 0x01, 0, 0, 0, 27, 0, 0, 0x01, 0x76, 0x40, 0, 0, 7,
	0x40, 0, 0, 7, 0, 0, 0, 0, 0x01, 0, 0x10, 0, 0x0b};
static const uint8_t session_started[] = {0x80, 0x01, 0, 0, 0, 16, 0, 0, 0, 0, 0x03, 0, 0, 5, 0, 0};

static int setup(void **state)
{
	static struct fixture fixture;
	struct fixture *f = &fixture;
	static const uint32_t commands[] = {0x17b, 0x17a, 0x176, 0x165, 0x173, 0x153, 0x15e, 0x157};
	int client[2];
	int tpm[2];
	int account[2];

	memset(f, 0, sizeof *f);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, client) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM, 0, tpm) < 0 ||
		fcntl(tpm[0], F_SETFL, O_NONBLOCK) < 0 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET, 0, account) < 0)
		return -1;
	f->image = policy_image_new();
	f->image.backend = POLICY_BACKEND_STREAM;
	f->image.policy_count = 1;
	strcpy(f->image.policies[0].name, "test");
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		policy_allow_command(&f->image.policies[0], commands[i]);
	f->image.policies[0].capabilities = 1 << TPM_CAP_HANDLES;
	f->image.policies[0].flags = POLICY_STORAGE_ROOT_KEY;
	pump_init(&f->pump, &f->image);
	f->pump.channel.client = client[0];
	f->pump.channel.tpm = tpm[0];
	f->pump.channel.account = account[0];
	f->client = client[1];
	f->tpm = tpm[1];
	f->account = account[1];
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->client);
	close(f->tpm);
	if (f->account >= 0)
		close(f->account);
	close(f->pump.channel.client);
	if (f->pump.channel.tpm >= 0)
		close(f->pump.channel.tpm);
	return 0;
}

#define PUT(fd, bytes) assert_int_equal(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes))

/* The next response to the client. */
static uint32_t take_code(struct fixture *f)
{
	uint8_t bytes[TPM_HEADER_SIZE];
	struct tpm_header header;
	uint8_t rest[TPM_MESSAGE_MAX];

	assert_int_equal(recv(f->client, bytes, sizeof bytes, MSG_WAITALL), sizeof bytes);
	assert_int_equal(tpm_header_parse(bytes, sizeof bytes, &header), 0);
	if (header.size > sizeof bytes)
		assert_int_equal(recv(f->client, rest, header.size - sizeof bytes, MSG_WAITALL),
			header.size - sizeof bytes);
	return header.code;
}

/* What the TPM was asked, all of it. */
static size_t take_asked(struct fixture *f, uint8_t *bytes, size_t size)
{
	ssize_t got = recv(f->tpm, bytes, size, MSG_DONTWAIT);

	return got < 0 ? 0 : (size_t)got;
}

static void run_to_end(struct fixture *f)
{
	shutdown(f->client, SHUT_WR);
	pump_run(&f->pump);
}

static void test_pump_forwards_exactly_what_was_judged(void **state)
{
	struct fixture *f = *state;
	uint8_t asked[64];
	uint8_t answer[sizeof random_bytes];

	PUT(f->client, get_random);
	PUT(f->tpm, random_bytes);
	run_to_end(f);
	assert_int_equal(take_asked(f, asked, sizeof asked), sizeof get_random);
	assert_memory_equal(asked, get_random, sizeof get_random);
	assert_int_equal(recv(f->client, answer, sizeof answer, 0), sizeof answer);
	assert_memory_equal(answer, random_bytes, sizeof random_bytes);
}

static void test_pump_refusals_and_startup_never_reach_the_tpm(void **state)
{
	struct fixture *f = *state;
	uint8_t asked[64];

	PUT(f->client, startup);
	PUT(f->client, clear);
	run_to_end(f);
	assert_int_equal(take_code(f), 0x100);
	assert_int_equal(take_code(f), 0x000b0120);
	assert_int_equal(take_asked(f, asked, sizeof asked), 0);
}

static void test_pump_impossible_size_drops_what_is_there(void **state)
{
	struct fixture *f = *state;
	static const uint8_t huge[] = {
		0x80, 0x01, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0x01, 0x7b, 1, 2, 3};
	uint8_t asked[64];

	PUT(f->client, huge);
	PUT(f->client, get_random); /* cannot be told from what the first declared */
	run_to_end(f);
	assert_int_equal(take_code(f), 0x142);
	assert_int_equal(take_asked(f, asked, sizeof asked), 0);
}

static void test_pump_command_below_a_header_is_refused(void **state)
{
	struct fixture *f = *state;
	static const uint8_t tiny[] = {0x80, 0x01, 0, 0, 0, 9, 0, 0, 0x01, 0x7b};

	PUT(f->client, tiny);
	run_to_end(f);
	assert_int_equal(take_code(f), 0x142);
}

static void test_pump_half_a_command_is_dropped_after_a_while(void **state)
{
	struct fixture *f = *state;
	pid_t child;

	PUT(f->tpm, random_bytes);
	child = fork();
	if (child == 0) { /* the client: half a command, and on the answer to it a whole one */
		if (send(f->client, get_random, 11, 0) != 11 || take_code(f) != 0x142 ||
			send(f->client, get_random, sizeof get_random, 0) < 0 || take_code(f) != 0)
			_exit(1);
		shutdown(f->client, SHUT_RDWR);
		_exit(0);
	}
	pump_run(&f->pump);

	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void expect_release(struct fixture *f, const uint8_t *answer, size_t size)
{
	assert_int_equal(send(f->tpm, answer, size, 0), size);
	PUT(f->client, get_random);
	PUT(f->client, get_random);
	run_to_end(f);
	assert_int_equal(f->pump.channel.tpm, -1);
	assert_int_equal(take_code(f), 0x000b0101);
	assert_int_equal(take_code(f), 0x000b0101); /* for good, and never an end of file */
}

static void test_pump_response_too_large_releases(void **state)
{
	static const uint8_t answer[] = {0x80, 0x01, 0, 0, 0x10, 0x01, 0, 0, 0, 0};

	expect_release(*state, answer, sizeof answer);
}

static void test_pump_response_too_small_releases(void **state)
{
	static const uint8_t answer[] = {0x80, 0x01, 0, 0, 0, 0x04, 0, 0, 0, 0};

	expect_release(*state, answer, sizeof answer);
}

static void test_pump_response_with_something_behind_releases(void **state)
{
	static const uint8_t answer[] = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x22, 0xff};

	expect_release(*state, answer, sizeof answer);
}

static void test_pump_response_with_sessions_nobody_had_releases(void **state)
{
	static const uint8_t answer[] = {0x80, 0x02, 0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 0};

	expect_release(*state, answer, sizeof answer);
}

static void test_pump_tpm_gone_releases(void **state)
{
	struct fixture *f = *state;

	shutdown(f->tpm, SHUT_RDWR);
	PUT(f->client, get_random);
	PUT(f->client, startup);
	run_to_end(f);
	assert_int_equal(take_code(f), 0x000b0101);
	assert_int_equal(take_code(f), 0x000b0101);
}

static void test_pump_response_in_pieces_is_put_together(void **state)
{
	struct fixture *f = *state;
	int packets[2]; /* keeps the pieces apart, as a slow stream does */

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, packets), 0);
	close(f->tpm);
	close(f->pump.channel.tpm);
	f->tpm = packets[0];
	f->pump.channel.tpm = packets[1];
	PUT(f->client, get_random);
	for (size_t i = 0; i < sizeof random_bytes; i++)
		assert_int_equal(send(f->tpm, random_bytes + i, 1, 0), 1);
	run_to_end(f);
	assert_int_equal(take_code(f), 0);
}

static void send_revoke(struct fixture *f, enum account_reason reason)
{
	struct account_message message = account_message_new(ACCOUNT_REVOKE, reason);

	assert_int_equal(send(f->account, &message, sizeof message, 0), sizeof message);
}

static void test_pump_revoked_says_so_and_answers_on(void **state)
{
	struct fixture *f = *state;
	struct account_message message;
	uint8_t asked[64];

	send_revoke(f, ACCOUNT_REASON_REVOKED);
	PUT(f->client, get_random);
	PUT(f->client, startup);
	run_to_end(f);
	assert_int_equal(recv(f->account, &message, sizeof message, 0), sizeof message);
	assert_int_equal(message.type, ACCOUNT_REVOKED);
	assert_int_equal(take_code(f), 0x000b0120);
	assert_int_equal(take_code(f), 0x000b0120);
	assert_int_equal(take_asked(f, asked, sizeof asked), 0);
}

static void test_pump_removed_device_is_a_failure(void **state)
{
	struct fixture *f = *state;

	send_revoke(f, ACCOUNT_REASON_DEVICE_GONE);
	PUT(f->client, get_random);
	run_to_end(f);
	assert_int_equal(take_code(f), 0x000b0101);
}

static void test_pump_revoked_while_the_tpm_is_busy(void **state)
{
	struct fixture *f = *state;
	pid_t child;
	int status;

	PUT(f->client, get_random); /* the TPM never answers */
	child = fork();
	if (child == 0) {
		uint8_t asked[64];

		if (recv(f->tpm, asked, sizeof asked, 0) <= 0)
			_exit(1);
		send_revoke(f, ACCOUNT_REASON_REVOKED);
		_exit(0);
	}
	run_to_end(f);
	assert_int_equal(take_code(f), 0x000b0120);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_pump_broker_gone_ends_the_session(void **state)
{
	struct fixture *f = *state;

	close(f->account);
	f->account = -1;
	PUT(f->client, get_random);
	run_to_end(f);
	assert_int_equal(take_code(f), 0x000b0120);
}

static void ask_handles(struct fixture *f, uint32_t property)
{
	uint8_t bytes[22];
	struct writer writer = writer_new(bytes, sizeof bytes);

	writer_u16(&writer, TPM_ST_NO_SESSIONS);
	writer_u32(&writer, sizeof bytes);
	writer_u32(&writer, TPM_CC_GET_CAPABILITY);
	writer_u32(&writer, TPM_CAP_HANDLES);
	writer_u32(&writer, property);
	writer_u32(&writer, 8);
	PUT(f->client, bytes);
}

/* Takes the next response, a list of handles. */
static uint32_t take_handles(struct fixture *f, uint32_t handles[8], uint8_t *ret_more)
{
	uint8_t bytes[TPM_MESSAGE_MAX] = {0};
	struct cursor cursor = cursor_new(bytes, sizeof bytes);
	struct cursor skipped;
	struct tpm_header header;
	uint32_t capability;
	uint32_t count;

	assert_int_equal(recv(f->client, bytes, TPM_HEADER_SIZE, MSG_WAITALL), TPM_HEADER_SIZE);
	assert_int_equal(tpm_header_parse(bytes, TPM_HEADER_SIZE, &header), 0);
	assert_int_equal(header.code, 0);
	assert_int_equal(recv(f->client, bytes + TPM_HEADER_SIZE, header.size - TPM_HEADER_SIZE,
				 MSG_WAITALL),
		header.size - TPM_HEADER_SIZE);
	cursor_bytes(&cursor, TPM_HEADER_SIZE, &skipped);
	cursor_u8(&cursor, ret_more);
	cursor_u32(&cursor, &capability);
	cursor_u32(&cursor, &count);
	assert_int_equal(header.size, TPM_HEADER_SIZE + 9 + 4 * count);
	for (uint32_t i = 0; i < count && i < 8; i++)
		cursor_u32(&cursor, &handles[i]);
	return count;
}

static void test_pump_own_session_is_listed_used_and_flushed(void **state)
{
	static const uint8_t flush[] = {0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x65, 0x03, 0, 0, 5};
	static const uint8_t success[] = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0};
	struct fixture *f = *state;
	uint32_t handles[8];
	uint8_t more;
	pid_t child;

	PUT(f->client, flush); /* not own yet */
	PUT(f->client, start_session);
	ask_handles(f, 0x02000000);
	PUT(f->client, flush);
	PUT(f->client, flush);
	ask_handles(f, 0x02000000);
	shutdown(f->client, SHUT_WR);
	child = fork();
	if (child == 0) { /* the TPM, one command at a time */
		uint8_t drain[64];

		if (recv(f->tpm, drain, sizeof drain, 0) != sizeof start_session ||
			send(f->tpm, session_started, sizeof session_started, 0) < 0 ||
			recv(f->tpm, drain, sizeof drain, 0) != sizeof flush ||
			send(f->tpm, success, sizeof success, 0) < 0)
			_exit(1);
		_exit(0);
	}
	pump_run(&f->pump);
	assert_int_equal(take_code(f), 0x000b01cb);
	assert_int_equal(take_code(f), 0);
	assert_int_equal(take_handles(f, handles, &more), 1);
	assert_int_equal(handles[0], 0x03000005);
	assert_int_equal(more, 0);
	assert_int_equal(take_code(f), 0);
	assert_int_equal(take_code(f), 0x000b01cb); /* flushed: no longer own */
	assert_int_equal(take_handles(f, handles, &more), 0);

	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_pump_persistent_handles_of_others_are_not_listed(void **state)
{
	static const uint8_t list[] = {0x80, 0x01, 0, 0, 0, 35, 0, 0, 0, 0, /* success */
		0,                                                          /* moreData */
		0, 0, 0, 1, 0, 0, 0, 4,                                     /* HANDLES, count */
		0x81, 0, 0, 0, 0x81, 0, 0, 1, 0x81, 0, 0, 5, 0x81, 1, 0, 1};
	struct fixture *f = *state;
	uint32_t handles[8];
	uint8_t more;

	ask_handles(f, 0x81000000);
	PUT(f->tpm, list);
	run_to_end(f);
	assert_int_equal(take_handles(f, handles, &more), 1);
	assert_int_equal(handles[0], 0x81000001);
	assert_int_equal(more, 0);
}

static void test_pump_handle_list_that_runs_backwards_is_a_lie(void **state)
{
	static const uint8_t list[] = {0x80, 0x01, 0, 0, 0, 27, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,
		2, 0x81, 0, 0, 5, 0x81, 0, 0, 1};
	struct fixture *f = *state;

	ask_handles(f, 0x81000000);
	PUT(f->tpm, list);
	run_to_end(f);
	assert_int_equal(take_code(f), 0x000b0101);
}

static void test_pump_idle_limit_releases_the_tpm(void **state)
{
	struct fixture *f = *state;
	pid_t child;

	f->pump.channel.idle_ns = 1000000000;
	f->pump.channel.idle_deadline = channel_now() + f->pump.channel.idle_ns;
	child = fork();
	if (child == 0) {
		uint8_t byte;

		/* the end of the TPM's socket: released, though nobody closed on the client */
		close(f->pump.channel.tpm);
		if (recv(f->tpm, &byte, 1, 0) != 0)
			_exit(1);
		if (send(f->client, get_random, sizeof get_random, 0) < 0 ||
			take_code(f) != 0x000b0120)
			_exit(2);
		shutdown(f->client, SHUT_RDWR);
		_exit(0);
	}
	pump_run(&f->pump);

	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static size_t put_public(uint8_t bytes[64], uint32_t attributes)
{
	struct writer writer = writer_new(bytes, 64);

	writer_u16(&writer, TPM_ST_NO_SESSIONS);
	writer_u32(&writer, 0); /* size, below */
	writer_u32(&writer, TPM_RC_SUCCESS);
	writer_u16(&writer, 8); /* outPublic, as far as it is looked at */
	writer_u16(&writer, TPM_ALG_ECC);
	writer_u16(&writer, 0x000b); /* nameAlg: TPM_ALG_SHA256 */
	writer_u32(&writer, attributes);
	writer_patch_u32(&writer, 2, (uint32_t)writer.used);
	return writer.used;
}

/* What the owner puts in place of the storage root key is not taken for it. */
static void test_pump_public_area_is_read_for_each_command(void **state)
{
	static const uint8_t salted[] = {0x80, 0x01, 0, 0, 0, 27, 0, 0, 0x01, 0x76, 0x81, 0, 0, 1,
		0x40, 0, 0, 7, 0, 0, 0, 0, 0x01, 0, 0x10, 0, 0x0b};
	struct fixture *f = *state;
	uint8_t storage[64];
	uint8_t signing[64];
	size_t size = put_public(
		storage, TPMA_OBJECT_NO_DA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT);
	uint8_t drain[64];
	pid_t child;
	int status = 0;

	put_public(signing, TPMA_OBJECT_NO_DA | TPMA_OBJECT_SIGN);
	PUT(f->client, salted);
	PUT(f->client, salted);
	shutdown(f->client, SHUT_WR);
	child = fork();
	if (child == 0) { /* the TPM: ReadPublic, StartAuthSession, ReadPublic */
		if (recv(f->tpm, drain, sizeof drain, 0) != 14 ||
			send(f->tpm, storage, size, 0) < 0 ||
			recv(f->tpm, drain, sizeof drain, 0) != sizeof salted ||
			send(f->tpm, session_started, sizeof session_started, 0) < 0 ||
			recv(f->tpm, drain, sizeof drain, 0) != 14 ||
			send(f->tpm, signing, size, 0) < 0)
			status = 1;
		shutdown(f->tpm, status ? SHUT_RDWR : SHUT_WR); /* nobody waits for more */
		_exit(status);
	}
	pump_run(&f->pump);
	assert_int_equal(take_code(f), 0);
	assert_int_equal(take_code(f), 0x000b0120);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* A client that never lets the relay wait does not outlive its session's time. */
static void test_pump_lifetime_ends_a_busy_session(void **state)
{
	struct fixture *f = *state;

	f->pump.channel.deadline = channel_now(); /* over */
	PUT(f->client, get_random);
	PUT(f->client, get_random);
	run_to_end(f);
	assert_int_equal(take_code(f), 0x000b0120);
	assert_int_equal(take_code(f), 0x000b0120);
}

static void test_pump_every_release_is_told_to_the_broker(void **state)
{
	struct fixture *f = *state;
	struct account_message message;

	shutdown(f->tpm, SHUT_RDWR);
	PUT(f->client, get_random);
	run_to_end(f);
	assert_int_equal(recv(f->account, &message, sizeof message, MSG_DONTWAIT), sizeof message);
	assert_int_equal(message.type, ACCOUNT_REVOKED);
}

static void send_with_descriptor(int fd, const void *bytes, size_t size)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	uint8_t copy[64];
	struct iovec data = {.iov_base = copy, .iov_len = size};
	struct msghdr message = {.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	memcpy(copy, bytes, size);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	assert_int_equal(sendmsg(fd, &message, 0), size);
}

/* A descriptor that lingers when it is dropped would hold the relay, and the TPM with it. */
static void test_pump_descriptor_from_the_client_ends_the_session(void **state)
{
	static const int on = 1;
	struct fixture *f = *state;
	uint8_t asked[64];

	/* as before Linux 6.16, which knows neither the option nor the refusal */
	setsockopt(f->pump.channel.client, SOL_SOCKET, 83 /* SO_PASSRIGHTS */, &on, sizeof on);
	f->pump.channel.peek = true;
	send_with_descriptor(f->client, get_random, sizeof get_random);
	run_to_end(f);
	assert_int_equal(take_code(f), 0x000b0120);
	assert_int_equal(f->pump.channel.tpm, -1);
	assert_int_equal(take_asked(f, asked, sizeof asked), 0);
}

#define PUMP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		PUMP_TEST(test_pump_forwards_exactly_what_was_judged),
		PUMP_TEST(test_pump_refusals_and_startup_never_reach_the_tpm),
		PUMP_TEST(test_pump_impossible_size_drops_what_is_there),
		PUMP_TEST(test_pump_command_below_a_header_is_refused),
		PUMP_TEST(test_pump_half_a_command_is_dropped_after_a_while),
		PUMP_TEST(test_pump_response_too_large_releases),
		PUMP_TEST(test_pump_response_too_small_releases),
		PUMP_TEST(test_pump_response_with_something_behind_releases),
		PUMP_TEST(test_pump_response_with_sessions_nobody_had_releases),
		PUMP_TEST(test_pump_tpm_gone_releases),
		PUMP_TEST(test_pump_response_in_pieces_is_put_together),
		PUMP_TEST(test_pump_revoked_says_so_and_answers_on),
		PUMP_TEST(test_pump_removed_device_is_a_failure),
		PUMP_TEST(test_pump_revoked_while_the_tpm_is_busy),
		PUMP_TEST(test_pump_broker_gone_ends_the_session),
		PUMP_TEST(test_pump_own_session_is_listed_used_and_flushed),
		PUMP_TEST(test_pump_persistent_handles_of_others_are_not_listed),
		PUMP_TEST(test_pump_handle_list_that_runs_backwards_is_a_lie),
		PUMP_TEST(test_pump_idle_limit_releases_the_tpm),
		PUMP_TEST(test_pump_public_area_is_read_for_each_command),
		PUMP_TEST(test_pump_lifetime_ends_a_busy_session),
		PUMP_TEST(test_pump_every_release_is_told_to_the_broker),
		PUMP_TEST(test_pump_descriptor_from_the_client_ends_the_session),
	};

	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) /* as the relay does */
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
