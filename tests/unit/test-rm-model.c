/*
 * Thousands of random commands of several spaces, each answer compared with what a simple model
 * says: it knows of every object and session whose it is and what happened to it, and nothing of
 * slots or contexts. A run is repeated by its seed: TPMGATE_TEST_SEED.
 */
#include "rm-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define STEPS         8000
#define MODEL_ORPHANS 16
#define OBJECTS_SAVED 8

#define RC_LOST_H0 (TPM_RC_LAYER | TPM_RC_REFERENCE_H0)
#define RC_FLUSH   (TPM_RC_LAYER | 0x1cbu) /* TPM_RC_HANDLE about parameter 1 */

struct model_object {
	uint32_t handle; /* 0: none */
	uint32_t number; /* 0: a sequence, which does not tell before it ends */
	uint32_t sum;
	bool sequence;
	bool lost; /* by Clear */
};

struct model_session {
	uint32_t handle; /* 0: none */
	uint32_t number;
	uint32_t count;
	bool policy;
};

struct model_space {
	struct model_object objects[RM_OBJECTS];
	struct model_session sessions[RM_SESSIONS];
};

struct model {
	struct rm_scene *scene;
	uint64_t random;
	struct model_space spaces[RM_SPACES];
	struct model_session orphans[MODEL_ORPHANS];
	struct rm_context orphan_contexts[MODEL_ORPHANS];
	struct model_object saved[OBJECTS_SAVED];
	struct rm_context saved_contexts[OBJECTS_SAVED];
	unsigned at; /* the space whose turn it is */
};

static unsigned pick(struct model *model, unsigned count)
{
	/* Knuth's MMIX generator: the same on every machine */
	model->random = model->random * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(model->random >> 33) % count;
}

static struct model_object *any_object(struct model *model)
{
	return &model->spaces[model->at].objects[pick(model, RM_OBJECTS)];
}

static struct model_session *any_session(struct model *model)
{
	return &model->spaces[model->at].sessions[pick(model, RM_SESSIONS)];
}

static struct model_object *free_object(struct model *model)
{
	for (unsigned i = 0; i < RM_OBJECTS; i++)
		if (model->spaces[model->at].objects[i].handle == 0)
			return &model->spaces[model->at].objects[i];
	return NULL;
}

static struct model_session *free_session(struct model *model)
{
	for (unsigned i = 0; i < RM_SESSIONS; i++)
		if (model->spaces[model->at].sessions[i].handle == 0)
			return &model->spaces[model->at].sessions[i];
	return NULL;
}

/* Whether OBJECT is there; one that Clear took is answered as lost, once. */
static bool is_there(struct model_object *object, uint32_t code)
{
	if (object->lost) {
		assert_int_equal(code, RC_LOST_H0);
		*object = (struct model_object){0};
		return false;
	}
	assert_int_equal(code, TPM_RC_SUCCESS);
	return true;
}

/* ---- steps ---- */

static void step_create(struct model *model)
{
	struct model_object *object = free_object(model);
	struct model_object made = {.sequence = pick(model, 3) == 0};
	uint32_t code = made.sequence
				? rm_sequence_start(model->scene, model->at, &made.handle)
				: rm_create(model->scene, model->at, &made.handle, &made.number);

	assert_int_equal(code, object ? TPM_RC_SUCCESS : TPM_RC_LAYER | TPM_RC_OBJECT_MEMORY);
	if (object)
		*object = made;
}

static void step_use_object(struct model *model)
{
	struct model_object *object = any_object(model);
	uint8_t byte = (uint8_t)pick(model, 256);
	uint32_t number = 0;

	if (object->handle == 0)
		return;
	if (object->sequence) {
		if (is_there(object,
			    rm_sequence_update(model->scene, model->at, object->handle, byte)))
			object->sum = object->sum * 31 + byte;
		return;
	}
	if (is_there(object, rm_public(model->scene, model->at, object->handle, &number)))
		assert_int_equal(number, object->number);
}

static void step_complete(struct model *model)
{
	struct model_object *object = any_object(model);
	uint32_t told[2] = {0};

	if (object->handle == 0 || !object->sequence ||
		!is_there(object,
			rm_sequence_complete(model->scene, model->at, object->handle, told)))
		return;
	assert_int_equal(told[1], object->sum);
	*object = (struct model_object){0};
}

static void step_certify(struct model *model)
{
	const struct model_object *objects[2] = {any_object(model), any_object(model)};
	uint32_t handles[2] = {objects[0]->handle, objects[1]->handle};
	uint32_t told[2];

	for (unsigned i = 0; i < 2; i++)
		if (handles[i] == 0 || objects[i]->sequence || objects[i]->lost)
			return;
	assert_int_equal(rm_certify(model->scene, model->at, handles, told), TPM_RC_SUCCESS);
	assert_int_equal(told[0], objects[0]->number);
	assert_int_equal(told[1], objects[1]->number);
}

