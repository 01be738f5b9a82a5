/*
 * Who is let in, with a polkit of the test's own in the place of authz.c.
 */
#include "broker/account.h"
#include "broker/config.h"
#include "broker/permit.h"
#include "common/cleanup.h"

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- polkit ---- */

struct authz_check {
	authz_done done;
	void *context;
	bool interactive;
	char *action;
};

static struct authz_check *asked; /* the question that waits; NULL: none */
static unsigned quick_questions;
static unsigned prompts;
static unsigned withdrawn;

struct authz_check *authz_ask(
	struct authz *authz, const struct authz_question *question, authz_done done, void *context)
{
	(void)authz;
	assert_null(asked); /* one after the other */
	assert_true(question->pidfd >= 0);
	asked = g_new0(struct authz_check, 1);
	asked->done = done;
	asked->context = context;
	asked->interactive = question->interactive;
	asked->action = g_strdup(question->action);
	if (question->interactive)
		prompts++;
	else
		quick_questions++;
	return asked;
}

static void forget_question(void)
{
	g_free(asked->action);
	g_clear_pointer(&asked, g_free);
}

void authz_cancel(struct authz_check *check)
{
	if (!check)
		return;
	assert_ptr_equal(check, asked);
	withdrawn++;
	forget_question();
}

/* Answers the question about ACTION, which must be the one that waits. */
static void polkit_says(const char *action, bool interactive, enum authz_answer answer)
{
	authz_done done;
	void *context;

	assert_non_null(asked);
	assert_string_equal(asked->action, action);
	assert_int_equal(asked->interactive, interactive);
	done = asked->done;
	context = asked->context;
	forget_question();
	done(context, answer, answer == AUTHZ_UNAVAILABLE ? "why" : NULL);
}

/* ---- the caller ---- */

static struct identity identity;
static struct account *account;
static struct config config;
static gid_t groups[] = {100, 200};
static const gid_t other_group[] = {300};
static const gid_t own_group[] = {300, 200};

static bool decided;
static enum permit_verdict verdict;
static char *decider;

static void on_permit(void *context, enum permit_verdict result, const struct permit_item *item,
	const char *problem)
{
	(void)context;
	assert_false(decided);
	assert_int_equal(result == PERMIT_UNAVAILABLE, problem != NULL);
	decided = true;
	verdict = result;
	decider = g_strdup(item ? item->name : NULL);
}

static int setup(void **state)
{
	(void)state;
	memset(&identity, 0, sizeof identity);
	identity.peer = (struct peer){
		.pid = getpid(),
		.uid = 1000,
		.gid = 1000,
		.groups = groups,
		.group_count = 2,
		.pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0),
	};
	identity.proven = true;
	account = account_new();
	config = config_new();
	assert_true(account_enter(account, &config, 1000));
	decided = false;
	quick_questions = prompts = withdrawn = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_null(asked);
	account_leave(account, 1000);
	assert_int_equal(account_connections(account), 0);
	account_free(account);
	config_done(&config);
	close(identity.peer.pidfd);
	g_clear_pointer(&decider, g_free);
	return 0;
}

static const struct permit_item no_group[] = {
	{.name = "first", .action = "a.first"},
	{.name = "second", .action = "a.second"},
	{.name = "third", .action = "a.third"},
};

static struct permit *start(const struct permit_item *items, size_t count, bool interactive)
{
	struct permit_request request = {
		.identity = &identity,
		.items = items,
		.item_count = count,
		.names = "names",
		.interactive = interactive,
	};
	struct permit *permit = permit_new(NULL, account, &request, on_permit, NULL);

	permit_start(permit);
	return permit;
}

static void assert_decided(struct permit *permit, enum permit_verdict expected, const char *name)
{
	assert_true(decided);
	assert_int_equal(verdict, expected);
	if (name)
		assert_string_equal(decider, name);
	else
		assert_null(decider);
	permit_free(permit);
}

/* ---- tests ---- */

static void test_permit_root_without_polkit(void **state)
{
	(void)state;
	identity.peer.uid = 0;
	g_strlcpy(identity.sandbox, "a snap of root's", sizeof identity.sandbox);
	assert_decided(start(no_group, 3, false), PERMIT_YES, NULL);
	assert_int_equal(quick_questions, 0);
}

