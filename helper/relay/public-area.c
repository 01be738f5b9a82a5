#include "relay/public-area.h"

#include "relay/tpm.h"

#include <errno.h>
#include <string.h>

bool public_is_sealed(uint16_t type, uint32_t attributes)
{
	return type == TPM_ALG_KEYEDHASH &&
	       !(attributes & (TPMA_OBJECT_DECRYPT | TPMA_OBJECT_SIGN));
}

bool public_nv_counts_pins(uint32_t attributes)
{
	uint32_t type = attributes >> TPMA_NV_TYPE_SHIFT & 0xf;

	return type == TPM_NT_PIN_FAIL || type == TPM_NT_PIN_PASS;
}

/* authPolicy, the scheme (sealed data has none), `unique`. */
static int parse_sealed_unique(struct cursor *area, struct cursor *ret_unique)
{
	struct cursor policy;
	uint16_t scheme;

	if (cursor_tpm2b(area, &policy) < 0 || cursor_u16(area, &scheme) < 0)
		return -EBADMSG;
	if (scheme != TPM_ALG_NULL)
		return -EBADMSG;
	return cursor_tpm2b(area, ret_unique);
}

int public_parse_object(struct cursor area, struct public_object *ret_object)
{
	struct public_object object = {.unique = cursor_new(NULL, 0)};
	uint16_t name_algorithm;

	if (cursor_u16(&area, &object.type) < 0 || cursor_u16(&area, &name_algorithm) < 0 ||
		cursor_u32(&area, &object.attributes) < 0)
		return -EBADMSG;
	if (public_is_sealed(object.type, object.attributes) &&
		parse_sealed_unique(&area, &object.unique) < 0)
		object.unique = cursor_new(NULL, 0);
	*ret_object = object;
	return 0;
}

int public_parse_nv(struct cursor area, struct public_nv *ret_nv)
{
	struct public_nv nv;
	struct cursor policy;
	uint16_t name_algorithm;

	if (cursor_u32(&area, &nv.index) < 0 || cursor_u16(&area, &name_algorithm) < 0 ||
		cursor_u32(&area, &nv.attributes) < 0 || cursor_tpm2b(&area, &policy) < 0 ||
		policy.left > TPM_DIGEST_MAX || cursor_u16(&area, &nv.data_size) < 0 ||
		area.left > 0)
		return -EBADMSG;
	*ret_nv = nv;
	return 0;
}

int public_normalize_nv(struct cursor area, uint8_t ret_bytes[PUBLIC_NV_MAX])
{
	static const uint32_t changing = TPMA_NV_WRITTEN | TPMA_NV_READLOCKED | TPMA_NV_WRITELOCKED;
	struct writer writer = writer_new(ret_bytes, PUBLIC_NV_MAX);
	struct public_nv nv;

	if (public_parse_nv(area, &nv) < 0)
		return -EBADMSG;
	writer_bytes(&writer, area.next, area.left);
	if (writer.overflowed)
		return -EBADMSG;
	writer_patch_u32(&writer, sizeof nv.index + sizeof(uint16_t), nv.attributes & ~changing);
	return (int)writer.used;
}
