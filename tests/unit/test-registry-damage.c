/*
 * The registry's file damaged at each of its bytes, cut at each length, mixed up, or a copy. Nobody
 * may come to own what he did not, and what was recorded stays as far as it can be known.
 */
#include "registry-sample.h"

#include <glib.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* The path in DIRECTORY that TEXT names. */
static char *path_in(const char *text, const char *directory)
{
	const char *begin = strstr(text, directory);

	return begin ? g_strndup(begin, strcspn(begin, ":")) : g_strdup("");
}

/* BYTES are damaged: that is told, they are kept, and nobody has what he had not. */
static void check_damaged(struct sample *sample, const char *bytes, size_t size, const char *what)
{
	g_autofree char *kept = NULL;
	gsize kept_size;
	const char *problem;
	g_autofree char *path = NULL;

	sample_put(sample, bytes, size);
	sample_open(sample);
	problem = registry_problem(sample->scene.registry);
	if (!problem || !strstr(problem, "registry.corrupt-")) {
		fail_msg("%s: not reported: %s", what, problem);
		return;
	}
	if (!model_covers(sample_model(sample), &sample->scene))
		fail_msg("%s: somebody owns what he does not", what);
	path = path_in(problem, sample->scene.directory);
	assert_true(g_file_get_contents(path, &kept, &kept_size, NULL));
	assert_int_equal(kept_size, size);
	assert_memory_equal(kept, bytes, size);
	assert_int_equal(registry_scene_count(&sample->scene, "registry.corrupt-"), 1);
}

static void count_doubtful(const struct registry_entry *entry, void *context)
{
	if (entry->state == REGISTRY_DOUBTFUL)
		++*(unsigned *)context;
}

static void flip(char *byte, size_t bit)
{
	*byte = (char)(*byte ^ (char)(1u << bit));
}

static void test_a_flipped_bit(void **state)
{
	struct sample *sample = *state;

	for (size_t i = 0; i < sample->size; i++) {
		g_autofree char *what = g_strdup_printf("a bit of byte %zu", i);

		flip(&sample->bytes[i], i % 8);
		check_damaged(sample, sample->bytes, sample->size, what);
		sample_check_survivors(sample, i / RECORD);
		registry_close(sample->scene.registry);
		if (i % 37 == 0) { /* it is for good, and told until the file is removed */
			sample_open(sample);
			assert_non_null(registry_problem(sample->scene.registry));
			assert_true(model_covers(sample_model(sample), &sample->scene));
			sample_check_survivors(sample, i / RECORD);
			assert_int_equal(registry_scene_count(&sample->scene, "registry.c"), 1);
			registry_close(sample->scene.registry);
		}
		sample->scene.registry = NULL;
		flip(&sample->bytes[i], i % 8);
	}
}

static void test_cut_at_each_length(void **state)
{
	struct sample *sample = *state;
	struct registry_entry extra = sealed_entry(2000, 1);

	for (size_t size = 0; size <= sample->size; size++) {
		const size_t records = size / RECORD;

		if (records == 0) {
			check_damaged(sample, sample->bytes, size, "no header");
			assert_true(model_matches(&sample->models[0], &sample->scene));
		} else {
			sample_put(sample, sample->bytes, size);
			sample_open(sample);
			assert_null(registry_problem(sample->scene.registry));
			assert_true(model_matches(&sample->models[records - 1], &sample->scene));
		}
		make(&sample->scene, &extra);
		registry_scene_reopen(&sample->scene);
		assert_true(registry_owns(sample->scene.registry, &extra));
		assert_true(model_matches(
			&sample->models[records > 0 ? records - 1 : 0], &sample->scene));
		registry_close(sample->scene.registry);
		sample->scene.registry = NULL;
	}
}

static void test_zeros_at_the_end(void **state)
{
	static const size_t zeros[] = {1, 255, 256, 257, 4096, 100000};
	struct sample *sample = *state;
	struct registry_entry extra = sealed_entry(2000, 1);

	for (size_t i = 0; i < G_N_ELEMENTS(zeros); i++)
		for (size_t part = 0; part < 224; part += 223) {
			const size_t whole = sample->size - (part > 0 ? RECORD : 0);
			const size_t size = whole + part + zeros[i];
			g_autofree char *bytes = g_malloc0(size);

			memcpy(bytes, sample->bytes, whole + part);
			sample_put(sample, bytes, size);
			sample_open(sample);
			assert_null(registry_problem(sample->scene.registry));
			assert_true(
				model_matches(&sample->models[whole / RECORD - 1], &sample->scene));
			make(&sample->scene, &extra);
			registry_scene_reopen(&sample->scene);
			assert_null(registry_problem(sample->scene.registry));
			assert_true(registry_owns(sample->scene.registry, &extra));
			registry_close(sample->scene.registry);
			sample->scene.registry = NULL;
		}
}

