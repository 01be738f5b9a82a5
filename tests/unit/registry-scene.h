#pragma once
/*
 * A registry in a directory of a test's own, and answers waited for.
 */
#include "broker/config.h"
#include "broker/registry.h"

struct registry_scene {
	char *directory;
	struct config config;
	struct registry *registry;
};

struct registry_scene registry_scene_new(void);
void registry_scene_free(struct registry_scene *scene);

/* Of a test whose state is a scene; time flies again after it. */
int registry_scene_setup(void **state);
int registry_scene_teardown(void **state);

/* Removes DIRECTORY and all in it. */
void registry_scene_remove(const char *directory);

/* Closes and opens it. */
void registry_scene_reopen(struct registry_scene *scene);
char *registry_scene_path(const struct registry_scene *scene, const char *name);
/* How many files of the directory begin with PREFIX. */
unsigned registry_scene_count(const struct registry_scene *scene, const char *prefix);

/* Of the TPM "tpm0". What it is recorded with follows from the number SEED. */
struct registry_entry nv_entry(uint32_t uid, uint32_t number, uint8_t seed);
struct registry_entry persistent_entry(uint32_t uid, uint32_t number, uint8_t seed);
struct registry_entry sealed_entry(uint32_t uid, uint32_t seed);

/* Each asks and waits for the answer. */
enum account_answer ask_claim(struct registry_scene *scene, const struct registry_entry *entry);
enum account_answer ask_drop(struct registry_scene *scene, const struct registry_entry *entry);
enum account_answer ask_confirm(
	struct registry_scene *scene, const struct registry_entry *entry, bool success);
enum account_answer ask_adopt(struct registry_scene *scene, const struct registry_entry *entry);
enum account_answer ask_forget(struct registry_scene *scene, uint32_t uid);
/* Waits until everything that was asked before has been answered. */
void ask_nothing(struct registry_scene *scene);

/* Claims and confirms. */
void make(struct registry_scene *scene, const struct registry_entry *entry);
/* What is recorded of ENTRY's handle. */
enum registry_state state_of(
	const struct registry_scene *scene, const struct registry_entry *entry);

/* Whether g_get_monotonic_time() says the same each time; otherwise 11 minutes pass. */
extern bool registry_scene_time_stands;
/* Lets SECONDS go by, for both clocks. */
void registry_scene_pass(int64_t seconds);
gint64 __wrap_g_get_monotonic_time(void);
gint64 __wrap_g_get_real_time(void);
