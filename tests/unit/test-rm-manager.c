/*
 * The manager on a small TPM that says which object and session it has really used.
 */
#include "rm-scene.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

static void assert_digest(
	struct rm_scene *scene, unsigned space, uint32_t handle, uint32_t expected, uint32_t count)
{
	uint32_t told[2] = {0};

	OK(rm_digest(scene, space, handle, told));
	assert_int_equal(told[0], expected);
	assert_int_equal(told[1], count);
}

/* ---- more than fits ---- */

static void test_manager_objects_beyond_slots_are_never_mixed_up(void **state)
{
	struct rm_scene *scene = *state;
	uint32_t handles[RM_SPACES][RM_OBJECTS];
	uint32_t numbers[RM_SPACES][RM_OBJECTS];

	for (unsigned i = 0; i < RM_OBJECTS; i++)
		for (unsigned space = 0; space < RM_SPACES; space++) {
			OK(rm_create(scene, space, &handles[space][i], &numbers[space][i]));
			/* the same handles for everybody */
			assert_int_equal(handles[space][i], SPACE_FIRST_HANDLE - i);
		}
	for (unsigned step = 0; step < 200; step++) {
		unsigned space = step * 7 % RM_SPACES;
		unsigned i = step * 5 % RM_OBJECTS;
		unsigned j = step * 3 % RM_OBJECTS;
		const uint32_t pair[2] = {handles[space][i], handles[space][j]};
		uint32_t told[2];

		assert_public(scene, space, pair[0], numbers[space][i]);
		OK(rm_certify(scene, space, pair, told));
		assert_int_equal(told[0], numbers[space][i]);
		assert_int_equal(told[1], numbers[space][j]);
	}
}

static void test_manager_sessions_beyond_slots_are_never_mixed_up(void **state)
{
	struct rm_scene *scene = *state;
	uint32_t handles[RM_SPACES][RM_SESSIONS];
	uint32_t numbers[RM_SPACES][RM_SESSIONS];
	uint32_t counts[RM_SPACES][RM_SESSIONS] = {{0}};

	for (unsigned i = 0; i < RM_SESSIONS; i++)
		for (unsigned space = 0; space < RM_SPACES; space++)
			OK(rm_session_start(scene, space, RM_SE_POLICY, &handles[space][i],
				&numbers[space][i]));
	for (unsigned step = 0; step < 400; step++) {
		unsigned space = step * 7 % RM_SPACES;
		unsigned i = step * 5 % RM_SESSIONS;

		OK(rm_policy(scene, space, RM_CC_POLICY_AUTH_VALUE, handles[space][i]));
		counts[space][i]++;
		if (step % 11 == 0) {
			OK(rm_policy(scene, space, RM_CC_POLICY_RESTART, handles[space][i]));
			counts[space][i] = 0;
		}
		assert_digest(scene, space, handles[space][i], numbers[space][i], counts[space][i]);
	}
}

static void test_manager_sequences_are_saved_anew_after_each_use(void **state)
{
	struct rm_scene *scene = *state;
	uint32_t handles[6];
	uint32_t sums[6] = {0};
	uint32_t told[2];

	for (unsigned i = 0; i < 6; i++)
		OK(rm_sequence_start(scene, i % 2, &handles[i]));
	for (unsigned step = 0; step < 60; step++) {
		unsigned i = step * 5 % 6;

		OK(rm_sequence_update(scene, i % 2, handles[i], (uint8_t)step));
		sums[i] = sums[i] * 31 + (uint8_t)step;
	}
	for (unsigned i = 0; i < 6; i++) {
		OK(rm_sequence_complete(scene, i % 2, handles[i], told));
		assert_int_equal(told[1], sums[i]);
		/* it is gone, and its slot free */
		assert_int_equal(rm_sequence_complete(scene, i % 2, handles[i], told), RC_LOST_H0);
	}
	assert_int_equal(rm_tpm_count(scene, TPM_HT_TRANSIENT), 0);
}

