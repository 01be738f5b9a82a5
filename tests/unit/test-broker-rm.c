/*
 * The broker's side of the resource manager, with one that does what a test says.
 */
#include "broker-scene.h"

#include "broker/rm.h"

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define PATIENCE_S 20 /* longer than anybody waits for a manager */
#define ARGUMENTS  "--objects 5 --sessions 6 --clients 7 --timeout 8"

struct outcome {
	unsigned calls;
	enum wait_result result;
	int fd;
	char problem[256];
};

struct fixture {
	struct config config;
	struct notify *notify;
	struct rm *rm;
	char *log; /* what managers have written */
	char *spec;
};

static int setup(void **state)
{
	static struct fixture fixture;

	scene_begin();
	memset(&fixture, 0, sizeof fixture);
	fixture.config = config_new();
	fixture.config.rm_objects = 5;
	fixture.config.rm_sessions = 6;
	fixture.config.max_sessions = 7;
	fixture.config.rm_timeout = 8;
	fixture.notify = notify_new(NULL);
	fixture.log = scene_path("log");
	fixture.spec = g_strdup_printf("file:%s", fixture.log);
	fixture.rm = rm_new(FAKE_RM, fixture.spec, &fixture.config, fixture.notify);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rm_free(f->rm);
	notify_free(f->notify);
	config_done(&f->config);
	g_free(f->spec);
	g_free(f->log);
	scene_end();
	return 0;
}

/* What the next manager does; see fake-rm.c. */
static void set_mode(const char *mode)
{
	g_autofree char *path = scene_write("log.mode", mode, 0644);

	(void)path;
}

static void on_done(void *context, enum wait_result result, int fd, const char *problem)
{
	struct outcome *outcome = context;

	outcome->calls++;
	outcome->result = result;
	outcome->fd = fd;
	g_strlcpy(outcome->problem, problem ? problem : "", sizeof outcome->problem);
}

static gboolean on_patience(gpointer data)
{
	gboolean *over = data;

	*over = TRUE;
	return G_SOURCE_CONTINUE;
}

/* Until CALLS were made of OUTCOME. */
static void wait_outcome(const struct outcome *outcome, unsigned calls)
{
	gboolean over = FALSE;
	guint timer = g_timeout_add_seconds(PATIENCE_S, on_patience, &over);

	while (outcome->calls < calls && !over)
		g_main_context_iteration(NULL, TRUE);
	g_source_remove(timer);
	assert_int_equal(outcome->calls, calls);
}

static struct outcome acquire(struct fixture *f)
{
	struct outcome outcome = {.fd = -1};

	rm_acquire(f->rm, on_done, &outcome);
	wait_outcome(&outcome, 1);
	return outcome;
}

static void assert_granted(const struct outcome *outcome)
{
	char hello[5];

	assert_int_equal(outcome->result, WAIT_GRANTED);
	assert_int_equal(recv(outcome->fd, hello, sizeof hello, 0), sizeof hello);
	assert_memory_equal(hello, "hello", sizeof hello);
}

static void assert_failed(const struct outcome *outcome, const char *problem)
{
	assert_int_equal(outcome->result, WAIT_E_FAILED);
	assert_int_equal(outcome->fd, -1);
	assert_string_equal(outcome->problem, problem);
}

static void assert_log(const struct fixture *f, const char *expected)
{
	g_autofree char *text = NULL;

	assert_true(g_file_get_contents(f->log, &text, NULL, NULL));
	assert_string_equal(text, expected);
}

