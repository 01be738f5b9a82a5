/*
 * The backend on a socket whose other end has answers ready, or a child that gives them in parts.
 */
#include "rm/backend.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define ANSWER(code)                                                                               \
	{                                                                                          \
		0x80, 0x01, 0, 0, 0, 10, 0, 0, (code) >> 8, (code)&0xff                            \
	}

static const uint8_t get_random[] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 4};
static const uint8_t self_test[] = {0x80, 0x01, 0, 0, 0, 11, 0, 0, 0x01, 0x43, 1};
static const uint8_t incremental[] = {0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x42, 0, 0, 0, 0};
static const uint8_t test_result[] = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x7c};
static const uint8_t random_bytes[] = {
	0x80, 0x01, 0, 0, 0, 16, 0, 0, 0, 0, 0, 4, 0xde, 0xad, 0xbe, 0xef};

struct fixture {
	struct backend backend;
	int tpm; /* the other end */
	uint8_t response[TPM_MESSAGE_MAX];
	size_t size;
};

/* TYPE: SOCK_SEQPACKET keeps apart the answers that are ready. */
static void open_pair(struct fixture *f, int type)
{
	int pair[2];

	memset(f, 0, sizeof *f);
	assert_int_equal(socketpair(AF_UNIX, type, 0, pair), 0);
	f->backend = (struct backend){.fd = pair[0], .timeout = 1};
	f->tpm = pair[1];
}

static void close_pair(struct fixture *f)
{
	backend_close(&f->backend);
	assert_int_equal(f->backend.fd, -1);
	close(f->tpm);
}

#define PUT(f, bytes) assert_int_equal(send((f)->tpm, bytes, sizeof(bytes), 0), sizeof(bytes))
#define EXECUTE(f, command)                                                                        \
	backend_execute(&(f)->backend, command, sizeof(command), (f)->response, &(f)->size)