/* One that was saved by its owner and loaded again is a sequence still. */
static void test_manager_sequence_loaded_from_a_context(void **state)
{
	struct rm_scene *scene = *state;
	struct rm_context context;
	uint32_t handle;
	uint32_t copy;
	uint32_t other;
	uint32_t number;
	uint32_t told[2];

	OK(rm_sequence_start(scene, 0, &handle));
	OK(rm_sequence_update(scene, 0, handle, 1));
	OK(rm_save(scene, 0, handle, &context));
	OK(rm_load(scene, 1, &context, &copy));
	for (unsigned step = 0; step < 3; step++) {
		OK(rm_sequence_update(scene, 1, copy, 2));
		for (unsigned i = 0; i < FAKE_TPM_OBJECTS; i++)
			OK(rm_create(scene, 2, &other, &number));
		for (unsigned i = 0; i < FAKE_TPM_OBJECTS; i++)
			OK(rm_flush(scene, 2, SPACE_FIRST_HANDLE - i));
	}
	OK(rm_sequence_complete(scene, 1, copy, told));
	assert_int_equal(told[1], ((1u * 31 + 2) * 31 + 2) * 31 + 2);
	OK(rm_sequence_complete(scene, 0, handle, told));
	assert_int_equal(told[1], 1);
}

static void test_manager_slots_are_limited(void **state)
{
	struct rm_scene *scene = *state;
	struct rm_context context;
	uint32_t handle;
	uint32_t number;

	for (unsigned i = 0; i < RM_OBJECTS; i++)
		OK(rm_create(scene, 0, &handle, &number));
	assert_int_equal(rm_create(scene, 0, &handle, &number), RC_NO_OBJECTS);
	assert_int_equal(rm_sequence_start(scene, 0, &handle), RC_NO_OBJECTS);
	for (unsigned i = 0; i < RM_SESSIONS; i++)
		OK(rm_session_start(scene, 0, RM_SE_HMAC, &handle, &number));
	assert_int_equal(rm_session_start(scene, 0, RM_SE_HMAC, &handle, &number), RC_NO_SESSIONS);
	/* nobody else's, and room again after a flush */
	OK(rm_create(scene, 1, &handle, &number));
	OK(rm_save(scene, 0, SPACE_FIRST_HANDLE - 2, &context));
	assert_int_equal(rm_load(scene, 0, &context, &handle), RC_NO_OBJECTS);
	OK(rm_flush(scene, 0, SPACE_FIRST_HANDLE - 3));
	OK(rm_load(scene, 0, &context, &handle));
	assert_int_equal(handle, SPACE_FIRST_HANDLE - 3);
}

/* ---- whose is what ---- */

static void test_manager_foreign_handles_do_not_exist(void **state)
{
	struct rm_scene *scene = *state;
	uint32_t object;
	uint32_t session;
	uint32_t hmac;
	uint32_t number;
	uint32_t told[2];
	struct rm_context context;

	OK(rm_create(scene, 0, &object, &number));
	OK(rm_session_start(scene, 0, RM_SE_POLICY, &session, &number));
	OK(rm_session_start(scene, 0, RM_SE_HMAC, &hmac, &number));
	assert_int_equal(rm_public(scene, 1, object, &number), RC_LOST_H0);
	assert_int_equal(rm_public(scene, 1, 0x80000000, &number), RC_LOST_H0);
	assert_int_equal(rm_public(scene, 0, 0x80000000, &number), RC_LOST_H0);
	assert_int_equal(rm_digest(scene, 1, session, told), RC_LOST_H0);
	assert_int_equal(rm_save(scene, 1, session, &context), RC_LOST_H0);
	assert_int_equal(rm_public_with(scene, 1, 0x81000001, hmac, 1, &number), RC_LOST_S0);
	assert_int_equal(rm_flush(scene, 1, object), RC_FLUSH);
	assert_int_equal(rm_flush(scene, 1, session), RC_FLUSH);
	assert_int_equal(rm_flush(scene, 1, hmac), RC_FLUSH);
	assert_int_equal(rm_flush(scene, 0, 0x81000001), RC_FLUSH);
	assert_int_equal(rm_flush(scene, 0, TPM_RH_OWNER), RC_FLUSH);
	/* nothing of it has happened */
	OK(rm_public(scene, 0, object, &number));
	OK(rm_digest(scene, 0, session, told));
	OK(rm_flush(scene, 0, hmac));
	OK(rm_flush(scene, 0, session));
	OK(rm_flush(scene, 0, object));
	assert_int_equal(rm_flush(scene, 0, object), RC_FLUSH);
	assert_int_equal(rm_digest(scene, 0, session, told), RC_LOST_H0);
	assert_int_equal(rm_tpm_count(scene, TPM_HT_TRANSIENT), 0);
	assert_int_equal(rm_tpm_count(scene, TPM_HT_HMAC_SESSION), 0);
}

