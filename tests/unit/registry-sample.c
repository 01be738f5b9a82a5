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

int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);

int __wrap_fsync(int fd)
{
	(void)fd;
	return 0;
}

int __wrap_fdatasync(int fd)
{
	(void)fd;
	return 0;
}

void sample_open(struct sample *sample)
{
	g_autofree char *problem = NULL;

	sample->scene.registry = registry_open(sample->scene.directory, &problem);
	if (!sample->scene.registry)
		fail_msg("%s", problem);
}

int sample_setup(void **state)
{
	struct sample *sample = g_new0(struct sample, 1);
	uint32_t seed = 4;

	sample->scene = registry_scene_new();
	sample->path = registry_scene_path(&sample->scene, "registry");
	sample->records = 1;
	while (sample->records < 26) {
		struct model next = sample->models[sample->records - 1];
		struct step step = step_random(&next, &seed);
		bool changed;
		enum account_answer answer;

		if (step.type == STEP_FORGET)
			continue; /* which leaves no record */
		answer = model_apply(&next, &step, &changed);
		assert_int_equal(step_ask(&sample->scene, &step), answer);
		if (!changed)
			continue;
		sample->about[sample->records] = step.entry;
		sample->models[sample->records++] = next;
	}
	registry_close(sample->scene.registry);
	sample->scene.registry = NULL;
	assert_true(g_file_get_contents(sample->path, &sample->bytes, &sample->size, NULL));
	assert_int_equal(sample->size, sample->records * RECORD);
	*state = sample;
	return 0;
}

int sample_teardown(void **state)
{
	struct sample *sample = *state;

	registry_scene_free(&sample->scene);
	g_free(sample->bytes);
	g_free(sample->path);
	g_free(sample);
	return 0;
}

void sample_put(struct sample *sample, const char *bytes, size_t size)
{
	g_autoptr(GDir) directory = g_dir_open(sample->scene.directory, 0, NULL);
	g_autofree char *link = registry_scene_path(&sample->scene, "kept");
	const char *name;
	int fd;

	if (access(link, F_OK) != 0)
		assert_int_equal(linkat(AT_FDCWD, sample->path, AT_FDCWD, link, 0), 0);
	while ((name = g_dir_read_name(directory)) != NULL) {
		g_autofree char *path = registry_scene_path(&sample->scene, name);

		if (g_str_has_prefix(name, "registry") && !g_str_has_suffix(name, ".lock"))
			unlink(path);
	}
	fd = open(link, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(write(fd, bytes, size), (ssize_t)size);
	close(fd);
	assert_int_equal(linkat(AT_FDCWD, link, AT_FDCWD, sample->path, 0), 0);
}

char *sample_copy(const struct sample *sample)
{
	char *copy = g_malloc(sample->size);

	memcpy(copy, sample->bytes, sample->size);
	return copy;
}

const struct model *sample_model(const struct sample *sample)
{
	return &sample->models[sample->records - 1];
}

void sample_check_survivors(const struct sample *sample, size_t damaged)
{
	for (size_t i = 1; i < sample->records; i++) {
		const struct registry_entry *entry = &sample->about[i];
		bool last = true;

		for (size_t k = i + 1; k < sample->records; k++)
			last = last && sample->about[k].handle != entry->handle;
		if (entry->kind == ACCOUNT_KIND_SEALED && i != damaged)
			assert_true(registry_owns(sample->scene.registry, entry));
		/* without a header, it may be a copy */
		if (entry->kind == ACCOUNT_KIND_SEALED || !last || i <= damaged || damaged == 0)
			continue;
		for (uint32_t k = 0; k < MODEL_HANDLES; k++) {
			struct registry_entry own =
				model_entry(sample_model(sample)->handles[k].uid, k,
					sample_model(sample)->handles[k].seed);

			if (own.handle == entry->handle &&
				sample_model(sample)->handles[k].state == REGISTRY_OWN)
				assert_true(registry_owns(sample->scene.registry, &own));
		}
	}
}
