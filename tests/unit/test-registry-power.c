/*
 * The registry when its process is killed, the power fails or the disk refuses, at each of its
 * system calls. A child does random steps; what it says on a pipe is what its clients have been
 * told. The registry that is there afterwards has to be the one that they know of, but for the step
 * that nobody was told the end of.
 */
#include "registry-disk.h"
#include "registry-model.h"

#include <glib.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define STEPS_BEFORE 62 /* without a fault */
#define STEPS        86
#define SAID_MAX     ((size_t)STEPS * 2)

/* ThreadSanitizer lets each process that ends, and there are hundreds, sleep for a second. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "atexit_sleep_ms=0";
}

/* ---- the child ---------------------------------------------------------------------------- */

static void child_say(int fd, char what)
{
	if (write(fd, &what, 1) != 1)
		_exit(1);
}

static void count_entry(const struct registry_entry *entry, void *context)
{
	(void)entry;
	++*(unsigned *)context;
}

/* Makes and removes something until the file is about to be written anew. */
static void child_fill(struct registry_scene *scene)
{
	g_autofree char *path = registry_scene_path(scene, "registry");
	struct registry_entry entry = nv_entry(2000, 99, 1);
	unsigned live = 0;
	struct stat status;

	registry_each(scene->registry, UINT32_MAX, count_entry, &live);
	while (stat(path, &status) == 0 && status.st_size / 256 + 4 < 64 + 2 * live)
		if (ask_claim(scene, &entry) != ACCOUNT_YES ||
			ask_confirm(scene, &entry, false) != ACCOUNT_YES)
			_exit(4);
}

/* Says 'a' when it asks, 'y' when it gets the answer that is due, 'u' for UNAVAILABLE. */
static void child_work(
	struct registry_scene *scene, int report, uint32_t seed, enum disk_fault fault, unsigned at)
{
	struct model model;

	memset(&model, 0, sizeof model);
	for (unsigned i = 0; i < STEPS; i++) {
		struct step step = step_random(&model, &seed);
		struct model next;
		enum account_answer due;
		enum account_answer answer;
		bool changed;

		memcpy(&next, &model, sizeof next);
		due = model_apply(&next, &step, &changed);
		if (i == STEPS_BEFORE) {
			child_fill(scene);
			disk_fail(fault, at);
		}
		child_say(report, 'a');
		answer = step_ask(scene, &step);
		if (answer == ACCOUNT_UNAVAILABLE &&
			(fault == FAULT_ERROR || fault == FAULT_ERRORS) &&
			registry_problem(scene->registry)) {
			child_say(report, 'u');
			continue;
		}
		if (answer != due)
			_exit(3);
		child_say(report, 'y');
		memcpy(&model, &next, sizeof model);
	}
}

static void child_run(struct registry_scene *scene, const char *links, int report, uint32_t seed,
	enum disk_fault fault, unsigned at)
{
	g_autofree char *problem = NULL;

	disk_begin(scene->directory, links);
	scene->registry = registry_open(scene->directory, &problem);
	if (!scene->registry)
		_exit(1);
	child_work(scene, report, seed, fault, at);
	_exit(0);
}

/* ---- the parent --------------------------------------------------------------------------- */

/* What the registry may be, by what a child SAID. */
struct history {
	struct model model;         /* what the child's clients know */
	struct model others[STEPS]; /* what it may be besides */
	size_t other_count;
};

static void history_replay(struct history *history, const char *said, size_t size, uint32_t seed)
{
	struct step step;
	struct model next;
	bool changed = false;

	memset(history, 0, sizeof *history);
	for (size_t i = 0; i < size; i++) {
		if (said[i] == 'a') {
			step = step_random(&history->model, &seed);
			memcpy(&next, &history->model, sizeof next);
			model_apply(&next, &step, &changed);
		}
		if (said[i] == 'y') {
			memcpy(&history->model, &next, sizeof next);
			if (changed && step.type != STEP_DOUBT)
				history->other_count = 0;
		} else if (said[i] == 'u' || i + 1 == size) {
			memcpy(&history->others[history->other_count++], &next, sizeof next);
		}
	}
}

