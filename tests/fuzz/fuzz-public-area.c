/*
 * Public areas of objects and NV indices, as a client sends them and a TPM answers.
 */
#include "relay/public-area.h"
#include "relay/tpm.h"

#include "pieces.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_object(const uint8_t *data, size_t size)
{
	struct public_object object;

	if (public_parse_object(cursor_new(data, size), &object) < 0)
		return;
	if (size < 8)
		abort();
	pieces_check_inside(object.unique, data, size);
	if (object.unique.left > 0 && !public_is_sealed(object.type, object.attributes))
		abort();
}

/* The same but for what changes while an index is used, and once normal for ever normal. */
static void check_nv(const uint8_t *data, size_t size)
{
	static const uint32_t changing = TPMA_NV_WRITTEN | TPMA_NV_READLOCKED | TPMA_NV_WRITELOCKED;
	uint8_t normal[PUBLIC_NV_MAX];
	uint8_t again[PUBLIC_NV_MAX];
	struct public_nv nv;
	struct public_nv normalized;
	int r = public_normalize_nv(cursor_new(data, size), normal);

	if (public_parse_nv(cursor_new(data, size), &nv) < 0) {
		if (r >= 0)
			abort();
		return;
	}
	if (r != (int)size || size > sizeof normal)
		abort();
	if (public_parse_nv(cursor_new(normal, size), &normalized) < 0 ||
		normalized.index != nv.index || normalized.data_size != nv.data_size ||
		normalized.attributes != (nv.attributes & ~changing))
		abort();
	for (size_t i = 0; i < size; i++)
		if ((i < 6 || i > 9) && normal[i] != data[i])
			abort();
	if (public_normalize_nv(cursor_new(normal, size), again) != r ||
		memcmp(normal, again, size) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_object(data, size);
	check_nv(data, size);
	return 0;
}
