#pragma once
/*
 * The relay's own commands: what it must ask the TPM to judge a client's command, what it answers
 * instead of the TPM, and what it cleans up.
 */
#include "relay/account.h"
#include "relay/channel.h"

/*
 * Reads the public area of HANDLE (an object or NV index) and lets ACCOUNT learn it. Returns 0,
 * also where the TPM has nothing to give, or a negative errno of channel_transact().
 */
int query_public(struct channel *channel, struct account *account, uint32_t handle);

/*
 * Answers GetCapability(TPM_CAP_HANDLES, PROPERTY, COUNT) with what the session may see: its own
 * transient objects and sessions, from ACCOUNT; of the TPM's persistent handles and NV indices
 * those that IMAGE's policies name. Writes the response to RESPONSE, its size to *ret_size. Returns
 * 0 or a negative errno of channel_transact().
 */
int query_handles(struct channel *channel, const struct policy_image *image,
	const struct account *account, uint32_t property, uint32_t count,
	uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size);

/*
 * Lets ACCOUNT forget the transient objects that the TPM no longer has. Returns 0 or a negative
 * errno of channel_transact().
 */
int query_objects(struct channel *channel, struct account *account);

/*
 * Flushes every transient object and loaded session of a TPM that has no resource manager. Returns
 * 0 or a negative errno of channel_transact().
 */
int query_flush_all(struct channel *channel);
