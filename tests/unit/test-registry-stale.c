/*
 * Records of what is there no longer: dropped, absent, or replaced by a claim.
 */
#include "registry-scene.h"

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define ALICE 1000
#define BOB   1001

/* A command of the former owner may still be on its way to the TPM. */
static void test_what_was_dropped_is_kept_from_others(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry = nv_entry(ALICE, 1, 7);
	struct registry_entry others = nv_entry(BOB, 1, 7);
	struct registry_entry next = nv_entry(BOB, 2, 7);

	registry_scene_time_stands = true;
	make(scene, &entry);
	assert_int_equal(ask_drop(scene, &entry), ACCOUNT_YES);
	assert_int_equal(ask_confirm(scene, &entry, true), ACCOUNT_YES);
	assert_int_equal(ask_claim(scene, &others), ACCOUNT_TAKEN);
	make(scene, &next);
	make(scene, &entry); /* its own it may have again */
	assert_int_equal(ask_drop(scene, &entry), ACCOUNT_YES);
	assert_int_equal(ask_confirm(scene, &entry, true), ACCOUNT_YES);
	assert_int_equal(ask_claim(scene, &others), ACCOUNT_TAKEN);
	/* a drop that another broker hears of */
	make(scene, &entry);
	assert_int_equal(ask_drop(scene, &entry), ACCOUNT_YES);
	registry_scene_reopen(scene);
	assert_int_equal(ask_confirm(scene, &entry, true), ACCOUNT_YES);
	assert_int_equal(ask_claim(scene, &others), ACCOUNT_TAKEN);
	registry_scene_time_stands = false;
	make(scene, &others);
}

/* After TPM2_Clear there is nothing, and its uid finds that out. */
static void test_what_is_absent_is_gone(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry = nv_entry(ALICE, 1, 7);
	struct registry_entry others = nv_entry(BOB, 1, 7);

	make(scene, &entry);
	registry_absent(scene->registry, &others);
	ask_nothing(scene);
	assert_true(registry_owns(scene->registry, &entry));
	registry_absent(scene->registry, &entry);
	ask_nothing(scene);
	assert_int_equal(state_of(scene, &entry), REGISTRY_NONE);
	/* not while the TPM is busy with it */
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_YES);
	registry_absent(scene->registry, &entry);
	ask_nothing(scene);
	assert_int_equal(state_of(scene, &entry), REGISTRY_CLAIMED);
	assert_int_equal(ask_confirm(scene, &entry, true), ACCOUNT_YES);
	assert_int_equal(ask_drop(scene, &entry), ACCOUNT_YES);
	registry_absent(scene->registry, &entry);
	ask_nothing(scene);
	assert_int_equal(state_of(scene, &entry), REGISTRY_DROPPED);
	registry_doubt(scene->registry, &entry);
	registry_absent(scene->registry, &entry);
	ask_nothing(scene);
	assert_int_equal(state_of(scene, &entry), REGISTRY_NONE);
	registry_scene_reopen(scene);
	assert_int_equal(state_of(scene, &entry), REGISTRY_NONE);
}

