#include "registry-scene.h"

#include <glib.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

struct waiter {
	bool answered;
	enum account_answer answer;
};

struct registry_scene registry_scene_new(void)
{
	struct registry_scene scene = {
		.directory = g_dir_make_tmp("tpmgate-test-XXXXXX", NULL),
		.config = config_new(),
	};
	g_autofree char *problem = NULL;

	assert_non_null(scene.directory);
	scene.registry = registry_open(scene.directory, &problem);
	if (!scene.registry)
		fail_msg("%s", problem);
	assert_null(registry_problem(scene.registry));
	return scene;
}

static int scene_remove(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return remove(path);
}

void registry_scene_remove(const char *directory)
{
	nftw(directory, scene_remove, 8, FTW_DEPTH | FTW_PHYS);
}

void registry_scene_free(struct registry_scene *scene)
{
	registry_close(scene->registry);
	config_done(&scene->config);
	registry_scene_remove(scene->directory);
	g_free(scene->directory);
}

int registry_scene_setup(void **state)
{
	struct registry_scene *scene = g_new0(struct registry_scene, 1);

	*scene = registry_scene_new();
	*state = scene;
	return 0;
}

int registry_scene_teardown(void **state)
{
	registry_scene_time_stands = false;
	registry_scene_free(*state);
	g_free(*state);
	return 0;
}

void registry_scene_reopen(struct registry_scene *scene)
{
	g_autofree char *problem = NULL;

	registry_close(scene->registry);
	scene->registry = registry_open(scene->directory, &problem);
	if (!scene->registry)
		fail_msg("%s", problem);
}

char *registry_scene_path(const struct registry_scene *scene, const char *name)
{
	return g_build_filename(scene->directory, name, NULL);
}

unsigned registry_scene_count(const struct registry_scene *scene, const char *prefix)
{
	g_autoptr(GDir) directory = g_dir_open(scene->directory, 0, NULL);
	const char *name;
	unsigned count = 0;

	while ((name = g_dir_read_name(directory)) != NULL)
		if (g_str_has_prefix(name, prefix))
			count++;
	return count;
}

struct registry_entry nv_entry(uint32_t uid, uint32_t number, uint8_t seed)
{
	struct registry_entry entry = {
		.device = "tpm0",
		.uid = uid,
		.kind = ACCOUNT_KIND_NV,
		.handle = 0x01800000 + number,
		.nv_size = 32,
		.size = 14,
	};

	memset(entry.data, seed, entry.size);
	return entry;
}

struct registry_entry persistent_entry(uint32_t uid, uint32_t number, uint8_t seed)
{
	struct registry_entry entry = {
		.device = "tpm0",
		.uid = uid,
		.kind = ACCOUNT_KIND_PERSISTENT,
		.handle = 0x81000100 + number,
		.size = 34,
	};

	memset(entry.data, seed, entry.size);
	return entry;
}

struct registry_entry sealed_entry(uint32_t uid, uint32_t seed)
{
	struct registry_entry entry = {
		.device = "tpm0",
		.uid = uid,
		.kind = ACCOUNT_KIND_SEALED,
		.size = 32,
	};

	memcpy(entry.data, &seed, sizeof seed);
	return entry;
}

static void on_answer(void *context, enum account_answer answer)
{
	struct waiter *waiter = context;

	assert_false(waiter->answered);
	waiter->answered = true;
	waiter->answer = answer;
}

static enum account_answer wait_for(struct waiter *waiter)
{
	assert_false(waiter->answered); /* never from within the call */
	while (!waiter->answered)
		g_main_context_iteration(NULL, TRUE);
	return waiter->answer;
}

enum account_answer ask_claim(struct registry_scene *scene, const struct registry_entry *entry)
{
	struct waiter waiter = {.answered = false};

	registry_claim(scene->registry, &scene->config, entry, on_answer, &waiter);
	return wait_for(&waiter);
}

enum account_answer ask_drop(struct registry_scene *scene, const struct registry_entry *entry)
{
	struct waiter waiter = {.answered = false};

	registry_drop(scene->registry, entry, on_answer, &waiter);
	return wait_for(&waiter);
}

enum account_answer ask_confirm(
	struct registry_scene *scene, const struct registry_entry *entry, bool success)
{
	struct waiter waiter = {.answered = false};

	registry_confirm(scene->registry, entry, success, on_answer, &waiter);
	return wait_for(&waiter);
}

enum account_answer ask_adopt(struct registry_scene *scene, const struct registry_entry *entry)
{
	struct waiter waiter = {.answered = false};

	registry_adopt(scene->registry, entry, on_answer, &waiter);
	return wait_for(&waiter);
}

enum account_answer ask_forget(struct registry_scene *scene, uint32_t uid)
{
	struct waiter waiter = {.answered = false};

	registry_forget(scene->registry, uid, on_answer, &waiter);
	return wait_for(&waiter);
}

bool registry_scene_time_stands;
static gint64 scene_now;

void registry_scene_pass(int64_t seconds)
{
	scene_now += seconds * G_TIME_SPAN_SECOND;
}

/* Time flies, so that nothing is young and nothing that was dropped is kept from others, but where
 * a test lets it stand. */
gint64 __wrap_g_get_monotonic_time(void)
{
	if (!registry_scene_time_stands)
		registry_scene_pass(660);
	return scene_now;
}

gint64 __wrap_g_get_real_time(void)
{
	return G_GINT64_CONSTANT(1800000000) * G_TIME_SPAN_SECOND + scene_now;
}

void ask_nothing(struct registry_scene *scene)
{
	struct registry_entry nobody = nv_entry(4294967294u, 0xfffff, 0);

	assert_int_equal(ask_drop(scene, &nobody), ACCOUNT_NO);
}

void make(struct registry_scene *scene, const struct registry_entry *entry)
{
	assert_int_equal(ask_claim(scene, entry), ACCOUNT_YES);
	if (entry->kind != ACCOUNT_KIND_SEALED)
		assert_int_equal(ask_confirm(scene, entry, true), ACCOUNT_YES);
	assert_true(registry_owns(scene->registry, entry));
}

enum registry_state state_of(const struct registry_scene *scene, const struct registry_entry *entry)
{
	const struct registry_entry *found = registry_find(
		scene->registry, entry->device, (enum account_kind)entry->kind, entry->handle);

	return found ? (enum registry_state)found->state : REGISTRY_NONE;
}
