#include "registry-model.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_UID 1000

struct registry_entry model_entry(uint32_t uid, uint32_t number, uint8_t seed)
{
	return number < 4 ? nv_entry(uid, number, seed) : persistent_entry(uid, number, seed);
}

static uint32_t pick(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % below;
}

static enum step_type pick_type(enum registry_state state, uint32_t *seed)
{
	static const enum step_type any[] = {STEP_CLAIM, STEP_SEAL, STEP_CONFIRM, STEP_DROP,
		STEP_DOUBT, STEP_ADOPT, STEP_FORGET, STEP_SEAL};
	const uint32_t chance = pick(seed, 16);

	if (chance < 8)
		return any[chance];
	if (chance == 8)
		return STEP_DOUBT;
	if (state == REGISTRY_CLAIMED || state == REGISTRY_DROPPED)
		return STEP_CONFIRM;
	return state == REGISTRY_OWN ? STEP_DROP : STEP_CLAIM;
}

struct step step_random(const struct model *model, uint32_t *seed)
{
	const uint32_t number = pick(seed, MODEL_HANDLES);
	const bool owner = model->handles[number].uid != 0 && pick(seed, 4) > 0;
	const uint32_t any = FIRST_UID + pick(seed, MODEL_UIDS);
	const uint32_t uid = owner ? model->handles[number].uid : any;
	struct step step = {.type = pick_type(model->handles[number].state, seed),
		.number = number,
		.success = pick(seed, 4) > 0};

	step.entry = model_entry(uid, number, (uint8_t)(1 + pick(seed, 250)));
	if (step.type == STEP_SEAL) {
		step.number = pick(seed, MODEL_SEALED);
		step.entry = sealed_entry(uid, step.number);
	}
	return step;
}

static enum account_answer apply_claim(struct model *model, const struct step *step)
{
	if (model->handles[step->number].state != REGISTRY_NONE &&
		((model->handles[step->number].state != REGISTRY_DOUBTFUL &&
			 model->handles[step->number].state != REGISTRY_OWN) ||
			model->handles[step->number].uid != step->entry.uid))
		return ACCOUNT_TAKEN;
	model->handles[step->number].replaced = model->handles[step->number].state != REGISTRY_NONE;
	model->handles[step->number].state = REGISTRY_CLAIMED;
	model->handles[step->number].uid = step->entry.uid;
	model->handles[step->number].seed = step->entry.data[0];
	return ACCOUNT_YES;
}

static void model_empty(struct model *model, uint32_t number)
{
	memset(&model->handles[number], 0, sizeof model->handles[number]);
}

static enum account_answer apply_confirm(struct model *model, const struct step *step)
{
	const enum registry_state state = model->handles[step->number].state;

	if (state == REGISTRY_OWN)
		return ACCOUNT_YES;
	if (state != REGISTRY_CLAIMED && state != REGISTRY_DROPPED)
		return ACCOUNT_NO;
	if (step->success == (state == REGISTRY_CLAIMED))
		model->handles[step->number].state = REGISTRY_OWN;
	else if (state == REGISTRY_CLAIMED && model->handles[step->number].replaced)
		model->handles[step->number].state = REGISTRY_DOUBTFUL;
	else
		model_empty(model, step->number);
	return ACCOUNT_YES;
}

static enum account_answer apply_drop(struct model *model, const struct step *step)
{
	if (model->handles[step->number].state != REGISTRY_OWN)
		return ACCOUNT_NO;
	model->handles[step->number].state = REGISTRY_DROPPED;
	return ACCOUNT_YES;
}

static enum account_answer apply_forget(struct model *model, uint32_t uid)
{
	enum account_answer answer = ACCOUNT_NO;

	for (uint32_t i = 0; i < MODEL_HANDLES; i++)
		if (model->handles[i].uid == uid) {
			model_empty(model, i);
			answer = ACCOUNT_YES;
		}
	for (uint32_t i = 0; i < MODEL_SEALED; i++)
		if (model->sealed[uid - FIRST_UID][i]) {
			model->sealed[uid - FIRST_UID][i] = false;
			answer = ACCOUNT_YES;
		}
	return answer;
}

static enum account_answer apply_step(struct model *model, const struct step *step)
{
	const uint32_t uid = step->entry.uid;