static void test_manager_lists_show_ones_own(void **state)
{
	struct rm_scene *scene = *state;
	struct rm_context context;
	struct tpm_handles list;
	uint32_t handles[5];
	uint32_t sessions[5];
	uint32_t number;

	for (unsigned i = 0; i < 5; i++) {
		OK(rm_create(scene, 0, &handles[i], &number));
		OK(rm_session_start(scene, 0, RM_SE_HMAC, &sessions[i], &number));
	}
	OK(rm_list(scene, 1, 0x80000000, 10, &list));
	assert_int_equal(list.count, 0);
	OK(rm_list(scene, 0, 0x80000000, 10, &list));
	assert_int_equal(list.count, 5);
	assert_int_equal(list.handles[0], handles[4]);
	OK(rm_list(scene, 0, handles[2], 2, &list));
	assert_int_equal(list.count, 2);
	assert_int_equal(list.handles[0], handles[2]);
	assert_true(list.more);
	OK(rm_list(scene, 0, handles[2], 0, &list));
	assert_int_equal(list.count, 0);
	/* whether the manager has them saved or not, they are loaded */
	OK(rm_list(scene, 0, 0x02000000, 10, &list));
	assert_int_equal(list.count, 5);
	OK(rm_list(scene, 1, 0x02000000, 10, &list));
	assert_int_equal(list.count, 0);
	OK(rm_list(scene, 1, 0x03000000, 10, &list));
	assert_int_equal(list.count, 0);
	/* one that was given away is everybody's */
	OK(rm_save(scene, 0, sessions[3], &context));
	OK(rm_list(scene, 1, 0x03000000, 10, &list));
	assert_int_equal(list.count, 1);
	assert_int_equal(list.handles[0], sessions[3]);
}

/* A response with sessions has an HMAC that only the TPM can make. */
static void test_manager_lists_refuse_sessions(void **state)
{
	struct rm_scene *scene = *state;
	static const uint8_t parameters[] = {0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 1};
	struct rm_authorization authorization = {0, TPMA_SESSION_CONTINUE};
	uint32_t number;

	OK(rm_session_start(scene, 0, RM_SE_HMAC, &authorization.handle, &number));
	assert_int_equal(rm_execute(scene, 0,
				 rm_command(TPM_CC_GET_CAPABILITY, NULL, 0, &authorization, 1,
					 parameters, sizeof parameters)),
		TPM_RC_LAYER | TPM_RC_AUTH_CONTEXT);
}

static void test_manager_sessions_end_with_a_command(void **state)
{
	struct rm_scene *scene = *state;
	uint32_t object;
	uint32_t session;
	uint32_t number;
	uint32_t expected;

	OK(rm_create(scene, 0, &object, &expected));
	OK(rm_session_start(scene, 0, RM_SE_HMAC, &session, &number));
	OK(rm_public_with(scene, 0, object, session, TPMA_SESSION_CONTINUE, &number));
	assert_int_equal(number, expected);
	OK(rm_public_with(scene, 0, object, session, 0, &number));
	assert_int_equal(rm_public_with(scene, 0, object, session, 0, &number), RC_LOST_S0);
	assert_int_equal(rm_tpm_count(scene, TPM_HT_HMAC_SESSION), 0);
}

/* One whose command fails is not ended. */
static void test_manager_sessions_survive_a_failure(void **state)
{
	static const uint8_t failure[] = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x43};
	struct rm_scene *scene = *state;
	uint32_t object;
	uint32_t session;
	uint32_t number;

	OK(rm_create(scene, 0, &object, &number));
	OK(rm_session_start(scene, 0, RM_SE_HMAC, &session, &number));
	rm_tpm_lie(scene, TPM_CC_READ_PUBLIC, failure, sizeof failure);
	assert_int_equal(
		rm_public_with(scene, 0, object, session, 0, &number), TPM_RC_COMMAND_CODE);
	OK(rm_public_with(scene, 0, object, session, 0, &number));
}

