#pragma once
/*
 * What a registry ought to know, kept in plain arrays, and random things that are done to it.
 */
#include "registry-scene.h"

#define MODEL_UIDS    3
#define MODEL_HANDLES 6 /* four NV indices and two persistent objects */
#define MODEL_SEALED  8 /* of each uid */

enum step_type {
	STEP_CLAIM = 1,
	STEP_SEAL,
	STEP_CONFIRM,
	STEP_DROP,
	STEP_DOUBT,
	STEP_ADOPT,
	STEP_FORGET,
};

struct step {
	enum step_type type;
	struct registry_entry entry;
	uint32_t number; /* of the handle or sealed datum */
	bool success;
};

struct model {
	struct {
		enum registry_state state;
		uint32_t uid;
		uint8_t seed;  /* what its data is made of */
		bool replaced; /* of CLAIMED: it took the place of another */
	} handles[MODEL_HANDLES];
	bool sealed[MODEL_UIDS][MODEL_SEALED];
};

/* The step that follows from *SEED and the number in it. MODEL makes sensible ones likely. */
struct step step_random(const struct model *model, uint32_t *seed);

/* The answer that is due. Sets *ret_changed to whether STEP is for the disk. */
enum account_answer model_apply(struct model *model, const struct step *step, bool *ret_changed);

/* Does STEP and waits for the answer; YES for what has none. */
enum account_answer step_ask(struct registry_scene *scene, const struct step *step);

/* Whether SCENE's registry, just opened, has exactly what MODEL has. */
bool model_matches(const struct model *model, const struct registry_scene *scene);
/* Whether all that anybody owns there is his in MODEL too. */
bool model_covers(const struct model *model, const struct registry_scene *scene);
/* Whether that holds of sealed data, and none is missing. */
bool model_matches_sealed(const struct model *model, const struct registry_scene *scene);
/* The handle NUMBER as UID's. */
struct registry_entry model_entry(uint32_t uid, uint32_t number, uint8_t seed);