/* A block in the place of another, of one record and of two. */
static void test_a_block_twice(void **state)
{
	struct sample *sample = *state;

	for (size_t block = RECORD; block <= 2 * RECORD; block += RECORD)
		for (size_t from = 0; from + block <= sample->size; from += block)
			for (size_t to = 0; to + block <= sample->size; to += block) {
				g_autofree char *bytes = sample_copy(sample);
				g_autofree char *what =
					g_strdup_printf("%zu bytes of %zu at %zu", block, from, to);

				if (from == to)
					continue;
				memcpy(bytes + to, sample->bytes + from, block);
				check_damaged(sample, bytes, sample->size, what);
				registry_close(sample->scene.registry);
				sample->scene.registry = NULL;
			}
}

/* A block that is missing, is there twice in a row, or is of another registry. */
static void test_blocks_out_of_place(void **state)
{
	struct sample *sample = *state;

	for (size_t at = 0; at + RECORD < sample->size; at += RECORD) {
		char *bytes = g_malloc(sample->size + RECORD);

		memcpy(bytes, sample->bytes, at);
		memcpy(bytes + at, sample->bytes + at + RECORD, sample->size - at - RECORD);
		check_damaged(sample, bytes, sample->size - RECORD, "missing");
		registry_close(sample->scene.registry);
		memcpy(bytes, sample->bytes, at + RECORD);
		memcpy(bytes + at + RECORD, sample->bytes + at, sample->size - at);
		check_damaged(sample, bytes, sample->size + RECORD, "twice");
		registry_close(sample->scene.registry);
		g_free(bytes);
		sample->scene.registry = NULL;
	}
}

static void test_a_record_of_another_registry(void **state)
{
	struct sample *sample = *state;
	struct registry_scene other = registry_scene_new();
	g_autofree char *path = registry_scene_path(&other, "registry");
	g_autofree char *bytes = NULL;
	struct registry_entry entry;
	gsize size;

	for (uint32_t i = 0; i < sample->records; i++) {
		entry = sealed_entry(1000, 100 + i);
		make(&other, &entry);
	}
	assert_true(g_file_get_contents(path, &bytes, &size, NULL));
	assert_int_equal(size, sample->size + RECORD);
	for (size_t at = 0; at < sample->size; at += RECORD) {
		g_autofree char *mixed = sample_copy(sample);

		memcpy(mixed + at, bytes + at, RECORD);
		check_damaged(sample, mixed, sample->size, "of another");
		registry_close(sample->scene.registry);
		sample->scene.registry = NULL;
	}
	registry_scene_free(&other);
}

static void test_a_copy(void **state)
{
	struct sample *sample = *state;
	g_autofree char *copy = registry_scene_path(&sample->scene, "copy");
	unsigned doubtful = 0;

	assert_true(g_file_set_contents(copy, sample->bytes, (gssize)sample->size, NULL));
	assert_int_equal(chmod(copy, 0600), 0);
	assert_int_equal(rename(copy, sample->path), 0);
	sample_open(sample);
	assert_non_null(strstr(registry_problem(sample->scene.registry), "copy"));
	for (int i = 0; i < 2; i++) {
		for (uint32_t k = 0; k < MODEL_HANDLES; k++) {
			struct registry_entry entry = model_entry(1000, k, 0);

			assert_int_not_equal(state_of(&sample->scene, &entry), REGISTRY_OWN);
		}
		assert_true(model_matches_sealed(sample_model(sample), &sample->scene));
		registry_each(sample->scene.registry, UINT32_MAX, count_doubtful, &doubtful);
		assert_true(doubtful > 0);
		registry_scene_reopen(&sample->scene);
	}
	assert_null(registry_problem(sample->scene.registry));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, sample_setup, sample_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_flipped_bit),
		TEST(test_cut_at_each_length),
		TEST(test_zeros_at_the_end),
		TEST(test_a_block_twice),
		TEST(test_blocks_out_of_place),
		TEST(test_a_record_of_another_registry),
		TEST(test_a_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
