#pragma once
/*
 * tpmgate.conf: limits of the broker and its sessions. tpmgate.conf(5) describes every key.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct config {
	uint32_t max_sessions;
	uint32_t max_sessions_per_user;
	uint32_t max_undecided;
	uint32_t max_undecided_per_user;
	uint32_t request_timeout; /* seconds */
	bool allow_subordinate;
	char *subuid_file;
	uint32_t idle_timeout;          /* seconds; 0: none */
	uint32_t max_lifetime;          /* seconds; 0: none */
	uint32_t tpm_sessions_per_user; /* TPM sessions, saved ones included */
	uint32_t tpm_sessions;          /* of all users, of one TPM */
	uint32_t nv_writes_per_hour;    /* of one user */
	uint32_t nv_indices_per_user;
	uint32_t nv_index_size; /* bytes of one NV index */
	uint32_t nv_user_size;  /* bytes of one user's NV indices, of one TPM */
	uint32_t nv_total_size; /* bytes of all users' NV indices, of one TPM */
	uint32_t persistent_per_user;
	uint32_t sealed_per_user;
	uint32_t rm_objects;  /* transient objects of one session, with tpmgate-rm */
	uint32_t rm_sessions; /* TPM sessions of one session, with tpmgate-rm */
	uint32_t rm_timeout;  /* seconds for a command, with tpmgate-rm */
	uint32_t pcrs;        /* what PCRs=configured of a profile stands for, bit by number */
};

/* The defaults. The caller ends it with config_done(). */
struct config config_new(void);
struct config config_copy(const struct config *config);
void config_done(struct config *config);

/* Where to look; NULL stands for the usual places. */
struct config_paths {
	const char *file;                /* this file and no other */
	const char *const *profile_dirs; /* directories of *.profile */
};

/* "profiles.d" in the usual places, or what PATHS says. The caller frees it with g_strfreev(). */
char **config_profile_dirs(const struct config_paths *paths);

/* Reads the configuration. Returns true and *ret_config, or false and *ret_problem. */
bool config_load(const struct config_paths *paths, struct config *ret_config, char **ret_problem);

/* "7", "16-23" and the like, bit by number. Returns false where ELEMENT is no PCR or range. */
bool config_parse_pcrs(const char *element, uint32_t *pcrs);