static void test_manager_leave_flushes_everything(void **state)
{
	struct rm_scene *scene = *state;
	struct space *space = scene->spaces[0];
	uint32_t handle;
	uint32_t mine;
	uint32_t number;
	uint32_t told[2];

	for (unsigned i = 0; i < 6; i++) {
		OK(rm_create(scene, 0, &handle, &number));
		OK(rm_sequence_start(scene, 1, &handle));
		OK(rm_session_start(scene, 0, RM_SE_POLICY, &handle, &number));
	}
	OK(rm_session_start(scene, 1, RM_SE_POLICY, &mine, &number));
	assert_int_equal(manager_leave(&scene->manager, space), 0);
	assert_int_equal(rm_tpm_count(scene, TPM_HT_HMAC_SESSION), 1);
	assert_int_equal(rm_tpm_count(scene, TPM_HT_POLICY_SESSION), 0);
	/* it is given out again, empty */
	assert_ptr_equal(manager_take(&scene->manager), space);
	assert_null(manager_take(&scene->manager));
	assert_int_equal(rm_public(scene, 0, SPACE_FIRST_HANDLE, &number), RC_LOST_H0);
	/* nothing of the others is gone */
	OK(rm_digest(scene, 1, mine, told));
	for (unsigned i = 0; i < 6; i++)
		OK(rm_sequence_complete(scene, 1, SPACE_FIRST_HANDLE - i, told));
	assert_int_equal(rm_tpm_count(scene, TPM_HT_TRANSIENT), 0);
}

static void test_manager_start_flushes_what_others_left(void **state)
{
	struct rm_scene *scene = *state;
	uint32_t handle;
	uint32_t number;

	for (unsigned i = 0; i < 3; i++)
		OK(rm_create(scene, 0, &handle, &number));
	OK(rm_session_start(scene, 0, RM_SE_HMAC, &handle, &number));
	rm_tpm_saved_session(scene);
	manager_done(&scene->manager);
	assert_int_equal(manager_init(&scene->manager, &scene->backend, 1, 1, 1), 0);
	assert_int_equal(manager_start(&scene->manager, false), 0);
	assert_int_equal(rm_tpm_count(scene, TPM_HT_TRANSIENT), 0);
	assert_int_equal(rm_tpm_count(scene, TPM_HT_HMAC_SESSION), 0);
	assert_int_equal(rm_tpm_count(scene, TPM_HT_POLICY_SESSION), 1);
	assert_int_equal(manager_start(&scene->manager, true), 0);
	assert_int_equal(rm_tpm_count(scene, TPM_HT_POLICY_SESSION), 0);
}

/* ---- sessions that are given away, and old ones ---- */

static void test_manager_session_given_away(void **state)
{
	struct rm_scene *scene = *state;
	struct rm_context context;
	uint32_t session;
	uint32_t loaded;
	uint32_t number;
	uint32_t told[2];

	OK(rm_session_start(scene, 0, RM_SE_POLICY, &session, &number));
	OK(rm_policy(scene, 0, RM_CC_POLICY_AUTH_VALUE, session));
	OK(rm_save(scene, 0, session, &context));
	assert_int_equal(rm_digest(scene, 0, session, told), RC_LOST_H0);
	OK(rm_load(scene, 1, &context, &loaded));
	assert_int_equal(loaded, session);
	assert_digest(scene, 1, session, number, 1);
	assert_int_equal(rm_digest(scene, 0, session, told), RC_LOST_H0);
	/* once */
	assert_int_equal(rm_load(scene, 0, &context, &loaded), 0x1cb);
	assert_digest(scene, 1, session, number, 1);
}

static void test_manager_session_given_away_survives_its_space(void **state)
{
	struct rm_scene *scene = *state;
	struct rm_context context;
	uint32_t session;
	uint32_t loaded;
	uint32_t number;

	OK(rm_session_start(scene, 0, RM_SE_POLICY, &session, &number));
	OK(rm_save(scene, 0, session, &context));
	assert_int_equal(manager_leave(&scene->manager, scene->spaces[0]), 0);
	OK(rm_load(scene, 1, &context, &loaded));
	assert_digest(scene, 1, loaded, number, 0);
	/* whoever knows the handle may end it, as with /dev/tpmrm0 */
	OK(rm_save(scene, 1, loaded, &context));
	OK(rm_flush(scene, 2, loaded));
	assert_int_equal(rm_load(scene, 1, &context, &loaded), 0x1cb);
}

