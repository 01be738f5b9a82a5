#include "rm/space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define OBJECTS  3
#define SESSIONS 2

static uint8_t memory[(OBJECTS + SESSIONS) * SPACE_CONTEXT_SIZE];

static struct space new_space(void)
{
	struct space space;

	memset(&space, 0xff, sizeof space);
	space_init(&space, OBJECTS, SESSIONS, memory);
	return space;
}

static void test_space_init_makes_it_empty(void **state)
{
	struct space space = new_space();

	(void)state;
	assert_false(space.taken);
	assert_false(space_objects_full(&space));
	assert_false(space_sessions_full(&space));
	for (uint32_t i = 0; i < POLICY_SLOTS_MAX; i++)
		assert_null(space_object(&space, SPACE_FIRST_HANDLE - i));
	/* what marks a free slot is no handle */
	assert_null(space_object(&space, 0));
	assert_null(space_session(&space, 0));
}

static void test_space_objects_by_virtual_handles(void **state)
{
	struct space space = new_space();
	struct space_object *objects[OBJECTS];

	(void)state;
	for (uint32_t i = 0; i < OBJECTS; i++) {
		assert_false(space_objects_full(&space));
		objects[i] = space_add_object(&space, 0x80000000 + i, i == 1);
		assert_non_null(objects[i]);
		assert_int_equal(objects[i]->handle, SPACE_FIRST_HANDLE - i);
		assert_int_equal(objects[i]->real, 0x80000000 + i);
		assert_int_equal(objects[i]->sequence, i == 1);
		assert_int_equal(objects[i]->saved, 0);
	}
	assert_true(space_objects_full(&space));
	assert_null(space_add_object(&space, 0x80000003, false));
	for (uint32_t i = 0; i < OBJECTS; i++)
		assert_ptr_equal(space_object(&space, SPACE_FIRST_HANDLE - i), objects[i]);
	/* neither real handles nor those beside */
	assert_null(space_object(&space, 0x80000000));
	assert_null(space_object(&space, SPACE_FIRST_HANDLE + 1));
	assert_null(space_object(&space, SPACE_FIRST_HANDLE - OBJECTS));
	assert_null(space_object(&space, UINT32_MAX));
	/* a free slot is used again */
	*objects[1] = (struct space_object){0};
	assert_null(space_object(&space, SPACE_FIRST_HANDLE - 1));
	assert_false(space_objects_full(&space));
	assert_ptr_equal(space_add_object(&space, 0x80000007, false), objects[1]);
	assert_int_equal(objects[1]->handle, SPACE_FIRST_HANDLE - 1);
	assert_false(objects[1]->sequence);
}

static void test_space_sessions_by_their_handles(void **state)
{
	struct space space = new_space();
	struct space_session *first = space_add_session(&space, 0x02000005);
	struct space_session *second = space_add_session(&space, 0x03000007);

	(void)state;
	assert_true(space_sessions_full(&space));
	assert_null(space_add_session(&space, 0x03000008));
	assert_ptr_equal(space_session(&space, 0x02000005), first);
	assert_ptr_equal(space_session(&space, 0x03000007), second);
	assert_null(space_session(&space, 0x03000008));
	*first = (struct space_session){0};
	assert_null(space_session(&space, 0x02000005));
	assert_false(space_sessions_full(&space));
	assert_ptr_equal(space_add_session(&space, 0x02000001), first);
}

static void test_space_contexts_do_not_overlap(void **state)
{
	struct space space = new_space();
	uint8_t *context;
	unsigned count = 0;

	(void)state;
	for (unsigned i = 0; i < OBJECTS; i++) {
		context = space_object_context(&space, &space.objects[i]);
		assert_ptr_equal(context, memory + (size_t)count++ * SPACE_CONTEXT_SIZE);
	}
	for (unsigned i = 0; i < SESSIONS; i++) {
		context = space_session_context(&space, &space.sessions[i]);
		assert_ptr_equal(context, memory + (size_t)count++ * SPACE_CONTEXT_SIZE);
	}
	assert_int_equal(count * SPACE_CONTEXT_SIZE, sizeof memory);
}

static void test_space_list(void **state)
{
	struct space space = new_space();
	struct tpm_handles list = tpm_handles_new(10);

	(void)state;
	for (uint32_t i = 0; i < OBJECTS; i++)
		space_add_object(&space, 0x80000000 + i, false);
	space_add_session(&space, 0x03000007);
	space_add_session(&space, 0x02000005);
	space_list(&space, 0x80000000, &list);
	assert_int_equal(list.count, OBJECTS);
	assert_int_equal(list.handles[0], SPACE_FIRST_HANDLE - 2);
	list = tpm_handles_new(10);
	space_list(&space, SPACE_FIRST_HANDLE - 1, &list);
	assert_int_equal(list.count, 2);
	assert_int_equal(list.handles[0], SPACE_FIRST_HANDLE - 1);
	/* sessions of both kinds, as loaded ones */
	list = tpm_handles_new(10);
	space_list(&space, 0x02000000, &list);
	assert_int_equal(list.count, 2);
	assert_int_equal(list.handles[0], 0x02000005);
	assert_int_equal(list.handles[1], 0x03000007);
	list = tpm_handles_new(10);
	space_list(&space, 0x02000006, &list);
	assert_int_equal(list.count, 1);
	list = tpm_handles_new(10);
	space_list(&space, 0x03000000, &list);
	space_list(&space, 0x81000000, &list);
	assert_int_equal(list.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_space_init_makes_it_empty),
		cmocka_unit_test(test_space_objects_by_virtual_handles),
		cmocka_unit_test(test_space_sessions_by_their_handles),
		cmocka_unit_test(test_space_contexts_do_not_overlap),
		cmocka_unit_test(test_space_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