/* The manager's side of a session is gone, as its process is. */
static void wait_gone(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

static void test_rm_grants_and_leaves_with_the_last(void **state)
{
	struct fixture *f = *state;
	struct outcome first;
	struct outcome second;
	struct rm_lease lease;

	set_mode("serves");
	first = acquire(f);
	assert_granted(&first);
	lease = rm_lease(f->rm);
	assert_int_equal(lease.object_slots, 5);
	assert_int_equal(lease.session_slots, 6);
	second = acquire(f);
	assert_granted(&second);
	assert_int_equal(rm_lease(f->rm).manager, lease.manager);
	assert_log(f, ARGUMENTS "\n");

	rm_release(f->rm, lease.manager);
	close(first.fd);
	first = acquire(f); /* it is still there for the other */
	assert_granted(&first);
	assert_int_equal(rm_lease(f->rm).manager, lease.manager);
	rm_release(f->rm, lease.manager);
	rm_release(f->rm, lease.manager);
	rm_release(f->rm, lease.manager); /* one too many changes nothing */
	while (g_main_context_iteration(NULL, FALSE))
		;
	wait_gone(first.fd);
	wait_gone(second.fd);
	/* one that comes while it leaves gets the next, which has nothing to flush */
	first = acquire(f);
	assert_granted(&first);
	assert_int_not_equal(rm_lease(f->rm).manager, lease.manager);
	rm_release(f->rm, lease.manager); /* of one that is gone */
	second = acquire(f);
	assert_granted(&second);
	assert_log(f, ARGUMENTS "\nend\n" ARGUMENTS "\n");
	close(first.fd);
	close(second.fd);
}

static void test_rm_serves_all_that_wait(void **state)
{
	struct fixture *f = *state;
	struct outcome outcomes[4] = {{.fd = -1}, {.fd = -1}, {.fd = -1}, {.fd = -1}};

	set_mode("serves");
	for (unsigned i = 0; i < 4; i++)
		rm_acquire(f->rm, on_done, &outcomes[i]);
	for (unsigned i = 0; i < 4; i++) {
		wait_outcome(&outcomes[i], 1);
		assert_granted(&outcomes[i]);
		close(outcomes[i].fd);
	}
	assert_log(f, ARGUMENTS "\n");
}

static void test_rm_flushes_after_one_that_crashed(void **state)
{
	static const char *const modes[] = {"crashes", "loses"};
	struct fixture *f = *state;
	struct outcome outcome;

	for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
		(void)remove(f->log);
		set_mode(modes[i]);
		outcome = acquire(f);
		assert_granted(&outcome);
		wait_gone(outcome.fd);
		/* one that does not get ready has flushed nothing */
		set_mode("dies");
		do
			outcome = acquire(f);
		while (outcome.result != WAIT_E_FAILED);
		set_mode("serves");
		outcome = acquire(f);
		assert_granted(&outcome);
		rm_release(f->rm, rm_lease(f->rm).manager);
		while (g_main_context_iteration(NULL, FALSE))
			;
		wait_gone(outcome.fd);
		outcome = acquire(f);
		assert_granted(&outcome);
		assert_log(f, ARGUMENTS "\n" ARGUMENTS " --flush-saved\n" ARGUMENTS
					" --flush-saved\nend\n" ARGUMENTS "\n");
		rm_release(f->rm, rm_lease(f->rm).manager);
		while (g_main_context_iteration(NULL, FALSE))
			;
		wait_gone(outcome.fd);
	}
}

static void test_rm_tells_all_that_wait_why_it_failed(void **state)
{
	struct fixture *f = *state;
	struct outcome outcomes[3] = {{.fd = -1}, {.fd = -1}, {.fd = -1}};

	set_mode("fails");
	for (unsigned i = 0; i < 3; i++)
		rm_acquire(f->rm, on_done, &outcomes[i]);
	for (unsigned i = 0; i < 3; i++) {
		wait_outcome(&outcomes[i], 1);
		assert_failed(&outcomes[i], "the TPM is on fire");
	}
	assert_log(f, ARGUMENTS "\n"); /* one manager for all of them */
	/* and it may be better next time */
	set_mode("serves");
	outcomes[0] = acquire(f);
	assert_granted(&outcomes[0]);
	close(outcomes[0].fd);
}

static void test_rm_that_ends_before_it_is_ready(void **state)
{
	struct fixture *f = *state;
	struct outcome outcome;

	set_mode("dies");
	outcome = acquire(f);
	assert_failed(&outcome, "the resource manager ended before it was ready");
}

static void test_rm_garbage_has_it_killed(void **state)
{
	struct fixture *f = *state;
	struct outcome outcome;

	set_mode("garbage");
	outcome = acquire(f);
	assert_failed(&outcome, "the resource manager ended before it was ready");
	assert_log(f, ARGUMENTS "\n");
}