/* Makes the context counter go on: sessions that are used in turns are saved in turns. */
static void turn(struct rm_scene *scene, unsigned space, const uint32_t sessions[4], int rounds)
{
	uint32_t told[2];

	for (int i = 0; i < rounds; i++)
		OK(rm_digest(scene, space, sessions[i % 4], told));
}

static void test_manager_gap_closed_by_own_sessions(void **state)
{
	struct rm_scene *scene = *state;
	uint32_t sessions[4];
	uint32_t old;
	uint32_t number;

	OK(rm_session_start(scene, 0, RM_SE_POLICY, &old, &number));
	OK(rm_policy(scene, 0, RM_CC_POLICY_AUTH_VALUE, old));
	start_four(scene, 1, sessions);
	turn(scene, 1, sessions, 10 * FAKE_TPM_GAP);
	assert_digest(scene, 0, old, number, 1);
}

static void test_manager_gap_closed_by_renewing_orphans(void **state)
{
	struct rm_scene *scene = *state;
	struct rm_context contexts[3];
	uint32_t numbers[3];
	uint32_t sessions[4];
	uint32_t old;

	for (unsigned i = 0; i < 3; i++) {
		OK(rm_session_start(scene, 0, RM_SE_POLICY, &old, &numbers[i]));
		for (unsigned k = 0; k < i; k++)
			OK(rm_policy(scene, 0, RM_CC_POLICY_AUTH_VALUE, old));
		OK(rm_save(scene, 0, old, &contexts[i]));
	}
	start_four(scene, 1, sessions);
	for (unsigned round = 0; round < 3; round++) {
		turn(scene, 1, sessions, 10 * FAKE_TPM_GAP);
		/* with the context that was given out, whatever the TPM has seen since */
		for (unsigned i = 0; i < 3; i++) {
			OK(rm_load(scene, 2, &contexts[i], &old));
			assert_digest(scene, 2, old, numbers[i], i);
			OK(rm_save(scene, 2, old, &contexts[i]));
		}
	}
	/* what nobody can load any more is flushed at the end */
	turn(scene, 1, sessions, 10 * FAKE_TPM_GAP);
	assert_int_equal(manager_leave(&scene->manager, scene->spaces[1]), 0);
	assert_int_equal(rm_tpm_count(scene, TPM_HT_POLICY_SESSION), 3);
	assert_int_equal(manager_stop(&scene->manager), 0);
	assert_int_equal(rm_tpm_count(scene, TPM_HT_POLICY_SESSION), 0);
}

/* Those that were not renewed stay good without the manager. */
static void test_manager_stop_keeps_contexts_that_are_good(void **state)
{
	struct rm_scene *scene = *state;
	struct rm_context context;
	uint32_t session;
	uint32_t number;

	OK(rm_session_start(scene, 0, RM_SE_POLICY, &session, &number));
	OK(rm_save(scene, 0, session, &context));
	assert_int_equal(manager_stop(&scene->manager), 0);
	assert_int_equal(rm_tpm_count(scene, TPM_HT_POLICY_SESSION), 1);
	OK(rm_load(scene, 1, &context, &session));
}

static void test_manager_gap_closed_by_flushing_unknown(void **state)
{
	struct rm_scene *scene = *state;
	uint32_t sessions[4];
	uint32_t number;

	rm_tpm_saved_session(scene);
	for (unsigned i = 0; i < 4; i++)
		OK(rm_session_start(scene, 1, RM_SE_HMAC, &sessions[i], &number));
	for (unsigned i = 0; i < 10 * FAKE_TPM_GAP; i++) {
		uint32_t object;

		OK(rm_create(scene, 1, &object, &number));
		OK(rm_public_with(scene, 1, object, sessions[i % 4], 1, &number));
		OK(rm_flush(scene, 1, object));
	}
	assert_int_equal(rm_tpm_count(scene, TPM_HT_HMAC_SESSION) +
				 rm_tpm_count(scene, TPM_HT_POLICY_SESSION),
		4);
}

/* ---- a TPM does not tell of which kind its saved sessions are ---- */

