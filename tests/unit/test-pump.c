/*
 * The pump with real sockets and a TPM whose answers are written before it is asked, or played.
 */
#include "pump-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static const uint8_t get_random[] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 4};
static const uint8_t random_bytes[] = {
	0x80, 0x01, 0, 0, 0, 16, 0, 0, 0, 0, 0, 4, 0xde, 0xad, 0xbe, 0xef};
static const uint8_t startup[] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0};
static const uint8_t clear[] = {0x80, 0x02, 0, 0, 0, 27, 0, 0, 0x01, 0x26, 0x40, 0, 0, 0x0a, 0, 0,
	0, 9, 0x40, 0, 0, 9, 0, 0, 1, 0, 0};

#define PUT(fd, bytes) assert_int_equal(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes))

static void test_pump_forwards_exactly_what_was_judged(void **state)
{
	struct scene *s = *state;
	uint8_t asked[64];
	uint8_t answer[sizeof random_bytes];

	PUT(s->client, get_random);
	PUT(s->tpm, random_bytes);
	scene_run(s);
	assert_int_equal(scene_asked(s, asked, sizeof asked), sizeof get_random);
	assert_memory_equal(asked, get_random, sizeof get_random);
	assert_int_equal(recv(s->client, answer, sizeof answer, 0), sizeof answer);
	assert_memory_equal(answer, random_bytes, sizeof random_bytes);
}

static void test_pump_refusals_and_startup_never_reach_the_tpm(void **state)
{
	struct scene *s = *state;
	uint8_t asked[64];

	memset(s->image.policies[0].commands, 0, sizeof s->image.policies[0].commands);
	PUT(s->client, startup);
	PUT(s->client, clear);
	scene_run(s);
	assert_int_equal(scene_take(s), 0x100);
	assert_int_equal(scene_take(s), 0x000b0120);
	assert_int_equal(scene_asked(s, asked, sizeof asked), 0);
}

static void test_pump_impossible_size_drops_what_is_there(void **state)
{
	struct scene *s = *state;
	static const uint8_t huge[] = {
		0x80, 0x01, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0x01, 0x7b, 1, 2, 3};
	uint8_t asked[64];

	PUT(s->client, huge);
	PUT(s->client, get_random); /* cannot be told from what the first declared */
	scene_run(s);
	assert_int_equal(scene_take(s), 0x142);
	assert_int_equal(scene_asked(s, asked, sizeof asked), 0);
}

static void test_pump_command_below_a_header_is_refused(void **state)
{
	struct scene *s = *state;
	static const uint8_t tiny[] = {0x80, 0x01, 0, 0, 0, 9, 0, 0, 0x01, 0x7b};

	PUT(s->client, tiny);
	scene_run(s);
	assert_int_equal(scene_take(s), 0x142);
}

static void test_pump_half_a_command_is_dropped_after_a_while(void **state)
{
	struct scene *s = *state;
	pid_t child;

	PUT(s->tpm, random_bytes);
	child = fork();
	if (child == 0) { /* the client: half a command, and on the answer to it a whole one */
		if (send(s->client, get_random, 11, 0) != 11 || scene_take(s) != 0x142 ||
			send(s->client, get_random, sizeof get_random, 0) < 0 || scene_take(s) != 0)
			_exit(1);
		shutdown(s->client, SHUT_RDWR);
		_exit(0);
	}
	pump_run(&s->pump);

	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void expect_release(struct scene *s, const uint8_t *answer, size_t size)
{
	assert_int_equal(send(s->tpm, answer, size, 0), size);
	PUT(s->client, get_random);
	PUT(s->client, get_random);
	scene_run(s);
	assert_int_equal(s->pump.channel.tpm, -1);
	assert_int_equal(scene_take(s), 0x000b0101);
	assert_int_equal(scene_take(s), 0x000b0101); /* for good, and never an end of file */
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
	struct scene *s = *state;

	shutdown(s->tpm, SHUT_RDWR);
	PUT(s->client, get_random);
	PUT(s->client, startup);
	scene_run(s);
	assert_int_equal(scene_take(s), 0x000b0101);
	assert_int_equal(scene_take(s), 0x000b0101);
}

static void test_pump_response_in_pieces_is_put_together(void **state)
{
	struct scene *s = *state;
	int packets[2]; /* keeps the pieces apart, as a slow stream does */

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, packets), 0);
	close(s->tpm);
	close(s->pump.channel.tpm);
	s->tpm = packets[0];
	s->pump.channel.tpm = packets[1];
	PUT(s->client, get_random);
	for (size_t i = 0; i < sizeof random_bytes; i++)
		assert_int_equal(send(s->tpm, random_bytes + i, 1, 0), 1);
	scene_run(s);
	assert_int_equal(scene_take(s), 0);
}

static void send_revoke(struct scene *s, enum account_reason reason)
{
	struct account_message message = account_message_new(ACCOUNT_REVOKE, reason);

	assert_int_equal(send(s->account, &message, sizeof message, 0), sizeof message);
}

static void test_pump_revoked_says_so_and_answers_on(void **state)
{
	struct scene *s = *state;
	struct account_message message;
	uint8_t asked[64];

	send_revoke(s, ACCOUNT_REASON_REVOKED);
	PUT(s->client, get_random);
	PUT(s->client, startup);
	scene_run(s);
	assert_int_equal(recv(s->account, &message, sizeof message, 0), sizeof message);
	assert_int_equal(message.type, ACCOUNT_REVOKED);
	assert_int_equal(scene_take(s), 0x000b0120);
	assert_int_equal(scene_take(s), 0x000b0120);
	assert_int_equal(scene_asked(s, asked, sizeof asked), 0);
}