/* The relay has seen that nothing is there. If the TPM says otherwise, nobody knows. */
static void test_claim_replaces_what_is_own(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry = nv_entry(ALICE, 1, 7);
	struct registry_entry anew = nv_entry(ALICE, 1, 9);
	struct registry_entry bobs = sealed_entry(BOB, 1);

	make(scene, &entry);
	assert_int_equal(ask_claim(scene, &anew), ACCOUNT_YES);
	assert_int_equal(ask_claim(scene, &anew), ACCOUNT_TAKEN);
	assert_false(registry_owns(scene->registry, &entry));
	assert_int_equal(ask_confirm(scene, &anew, true), ACCOUNT_YES);
	assert_true(registry_owns(scene->registry, &anew));
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_YES);
	assert_int_equal(ask_confirm(scene, &entry, false), ACCOUNT_YES);
	assert_int_equal(state_of(scene, &entry), REGISTRY_DOUBTFUL);
	registry_scene_reopen(scene);
	assert_int_equal(state_of(scene, &entry), REGISTRY_DOUBTFUL);
	/* the same where another broker hears of it; and once more, of a file written anew */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(ask_claim(scene, &anew), ACCOUNT_YES);
		registry_scene_reopen(scene);
		if (i == 1) {
			make(scene, &bobs);
			assert_int_equal(ask_forget(scene, BOB), ACCOUNT_YES);
			registry_scene_reopen(scene);
		}
		assert_int_equal(ask_confirm(scene, &anew, false), ACCOUNT_YES);
		assert_int_equal(state_of(scene, &anew), REGISTRY_DOUBTFUL);
		assert_int_equal(ask_confirm(scene, &anew, true), ACCOUNT_NO);
	}
	assert_int_equal(ask_claim(scene, &anew), ACCOUNT_YES);
	registry_scene_reopen(scene);
	assert_int_equal(ask_confirm(scene, &anew, true), ACCOUNT_YES);
	assert_true(registry_owns(scene->registry, &anew));
}

static uint32_t size_of(struct registry_scene *scene, const struct registry_entry *entry)
{
	return registry_find(scene->registry, entry->device, entry->kind, entry->handle)->nv_size;
}

/* What is there after all may be as large as before: a quota is not to be had for less. */
static void test_claim_that_replaces_is_as_large(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry = nv_entry(ALICE, 1, 7);
	struct registry_entry smaller = nv_entry(ALICE, 1, 7);

	entry.nv_size = 512;
	smaller.nv_size = 1;
	make(scene, &entry);
	assert_int_equal(ask_claim(scene, &smaller), ACCOUNT_YES);
	assert_int_equal(size_of(scene, &smaller), 512);
	assert_int_equal(ask_confirm(scene, &smaller, false), ACCOUNT_YES);
	assert_int_equal(size_of(scene, &smaller), 512);
	registry_scene_reopen(scene);
	assert_int_equal(size_of(scene, &smaller), 512);
}

static void see_absent(struct registry_scene *scene, const struct registry_entry *entry)
{
	registry_absent(scene->registry, entry);
	ask_nothing(scene);
}

/* A session was revoked while its NV_DefineSpace waited for the TPM: it may still be carried out.
 */
static void test_doubtful_is_not_gone_while_commands_wait(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry = nv_entry(ALICE, 1, 7);
	struct registry_entry smaller = nv_entry(ALICE, 1, 7);

	registry_scene_time_stands = true;
	smaller.nv_size = 1;
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_YES);
	registry_doubt(scene->registry, &entry);
	ask_nothing(scene);
	for (unsigned i = 0; i < 2; i++) {
		registry_scene_pass(i == 0 ? 0 : 340);
		see_absent(scene, &entry);
		assert_int_equal(state_of(scene, &entry), REGISTRY_DOUBTFUL);
		/* nor does another size take its place */
		assert_int_equal(ask_claim(scene, &smaller), ACCOUNT_TAKEN);
		assert_false(registry_is_settled(scene->registry));
	}
	/* the next broker does not know when its last one ended, or how the machine slept */
	registry_scene_reopen(scene);
	see_absent(scene, &entry); /* its session may still say more */
	registry_doubt(scene->registry, &entry);
	ask_nothing(scene);
	registry_scene_pass(340);
	see_absent(scene, &entry);
	assert_int_equal(state_of(scene, &entry), REGISTRY_DOUBTFUL);
	registry_scene_reopen(scene);
	see_absent(scene, &entry);
	assert_int_equal(state_of(scene, &entry), REGISTRY_DOUBTFUL);
	registry_scene_pass(341);
	assert_true(registry_is_settled(scene->registry));
	see_absent(scene, &entry);
	assert_int_equal(state_of(scene, &entry), REGISTRY_NONE);
}

