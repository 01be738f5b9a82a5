/*
 * The registry's contract: what becomes of an entry, who gets what, and how much of it.
 */
#include "registry-scene.h"

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define ALICE 1000
#define BOB   1001

static void test_claim_grants_nothing_until_confirmed(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry = nv_entry(ALICE, 1, 7);

	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_YES);
	assert_int_equal(state_of(scene, &entry), REGISTRY_CLAIMED);
	assert_false(registry_owns(scene->registry, &entry));
	assert_int_equal(ask_confirm(scene, &entry, true), ACCOUNT_YES);
	assert_true(registry_owns(scene->registry, &entry));
	/* said once more, as by a relay whose broker was away */
	assert_int_equal(ask_confirm(scene, &entry, true), ACCOUNT_YES);
	registry_scene_reopen(scene);
	assert_null(registry_problem(scene->registry));
	assert_true(registry_owns(scene->registry, &entry));
}

static void test_claim_that_failed_is_gone(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry = persistent_entry(ALICE, 1, 7);

	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_YES);
	assert_int_equal(ask_confirm(scene, &entry, false), ACCOUNT_YES);
	assert_int_equal(state_of(scene, &entry), REGISTRY_NONE);
	assert_int_equal(ask_confirm(scene, &entry, true), ACCOUNT_NO);
	registry_scene_reopen(scene);
	assert_int_equal(state_of(scene, &entry), REGISTRY_NONE);
}

static void test_owns_asks_for_all_of_it(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry = nv_entry(ALICE, 1, 7);
	struct registry_entry other;

	make(scene, &entry);
	other = entry;
	other.uid = BOB;
	assert_false(registry_owns(scene->registry, &other));
	other = entry;
	other.data[13] ^= 1;
	assert_false(registry_owns(scene->registry, &other));
	other = entry;
	other.size--;
	assert_false(registry_owns(scene->registry, &other));
	other = entry;
	other.handle++;
	assert_false(registry_owns(scene->registry, &other));
	other = entry;
	other.kind = ACCOUNT_KIND_PERSISTENT;
	assert_false(registry_owns(scene->registry, &other));
	other = entry;
	strcpy(other.device, "tpm1");
	assert_false(registry_owns(scene->registry, &other));
}

static void test_drop(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry = nv_entry(ALICE, 1, 7);
	struct registry_entry others = nv_entry(BOB, 1, 7);

	assert_int_equal(ask_drop(scene, &entry), ACCOUNT_NO);
	make(scene, &entry);
	assert_int_equal(ask_drop(scene, &others), ACCOUNT_NO);
	assert_true(registry_owns(scene->registry, &entry));
	assert_int_equal(ask_drop(scene, &entry), ACCOUNT_YES);
	assert_false(registry_owns(scene->registry, &entry));
	assert_int_equal(state_of(scene, &entry), REGISTRY_DROPPED);
	assert_int_equal(ask_drop(scene, &entry), ACCOUNT_NO);
	/* the TPM did not remove it */
	assert_int_equal(ask_confirm(scene, &entry, false), ACCOUNT_YES);
	assert_true(registry_owns(scene->registry, &entry));
	assert_int_equal(ask_drop(scene, &entry), ACCOUNT_YES);
	assert_int_equal(ask_confirm(scene, &others, true), ACCOUNT_NO);
	assert_int_equal(ask_confirm(scene, &entry, true), ACCOUNT_YES);
	assert_int_equal(state_of(scene, &entry), REGISTRY_NONE);
	make(scene, &others);
}

static void test_claim_of_what_is_taken(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry = nv_entry(ALICE, 1, 7);
	struct registry_entry others = nv_entry(BOB, 1, 8);

	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_YES);
	for (int i = 0; i < 4; i++) {
		if (i == 1)
			ask_confirm(scene, &entry, true); /* OWN */
		if (i == 2)
			ask_drop(scene, &entry); /* DROPPED */
		if (i == 3)
			registry_doubt(scene->registry, &entry);
		assert_int_equal(ask_claim(scene, &others), ACCOUNT_TAKEN);
		if (i == 0 || i == 2) /* while the TPM is busy with it */
			assert_int_equal(ask_claim(scene, &entry), ACCOUNT_TAKEN);
	}
	assert_int_equal(state_of(scene, &entry), REGISTRY_DOUBTFUL);
	/* its uid may try again: nothing is there */
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_YES);
	assert_int_equal(state_of(scene, &entry), REGISTRY_CLAIMED);
	/* another TPM's, and another kind's, are others */
	strcpy(others.device, "tpm1");
	make(scene, &others);
}

