#include "relay/tpm-handles.h"

#include <errno.h>

struct tpm_handles tpm_handles_new(uint32_t count)
{
	return (struct tpm_handles){
		.wanted = count < TPM_CAP_MAX_HANDLES ? count : TPM_CAP_MAX_HANDLES};
}

void tpm_handles_add(struct tpm_handles *list, uint32_t handle)
{
	uint32_t at = list->count;

	while (at > 0 && (list->handles[at - 1] & 0xffffff) > (handle & 0xffffff))
		at--;
	if (list->count == list->wanted) {
		list->more = true;
		if (at == list->count)
			return;
		list->count--; /* the last makes room */
	}
	for (uint32_t i = list->count; i > at; i--)
		list->handles[i] = list->handles[i - 1];
	list->handles[at] = handle;
	list->count++;
}

size_t tpm_handles_write(const struct tpm_handles *list, uint8_t response[TPM_MESSAGE_MAX])
{
	struct writer writer = writer_new(response, TPM_MESSAGE_MAX);

	writer_u16(&writer, TPM_ST_NO_SESSIONS);
	writer_u32(&writer, 0); /* size, below */
	writer_u32(&writer, TPM_RC_SUCCESS);
	writer_u8(&writer, list->more);
	writer_u32(&writer, TPM_CAP_HANDLES);
	writer_u32(&writer, list->count);
	for (uint32_t i = 0; i < list->count; i++)
		writer_u32(&writer, list->handles[i]);
	writer_patch_u32(&writer, sizeof(uint16_t), (uint32_t)writer.used);
	return writer.used;
}

int tpm_handles_parse(struct cursor parameters, struct cursor *ret_handles, bool *ret_more)
{
	uint8_t more;
	uint32_t capability;
	uint32_t count;

	if (cursor_u8(&parameters, &more) < 0 || cursor_u32(&parameters, &capability) < 0 ||
		cursor_u32(&parameters, &count) < 0 || capability != TPM_CAP_HANDLES ||
		count > TPM_CAP_MAX_HANDLES || parameters.left != count * sizeof(uint32_t))
		return -EBADMSG;
	*ret_more = more && count > 0;
	*ret_handles = parameters;
	return 0;
}