/* The broker was lost with the session: nobody will ever say what became of the claim. */
static void test_lost_claim_is_not_for_ever(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry = nv_entry(ALICE, 1, 7);

	registry_scene_time_stands = true;
	assert_int_equal(ask_claim(scene, &entry), ACCOUNT_YES);
	registry_scene_reopen(scene);
	registry_scene_pass(340);
	see_absent(scene, &entry);
	assert_int_equal(state_of(scene, &entry), REGISTRY_DOUBTFUL);
	registry_scene_pass(1);
	see_absent(scene, &entry);
	assert_int_equal(state_of(scene, &entry), REGISTRY_NONE);
}

/* One session looked and saw nothing; before it said so, another one had made it. */
static void test_own_is_not_gone_at_once(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry entry = nv_entry(ALICE, 1, 7);
	struct registry_entry smaller = nv_entry(ALICE, 1, 7);

	registry_scene_time_stands = true;
	smaller.nv_size = 1;
	make(scene, &entry);
	for (unsigned i = 0; i < 2; i++) {
		see_absent(scene, &entry);
		assert_true(registry_owns(scene->registry, &entry));
		assert_int_equal(ask_claim(scene, &smaller), ACCOUNT_TAKEN);
		/* nothing that another broker would not know */
		assert_true(registry_is_settled(scene->registry));
		registry_scene_reopen(scene);
	}
	registry_scene_pass(341);
	assert_int_equal(ask_claim(scene, &smaller), ACCOUNT_YES);
	assert_int_equal(ask_confirm(scene, &smaller, true), ACCOUNT_YES);
	/* a record from the future, as where the clock was set back, may be of now */
	registry_scene_pass(-1000);
	registry_scene_reopen(scene);
	see_absent(scene, &smaller);
	assert_true(registry_owns(scene->registry, &smaller));
	registry_scene_pass(1000 + 341);
	registry_scene_reopen(scene);
	see_absent(scene, &smaller);
	assert_int_equal(state_of(scene, &smaller), REGISTRY_NONE);
}

/* However it went: commands of who had it may still be on their way. */
static void test_what_is_gone_is_kept_from_others(void **state)
{
	struct registry_scene *scene = *state;
	struct registry_entry absent = nv_entry(ALICE, 1, 7);
	struct registry_entry forgotten = persistent_entry(ALICE, 2, 7);
	struct registry_entry failed = nv_entry(ALICE, 3, 7);
	struct registry_entry others[] = {nv_entry(BOB, 1, 7), persistent_entry(BOB, 2, 7)};
	struct registry_entry other = nv_entry(BOB, 3, 7);

	registry_scene_time_stands = true;
	make(scene, &absent);
	registry_scene_pass(341);
	see_absent(scene, &absent);
	assert_int_equal(state_of(scene, &absent), REGISTRY_NONE);
	make(scene, &forgotten);
	assert_int_equal(ask_claim(scene, &failed), ACCOUNT_YES);
	assert_int_equal(ask_confirm(scene, &failed, false), ACCOUNT_YES);
	make(scene, &other); /* nobody was granted anything of that */
	assert_int_equal(ask_forget(scene, ALICE), ACCOUNT_YES);
	for (size_t i = 0; i < G_N_ELEMENTS(others); i++)
		assert_int_equal(ask_claim(scene, &others[i]), ACCOUNT_TAKEN);
	assert_false(registry_is_settled(scene->registry));
	registry_scene_pass(601);
	assert_true(registry_is_settled(scene->registry));
	for (size_t i = 0; i < G_N_ELEMENTS(others); i++)
		make(scene, &others[i]);
}

int main(void)
{
#define TEST(name)                                                                                 \
	cmocka_unit_test_setup_teardown(name, registry_scene_setup, registry_scene_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_what_was_dropped_is_kept_from_others),
		TEST(test_what_is_absent_is_gone),
		TEST(test_claim_replaces_what_is_own),
		TEST(test_claim_that_replaces_is_as_large),
		TEST(test_doubtful_is_not_gone_while_commands_wait),
		TEST(test_lost_claim_is_not_for_ever),
		TEST(test_own_is_not_gone_at_once),
		TEST(test_what_is_gone_is_kept_from_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