static void test_permit_group_without_polkit(void **state)
{
	const struct permit_item item = {
		.name = "keys", .action = "a.keys", .groups = own_group, .group_count = 2};

	(void)state;
	assert_decided(start(&item, 1, false), PERMIT_YES, NULL);
	assert_int_equal(quick_questions, 0);
}

static void test_permit_other_group_asks_polkit(void **state)
{
	const struct permit_item item = {
		.name = "keys", .action = "a.keys", .groups = other_group, .group_count = 1};
	struct permit *permit = start(&item, 1, false);

	(void)state;
	assert_false(decided);
	polkit_says("a.keys", false, AUTHZ_NO);
	assert_decided(permit, PERMIT_NO, "keys");
}

static void test_permit_every_item_must_be_allowed(void **state)
{
	struct permit *permit = start(no_group, 3, true);

	(void)state;
	polkit_says("a.first", false, AUTHZ_YES);
	polkit_says("a.second", false, AUTHZ_NO);
	assert_decided(permit, PERMIT_NO, "second");
	assert_int_equal(quick_questions, 2);
}

static void test_permit_no_prompt_for_what_is_refused_anyway(void **state)
{
	struct permit *permit = start(no_group, 3, true);

	(void)state;
	polkit_says("a.first", false, AUTHZ_CHALLENGE);
	polkit_says("a.second", false, AUTHZ_YES);
	polkit_says("a.third", false, AUTHZ_NO);
	assert_decided(permit, PERMIT_NO, "third");
	assert_int_equal(prompts, 0);
}

static void test_permit_prompts_one_after_the_other(void **state)
{
	struct permit *permit = start(no_group, 3, true);

	(void)state;
	polkit_says("a.first", false, AUTHZ_CHALLENGE);
	polkit_says("a.second", false, AUTHZ_YES);
	polkit_says("a.third", false, AUTHZ_CHALLENGE);
	polkit_says("a.first", true, AUTHZ_YES);
	polkit_says("a.third", true, AUTHZ_YES);
	assert_decided(permit, PERMIT_YES, NULL);
}

static void test_permit_no_prompt_unasked(void **state)
{
	struct permit *permit = start(no_group, 1, false);

	(void)state;
	polkit_says("a.first", false, AUTHZ_CHALLENGE);
	assert_decided(permit, PERMIT_PROMPT, "first");
	assert_int_equal(prompts, 0);
}

static void test_permit_prompt_that_fails(void **state)
{
	static const struct {
		enum authz_answer answer;
		enum permit_verdict verdict;
	} table[] = {
		{AUTHZ_NO, PERMIT_NO},
		{AUTHZ_CHALLENGE, PERMIT_NO_AGENT},
		{AUTHZ_DISMISSED, PERMIT_DISMISSED},
		{AUTHZ_UNAVAILABLE, PERMIT_UNAVAILABLE},
		{AUTHZ_FAULT, PERMIT_FAULT},
	};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		struct permit *permit = start(no_group, 1, true);

		polkit_says("a.first", false, AUTHZ_CHALLENGE);
		polkit_says("a.first", true, table[i].answer);
		assert_decided(permit, table[i].verdict, "first");
		decided = false;
		g_clear_pointer(&decider, g_free);
	}
}

static void test_permit_one_prompt_for_each_uid(void **state)
{
	struct permit *first = start(no_group, 1, true);
	struct permit *second;

	(void)state;
	polkit_says("a.first", false, AUTHZ_CHALLENGE);
	assert_int_equal(prompts, 1); /* on the screen */
	assert_true(account_has_room(account, &config));
	/* a connection at a prompt is not undecided: this uid may have all of them besides */
	for (unsigned i = 0; i < config.max_undecided_per_user; i++)
		assert_true(account_enter(account, &config, 1000));
	assert_false(account_enter(account, &config, 1000));

	struct authz_check *on_screen = asked;

	asked = NULL;
	second = start(no_group, 1, true);
	polkit_says("a.first", false, AUTHZ_CHALLENGE);
	assert_decided(second, PERMIT_PENDING, "first");
	decided = false;
	g_clear_pointer(&decider, g_free);
	asked = on_screen;
	polkit_says("a.first", true, AUTHZ_YES);
	assert_decided(first, PERMIT_YES, NULL);
	for (unsigned i = 0; i < config.max_undecided_per_user; i++)
		account_leave(account, 1000);
}