/* What is a message, but not one for now. */
static void test_rm_messages_out_of_turn_have_it_killed(void **state)
{
	static const char *const modes[] = {"clean-early", "ready-twice"};
	struct fixture *f = *state;

	for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
		struct outcome outcome = {.fd = -1};
		unsigned manager;

		(void)remove(f->log);
		set_mode(modes[i]);
		rm_acquire(f->rm, on_done, &outcome);
		manager = rm_lease(f->rm).manager;
		while (!g_file_test(f->log, G_FILE_TEST_EXISTS)) /* until it has started */
			g_main_context_iteration(NULL, FALSE);
		set_mode("serves");
		wait_outcome(&outcome, 1);
		if (rm_lease(f->rm).manager == manager + 1) {
			/* it was given to the first, and is gone with that */
			if (outcome.result == WAIT_GRANTED)
				wait_gone(outcome.fd);
			outcome = acquire(f);
		}
		assert_granted(&outcome);
		assert_int_equal(rm_lease(f->rm).manager, manager + 2);
		rm_release(f->rm, manager + 2);
		while (g_main_context_iteration(NULL, FALSE))
			;
		wait_gone(outcome.fd);
		/* it had not said that it is clean when it was to */
		assert_log(f, ARGUMENTS "\n" ARGUMENTS " --flush-saved\nend\n");
	}
}

static void test_rm_program_that_is_not_there(void **state)
{
	struct fixture *f = *state;
	struct outcome outcome;

	rm_free(f->rm);
	f->rm = rm_new("/no/such/program", f->spec, &f->config, f->notify);
	outcome = acquire(f);
	assert_failed(&outcome,
		"cannot start the resource manager (/no/such/program): No such file or directory");
}

static void test_rm_cancelled_waits_are_not_called(void **state)
{
	struct fixture *f = *state;
	struct outcome cancelled = {.fd = -1};
	struct outcome outcome = {.fd = -1};
	struct wait *wait;

	set_mode("serves");
	wait_cancel(NULL);
	wait = rm_acquire(f->rm, on_done, &cancelled);
	rm_acquire(f->rm, on_done, &outcome);
	wait_cancel(wait);
	wait_outcome(&outcome, 1);
	assert_granted(&outcome);
	assert_int_equal(cancelled.calls, 0);
	/* and who still waits when the broker ends */
	rm_acquire(f->rm, on_done, &cancelled);
	rm_free(f->rm);
	f->rm = NULL;
	while (g_main_context_iteration(NULL, FALSE))
		;
	assert_int_equal(cancelled.calls, 0);
	wait_gone(outcome.fd);
}

/* It was started for somebody who does not want it any more. */
static void test_rm_leaves_when_nobody_waits_any_more(void **state)
{
	struct fixture *f = *state;
	struct outcome cancelled = {.fd = -1};
	struct wait *wait;
	unsigned manager = rm_lease(f->rm).manager;
	gboolean over = FALSE;
	guint timer = g_timeout_add_seconds(PATIENCE_S, on_patience, &over);
	g_autofree char *text = NULL;

	set_mode("serves");
	wait = rm_acquire(f->rm, on_done, &cancelled);
	while (rm_lease(f->rm).manager == manager && !over)
		g_main_context_iteration(NULL, TRUE);
	wait_cancel(wait);
	while ((!text || !strstr(text, "end\n")) && !over) {
		g_main_context_iteration(NULL, FALSE);
		g_clear_pointer(&text, g_free);
		g_file_get_contents(f->log, &text, NULL, NULL);
	}
	g_source_remove(timer);
	assert_false(over);
	assert_int_equal(cancelled.calls, 0);
}

static void test_rm_that_is_silent_is_waited_for_ten_seconds(void **state)
{
	struct fixture *f = *state;
	gint64 begin = g_get_monotonic_time();
	struct outcome outcome;

	set_mode("silent");
	outcome = acquire(f);
	assert_int_equal(outcome.result, WAIT_E_BUSY);
	assert_int_equal(outcome.fd, -1);
	assert_true(g_get_monotonic_time() - begin >= (gint64)WAIT_MS * 1000 - 100000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_rm_grants_and_leaves_with_the_last),
		TEST(test_rm_serves_all_that_wait),
		TEST(test_rm_flushes_after_one_that_crashed),
		TEST(test_rm_tells_all_that_wait_why_it_failed),
		TEST(test_rm_that_ends_before_it_is_ready),
		TEST(test_rm_garbage_has_it_killed),
		TEST(test_rm_messages_out_of_turn_have_it_killed),
		TEST(test_rm_program_that_is_not_there),
		TEST(test_rm_cancelled_waits_are_not_called),
		TEST(test_rm_leaves_when_nobody_waits_any_more),
		TEST(test_rm_that_is_silent_is_waited_for_ten_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
