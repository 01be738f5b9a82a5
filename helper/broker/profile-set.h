#pragma once
/*
 * The profiles that there are. A set is never changed: a reload makes another one, and a request
 * keeps the one that it began with.
 */
#include "broker/profile.h"

struct profile_set;

/* Loads the profiles of DIRECTORIES (NULL-terminated); what is worth a line goes to PROBLEMS. */
struct profile_set *profile_set_load(
	const char *const *directories, const struct config *config, GPtrArray *problems);
struct profile_set *profile_set_ref(struct profile_set *set);
void profile_set_unref(struct profile_set *set);

/* Sorted by name; faulty ones are among them. */
guint profile_set_count(const struct profile_set *set);
const struct profile *profile_set_get(const struct profile_set *set, guint i);
const struct profile *profile_set_find(const struct profile_set *set, const char *name);

/*
 * Resolves names joined by '+', each of which counts once. Returns their number, at most POLICY_MAX
 * and at least 1; or 0 and *ret_problem, with *ret_unknown true where the names are well formed but
 * not all of them are of usable profiles. The caller frees the problem.
 */
size_t profile_set_resolve(const struct profile_set *set, const char *names,
	const struct profile *ret_profiles[POLICY_MAX], bool *ret_unknown, char **ret_problem);
