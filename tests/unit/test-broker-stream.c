#include "broker-scene.h"

#include "broker/stream.h"
#include "common/cleanup.h"

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#define LONG_MS 60000

/* What a waiter was told. */
struct answer {
	bool given;
	enum wait_result result;
	int fd;
	unsigned order; /* 1: the first answer of all */
};

static unsigned answers;
static char *path;
static int server;

static int setup(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)state;
	scene_begin();
	path = scene_path("tpm");
	answers = 0;
	server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	g_strlcpy(address.sun_path, path, sizeof address.sun_path);
	assert_int_equal(bind(server, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(server, 0), 0); /* as software TPMs do: one may wait */
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(server);
	g_free(path);
	scene_end();
	return 0;
}

static void on_answer(void *context, enum wait_result result, int fd, const char *problem)
{
	struct answer *answer = context;

	assert_false(answer->given);
	assert_int_equal(result == WAIT_GRANTED, fd >= 0);
	assert_int_equal(result == WAIT_E_FAILED, problem != NULL);
	*answer = (struct answer){true, result, fd, ++answers};
}

static void run_until(const bool *condition)
{
	while (!*condition)
		g_main_context_iteration(NULL, TRUE);
}

static void run_pending(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		;
}

static void test_stream_goes_round_in_order(void **state)
{
	struct stream *stream = stream_new(path, LONG_MS);
	struct answer list[3] = {{0}};

	(void)state;
	for (size_t i = 0; i < 3; i++)
		stream_acquire(stream, on_answer, &list[i]);
	for (unsigned i = 0; i < 3; i++) {
		run_until(&list[i].given);
		run_pending();
		assert_int_equal(list[i].result, WAIT_GRANTED);
		assert_int_equal(list[i].order, i + 1);
		assert_int_equal(answers, i + 1); /* one at a time */
		assert_true(stream_is_held(stream));

		CLEANUP_FD int accepted = accept(server, NULL, NULL);

		assert_true(accepted >= 0);
		close(list[i].fd);
		stream_release(stream);
	}
	assert_false(stream_is_held(stream));
	stream_free(stream);
}

static void test_stream_wait_ends(void **state)
{
	struct stream *stream = stream_new(path, 50);
	struct answer first = {0};
	struct answer second = {0};

	(void)state;
	stream_acquire(stream, on_answer, &first);
	run_until(&first.given);
	stream_acquire(stream, on_answer, &second);
	run_until(&second.given);
	assert_int_equal(second.result, WAIT_E_BUSY);
	/* the one that has it keeps it */
	assert_true(stream_is_held(stream));
	close(first.fd);
	stream_free(stream);
}

static void test_stream_cancelled_waiter_is_not_served(void **state)
{
	struct stream *stream = stream_new(path, LONG_MS);
	struct answer list[3] = {{0}};
	struct wait *second;

	(void)state;
	stream_acquire(stream, on_answer, &list[0]);
	second = stream_acquire(stream, on_answer, &list[1]);
	stream_acquire(stream, on_answer, &list[2]);
	run_until(&list[0].given);
	wait_cancel(second);
	close(accept(server, NULL, NULL));
	close(list[0].fd);
	stream_release(stream);
	run_until(&list[2].given);
	assert_int_equal(list[2].result, WAIT_GRANTED);
	assert_false(list[1].given);
	close(list[2].fd);
	stream_free(stream);
}

static void test_stream_without_a_tpm(void **state)
{
	struct stream *stream = stream_new(path, LONG_MS);
	struct answer first = {0};
	struct answer second = {0};

	(void)state;
	close(server);
	server = -1;
	stream_acquire(stream, on_answer, &first);
	stream_acquire(stream, on_answer, &second);
	run_until(&second.given);
	assert_int_equal(first.result, WAIT_E_FAILED);
	assert_int_equal(second.result, WAIT_E_FAILED);
	assert_false(stream_is_held(stream));
	stream_free(stream);
}

/* A server whose queue is full is busy, and not gone. */
static void test_stream_server_with_a_full_queue(void **state)
{
	struct stream *stream = stream_new(path, 200);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct answer refused = {0};
	struct answer served = {0};
	int others[16];
	int count = 0;

	(void)state;
	g_strlcpy(address.sun_path, path, sizeof address.sun_path);
	for (; count < 16; count++) {
		others[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (connect(others[count], (struct sockaddr *)&address, sizeof address) < 0) {
			close(others[count]);
			break;
		}
	}
	assert_true(count < 16);
	stream_acquire(stream, on_answer, &refused);
	run_until(&refused.given);
	assert_int_equal(refused.result, WAIT_E_BUSY);
	assert_false(stream_is_held(stream));
	while (count > 0) {
		close(accept(server, NULL, NULL));
		close(others[--count]);
	}
	stream_acquire(stream, on_answer, &served);
	run_until(&served.given);
	assert_int_equal(served.result, WAIT_GRANTED);
	close(served.fd);
	stream_free(stream);
}

static void test_stream_held_by_the_broker_before(void **state)
{
	struct stream *stream = stream_new(path, LONG_MS);
	struct answer answer = {0};

	(void)state;
	stream_hold(stream);
	stream_acquire(stream, on_answer, &answer);
	run_pending();
	assert_false(answer.given);
	stream_release(stream);
	run_until(&answer.given);
	assert_int_equal(answer.result, WAIT_GRANTED);
	close(answer.fd);
	stream_free(stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_stream_goes_round_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream_wait_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_stream_cancelled_waiter_is_not_served, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream_without_a_tpm, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_stream_server_with_a_full_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_stream_held_by_the_broker_before, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