static bool history_matches(const struct history *history, const struct registry_scene *scene)
{
	if (model_matches(&history->model, scene))
		return true;
	for (size_t i = 0; i < history->other_count; i++)
		if (model_matches(&history->others[i], scene))
			return true;
	return false;
}

/* Returns the child's exit status, and what it said. */
static int run_child(struct registry_scene *scene, uint32_t seed, enum disk_fault fault,
	unsigned at, char *ret_said, size_t *ret_size)
{
	g_autofree char *links = g_dir_make_tmp("tpmgate-links-XXXXXX", NULL);
	int ends[2];
	int status;
	ssize_t got;
	pid_t pid;

	*ret_size = 0;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child_run(scene, links, ends[1], seed, fault, at);
	close(ends[1]);
	while ((got = read(ends[0], ret_said + *ret_size, SAID_MAX - *ret_size)) > 0)
		*ret_size += (size_t)got;
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	registry_scene_remove(links);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Returns false where the fault came after all calls. */
static bool check_fault(enum disk_fault fault, uint32_t seed, unsigned at)
{
	struct registry_scene scene = registry_scene_new();
	struct registry_entry extra = sealed_entry(2000, 1);
	struct history *history = g_new0(struct history, 1);
	g_autofree char *problem = NULL;
	char said[SAID_MAX];
	size_t size;
	int r;

	registry_close(scene.registry);
	r = run_child(&scene, seed, fault, at, said, &size);
	if (r != 0 && r != DISK_KILLED)
		fail_msg("fault %d at call %u, seed %u: the child ended with %d after %zu", fault,
			at, seed, r, size);
	history_replay(history, said, size, seed);
	scene.registry = registry_open(scene.directory, &problem);
	if (!scene.registry)
		fail_msg("%s", problem);
	if (registry_problem(scene.registry) || !history_matches(history, &scene))
		fail_msg("fault %d at call %u, seed %u: not what was told (%zu); %s", fault, at,
			seed, size, registry_problem(scene.registry));
	/* and it goes on */
	make(&scene, &extra);
	registry_scene_reopen(&scene);
	assert_true(registry_owns(scene.registry, &extra));
	assert_true(history_matches(history, &scene));
	registry_scene_free(&scene);
	g_free(history);
	return r == DISK_KILLED || memchr(said, 'u', size);
}

static void check_faults(enum disk_fault fault)
{
	for (uint32_t seed = 1; seed <= 2; seed++) {
		unsigned last = 0;

		/* one that goes unnoticed, such as of an unlink, is not the end */
		for (unsigned at = 1; at < last + 10; at++)
			if (check_fault(fault, seed, at))
				last = at;
		assert_true(last > STEPS - STEPS_BEFORE);
	}
}

static void test_kill(void **state)
{
	(void)state;
	check_faults(FAULT_KILL);
}

static void test_kill_in_the_middle(void **state)
{
	(void)state;
	check_faults(FAULT_KILL_PART);
}

static void test_error(void **state)
{
	(void)state;
	check_faults(FAULT_ERROR);
}

static void test_errors(void **state)
{
	(void)state;
	check_faults(FAULT_ERRORS);
}

static void test_power_takes_what_is_not_synchronised(void **state)
{
	(void)state;
	check_faults(FAULT_POWER_LOST);
}

static void test_power_leaves_zeros(void **state)
{
	(void)state;
	check_faults(FAULT_POWER_ZEROS);
}

static void test_power_leaves_names(void **state)
{
	(void)state;
	check_faults(FAULT_POWER_NAMES);
}

static void test_power_leaves_bytes(void **state)
{
	(void)state;
	check_faults(FAULT_POWER_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_kill_in_the_middle),
		cmocka_unit_test(test_error),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_power_takes_what_is_not_synchronised),
		cmocka_unit_test(test_power_leaves_zeros),
		cmocka_unit_test(test_power_leaves_names),
		cmocka_unit_test(test_power_leaves_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
