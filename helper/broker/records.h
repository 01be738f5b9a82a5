#pragma once
/*
 * What the registry has, as items of a reply.
 */
#include "broker/registry.h"

/*
 * The records of UID, or of everybody for UINT32_MAX: struct protocol_record, handles first in the
 * registry's order, then sealed data counted by user and TPM. *RET_LEFT_OUT is how many of them do
 * not fit a reply. REGISTRY may be NULL.
 */
GArray *records_collect(const struct registry *registry, uint32_t uid, uint32_t *ret_left_out);
