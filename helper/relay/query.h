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
 * those that IMAGE's policies name and those that
 * the broker has recorded for the uid. Writes the response to RESPONSE, its size to *ret_size.
 * Returns 0 or a negative errno of channel_transact().
 */
int query_handles(struct channel *channel, const struct policy_image *image,
	const struct account *account, uint32_t property, uint32_t count,
	uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size);

/*
 * Lets ACCOUNT forget the transient objects that the TPM no longer has. Returns 0 or a negative
 * errno of channel_transact().
 */
int query_objects(struct channel *channel, struct account *account);

/* Reads one property (TPM_CAP_TPM_PROPERTIES). Returns 0, -EBADMSG where the TPM has none such, or
 * a negative errno of channel_transact(). */
int query_property(struct channel *channel, uint32_t property, uint32_t *ret_value);

/* What the failure counter stands at, its maximum, and the seconds in which it falls by one. */
int query_lockout(struct channel *channel, uint32_t *ret_counter, uint32_t *ret_maximum,
	uint32_t *ret_interval);

/* Flushes the transient object or TPM session HANDLE; that it is gone already is no error. */
int query_flush(struct channel *channel, uint32_t handle);

/*
 * Asks the broker whether HANDLE, or the sealed data in it, is the uid's, and lets ACCOUNT learn
 * it. Returns 0, or a negative errno of channel_ask(): nobody knows.
 */
int query_ownership(
	struct channel *channel, struct account *account, uint32_t handle, enum account_kind kind);

/*
 * Flushes every transient object and loaded session of a TPM that has no resource manager. Returns
 * 0 or a negative errno of channel_transact().
 */
int query_flush_all(struct channel *channel);
