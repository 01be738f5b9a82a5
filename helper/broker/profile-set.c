#include "broker/profile-set.h"

#include "broker/file.h"

#include <string.h>

#define PROFILE_SUFFIX ".profile"

struct profile_set {
	GPtrArray *profiles;
};

static void profile_set_add(
	struct profile_set *set, const char *path, const struct config *config, GPtrArray *problems)
{
	g_autofree char *name = g_path_get_basename(path);
	struct profile *profile;

	name[strlen(name) - strlen(PROFILE_SUFFIX)] = '\0';
	if (!profile_name_is_valid(name)) {
		g_ptr_array_add(problems,
			g_strdup_printf("%s: a profile's name has 1 to 31 of a-z, A-Z, 0-9, _ "
					"and -; the file is ignored",
				path));
		return;
	}
	profile = profile_load(name, path, config, problems);
	if (!profile)
		return;
	if (profile->fault)
		g_ptr_array_add(problems,
			g_strdup_printf("profile '%s' is disabled: %s", name, profile->fault));
	g_ptr_array_add(set->profiles, profile);
}

struct profile_set *profile_set_load(
	const char *const *directories, const struct config *config, GPtrArray *problems)
{
	struct profile_set *set = g_atomic_rc_box_new0(struct profile_set);
	g_autoptr(GPtrArray) paths = file_search(directories, PROFILE_SUFFIX, problems);

	set->profiles = g_ptr_array_new_with_free_func((GDestroyNotify)profile_free);
	for (guint i = 0; i < paths->len; i++)
		profile_set_add(set, g_ptr_array_index(paths, i), config, problems);
	return set;
}

struct profile_set *profile_set_ref(struct profile_set *set)
{
	return g_atomic_rc_box_acquire(set);
}

static void profile_set_clear(gpointer data)
{
	struct profile_set *set = data;

	g_ptr_array_unref(set->profiles);
}

void profile_set_unref(struct profile_set *set)
{
	if (set)
		g_atomic_rc_box_release_full(set, profile_set_clear);
}

guint profile_set_count(const struct profile_set *set)
{
	return set->profiles->len;
}

const struct profile *profile_set_get(const struct profile_set *set, guint i)
{
	return g_ptr_array_index(set->profiles, i);
}

const struct profile *profile_set_find(const struct profile_set *set, const char *name)
{
	for (guint i = 0; i < set->profiles->len; i++) {
		const struct profile *profile = g_ptr_array_index(set->profiles, i);

		if (strcmp(profile->name, name) == 0)
			return profile;
	}
	return NULL;
}

static bool profile_set_has(
	const struct profile *const *profiles, size_t count, const struct profile *profile)
{
	for (size_t i = 0; i < count; i++)
		if (profiles[i] == profile)
			return true;
	return false;
}

/* Custom profiles stand alone: what an administrator had in mind for one is not known here. */
static char *profile_set_check_union(const struct profile *const *profiles, size_t count)
{
	for (size_t i = 0; count > 1 && i < count; i++)
		if (profiles[i]->custom)
			return g_strdup_printf("profile '%s' cannot be joined with others by '+'; "
					       "ask for it alone",
				profiles[i]->name);
	return NULL;
}

size_t profile_set_resolve(const struct profile_set *set, const char *names,
	const struct profile *ret_profiles[POLICY_MAX], bool *ret_unknown, char **ret_problem)
{
	g_auto(GStrv) parts = g_strsplit(names, "+", -1);
	const struct profile *profiles[POLICY_MAX];
	size_t count = 0;

	*ret_unknown = false;
	if (!parts[0]) {
		*ret_problem = g_strdup("the request names no profile");
		return 0;
	}
	for (size_t i = 0; parts[i]; i++) {
		const struct profile *profile = profile_set_find(set, parts[i]);

		if (!profile_name_is_valid(parts[i])) {
			*ret_problem = g_strdup_printf("'%s' does not name profiles; write them "
						       "as keys or keys+attest",
				names);
			return 0;
		}
		if (!profile || profile->fault) {
			*ret_unknown = true;
			*ret_problem =
				profile ? g_strdup_printf("profile '%s' is disabled: %s", parts[i],
						  profile->fault)
					: g_strdup_printf("there is no profile '%s'; 'tpmgate "
							  "profiles' lists those that there are",
						  parts[i]);
			return 0;
		}
		if (profile_set_has(profiles, count, profile))
			continue;
		if (count == POLICY_MAX) {
			*ret_problem = g_strdup_printf(
				"more than %d profiles cannot be joined", POLICY_MAX);
			return 0;
		}
		profiles[count++] = profile;
	}
	*ret_problem = profile_set_check_union(profiles, count);
	if (*ret_problem)
		return 0;
	for (size_t i = 0; i < count; i++)
		ret_profiles[i] = profiles[i];
	return count;
}