static void test_doubt(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry claimed = nv_entry(ALICE, 1, 7);
	struct registry_entry own = nv_entry(ALICE, 2, 7);
	struct registry_entry others = nv_entry(BOB, 1, 7);

	assert_int_equal(ask_claim(scene, &claimed), ACCOUNT_YES);
	make(scene, &own);
	registry_doubt(scene->registry, &own);
	registry_doubt(scene->registry, &others);
	ask_nothing(scene);
	assert_int_equal(state_of(scene, &claimed), REGISTRY_CLAIMED);
	assert_int_equal(state_of(scene, &own), REGISTRY_OWN);
	registry_doubt(scene->registry, &claimed);
	ask_nothing(scene);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(state_of(scene, &claimed), REGISTRY_DOUBTFUL);
		assert_false(registry_owns(scene->registry, &claimed));
		assert_int_equal(ask_confirm(scene, &claimed, true), ACCOUNT_NO);
		assert_int_equal(ask_drop(scene, &claimed), ACCOUNT_NO);
		registry_scene_reopen(scene);
	}
}

static void test_opening_doubts_what_is_not_settled(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entries[4];

	for (uint32_t i = 0; i < 4; i++) {
		entries[i] = nv_entry(ALICE, i, 7);
		if (i < 2) {
			assert_int_equal(ask_claim(scene, &entries[i]), ACCOUNT_YES);
			continue;
		}
		make(scene, &entries[i]);
		assert_int_equal(ask_drop(scene, &entries[i]), ACCOUNT_YES);
	}
	for (int i = 0; i < 2; i++)
		registry_scene_reopen(scene);
	assert_null(registry_problem(scene->registry));
	for (int i = 0; i < 4; i++) {
		assert_int_equal(state_of(scene, &entries[i]), REGISTRY_DOUBTFUL);
		assert_false(registry_owns(scene->registry, &entries[i]));
	}
	/* sessions that outlived the broker say what became of it */
	assert_int_equal(ask_confirm(scene, &entries[0], true), ACCOUNT_YES);
	assert_int_equal(ask_confirm(scene, &entries[1], false), ACCOUNT_YES);
	assert_int_equal(ask_drop(scene, &entries[0]), ACCOUNT_YES);
	assert_int_equal(ask_confirm(scene, &entries[0], false), ACCOUNT_YES);
	assert_int_equal(ask_confirm(scene, &entries[2], true), ACCOUNT_YES);
	assert_int_equal(ask_drop(scene, &entries[3]), ACCOUNT_YES); /* asked once more */
	assert_int_equal(ask_confirm(scene, &entries[3], false), ACCOUNT_YES);
	assert_true(registry_owns(scene->registry, &entries[0]));
	assert_int_equal(state_of(scene, &entries[1]), REGISTRY_NONE);
	assert_int_equal(state_of(scene, &entries[2]), REGISTRY_NONE);
	assert_true(registry_owns(scene->registry, &entries[3]));
}

static void test_sealed(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry alices = sealed_entry(ALICE, 1);
	struct registry_entry bobs = sealed_entry(BOB, 1);

	make(scene, &alices);
	assert_int_equal(ask_claim(scene, &alices), ACCOUNT_YES);
	assert_false(registry_owns(scene->registry, &bobs));
	make(scene, &bobs);
	assert_int_equal(ask_drop(scene, &alices), ACCOUNT_NO);
	registry_scene_reopen(scene);
	assert_true(registry_owns(scene->registry, &alices));
	assert_true(registry_owns(scene->registry, &bobs));
	assert_int_equal(ask_forget(scene, ALICE), ACCOUNT_YES);
	assert_false(registry_owns(scene->registry, &alices));
	assert_true(registry_owns(scene->registry, &bobs));
}