/* How often the TPM was asked, and with what; all packets. */
static unsigned count_asked(const struct fixture *f, const uint8_t *command, size_t size)
{
	uint8_t bytes[64];
	unsigned count = 0;
	ssize_t got;

	while ((got = recv(f->tpm, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
		assert_int_equal(got, size);
		assert_memory_equal(bytes, command, size);
		count++;
	}
	return count;
}

static void test_backend_execute_whole_response(void **state)
{
	struct fixture f;

	(void)state;
	open_pair(&f, SOCK_STREAM);
	PUT(&f, random_bytes);
	assert_int_equal(EXECUTE(&f, get_random), 0);
	assert_int_equal(f.size, sizeof random_bytes);
	assert_memory_equal(f.response, random_bytes, sizeof random_bytes);
	assert_int_equal(count_asked(&f, get_random, sizeof get_random), 1);
	close_pair(&f);
}

/* Each packet is one receive. */
static void test_backend_execute_split_response(void **state)
{
	struct fixture f;

	(void)state;
	for (size_t first = 1; first < sizeof random_bytes; first++) {
		open_pair(&f, SOCK_SEQPACKET);
		assert_int_equal(send(f.tpm, random_bytes, first, 0), first);
		assert_int_equal(send(f.tpm, random_bytes + first, sizeof random_bytes - first, 0),
			sizeof random_bytes - first);
		assert_int_equal(EXECUTE(&f, get_random), 0);
		assert_int_equal(f.size, sizeof random_bytes);
		assert_memory_equal(f.response, random_bytes, sizeof random_bytes);
		close_pair(&f);
	}
}

static void test_backend_execute_byte_by_byte(void **state)
{
	struct fixture f;
	pid_t child;

	(void)state;
	open_pair(&f, SOCK_STREAM);
	child = fork();
	if (child == 0) {
		uint8_t command[sizeof get_random];

		if (recv(f.tpm, command, sizeof command, MSG_WAITALL) != sizeof command)
			_exit(1);
		for (size_t i = 0; i < sizeof random_bytes; i++)
			if (send(f.tpm, random_bytes + i, 1, 0) != 1)
				_exit(1);
		_exit(0);
	}
	assert_int_equal(EXECUTE(&f, get_random), 0);
	assert_memory_equal(f.response, random_bytes, sizeof random_bytes);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close_pair(&f);
}

static void test_backend_execute_largest_response(void **state)
{
	static uint8_t largest[TPM_MESSAGE_MAX] = {0x80, 0x01, 0, 0, 0x10, 0x00};
	struct fixture f;

	(void)state;
	open_pair(&f, SOCK_STREAM);
	PUT(&f, largest);
	assert_int_equal(EXECUTE(&f, get_random), 0);
	assert_int_equal(f.size, sizeof largest);
	close_pair(&f);
}

static void test_backend_execute_sizes_that_are_none(void **state)
{
	static const uint32_t sizes[] = {0, 1, 9, TPM_MESSAGE_MAX + 1, 0x80000000, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		uint8_t answer[] = ANSWER(0);
		struct fixture f;

		for (unsigned k = 0; k < 4; k++)
			answer[2 + k] = (uint8_t)(sizes[i] >> (24 - 8 * k));
		open_pair(&f, SOCK_STREAM);
		PUT(&f, answer);
		assert_int_equal(EXECUTE(&f, get_random), -EBADMSG);
		close_pair(&f);
	}
}

static void test_backend_execute_trailing_bytes(void **state)
{
	static const uint8_t more[] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, /* and one */ 0};
	struct fixture f;

	(void)state;
	open_pair(&f, SOCK_STREAM);
	PUT(&f, more);
	assert_int_equal(EXECUTE(&f, get_random), -EBADMSG);
	close_pair(&f);
}

static void test_backend_execute_end_of_the_tpm(void **state)
{
	struct fixture f;

	(void)state;
	for (size_t part = 0; part < sizeof random_bytes; part++) {
		open_pair(&f, SOCK_STREAM);
		if (part > 0)
			assert_int_equal(send(f.tpm, random_bytes, part, 0), part);
		shutdown(f.tpm, SHUT_WR);
		assert_int_equal(EXECUTE(&f, get_random), -EPIPE);
		close_pair(&f);
	}
	/* before it is asked: no signal */
	open_pair(&f, SOCK_STREAM);
	shutdown(f.tpm, SHUT_RDWR);
	assert_int_equal(EXECUTE(&f, get_random), -EPIPE);
	close_pair(&f);
}

static void test_backend_execute_timeout(void **state)
{
	struct fixture f;

	(void)state;
	open_pair(&f, SOCK_STREAM);
	assert_int_equal(EXECUTE(&f, get_random), -ETIME);
	close_pair(&f);
	open_pair(&f, SOCK_STREAM); /* half of one is as bad */
	assert_int_equal(send(f.tpm, random_bytes, 12, 0), 12);
	assert_int_equal(EXECUTE(&f, get_random), -ETIME);
	close_pair(&f);
}

/* A TPM that is never ready has no more time than one that is silent. */
static void test_backend_execute_never_ready(void **state)
{
	static const uint8_t retry[] = ANSWER(TPM_RC_RETRY);
	struct fixture f;

	(void)state;
	open_pair(&f, SOCK_SEQPACKET);
	for (int i = 0; i < 40; i++)
		PUT(&f, retry);
	assert_int_equal(EXECUTE(&f, get_random), -ETIME);
	close_pair(&f);
}

static void test_backend_execute_asks_again(void **state)
{
	static const uint8_t not_ready[][10] = {
		ANSWER(TPM_RC_RETRY), ANSWER(TPM_RC_YIELDED), ANSWER(TPM_RC_TESTING)};
	struct fixture f;

	(void)state;
	open_pair(&f, SOCK_SEQPACKET);
	for (size_t i = 0; i < 3; i++)
		PUT(&f, not_ready[i]);
	PUT(&f, random_bytes);
	assert_int_equal(EXECUTE(&f, get_random), 0);
	assert_int_equal(f.size, sizeof random_bytes);
	assert_memory_equal(f.response, random_bytes, sizeof random_bytes);
	assert_int_equal(count_asked(&f, get_random, sizeof get_random), 4);
	close_pair(&f);
}

static void check_testing(const uint8_t *command, size_t size)
{
	static const uint8_t testing[] = ANSWER(TPM_RC_TESTING);
	struct fixture f;

	open_pair(&f, SOCK_SEQPACKET);
	PUT(&f, testing);
	assert_int_equal(backend_execute(&f.backend, command, size, f.response, &f.size), 0);
	assert_memory_equal(f.response, testing, sizeof testing);
	assert_int_equal(count_asked(&f, command, size), 1);
	close_pair(&f);
}

static void test_backend_execute_testing_answers_who_asked_for_tests(void **state)
{
	(void)state;
	check_testing(self_test, sizeof self_test);
	check_testing(incremental, sizeof incremental);
	check_testing(test_result, sizeof test_result);
}

static void test_backend_execute_no_command(void **state)
{
	struct fixture f;

	(void)state;
	open_pair(&f, SOCK_STREAM);
	assert_int_equal(backend_execute(&f.backend, get_random, 9, f.response, &f.size), -EINVAL);
	close_pair(&f);
}

static void test_backend_open_says_why_not(void **state)
{
	static const char *const specs[] = {
		"", "unix", "/dev/tpm0", "unix:", "unix:/no/such", "tcti:no-such-tcti:x"};
	char longest[200] = "unix:";
	char problem[BACKEND_PROBLEM_SIZE];
	struct backend backend = {.fd = 77};

	(void)state;
	for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
		problem[0] = '\0';
		assert_true(backend_open(specs[i], 1, &backend, problem) < 0);
		assert_true(strlen(problem) > 0);
		assert_null(strchr(problem, '\n'));
		assert_int_equal(backend.fd, 77);
	}
	memset(longest + 5, 'p', sizeof longest - 6);
	assert_int_equal(backend_open(longest, 1, &backend, problem), -ENAMETOOLONG);
}

static void test_backend_open_unix(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char directory[] = "/tmp/tpmgate-test-XXXXXX";
	char problem[BACKEND_PROBLEM_SIZE];
	char spec[64];
	struct backend backend;
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(address.sun_path, sizeof address.sun_path, "%s/tpm", directory);
	snprintf(spec, sizeof spec, "unix:%s/tpm", directory);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(backend_open(spec, 3, &backend, problem), 0);
	assert_true(backend.fd >= 0);
	assert_int_equal(backend.timeout, 3);
	backend_close(&backend);
	close(listener);
	unlink(address.sun_path);
	rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backend_execute_whole_response),
		cmocka_unit_test(test_backend_execute_split_response),
		cmocka_unit_test(test_backend_execute_byte_by_byte),
		cmocka_unit_test(test_backend_execute_largest_response),
		cmocka_unit_test(test_backend_execute_sizes_that_are_none),
		cmocka_unit_test(test_backend_execute_trailing_bytes),
		cmocka_unit_test(test_backend_execute_end_of_the_tpm),
		cmocka_unit_test(test_backend_execute_timeout),
		cmocka_unit_test(test_backend_execute_never_ready),
		cmocka_unit_test(test_backend_execute_asks_again),
		cmocka_unit_test(test_backend_execute_testing_answers_who_asked_for_tests),
		cmocka_unit_test(test_backend_execute_no_command),
		cmocka_unit_test(test_backend_open_says_why_not),
		cmocka_unit_test(test_backend_open_unix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
