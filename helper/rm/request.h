#pragma once
/*
 * The manager's own commands. Each returns 0 and the TPM's response code, or a negative errno where
 * the TPM is lost (backend.h).
 */
#include "common/cursor.h"
#include "rm/backend.h"

struct request {
	struct backend *backend;
	uint8_t response[TPM_MESSAGE_MAX];
};

/* Startup(CLEAR) (Part 3, section 9.3): TPM_RC_INITIALIZE where the TPM runs already. */
int request_startup(struct request *request, uint32_t *ret_code);

/* FlushContext (Part 3, section 28.4). */
int request_flush(struct request *request, uint32_t handle, uint32_t *ret_code);

/*
 * ContextSave (Part 3, section 28.2) of HANDLE. With TPM_RC_SUCCESS *ret_context is the context,
 * good until the next request, and *ret_number its `sequence`: the count of saves, by age.
 */
int request_save(struct request *request, uint32_t handle, struct cursor *ret_context,
	uint64_t *ret_number, uint32_t *ret_code);

/* ContextLoad (Part 3, section 28.3). With TPM_RC_SUCCESS *ret_handle is what was loaded. */
int request_load(
	struct request *request, struct cursor context, uint32_t *ret_handle, uint32_t *ret_code);

/*
 * GetCapability(TPM_CAP_HANDLES) from PROPERTY on (Part 3, section 30.2): at most
 * TPM_CAP_MAX_HANDLES handles as u32, good until the next request; none where the TPM refuses.
 */
int request_handles(
	struct request *request, uint32_t property, struct cursor *ret_handles, bool *ret_more);