static void test_limits_of_nv(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry = nv_entry(ALICE, 9, 7);
	struct registry_entry doubtful = nv_entry(ALICE, 0, 7);

	scene->config.nv_indices_per_user = 2;
	scene->config.nv_index_size = 100;
	scene->config.nv_user_size = 230;
	scene->config.nv_total_size = 250;
	entry.nv_size = 101;
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_LIMIT);
	entry.nv_size = 100;
	doubtful.nv_size = 100;
	assert_int_equal(ask_claim(scene, &doubtful), ACCOUNT_YES);
	registry_doubt(scene->registry, &doubtful);
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_YES);
	/* both count, whatever their state; but not what is replaced */
	for (uint32_t i = 20; i < 22; i++) {
		struct registry_entry third = nv_entry(ALICE, i, 7);

		third.nv_size = 0;
		assert_int_equal(ask_claim(scene, &third), ACCOUNT_LIMIT);
	}
	assert_int_equal(ask_claim(scene, &doubtful), ACCOUNT_YES);
	/* bytes are counted of one uid, and for all, of one TPM */
	scene->config.nv_user_size = 199;
	scene->config.nv_indices_per_user = 3;
	entry = nv_entry(ALICE, 20, 7);
	entry.nv_size = 0;
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_LIMIT);
	scene->config.nv_user_size = 230;
	scene->config.nv_indices_per_user = 2;
	entry = nv_entry(BOB, 30, 7);
	entry.nv_size = 51;
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_LIMIT);
	entry.nv_size = 50;
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_YES);
	entry = nv_entry(BOB, 31, 7);
	entry.nv_size = 1;
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_LIMIT);
	strcpy(entry.device, "tpm1");
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_YES);
	/* what was removed makes room */
	registry_doubt(scene->registry, &doubtful);
	registry_absent(scene->registry, &doubtful);
	entry = nv_entry(ALICE, 40, 7);
	entry.nv_size = 100;
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_YES);
}

static void test_limits_of_persistent_and_sealed(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry;

	for (uint32_t i = 0; i < 2; i++) {
		entry = persistent_entry(ALICE, i, 7);
		make(scene, &entry);
	}
	entry = persistent_entry(ALICE, 2, 7);
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_LIMIT);
	entry = persistent_entry(BOB, 2, 7);
	make(scene, &entry);
	scene->config.sealed_per_user = 3;
	for (uint32_t i = 0; i < 3; i++) {
		entry = sealed_entry(ALICE, i);
		make(scene, &entry);
	}
	entry = sealed_entry(ALICE, 3);
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_LIMIT);
	assert_false(registry_owns(scene->registry, &entry));
	entry = sealed_entry(ALICE, 2);
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_YES);
	entry = sealed_entry(BOB, 3);
	make(scene, &entry);
}

static void test_adopt(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry alices = nv_entry(ALICE, 1, 7);
	struct registry_entry bobs = nv_entry(BOB, 1, 8);

	assert_int_equal(ask_claim(scene, &alices), ACCOUNT_YES);
	assert_int_equal(ask_adopt(scene, &bobs), ACCOUNT_YES);
	assert_true(registry_owns(scene->registry, &bobs));
	assert_int_equal(ask_confirm(scene, &alices, true), ACCOUNT_NO);
	registry_scene_reopen(scene);
	assert_true(registry_owns(scene->registry, &bobs));
	assert_false(registry_owns(scene->registry, &alices));
	/* without limits */
	scene->config.persistent_per_user = 0;
	alices = persistent_entry(ALICE, 1, 1);
	assert_int_equal(ask_adopt(scene, &alices), ACCOUNT_YES);
	assert_true(registry_owns(scene->registry, &alices));
}

static void count_entry(const struct registry_entry *entry, void *context)
{
	unsigned *count = context;

	assert_true(entry->changed > 1500000000);
	(*count)++;
}

static unsigned count_of(const struct registry_scene *scene, uint32_t uid)
{
	unsigned count = 0;

	registry_each(scene->registry, uid, count_entry, &count);
	return count;
}

static void test_forget_and_each(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entries[] = {nv_entry(ALICE, 1, 1), persistent_entry(ALICE, 1, 1),
		sealed_entry(ALICE, 1), nv_entry(BOB, 2, 1), sealed_entry(BOB, 1)};

	assert_int_equal(ask_forget(scene, ALICE), ACCOUNT_NO);
	for (size_t i = 0; i < G_N_ELEMENTS(entries); i++)
		make(scene, &entries[i]);
	assert_int_equal(count_of(scene, ALICE), 3);
	assert_int_equal(count_of(scene, BOB), 2);
	assert_int_equal(count_of(scene, UINT32_MAX), 5);
	assert_int_equal(ask_forget(scene, ALICE), ACCOUNT_YES);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(count_of(scene, ALICE), 0);
		assert_int_equal(count_of(scene, BOB), 2);
		assert_int_equal(ask_forget(scene, ALICE), ACCOUNT_NO);
		registry_scene_reopen(scene);
	}
	for (size_t i = 0; i < 3; i++)
		make(scene, &entries[i]);
}