static void test_permit_given_up_at_the_prompt(void **state)
{
	struct permit *permit = start(no_group, 1, true);

	(void)state;
	polkit_says("a.first", false, AUTHZ_CHALLENGE);
	permit_free(permit);
	assert_int_equal(withdrawn, 1);
	assert_false(decided);
	/* the place at the screen is free again */
	assert_true(account_begin_prompt(account, 1000));
	account_end_prompt(account, 1000);
}

static void test_permit_sandboxed(void **state)
{
	const struct permit_item item = {
		.name = "keys", .action = "a.keys", .groups = own_group, .group_count = 2};
	struct permit *permit;

	(void)state;
	g_strlcpy(identity.sandbox, "org.example.App", sizeof identity.sandbox);
	/* the user's group is not the sandboxed program's */
	permit = start(&item, 1, true);
	assert_false(decided);
	polkit_says("io.github.tpmgate.sandboxed", false, AUTHZ_CHALLENGE);
	polkit_says("io.github.tpmgate.sandboxed", true, AUTHZ_YES);
	assert_decided(permit, PERMIT_YES, NULL);
	decided = false;
	/* and polkit's yes to the active user is not enough */
	permit = start(no_group, 1, false);
	polkit_says("a.first", false, AUTHZ_YES);
	polkit_says("io.github.tpmgate.sandboxed", false, AUTHZ_NO);
	assert_decided(permit, PERMIT_NO, "names");
}

static void test_permit_process_that_ended(void **state)
{
	struct permit *permit;
	pid_t child = fork();

	(void)state;
	if (child == 0)
		pause();
	close(identity.peer.pidfd);
	identity.peer.pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	permit = start(no_group, 1, false);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	polkit_says("a.first", false, AUTHZ_YES);
	assert_decided(permit, PERMIT_GONE, "first");
}

static void test_permit_unproven_caller_is_not_judged(void **state)
{
	(void)state;
	identity.proven = false;
	assert_decided(start(no_group, 1, true), PERMIT_UNAVAILABLE, "first");
	assert_int_equal(quick_questions, 0);
}

static void test_account_limits(void **state)
{
	(void)state;
	config.max_undecided = 3;
	config.max_undecided_per_user = 2;
	config.max_sessions = 3;
	config.max_sessions_per_user = 2;
	assert_true(account_enter(account, &config, 1000));
	assert_false(account_enter(account, &config, 1000));
	assert_true(account_has_room(account, &config));
	assert_true(account_enter(account, &config, 1001));
	assert_false(account_has_room(account, &config));
	account_leave(account, 1000);
	account_leave(account, 1001);

	account_add_session(account, 1000);
	assert_int_equal(account_may_open(account, &config, 1000), ACCOUNT_WITHIN);
	account_add_session(account, 1000);
	assert_int_equal(account_may_open(account, &config, 1000), ACCOUNT_E_UID);
	assert_int_equal(account_may_open(account, &config, 1001), ACCOUNT_WITHIN);
	account_add_session(account, 1001);
	assert_int_equal(account_may_open(account, &config, 1002), ACCOUNT_E_TOTAL);
	account_remove_session(account, 1000);
	assert_int_equal(account_may_open(account, &config, 1000), ACCOUNT_WITHIN);
	account_remove_session(account, 1000);
	account_remove_session(account, 1001);
	assert_int_equal(account_sessions(account), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_permit_root_without_polkit),
		TEST(test_permit_group_without_polkit),
		TEST(test_permit_other_group_asks_polkit),
		TEST(test_permit_every_item_must_be_allowed),
		TEST(test_permit_no_prompt_for_what_is_refused_anyway),
		TEST(test_permit_prompts_one_after_the_other),
		TEST(test_permit_no_prompt_unasked),
		TEST(test_permit_prompt_that_fails),
		TEST(test_permit_one_prompt_for_each_uid),
		TEST(test_permit_given_up_at_the_prompt),
		TEST(test_permit_sandboxed),
		TEST(test_permit_process_that_ended),
		TEST(test_permit_unproven_caller_is_not_judged),
		TEST(test_account_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