/* The oldest of five is not loaded, and a TPM flushes it by a handle of either kind. */
static void test_manager_flush_of_foreign_sessions_by_their_other_kind(void **state)
{
	struct rm_scene *scene = *state;
	uint32_t session;
	uint32_t expected;
	uint32_t sessions[4];

	OK(rm_session_start(scene, 0, RM_SE_POLICY, &session, &expected));
	start_four(scene, 0, sessions);
	assert_int_equal(rm_flush(scene, 1, 0x02000000 | (session & 0xffffff)), RC_FLUSH);
	assert_digest(scene, 0, session, expected, 0);
}

static void test_manager_lists_without_foreign_policy_sessions(void **state)
{
	struct rm_scene *scene = *state;
	struct tpm_handles list;
	uint32_t session;
	uint32_t number;
	uint32_t sessions[4];

	OK(rm_session_start(scene, 0, RM_SE_POLICY, &session, &number));
	start_four(scene, 0, sessions);
	OK(rm_list(scene, 1, 0x03000000, 10, &list));
	assert_int_equal(list.count, 0);
}

/* Only the unknown one is flushed: that it lists policy sessions as others is no reason. */
static void test_manager_gap_of_unknown_spares_known_policy_sessions(void **state)
{
	struct rm_scene *scene = *state;
	struct rm_context context;
	uint32_t given;
	uint32_t given_number;
	uint32_t idle;
	uint32_t idle_number;
	uint32_t sessions[4];

	rm_tpm_saved_session(scene);
	OK(rm_session_start(scene, 0, RM_SE_POLICY, &idle, &idle_number));
	start_four(scene, 1, sessions);
	OK(rm_session_start(scene, 0, RM_SE_POLICY, &given, &given_number));
	OK(rm_save(scene, 0, given, &context));
	turn(scene, 1, sessions, 2 * FAKE_TPM_GAP);
	assert_digest(scene, 0, idle, idle_number, 0);
	OK(rm_load(scene, 0, &context, &given));
	assert_digest(scene, 0, given, given_number, 0);
}

/*
 * The oldest that is known can be loaded while it is an unknown one that blocks, as long as there
 * is room; that it cannot be saved then is no reason to give it up.
 */
static void test_manager_gap_of_unknown_spares_orphans(void **state)
{
	struct rm_scene *scene = *state;
	struct rm_context context;
	struct rm_context other;
	uint32_t given;
	uint32_t number;
	uint32_t session;

	rm_tpm_saved_session(scene);
	OK(rm_session_start(scene, 0, RM_SE_HMAC, &given, &number));
	OK(rm_save(scene, 0, given, &context));
	OK(rm_session_start(scene, 1, RM_SE_HMAC, &session, &number));
	for (unsigned i = 0; i < FAKE_TPM_GAP; i++) {
		OK(rm_save(scene, 1, session, &other));
		OK(rm_load(scene, 1, &other, &session));
	}
	OK(rm_load(scene, 0, &context, &given));
}

/* ---- what is lost ---- */

static void test_manager_clear_loses_all_objects(void **state)
{
	struct rm_scene *scene = *state;
	uint32_t handles[5];
	uint32_t session;
	uint32_t number;
	uint32_t told[2];

	OK(rm_session_start(scene, 0, RM_SE_POLICY, &session, &number));
	for (unsigned i = 0; i < 5; i++)
		OK(rm_create(scene, i % 2, &handles[i], &number));
	OK(rm_clear(scene, 3));
	/* somebody else's object in the same place of the TPM */
	OK(rm_create(scene, 3, &handles[4], &number));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(rm_public(scene, i % 2, handles[i], &told[0]), RC_LOST_H0);
		assert_int_equal(rm_flush(scene, i % 2, handles[i]), RC_FLUSH);
	}
	assert_public(scene, 3, handles[4], number);
	OK(rm_digest(scene, 0, session, told));
	for (unsigned i = 0; i < RM_OBJECTS; i++) /* all slots are free but those of the lost */
		OK(rm_create(scene, 1, &handles[0], &number));
}