static void never(void *context, enum account_answer answer)
{
	(void)context;
	(void)answer;
	fail();
}

static void test_forget_waiter(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry own = nv_entry(ALICE, 1, 7);
	struct registry_entry claimed = nv_entry(ALICE, 2, 7);
	struct registry_entry confirmed = nv_entry(ALICE, 3, 7);
	struct registry_entry sealed = sealed_entry(ALICE, 1);

	make(scene, &own);
	assert_int_equal(ask_claim(scene, &confirmed), ACCOUNT_YES);
	registry_drop(scene->registry, &own, never, scene);
	registry_claim(scene->registry, &scene->config, &claimed, never, scene);
	registry_confirm(scene->registry, &confirmed, true, never, scene);
	registry_claim(scene->registry, &scene->config, &sealed, never, scene);
	registry_forget_waiter(scene->registry, scene);
	ask_nothing(scene);
	/* nobody was told to go on, and what has happened is recorded */
	assert_int_equal(state_of(scene, &own), REGISTRY_OWN);
	assert_int_equal(state_of(scene, &claimed), REGISTRY_NONE);
	assert_true(registry_owns(scene->registry, &confirmed));
	assert_true(registry_owns(scene->registry, &sealed));
}

/* The waiter leaves while the disk is being written. */
static void test_forget_waiter_while_writing(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry own = nv_entry(ALICE, 1, 7);
	struct registry_entry claimed = nv_entry(ALICE, 2, 7);

	make(scene, &own);
	registry_drop(scene->registry, &own, never, scene);
	g_main_context_iteration(NULL, TRUE); /* it is the thread's */
	registry_forget_waiter(scene->registry, scene);
	ask_nothing(scene);
	assert_true(registry_owns(scene->registry, &own));
	registry_claim(scene->registry, &scene->config, &claimed, never, scene);
	g_main_context_iteration(NULL, TRUE);
	registry_forget_waiter(scene->registry, scene);
	registry_doubt(scene->registry, &claimed);
	ask_nothing(scene);
	assert_int_equal(state_of(scene, &claimed), REGISTRY_NONE);
	registry_scene_reopen(scene);
	assert_true(registry_owns(scene->registry, &own));
	assert_int_equal(state_of(scene, &claimed), REGISTRY_NONE);
}

static void test_close_writes_what_was_asked(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry;

	for (uint32_t i = 0; i < 100; i++) {
		entry = sealed_entry(ALICE, i);
		registry_claim(scene->registry, &scene->config, &entry, never, scene);
		if (i == 0)
			g_main_context_iteration(NULL, FALSE);
	}
	registry_scene_reopen(scene);
	assert_int_equal(count_of(scene, ALICE), 100);
}

static void test_requests_that_make_no_sense(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry = nv_entry(ALICE, 1, 7);

	entry.kind = 4;
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_NO);
	entry = nv_entry(ALICE, 1, 7);
	entry.handle = 0;
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_NO);
	entry = nv_entry(ALICE, 1, 7);
	entry.size = ACCOUNT_DATA_MAX + 1;
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_NO);
	assert_false(registry_owns(scene->registry, &entry));
	entry = nv_entry(ALICE, 1, 7);
	memset(entry.device, 'x', sizeof entry.device);
	assert_int_equal(ask_adopt(scene, &entry), ACCOUNT_NO);
	entry.device[0] = '\0';
	assert_int_equal(ask_adopt(scene, &entry), ACCOUNT_NO);
	entry = sealed_entry(ALICE, 1);
	entry.handle = 1;
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_NO);
	assert_int_equal(count_of(scene, UINT32_MAX), 0);
}

int main(void)
{
#define TEST(name)                                                                                 \
	cmocka_unit_test_setup_teardown(name, registry_scene_setup, registry_scene_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_claim_grants_nothing_until_confirmed),
		TEST(test_claim_that_failed_is_gone),
		TEST(test_owns_asks_for_all_of_it),
		TEST(test_drop),
		TEST(test_claim_of_what_is_taken),
		TEST(test_doubt),
		TEST(test_opening_doubts_what_is_not_settled),
		TEST(test_sealed),
		TEST(test_limits_of_nv),
		TEST(test_limits_of_persistent_and_sealed),
		TEST(test_adopt),
		TEST(test_forget_and_each),
		TEST(test_forget_waiter),
		TEST(test_forget_waiter_while_writing),
		TEST(test_close_writes_what_was_asked),
		TEST(test_requests_that_make_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
