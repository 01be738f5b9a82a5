#pragma once
/*
 * Public areas of objects and NV indices, as far as the filter needs them (Part 2, sections 12.2.4
 * and 13.6).
 */
#include "common/cursor.h"

#include <stdbool.h>
#include <stdint.h>

#define PUBLIC_NV_MAX 78 /* bytes of the largest TPMS_NV_PUBLIC: 4 + 2 + 4 + 2 + 64 + 2 */

struct public_object {
	uint16_t type;        /* TPM_ALG_ID */
	uint32_t attributes;  /* TPMA_OBJECT */
	struct cursor unique; /* of sealed data; otherwise empty */
};

struct public_nv {
	uint32_t index;
	uint32_t attributes; /* TPMA_NV */
	uint16_t data_size;  /* bytes */
};

/* KEYEDHASH without sign and decrypt. */
bool public_is_sealed(uint16_t type, uint32_t attributes);

/* Whether authorizations write to the NV index: TPM_NT_PIN_FAIL and _PASS (Part 2, 13.2). */
bool public_nv_counts_pins(uint32_t attributes);

/* The front of a TPMT_PUBLIC or TPMT_TEMPLATE. Returns 0 or -EBADMSG. */
int public_parse_object(struct cursor area, struct public_object *ret_object);

/* A whole TPMS_NV_PUBLIC, every byte accounted for. Returns 0 or -EBADMSG. */
int public_parse_nv(struct cursor area, struct public_nv *ret_nv);

/*
 * Copies the TPMS_NV_PUBLIC in AREA with the attributes cleared that change while an index is used:
 * WRITTEN, READLOCKED, WRITELOCKED. Returns its size, or -EBADMSG.
 */
int public_normalize_nv(struct cursor area, uint8_t ret_bytes[PUBLIC_NV_MAX]);
