#pragma once
/*
 * A resource manager on a TPM of fake-tpm.h, and commands that spaces give it. Those functions
 * return the response code; what else they return is set with TPM_RC_SUCCESS only.
 */
#include "fake-tpm.h"
#include "rm/manager.h"

#define RM_SPACES   4
#define RM_OBJECTS  8 /* slots of a space */
#define RM_SESSIONS 8

#define RM_CC_CERTIFY           0x148u
#define RM_CC_SEQUENCE_UPDATE   0x15cu
#define RM_CC_GET_RANDOM        0x17bu
#define RM_CC_POLICY_AUTH_VALUE 0x16bu
#define RM_CC_POLICY_RESTART    0x180u
#define RM_CC_POLICY_GET_DIGEST 0x189u

#define RM_SE_HMAC   0
#define RM_SE_POLICY 1

struct rm_scene {
	struct backend backend;
	struct manager manager;
	struct space *spaces[RM_SPACES];
	pid_t tpm;
	int result;  /* of the last manager_execute() */
	size_t size; /* of its response */
};

struct rm_context {
	uint8_t bytes[SPACE_CONTEXT_SIZE];
	size_t size;
};

/* Functions for cmocka. */
int rm_scene_setup(void **state);
int rm_scene_teardown(void **state);

/* Any command: HANDLES, sessions if AUTHORIZATIONS is not NULL (handle and attributes), the rest.
 */
struct rm_authorization {
	uint32_t handle;
	uint8_t attributes;
};
extern const struct rm_authorization rm_password[2];

struct rm_command {
	uint8_t bytes[TPM_MESSAGE_MAX];
	size_t size;
};
struct rm_command rm_command(uint32_t code, const uint32_t *handles, unsigned handle_count,
	const struct rm_authorization *authorizations, unsigned authorization_count,
	const void *parameters, size_t size);

/* Executes it for space I: the response code, or 0xffffffff where `result` is an error. */
uint32_t rm_execute(struct rm_scene *scene, unsigned i, struct rm_command command);

uint32_t rm_create(struct rm_scene *scene, unsigned i, uint32_t *ret_handle, uint32_t *ret_number);
uint32_t rm_public(struct rm_scene *scene, unsigned i, uint32_t handle, uint32_t *ret_number);
/* The same with a session in the authorization area. */
uint32_t rm_public_with(struct rm_scene *scene, unsigned i, uint32_t handle, uint32_t session,
	uint8_t attributes, uint32_t *ret_number);
uint32_t rm_certify(
	struct rm_scene *scene, unsigned i, const uint32_t handles[2], uint32_t ret_numbers[2]);

uint32_t rm_sequence_start(struct rm_scene *scene, unsigned i, uint32_t *ret_handle);
uint32_t rm_sequence_update(struct rm_scene *scene, unsigned i, uint32_t handle, uint8_t byte);
/* ret_told: its number and its sum */
uint32_t rm_sequence_complete(
	struct rm_scene *scene, unsigned i, uint32_t handle, uint32_t ret_told[2]);

uint32_t rm_session_start(struct rm_scene *scene, unsigned i, uint8_t type, uint32_t *ret_handle,
	uint32_t *ret_number);
/* RM_CC_POLICY_AUTH_VALUE, which counts, or RM_CC_POLICY_RESTART. */
uint32_t rm_policy(struct rm_scene *scene, unsigned i, uint32_t code, uint32_t handle);
/* ret_told: its number and its count */
uint32_t rm_digest(struct rm_scene *scene, unsigned i, uint32_t handle, uint32_t ret_told[2]);

uint32_t rm_save(
	struct rm_scene *scene, unsigned i, uint32_t handle, struct rm_context *ret_context);
uint32_t rm_load(
	struct rm_scene *scene, unsigned i, const struct rm_context *context, uint32_t *ret_handle);
uint32_t rm_flush(struct rm_scene *scene, unsigned i, uint32_t handle);
uint32_t rm_clear(struct rm_scene *scene, unsigned i);
uint32_t rm_list(struct rm_scene *scene, unsigned i, uint32_t property, uint32_t wanted,
	struct tpm_handles *ret_list);

/* Past the manager: how many handles of KIND the TPM has, and the commands of fake-tpm.h. */
unsigned rm_tpm_count(struct rm_scene *scene, uint32_t kind);
/* A session that is started and saved by somebody else; its handle. */
uint32_t rm_tpm_saved_session(struct rm_scene *scene);
void rm_tpm_reset(struct rm_scene *scene, bool started);
void rm_tpm_lie(struct rm_scene *scene, uint32_t code, const void *answer, size_t size);

#define OK(call) assert_int_equal(call, TPM_RC_SUCCESS)

#define RC_LOST_H0     (TPM_RC_LAYER | TPM_RC_REFERENCE_H0)
#define RC_LOST_S0     (TPM_RC_LAYER | TPM_RC_REFERENCE_S0)
#define RC_NO_OBJECTS  (TPM_RC_LAYER | TPM_RC_OBJECT_MEMORY)
#define RC_NO_SESSIONS (TPM_RC_LAYER | TPM_RC_SESSION_MEMORY)
#define RC_FLUSH       (TPM_RC_LAYER | 0x1cbu) /* TPM_RC_HANDLE about parameter 1 */

/* That HANDLE of SPACE is the object that the TPM knows as EXPECTED. */
void assert_public(struct rm_scene *scene, unsigned space, uint32_t handle, uint32_t expected);
/* Four policy sessions. */
void start_four(struct rm_scene *scene, unsigned space, uint32_t sessions[4]);