	if (step->type == STEP_CLAIM)
		return apply_claim(model, step);
	if (step->type == STEP_SEAL) {
		model->sealed[uid - FIRST_UID][step->number] = true;
		return ACCOUNT_YES;
	}
	if (step->type == STEP_ADOPT) {
		model_empty(model, step->number);
		apply_claim(model, step);
		model->handles[step->number].state = REGISTRY_OWN;
		return ACCOUNT_YES;
	}
	if (step->type == STEP_FORGET)
		return apply_forget(model, uid);
	if (model->handles[step->number].uid != uid)
		return step->type == STEP_DOUBT ? ACCOUNT_YES : ACCOUNT_NO;
	if (step->type == STEP_CONFIRM)
		return apply_confirm(model, step);
	if (step->type == STEP_DROP)
		return apply_drop(model, step);
	if (model->handles[step->number].state != REGISTRY_OWN)
		model->handles[step->number].state = REGISTRY_DOUBTFUL;
	return ACCOUNT_YES;
}

static bool model_equal(const struct model *first, const struct model *second)
{
	for (uint32_t i = 0; i < MODEL_HANDLES; i++)
		if (first->handles[i].state != second->handles[i].state ||
			first->handles[i].uid != second->handles[i].uid ||
			first->handles[i].seed != second->handles[i].seed)
			return false;
	return memcmp(first->sealed, second->sealed, sizeof first->sealed) == 0;
}

enum account_answer model_apply(struct model *model, const struct step *step, bool *ret_changed)
{
	const struct model before = *model;
	enum account_answer answer = apply_step(model, step);

	*ret_changed = step->type == STEP_ADOPT || !model_equal(&before, model);
	return answer;
}

enum account_answer step_ask(struct registry_scene *scene, const struct step *step)
{
	switch (step->type) {
	case STEP_CLAIM:
	case STEP_SEAL:
		return ask_claim(scene, &step->entry);
	case STEP_CONFIRM:
		return ask_confirm(scene, &step->entry, step->success);
	case STEP_DROP:
		return ask_drop(scene, &step->entry);
	case STEP_DOUBT:
		registry_doubt(scene->registry, &step->entry);
		ask_nothing(scene);
		return ACCOUNT_YES;
	case STEP_ADOPT:
		return ask_adopt(scene, &step->entry);
	case STEP_FORGET:
		return ask_forget(scene, step->entry.uid);
	}
	abort();
}

static const struct registry_entry *found_handle(
	const struct registry_scene *scene, uint32_t number)
{
	struct registry_entry entry = model_entry(FIRST_UID, number, 0);

	return registry_find(
		scene->registry, entry.device, (enum account_kind)entry.kind, entry.handle);
}

static bool handle_matches(
	const struct model *model, const struct registry_scene *scene, uint32_t number)
{
	const struct registry_entry *found = found_handle(scene, number);
	enum registry_state state = model->handles[number].state;

	if (!found || state == REGISTRY_NONE)
		return !found && state == REGISTRY_NONE;
	if (found->uid != model->handles[number].uid ||
		found->data[0] != model->handles[number].seed)
		return false;
	return found->state == (uint32_t)(state == REGISTRY_OWN ? REGISTRY_OWN : REGISTRY_DOUBTFUL);
}

static bool has_sealed(const struct registry_scene *scene, uint32_t user, uint32_t number)
{
	struct registry_entry entry = sealed_entry(FIRST_UID + user, number);

	return registry_owns(scene->registry, &entry);
}

bool model_matches_sealed(const struct model *model, const struct registry_scene *scene)
{
	for (uint32_t i = 0; i < MODEL_UIDS; i++)
		for (uint32_t k = 0; k < MODEL_SEALED; k++)
			if (has_sealed(scene, i, k) != model->sealed[i][k])
				return false;
	return true;
}

bool model_matches(const struct model *model, const struct registry_scene *scene)
{
	for (uint32_t i = 0; i < MODEL_HANDLES; i++)
		if (!handle_matches(model, scene, i))
			return false;
	return model_matches_sealed(model, scene);
}

bool model_covers(const struct model *model, const struct registry_scene *scene)
{
	for (uint32_t i = 0; i < MODEL_HANDLES; i++) {
		const struct registry_entry *found = found_handle(scene, i);

		if (found && found->state == REGISTRY_OWN && !handle_matches(model, scene, i))
			return false;
	}
	for (uint32_t i = 0; i < MODEL_UIDS; i++)
		for (uint32_t k = 0; k < MODEL_SEALED; k++)
			if (has_sealed(scene, i, k) && !model->sealed[i][k])
				return false;
	return true;
}
