/*
 * The registry's file on disk: who may have written it, how large it gets, and a disk that is full.
 */
#include "registry-sample.h"

#include <glib.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static void check_refused(const char *directory, const char *why)
{
	g_autofree char *problem = NULL;

	assert_null(registry_open(directory, &problem));
	if (!problem || !strstr(problem, why))
		fail_msg("'%s' is not about '%s'", problem, why);
}

static void test_open_refuses_what_others_could_have_written(void **state)
{
	struct sample *sample = *state;
	const char *directory = sample->scene.directory;
	g_autofree char *lock = registry_scene_path(&sample->scene, "registry.lock");
	g_autofree char *away = registry_scene_path(&sample->scene, "away");
	g_autofree char *link = registry_scene_path(&sample->scene, "link");

	assert_int_equal(chmod(directory, 0770), 0);
	check_refused(directory, "its group or others can write it");
	assert_int_equal(chmod(directory, 0702), 0);
	check_refused(directory, "its group or others can write it");
	assert_int_equal(chmod(directory, 0755), 0);
	assert_int_equal(chmod(sample->path, 0620), 0);
	check_refused(directory, "its group or others can write it");
	assert_int_equal(chmod(sample->path, 0600), 0);
	assert_int_equal(chmod(lock, 0602), 0);
	check_refused(directory, "registry.lock");
	assert_int_equal(chmod(lock, 0600), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(sample->path, 4242, 0), 0);
		check_refused(directory, "belongs to another user");
		assert_int_equal(chown(sample->path, 0, 0), 0);
		assert_int_equal(chown(directory, 4242, 0), 0);
		check_refused(directory, "belongs to another user");
		assert_int_equal(chown(directory, 0, 0), 0);
	}
	assert_int_equal(rename(sample->path, away), 0);
	assert_int_equal(symlink("away", sample->path), 0);
	check_refused(directory, "is a symbolic link");
	assert_int_equal(unlink(sample->path), 0);
	assert_int_equal(mkfifo(sample->path, 0600), 0);
	check_refused(directory, "is not a regular file");
	assert_int_equal(unlink(sample->path), 0);
	assert_int_equal(rename(away, sample->path), 0);
	assert_int_equal(symlink(".", link), 0);
	check_refused(link, "link");
	check_refused(lock, "irectory");
	check_refused("/no/such/directory", "/no/such/directory");
	/* and none of that has changed it */
	sample_open(sample);
	assert_true(model_matches(sample_model(sample), &sample->scene));
	check_refused(directory, "another broker");
}

static void test_modes_of_what_is_made(void **state)
{
	static const char *const names[] = {"registry", "registry.lock"};
	struct sample *sample = *state;
	mode_t mask = umask(0);

	assert_int_equal(unlink(sample->path), 0);
	sample_open(sample);
	umask(mask);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = registry_scene_path(&sample->scene, names[i]);
		struct stat status;

		assert_int_equal(stat(path, &status), 0);
		assert_int_equal(status.st_mode & 07777, 0600);
	}
	assert_int_equal(registry_scene_count(&sample->scene, "registry"), 2);
}

/* What was made and removed does not stay in the file. */
static void test_the_file_does_not_grow_for_ever(void **state)
{
	struct sample *sample = *state;
	struct registry_entry entry = nv_entry(2000, 99, 1);
	struct stat status;

	sample_open(sample);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(ask_claim(&sample->scene, &entry), ACCOUNT_YES);
		assert_int_equal(ask_confirm(&sample->scene, &entry, false), ACCOUNT_YES);
		assert_int_equal(stat(sample->path, &status), 0);
		assert_true((size_t)status.st_size < 160 * RECORD);
	}
	registry_scene_reopen(&sample->scene);
	assert_null(registry_problem(sample->scene.registry));
	assert_true(model_matches(sample_model(sample), &sample->scene));
}

static void set_file_size(rlim_t size)
{
	struct rlimit limit = {.rlim_cur = size, .rlim_max = RLIM_INFINITY};

	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_a_disk_that_is_full(void **state)
{
	struct sample *sample = *state;
	struct registry_entry own = nv_entry(2000, 98, 1);
	struct registry_entry entry = nv_entry(2000, 99, 1);
	struct registry_entry sealed = sealed_entry(2000, 1);

	sample_open(sample);
	make(&sample->scene, &own);
	set_file_size((rlim_t)sample->size + 2 * RECORD + 100); /* and a part of one more */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ask_claim(&sample->scene, &entry), ACCOUNT_UNAVAILABLE);
		assert_int_equal(state_of(&sample->scene, &entry), REGISTRY_NONE);
		assert_non_null(strstr(
			registry_problem(sample->scene.registry), "registry cannot be written"));
		assert_int_equal(ask_drop(&sample->scene, &own), ACCOUNT_UNAVAILABLE);
		assert_true(registry_owns(sample->scene.registry, &own));
		assert_int_equal(ask_claim(&sample->scene, &sealed), ACCOUNT_UNAVAILABLE);
		assert_false(registry_owns(sample->scene.registry, &sealed));
	}
	set_file_size(RLIM_INFINITY);
	make(&sample->scene, &entry);
	assert_null(registry_problem(sample->scene.registry));
	make(&sample->scene, &sealed);
	registry_scene_reopen(&sample->scene);
	assert_null(registry_problem(sample->scene.registry));
	assert_true(registry_owns(sample->scene.registry, &own));
	assert_true(registry_owns(sample->scene.registry, &entry));
	assert_true(registry_owns(sample->scene.registry, &sealed));
	assert_true(model_matches(sample_model(sample), &sample->scene));
}

/* Damage that cannot be set aside yet: it is told, nothing is written, and it is tried again. */
static void test_damage_on_a_disk_that_is_full(void **state)
{
	struct sample *sample = *state;
	struct registry_entry sealed = sealed_entry(2000, 1);

	sample->bytes[5 * RECORD + 100] ^= 1;
	sample_put(sample, sample->bytes, sample->size);
	set_file_size(RECORD);
	sample_open(sample);
	assert_non_null(strstr(registry_problem(sample->scene.registry), "damaged"));
	assert_true(model_covers(sample_model(sample), &sample->scene));
	assert_int_equal(ask_claim(&sample->scene, &sealed), ACCOUNT_UNAVAILABLE);
	assert_int_equal(registry_scene_count(&sample->scene, "registry.corrupt-"), 0);
	set_file_size(RLIM_INFINITY);
	make(&sample->scene, &sealed);
	assert_int_equal(registry_scene_count(&sample->scene, "registry.corrupt-"), 1);
	assert_int_equal(registry_scene_count(&sample->scene, "registry"), 3);
	assert_non_null(strstr(registry_problem(sample->scene.registry), "registry.corrupt-"));
	registry_scene_reopen(&sample->scene);
	assert_true(registry_owns(sample->scene.registry, &sealed));
	sample_check_survivors(sample, 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, sample_setup, sample_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_open_refuses_what_others_could_have_written),
		TEST(test_modes_of_what_is_made),
		TEST(test_the_file_does_not_grow_for_ever),
		TEST(test_a_disk_that_is_full),
		TEST(test_damage_on_a_disk_that_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
