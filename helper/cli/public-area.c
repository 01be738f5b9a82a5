/*
 * Owns: what of a public area is recorded. Trusts: no byte of the response.
 *
 *	NV index          TPMS_NV_PUBLIC (Part 2, section 13.5) without the attributes that come
 *	                  and go as the index is used, and its Name with them
 *	persistent object its Name, which is a digest of the whole public area
 */
#include "cli/public-area.h"

#include "common/cursor.h"

#include <errno.h>
#include <string.h>

#define TPM_ST_NO_SESSIONS    0x8001
#define TPM_CC_NV_READ_PUBLIC 0x00000169
#define TPM_CC_READ_PUBLIC    0x00000173

/* TPMA_NV (Part 2, section 13.4) */
#define TPMA_NV_WRITELOCKED (UINT32_C(1) << 11)
#define TPMA_NV_READLOCKED  (UINT32_C(1) << 28)
#define TPMA_NV_WRITTEN     (UINT32_C(1) << 29)

void public_area_command(uint32_t handle, uint8_t ret_command[PUBLIC_AREA_COMMAND])
{
	struct writer writer = writer_new(ret_command, PUBLIC_AREA_COMMAND);

	writer_u16(&writer, TPM_ST_NO_SESSIONS);
	writer_u32(&writer, PUBLIC_AREA_COMMAND);
	writer_u32(&writer, protocol_handle_kind(handle) == PROTOCOL_KIND_NV ? TPM_CC_NV_READ_PUBLIC
									     : TPM_CC_READ_PUBLIC);
	writer_u32(&writer, handle);
}

static int parse_nv(uint32_t handle, struct cursor body, struct protocol_adopt *adopt)
{
	struct writer writer = writer_new(adopt->data, sizeof adopt->data);
	struct cursor area;
	struct cursor name;
	struct cursor policy;
	uint32_t index;
	uint16_t name_algorithm;
	uint32_t attributes;
	uint16_t data_size;

	if (cursor_tpm2b(&body, &area) < 0 || cursor_tpm2b(&body, &name) < 0 || body.left > 0)
		return -EBADMSG;
	if (cursor_u32(&area, &index) < 0 || cursor_u16(&area, &name_algorithm) < 0 ||
		cursor_u32(&area, &attributes) < 0 || cursor_tpm2b(&area, &policy) < 0 ||
		cursor_u16(&area, &data_size) < 0 || area.left > 0 || index != handle)
		return -EBADMSG;
	writer_u32(&writer, index);
	writer_u16(&writer, name_algorithm);
	writer_u32(&writer,
		attributes & ~(TPMA_NV_WRITTEN | TPMA_NV_WRITELOCKED | TPMA_NV_READLOCKED));
	writer_u16(&writer, (uint16_t)policy.left);
	writer_bytes(&writer, policy.next, policy.left);
	writer_u16(&writer, data_size);
	if (writer.overflowed)
		return -EBADMSG;
	adopt->nv_size = data_size;
	adopt->size = (uint32_t)writer.used;
	return 0;
}

static int parse_object(struct cursor body, struct protocol_adopt *adopt)
{
	struct writer writer = writer_new(adopt->data, sizeof adopt->data);
	struct cursor area;
	struct cursor name;
	struct cursor qualified;

	if (cursor_tpm2b(&body, &area) < 0 || cursor_tpm2b(&body, &name) < 0 ||
		cursor_tpm2b(&body, &qualified) < 0 || body.left > 0 || name.left == 0)
		return -EBADMSG;
	writer_bytes(&writer, name.next, name.left);
	if (writer.overflowed)
		return -EBADMSG;
	adopt->size = (uint32_t)writer.used;
	return 0;
}

int64_t public_area_parse(
	uint32_t handle, const void *response, size_t size, struct protocol_adopt *ret_adopt)
{
	struct protocol_adopt adopt = {
		.kind = protocol_handle_kind(handle),
		.handle = handle,
	};
	struct cursor cursor = cursor_new(response, size);
	uint16_t tag;
	uint32_t length;
	uint32_t code;
	int r;

	if (cursor_u16(&cursor, &tag) < 0 || cursor_u32(&cursor, &length) < 0 ||
		cursor_u32(&cursor, &code) < 0 || tag != TPM_ST_NO_SESSIONS || length != size)
		return -EBADMSG;
	if (code != 0)
		return cursor.left == 0 ? (int64_t)code : -EBADMSG;
	r = adopt.kind == PROTOCOL_KIND_NV ? parse_nv(handle, cursor, &adopt)
					   : parse_object(cursor, &adopt);
	if (r < 0)
		return r;
	*ret_adopt = adopt;
	return 0;
}
