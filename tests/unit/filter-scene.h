#pragma once
/*
 * Commands as bytes, with handles that a given profile should allow, and what their session owns.
 */
#include "relay/filter.h"

#include <stddef.h>

#define OWN_OBJECT     0x80000001u
#define OWN_HMAC       0x02000001u
#define OWN_POLICY     0x03000001u
#define OWN_INDEX      0x01800001u
#define OWN_PERSISTENT 0x81000100u

/* The first handle of POLICY's ranges for USE (enum policy_use), or OTHERWISE. */
uint32_t filter_scene_first(const struct policy *policy, uint32_t use, uint32_t otherwise);
/* The NV index for USE: of a range, or OWN_INDEX. */
uint32_t filter_scene_index(const struct policy *policy, enum tpm_use use);
/* A handle that a policy like this one should allow for the use. */
uint32_t filter_scene_handle(const struct policy *policy, const struct tpm_handle_info *info);
/* The same for all handles of a command. */
void filter_scene_handles(const struct policy *policy, const struct tpm_command_info *info,
	uint32_t ret_handles[TPM_HANDLES_MAX]);

/* The command with HANDLES, authorized by empty passwords. Returns its size. */
size_t filter_scene_write(const struct policy *policy, const struct tpm_command_info *info,
	const uint32_t handles[TPM_HANDLES_MAX], uint8_t bytes[TPM_MESSAGE_MAX]);

/* What the session owns: an object that its policy let it make, and a session of each kind. */
struct account filter_scene_account(const struct policy *policy);

/* Answers a question of the filter as a TPM would: own handles are free where one is made. */
void filter_scene_learn(
	struct account *account, const struct tpm_command *command, uint32_t handle);