static void test_pump_removed_device_is_a_failure(void **state)
{
	struct scene *s = *state;

	send_revoke(s, ACCOUNT_REASON_DEVICE_GONE);
	PUT(s->client, get_random);
	scene_run(s);
	assert_int_equal(scene_take(s), 0x000b0101);
}

static void test_pump_revoked_while_the_tpm_is_busy(void **state)
{
	struct scene *s = *state;
	pid_t child;
	int status;

	PUT(s->client, get_random); /* the TPM never answers */
	child = fork();
	if (child == 0) {
		uint8_t asked[64];

		if (recv(s->tpm, asked, sizeof asked, 0) <= 0)
			_exit(1);
		send_revoke(s, ACCOUNT_REASON_REVOKED);
		_exit(0);
	}
	scene_run(s);
	assert_int_equal(scene_take(s), 0x000b0120);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_pump_broker_gone_ends_the_session(void **state)
{
	struct scene *s = *state;

	close(s->account);
	s->account = -1;
	PUT(s->client, get_random);
	scene_run(s);
	assert_int_equal(scene_take(s), 0x000b0120);
}

static void test_pump_idle_limit_releases_the_tpm(void **state)
{
	struct scene *s = *state;
	pid_t child;

	s->pump.channel.idle_ns = 1000000000;
	s->pump.channel.idle_deadline = channel_now() + s->pump.channel.idle_ns;
	child = fork();
	if (child == 0) {
		uint8_t byte;

		/* the end of the TPM's socket: released, though nobody closed on the client */
		close(s->pump.channel.tpm);
		if (recv(s->tpm, &byte, 1, 0) != 0)
			_exit(1);
		if (send(s->client, get_random, sizeof get_random, 0) < 0 ||
			scene_take(s) != 0x000b0120)
			_exit(2);
		shutdown(s->client, SHUT_RDWR);
		_exit(0);
	}
	pump_run(&s->pump);

	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* What the owner puts in place of the storage root key is not taken for it. */
static void test_pump_public_area_is_read_for_each_command(void **state)
{
	static const uint8_t salted[] = {0x80, 0x01, 0, 0, 0, 27, 0, 0, 0x01, 0x76, 0x81, 0, 0, 1,
		0x40, 0, 0, 7, 0, 0, 0, 0, 0x01, 0, 0x10, 0, 0x0b};
	const struct step steps[] = {
		tpm(TPM_CC_READ_PUBLIC,
			response_of_public(TPM_ALG_ECC,
				TPMA_OBJECT_NO_DA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)),
		asked(ACCOUNT_SESSION_BEGIN, 0, ACCOUNT_YES),
		/* that may have taken a while */
		tpm(TPM_CC_READ_PUBLIC,
			response_of_public(TPM_ALG_ECC,
				TPMA_OBJECT_NO_DA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)),
		tpm(TPM_CC_START_AUTH_SESSION, response_of_handle(0x03000005)),
		told(ACCOUNT_SESSION_END, 0, 0x03000005),
		tpm(TPM_CC_READ_PUBLIC,
			response_of_public(TPM_ALG_ECC, TPMA_OBJECT_NO_DA | TPMA_OBJECT_SIGN)),
		told_refused(0x000b0120, "storage-root-key"),
	};
	struct scene *s = *state;

	PUT(s->client, salted);
	PUT(s->client, salted);
	PLAY(s, steps);
	scene_run(s);
	assert_int_equal(scene_take(s), 0);
	assert_int_equal(scene_take(s), 0x000b0120);
	scene_played(s);
}

/* A client that never lets the relay wait does not outlive its session's time. */
static void test_pump_lifetime_ends_a_busy_session(void **state)
{
	struct scene *s = *state;

	s->pump.channel.deadline = channel_now(); /* over */
	PUT(s->client, get_random);
	PUT(s->client, get_random);
	scene_run(s);
	assert_int_equal(scene_take(s), 0x000b0120);
	assert_int_equal(scene_take(s), 0x000b0120);
}

static void test_pump_every_release_is_told_to_the_broker(void **state)
{
	struct scene *s = *state;
	struct account_message message;

	shutdown(s->tpm, SHUT_RDWR);
	PUT(s->client, get_random);
	scene_run(s);
	assert_int_equal(recv(s->account, &message, sizeof message, MSG_DONTWAIT), sizeof message);
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
	struct scene *s = *state;
	uint8_t asked[64];

	/* as before Linux 6.16, which knows neither the option nor the refusal */
	setsockopt(s->pump.channel.client, SOL_SOCKET, 83 /* SO_PASSRIGHTS */, &on, sizeof on);
	s->pump.channel.peek = true;
	send_with_descriptor(s->client, get_random, sizeof get_random);
	scene_run(s);
	assert_int_equal(scene_take(s), 0x000b0120);
	assert_int_equal(s->pump.channel.tpm, -1);
	assert_int_equal(scene_asked(s, asked, sizeof asked), 0);
}

#define PUMP_TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

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
		PUMP_TEST(test_pump_idle_limit_releases_the_tpm),
		PUMP_TEST(test_pump_public_area_is_read_for_each_command),
		PUMP_TEST(test_pump_lifetime_ends_a_busy_session),
		PUMP_TEST(test_pump_every_release_is_told_to_the_broker),
		PUMP_TEST(test_pump_descriptor_from_the_client_ends_the_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
