#pragma once
/*
 * What clients have in a TPM: signing keys and TPM sessions. All functions return 0 or a negative
 * errno, -EBADMSG where the TPM refuses.
 */
#include "way.h"

/* An ECC P-256 signing key of the owner's, without a password and noDA. */
int keys_make(const struct way *way, uint32_t *ret_handle);

/* An HMAC session that is neither salted nor bound. */
int keys_start_session(const struct way *way, uint32_t *ret_handle);

#define KEYS_MAX 5

/* Keys that sign in turn. */
struct keys {
	const struct way *way;
	uint32_t handles[KEYS_MAX];
	unsigned int count;
	unsigned int next; /* whose turn it is */
};

/* Makes keys until there are COUNT. */
int keys_fill(struct keys *keys, unsigned int count);

/* For measure.h: CONTEXT is a struct keys, the next of which signs a digest. */
int keys_sign_run(void *context, unsigned int count);
