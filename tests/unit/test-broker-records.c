/*
 * What of the registry is told to people: sealed data is counted, and no reply is too large.
 */
#include "broker/records.h"
#include "broker/reply.h"
#include "registry-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct registry_scene scene;

static int setup(void **state)
{
	(void)state;
	scene = registry_scene_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	registry_scene_free(&scene);
	return 0;
}

static const struct protocol_record *record(const GArray *items, guint i)
{
	assert_true(i < items->len);
	return &g_array_index(items, struct protocol_record, i);
}

static void test_sealed_data_is_counted_by_user_and_tpm(void **state)
{
	const struct registry_entry index = nv_entry(1000, 1, 1);
	struct registry_entry elsewhere = sealed_entry(1000, 99);
	uint32_t left_out = 7;

	(void)state;
	for (uint32_t seed = 1; seed <= 5; seed++) {
		struct registry_entry sealed = sealed_entry(seed == 4 ? 1001 : 1000, seed);

		assert_int_equal(ask_claim(&scene, &sealed), ACCOUNT_YES);
	}
	strcpy(elsewhere.device, "tpm1");
	assert_int_equal(ask_claim(&scene, &elsewhere), ACCOUNT_YES);
	make(&scene, &index);

	g_autoptr(GArray) own = records_collect(scene.registry, 1000, &left_out);

	assert_int_equal(left_out, 0);
	assert_int_equal(own->len, 3);
	assert_int_equal(record(own, 0)->kind, PROTOCOL_KIND_NV); /* handles come first */
	assert_int_equal(record(own, 0)->handle, index.handle);
	assert_int_equal(record(own, 0)->nv_size, 32);
	assert_int_equal(record(own, 0)->state, PROTOCOL_STATE_OWN);
	assert_int_equal(record(own, 0)->count, 1);
	assert_string_equal(record(own, 0)->device, "tpm0");
	for (guint i = 1; i < 3; i++) {
		bool here = strcmp(record(own, i)->device, "tpm0") == 0;

		assert_int_equal(record(own, i)->kind, PROTOCOL_KIND_SEALED);
		assert_int_equal(record(own, i)->uid, 1000);
		assert_int_equal(record(own, i)->handle, 0);
		assert_int_equal(record(own, i)->count, here ? 4 : 1);
	}

	g_autoptr(GArray) all = records_collect(scene.registry, UINT32_MAX, &left_out);

	assert_int_equal(all->len, 4);
	assert_int_equal(left_out, 0);
}

static void test_doubtful_ones_are_told(void **state)
{
	const struct registry_entry index = nv_entry(1000, 1, 1);
	uint32_t left_out;

	(void)state;
	assert_int_equal(ask_claim(&scene, &index), ACCOUNT_YES);

	g_autoptr(GArray) before = records_collect(scene.registry, 1000, &left_out);

	assert_int_equal(record(before, 0)->state, PROTOCOL_STATE_CLAIMED);
	registry_doubt(scene.registry, &index);
	ask_nothing(&scene);

	g_autoptr(GArray) after = records_collect(scene.registry, 1000, &left_out);

	assert_int_equal(record(after, 0)->state, PROTOCOL_STATE_DOUBTFUL);
}

static void test_what_does_not_fit_is_counted(void **state)
{
	const uint32_t room = reply_room(sizeof(struct protocol_record));
	uint32_t left_out;

	(void)state;
	for (uint32_t number = 0; number < room + 3; number++) {
		const struct registry_entry index = nv_entry(1000 + number, number, 1);

		assert_int_equal(ask_adopt(&scene, &index), ACCOUNT_YES);
	}

	g_autoptr(GArray) items = records_collect(scene.registry, UINT32_MAX, &left_out);

	assert_int_equal(items->len, room);
	assert_int_equal(left_out, 3);
	assert_true(sizeof(struct protocol_reply) + items->len * sizeof(struct protocol_record) <=
		    PROTOCOL_REPLY_MAX);
}

static void test_no_registry_has_no_records(void **state)
{
	uint32_t left_out = 7;
	g_autoptr(GArray) items = records_collect(NULL, UINT32_MAX, &left_out);

	(void)state;
	assert_int_equal(items->len, 0);
	assert_int_equal(left_out, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sealed_data_is_counted_by_user_and_tpm),
		TEST(test_doubtful_ones_are_told),
		TEST(test_what_does_not_fit_is_counted),
		cmocka_unit_test(test_no_registry_has_no_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