static void step_start_session(struct model *model)
{
	struct model_session *session = free_session(model);
	struct model_session made = {.policy = pick(model, 2) == 0};
	uint32_t code = rm_session_start(model->scene, model->at,
		made.policy ? RM_SE_POLICY : RM_SE_HMAC, &made.handle, &made.number);

	assert_int_equal(code, session ? TPM_RC_SUCCESS : TPM_RC_LAYER | TPM_RC_SESSION_MEMORY);
	if (session)
		*session = made;
}

static void step_use_policy(struct model *model)
{
	struct model_session *session = any_session(model);
	uint32_t told[2];

	if (session->handle == 0 || !session->policy)
		return;
	switch (pick(model, 4)) {
	case 0:
		assert_int_equal(
			rm_policy(model->scene, model->at, RM_CC_POLICY_RESTART, session->handle),
			TPM_RC_SUCCESS);
		session->count = 0;
		break;
	case 1:
		assert_int_equal(
			rm_digest(model->scene, model->at, session->handle, told), TPM_RC_SUCCESS);
		assert_int_equal(told[0], session->number);
		assert_int_equal(told[1], session->count);
		break;
	default:
		assert_int_equal(rm_policy(model->scene, model->at, RM_CC_POLICY_AUTH_VALUE,
					 session->handle),
			TPM_RC_SUCCESS);
		session->count++;
	}
}

static void step_use_with_session(struct model *model)
{
	struct model_object *object = any_object(model);
	struct model_session *session = any_session(model);
	bool goes_on = pick(model, 3) != 0;
	uint32_t number = 0;

	if (object->handle == 0 || session->handle == 0 || object->sequence)
		return;
	if (!is_there(object, rm_public_with(model->scene, model->at, object->handle,
				      session->handle, goes_on, &number)))
		return;
	assert_int_equal(number, object->number);
	if (!goes_on)
		*session = (struct model_session){0};
}

static void step_give_away(struct model *model)
{
	struct model_session *session = any_session(model);
	unsigned i = pick(model, MODEL_ORPHANS);

	if (session->handle == 0 || model->orphans[i].handle != 0)
		return;
	assert_int_equal(
		rm_save(model->scene, model->at, session->handle, &model->orphan_contexts[i]),
		TPM_RC_SUCCESS);
	model->orphans[i] = *session;
	*session = (struct model_session){0};
}

static void step_take_up(struct model *model)
{
	unsigned i = pick(model, MODEL_ORPHANS);
	struct model_session *session = free_session(model);
	uint32_t handle = 0;

	if (model->orphans[i].handle == 0 || !session)
		return;
	assert_int_equal(rm_load(model->scene, model->at, &model->orphan_contexts[i], &handle),
		TPM_RC_SUCCESS);
	assert_int_equal(handle, model->orphans[i].handle);
	*session = model->orphans[i];
	model->orphans[i] = (struct model_session){0};
}

static void step_save_object(struct model *model)
{
	struct model_object *object = any_object(model);
	unsigned i = pick(model, OBJECTS_SAVED);

	if (object->handle == 0 ||
		!is_there(object, rm_save(model->scene, model->at, object->handle,
					  &model->saved_contexts[i])))
		return;
	model->saved[i] = *object;
}

static void step_load_object(struct model *model)
{
	unsigned i = pick(model, OBJECTS_SAVED);
	struct model_object *object = free_object(model);
	struct model_object loaded = model->saved[i];

	if (loaded.handle == 0 || !object)
		return;
	assert_int_equal(
		rm_load(model->scene, model->at, &model->saved_contexts[i], &loaded.handle),
		TPM_RC_SUCCESS);
	*object = loaded;
}

static void step_flush(struct model *model)
{
	struct model_object *object = any_object(model);
	struct model_session *session = any_session(model);
	bool is_session = pick(model, 2) == 0;
	uint32_t handle = is_session ? session->handle : object->handle;

	if (handle == 0)
		return;
	assert_int_equal(rm_flush(model->scene, model->at, handle), TPM_RC_SUCCESS);
	if (is_session)
		*session = (struct model_session){0};
	else
		*object = (struct model_object){0};
}