static void test_manager_reset_loses_everything(void **state)
{
	struct rm_scene *scene = *state;
	struct rm_context context;
	uint32_t handle;
	uint32_t other;
	uint32_t saved;
	uint32_t session;
	uint32_t number;
	uint32_t told[2];

	OK(rm_create(scene, 0, &handle, &number));
	OK(rm_session_start(scene, 0, RM_SE_POLICY, &saved, &number));
	OK(rm_save(scene, 0, saved, &context));
	OK(rm_session_start(scene, 0, RM_SE_POLICY, &session, &number));
	rm_tpm_reset(scene, false);
	/* it is started for the next */
	assert_int_equal(rm_create(scene, 1, &other, &number), TPM_RC_INITIALIZE);
	OK(rm_create(scene, 1, &other, &number));
	assert_int_equal(rm_public(scene, 0, handle, &number), RC_LOST_H0);
	assert_int_equal(rm_digest(scene, 0, session, told), RC_LOST_H0);
	assert_int_equal(rm_load(scene, 0, &context, &session), 0x1df);
	for (unsigned i = 0; i < RM_OBJECTS; i++)
		OK(rm_create(scene, 0, &handle, &number));
	for (unsigned i = 0; i < RM_SESSIONS; i++)
		OK(rm_session_start(scene, 0, RM_SE_POLICY, &session, &number));
}

/* The first that notices may be a command that needs what is not loaded. */
static void test_manager_reset_noticed_by_loading(void **state)
{
	struct rm_scene *scene = *state;
	uint32_t handles[5];
	uint32_t number;

	for (unsigned i = 0; i < 5; i++)
		OK(rm_create(scene, 0, &handles[i], &number));
	rm_tpm_reset(scene, false);
	rm_public(scene, 0, handles[0], &number); /* may be told of it */
	assert_int_equal(rm_public(scene, 0, handles[1], &number), RC_LOST_H0);
}

/* It was started by somebody else, so that nothing tells of the reset but what is missing. */
static void test_manager_reset_unseen_answers_lost(void **state)
{
	struct rm_scene *scene = *state;
	uint32_t handles[5];
	uint32_t session[5];
	uint32_t number;
	uint32_t told[2];

	for (unsigned i = 0; i < 5; i++) {
		OK(rm_create(scene, 0, &handles[i], &number));
		OK(rm_session_start(scene, 0, RM_SE_POLICY, &session[i], &number));
	}
	rm_tpm_reset(scene, true);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(
			rm_public(scene, 0, handles[i], &number) & 0xfff, TPM_RC_REFERENCE_H0);
		assert_int_equal(
			rm_digest(scene, 0, session[i], told) & 0xfff, TPM_RC_REFERENCE_H0);
	}
	for (unsigned i = 0; i < RM_OBJECTS; i++) /* their slots are free */
		OK(rm_create(scene, 0, &handles[0], &number));
	for (unsigned i = 0; i < RM_SESSIONS; i++)
		OK(rm_session_start(scene, 0, RM_SE_POLICY, &session[0], &number));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rm_scene_setup, rm_scene_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_manager_objects_beyond_slots_are_never_mixed_up),
		TEST(test_manager_sessions_beyond_slots_are_never_mixed_up),
		TEST(test_manager_sequences_are_saved_anew_after_each_use),
		TEST(test_manager_sequence_loaded_from_a_context),
		TEST(test_manager_slots_are_limited),
		TEST(test_manager_foreign_handles_do_not_exist),
		TEST(test_manager_lists_show_ones_own),
		TEST(test_manager_lists_refuse_sessions),
		TEST(test_manager_sessions_end_with_a_command),
		TEST(test_manager_sessions_survive_a_failure),
		TEST(test_manager_leave_flushes_everything),
		TEST(test_manager_start_flushes_what_others_left),
		TEST(test_manager_session_given_away),
		TEST(test_manager_session_given_away_survives_its_space),
		TEST(test_manager_gap_closed_by_own_sessions),
		TEST(test_manager_gap_closed_by_renewing_orphans),
		TEST(test_manager_stop_keeps_contexts_that_are_good),
		TEST(test_manager_gap_closed_by_flushing_unknown),
		TEST(test_manager_flush_of_foreign_sessions_by_their_other_kind),
		TEST(test_manager_lists_without_foreign_policy_sessions),
		TEST(test_manager_gap_of_unknown_spares_known_policy_sessions),
		TEST(test_manager_gap_of_unknown_spares_orphans),
		TEST(test_manager_clear_loses_all_objects),
		TEST(test_manager_reset_loses_everything),
		TEST(test_manager_reset_noticed_by_loading),
		TEST(test_manager_reset_unseen_answers_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
