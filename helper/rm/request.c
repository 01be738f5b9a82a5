#include "rm/request.h"

#include "relay/tpm-command.h"
#include "relay/tpm-handles.h"

#include <errno.h>

/* A command of CODE, without sessions, with PARAMETERS behind its header. */
static int run(struct request *request, uint32_t code, struct cursor parameters, uint32_t *ret_code,
	struct cursor *ret_body)
{
	uint8_t command[TPM_MESSAGE_MAX];
	struct writer writer = writer_new(command, sizeof command);
	struct tpm_header header;
	struct cursor body;
	struct cursor skipped;
	size_t size;
	int r;

	writer_u16(&writer, TPM_ST_NO_SESSIONS);
	writer_u32(&writer, (uint32_t)(TPM_HEADER_SIZE + parameters.left));
	writer_u32(&writer, code);
	writer_bytes(&writer, parameters.next, parameters.left);
	if (writer.overflowed)
		return -EINVAL;
	r = backend_execute(request->backend, command, writer.used, request->response, &size);
	if (r < 0)
		return r;
	body = cursor_new(request->response, size);
	if (tpm_header_parse(request->response, size, &header) < 0 ||
		cursor_bytes(&body, TPM_HEADER_SIZE, &skipped) < 0 ||
		header.tag != TPM_ST_NO_SESSIONS)
		return -EBADMSG;
	*ret_code = header.code;
	*ret_body = body;
	return 0;
}

static int run_on_handle(struct request *request, uint32_t code, uint32_t handle,
	uint32_t *ret_code, struct cursor *ret_body)
{
	uint8_t bytes[sizeof handle];
	struct writer writer = writer_new(bytes, sizeof bytes);

	writer_u32(&writer, handle);
	return run(request, code, cursor_new(bytes, sizeof bytes), ret_code, ret_body);
}

int request_startup(struct request *request, uint32_t *ret_code)
{
	static const uint8_t clear[] = {0, 0}; /* TPM_SU_CLEAR */
	struct cursor body;

	return run(request, TPM_CC_STARTUP, cursor_new(clear, sizeof clear), ret_code, &body);
}

int request_flush(struct request *request, uint32_t handle, uint32_t *ret_code)
{
	struct cursor body;

	return run_on_handle(request, TPM_CC_FLUSH_CONTEXT, handle, ret_code, &body);
}

int request_save(struct request *request, uint32_t handle, struct cursor *ret_context,
	uint64_t *ret_number, uint32_t *ret_code)
{
	struct cursor body;
	struct cursor number;
	int r = run_on_handle(request, TPM_CC_CONTEXT_SAVE, handle, ret_code, &body);

	if (r < 0 || *ret_code != TPM_RC_SUCCESS)
		return r;
	number = body;
	if (cursor_u64(&number, ret_number) < 0)
		return -EBADMSG;
	*ret_context = body;
	return 0;
}

int request_load(
	struct request *request, struct cursor context, uint32_t *ret_handle, uint32_t *ret_code)
{
	struct cursor body;
	int r = run(request, TPM_CC_CONTEXT_LOAD, context, ret_code, &body);

	if (r < 0 || *ret_code != TPM_RC_SUCCESS)
		return r;
	return cursor_u32(&body, ret_handle) < 0 || body.left > 0 ? -EBADMSG : 0;
}

int request_handles(
	struct request *request, uint32_t property, struct cursor *ret_handles, bool *ret_more)
{
	uint8_t bytes[3 * sizeof(uint32_t)];
	struct writer writer = writer_new(bytes, sizeof bytes);
	struct cursor body;
	uint32_t code;
	int r;

	writer_u32(&writer, TPM_CAP_HANDLES);
	writer_u32(&writer, property);
	writer_u32(&writer, TPM_CAP_MAX_HANDLES);
	r = run(request, TPM_CC_GET_CAPABILITY, cursor_new(bytes, writer.used), &code, &body);
	*ret_more = false;
	*ret_handles = cursor_new(NULL, 0);
	return r < 0 || code != TPM_RC_SUCCESS ? r : tpm_handles_parse(body, ret_handles, ret_more);
}