/* Handles of another space. */
static void step_trespass(struct model *model)
{
	unsigned owner = (model->at + 1 + pick(model, RM_SPACES - 1)) % RM_SPACES;
	uint32_t session = model->spaces[owner].sessions[pick(model, RM_SESSIONS)].handle;
	uint32_t told[2];

	if (session == 0)
		return;
	assert_int_equal(rm_flush(model->scene, model->at, session), RC_FLUSH);
	if (session >> 24 == TPM_HT_POLICY_SESSION)
		assert_int_equal(rm_digest(model->scene, model->at, session, told), RC_LOST_H0);
	assert_int_equal(rm_public(model->scene, model->at,
				 (uint32_t)TPM_HT_TRANSIENT << 24 | pick(model, 4), told),
		RC_LOST_H0);
}

static void step_list(struct model *model)
{
	struct tpm_handles list;
	uint32_t objects = 0;
	uint32_t sessions = 0;

	for (unsigned i = 0; i < RM_OBJECTS; i++)
		objects += model->spaces[model->at].objects[i].handle != 0;
	for (unsigned i = 0; i < RM_SESSIONS; i++)
		sessions += model->spaces[model->at].sessions[i].handle != 0;
	assert_int_equal(rm_list(model->scene, model->at, 0x80000000, 254, &list), TPM_RC_SUCCESS);
	assert_int_equal(list.count, objects);
	assert_int_equal(rm_list(model->scene, model->at, 0x02000000, 254, &list), TPM_RC_SUCCESS);
	assert_int_equal(list.count, sessions);
}

static void step_leave(struct model *model)
{
	struct rm_scene *scene = model->scene;

	if (pick(model, 8) != 0)
		return;
	assert_int_equal(manager_leave(&scene->manager, scene->spaces[model->at]), 0);
	assert_ptr_equal(manager_take(&scene->manager), scene->spaces[model->at]);
	memset(&model->spaces[model->at], 0, sizeof model->spaces[model->at]);
}

static void step_clear(struct model *model)
{
	if (pick(model, 10) != 0)
		return;
	assert_int_equal(rm_clear(model->scene, model->at), TPM_RC_SUCCESS);
	for (unsigned i = 0; i < RM_SPACES; i++)
		for (unsigned j = 0; j < RM_OBJECTS; j++)
			model->spaces[i].objects[j].lost = model->spaces[i].objects[j].handle != 0;
	memset(model->saved, 0, sizeof model->saved);
}

/* Everything that the model has is in the TPM, or can be had, and nothing else is there. */
static void check_end(struct model *model)
{
	unsigned orphans = 0;

	for (model->at = 0; model->at < RM_SPACES; model->at++)
		for (unsigned i = 0; i < RM_SESSIONS; i++) {
			const struct model_session *session = &model->spaces[model->at].sessions[i];
			uint32_t told[2];

			if (session->handle == 0 || !session->policy)
				continue;
			assert_int_equal(rm_digest(model->scene, model->at, session->handle, told),
				TPM_RC_SUCCESS);
			assert_int_equal(told[0], session->number);
			assert_int_equal(told[1], session->count);
		}
	for (unsigned i = 0; i < RM_SPACES; i++)
		assert_int_equal(manager_leave(&model->scene->manager, model->scene->spaces[i]), 0);
	for (unsigned i = 0; i < MODEL_ORPHANS; i++)
		orphans += model->orphans[i].handle != 0;
	assert_int_equal(rm_tpm_count(model->scene, TPM_HT_TRANSIENT), 0);
	assert_int_equal(rm_tpm_count(model->scene, TPM_HT_HMAC_SESSION), 0);
	assert_int_equal(rm_tpm_count(model->scene, TPM_HT_POLICY_SESSION), orphans);
}

static void run_model(struct rm_scene *scene, uint64_t seed)
{
	static void (*const steps[])(struct model * model) = {step_create, step_create,
		step_use_object, step_use_object, step_use_object, step_complete, step_certify,
		step_start_session, step_start_session, step_use_policy, step_use_policy,
		step_use_policy, step_use_with_session, step_give_away, step_take_up,
		step_save_object, step_load_object, step_flush, step_trespass, step_list,
		step_leave, step_clear};
	static struct model model;

	print_message("seed %llu\n", (unsigned long long)seed);
	memset(&model, 0, sizeof model);
	model.scene = scene;
	model.random = seed;
	for (unsigned i = 0; i < STEPS; i++) {
		model.at = pick(&model, RM_SPACES);
		steps[pick(&model, sizeof steps / sizeof steps[0])](&model);
	}
	check_end(&model);
}

static void test_manager_agrees_with_the_model(void **state)
{
	const char *seed = getenv("TPMGATE_TEST_SEED");

	if (seed)
		run_model(*state, strtoull(seed, NULL, 10));
	for (uint64_t i = 1; !seed && i <= 8; i++) {
		run_model(*state, i);
		assert_int_equal(rm_scene_teardown(state), 0);
		assert_int_equal(rm_scene_setup(state), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_manager_agrees_with_the_model, rm_scene_setup, rm_scene_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
