#pragma once
/*
 * A profile: what its file says, compiled to what a relay enforces. tpmgate-profile(5) describes
 * every key.
 */
#include "broker/config.h"
#include "common/policy.h"

#include <sys/types.h>

struct profile {
	char name[sizeof((struct policy *)0)->name];
	char *fault;   /* "PATH:LINE: why" where the file is faulty: the rest is not filled in */
	char *summary; /* what a person is told */
	char *action;  /* polkit's */
	bool custom;   /* not one of the shipped names: stands alone in a session */
	gid_t *groups; /* whose members are let in without polkit */
	size_t group_count;
	char *group_name; /* the first of them that has a name, for advice; NULL: none */
	struct policy policy;
};

/* Whether NAME can be a profile's: 1 to 31 of a-z A-Z 0-9 _ - */
bool profile_name_is_valid(const char *name);

/* The name that Capabilities= has for a TPM_CAP; NULL where it has none but the number. */
const char *profile_capability_name(uint32_t capability);

/*
 * Compiles the text of the profile NAME. Never returns NULL: where it is faulty, `fault` says why.
 * Groups without a gid are named in PROBLEMS and let nobody in.
 */
struct profile *profile_compile(const char *name, const char *path, const char *bytes, gsize size,
	const struct config *config, GPtrArray *problems);

/* The same for the file PATH; NULL where it is masked or gone. */
struct profile *profile_load(
	const char *name, const char *path, const struct config *config, GPtrArray *problems);
void profile_free(struct profile *profile);
