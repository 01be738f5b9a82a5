#include "tpm-bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "common/cursor.h"
#include "relay/tpm.h"

struct bytes bytes_of(const void *bytes, size_t size)
{
	struct bytes all = {.size = size};

	assert_true(size <= sizeof all.bytes);
	if (size > 0)
		memcpy(all.bytes, bytes, size);
	return all;
}

static void begin(struct writer *ret_writer, struct bytes *all, uint16_t tag, uint32_t code)
{
	*all = (struct bytes){0};
	*ret_writer = writer_new(all->bytes, sizeof all->bytes);
	writer_u16(ret_writer, tag);
	writer_u32(ret_writer, 0); /* size, at the end */
	writer_u32(ret_writer, code);
}

static void end(struct writer *writer, struct bytes *all)
{
	assert_false(writer->overflowed);
	writer_patch_u32(writer, 2, (uint32_t)writer->used);
	all->size = writer->used;
}

struct bytes command_of(uint32_t code, const uint32_t *words, size_t count)
{
	struct writer writer;
	struct bytes all;

	begin(&writer, &all, TPM_ST_NO_SESSIONS, code);
	for (size_t i = 0; i < count; i++)
		writer_u32(&writer, words[i]);
	end(&writer, &all);
	return all;
}

static struct bytes command_with_authorization(uint32_t code, uint32_t session, uint8_t attributes,
	struct bytes hmac, const uint32_t *handles, size_t handle_count, struct bytes parameters)
{
	struct writer writer;
	struct bytes all;

	begin(&writer, &all, TPM_ST_SESSIONS, code);
	for (size_t i = 0; i < handle_count; i++)
		writer_u32(&writer, handles[i]);
	writer_u32(&writer, 9 + (uint32_t)hmac.size); /* authorizationSize */
	writer_u32(&writer, session);
	writer_u16(&writer, 0); /* nonce */
	writer_u8(&writer, attributes);
	writer_u16(&writer, (uint16_t)hmac.size);
	writer_bytes(&writer, hmac.bytes, hmac.size);
	writer_bytes(&writer, parameters.bytes, parameters.size);
	end(&writer, &all);
	return all;
}

struct bytes command_with_session(uint32_t code, uint32_t session, uint8_t attributes,
	const uint32_t *handles, size_t handle_count, struct bytes parameters)
{
	static const struct bytes empty;

	return command_with_authorization(
		code, session, attributes, empty, handles, handle_count, parameters);
}

struct bytes command_with_guess(
	uint32_t code, const uint32_t *handles, size_t handle_count, struct bytes parameters)
{
	return command_with_authorization(code, TPM_RS_PW, TPMA_SESSION_CONTINUE,
		bytes_of("guess", 5), handles, handle_count, parameters);
}

struct bytes command_with_password(
	uint32_t code, const uint32_t *handles, size_t handle_count, struct bytes parameters)
{
	return command_with_session(
		code, TPM_RS_PW, TPMA_SESSION_CONTINUE, handles, handle_count, parameters);
}

struct bytes response_of(uint32_t code)
{
	return command_of(code, NULL, 0);
}

struct bytes response_with_session(uint32_t handle, struct bytes parameters)
{
	static const uint8_t session[] = {0, 0, 1, 0, 0};
	struct writer writer;
	struct bytes all;

	begin(&writer, &all, TPM_ST_SESSIONS, TPM_RC_SUCCESS);
	if (handle != 0)
		writer_u32(&writer, handle);
	writer_u32(&writer, (uint32_t)parameters.size);
	writer_bytes(&writer, parameters.bytes, parameters.size);
	writer_bytes(&writer, session, sizeof session);
	end(&writer, &all);
	return all;
}

struct bytes response_of_handle(uint32_t handle)
{
	struct writer writer;
	struct bytes all;

	begin(&writer, &all, TPM_ST_NO_SESSIONS, TPM_RC_SUCCESS);
	writer_u32(&writer, handle);
	writer_u16(&writer, 0); /* nonceTPM */
	end(&writer, &all);
	return all;
}

struct bytes response_of_properties(uint32_t first, const uint32_t *values, uint32_t count)
{
	struct writer writer;
	struct bytes all;

	begin(&writer, &all, TPM_ST_NO_SESSIONS, TPM_RC_SUCCESS);
	writer_u8(&writer, 1); /* moreData */
	writer_u32(&writer, TPM_CAP_TPM_PROPERTIES);
	writer_u32(&writer, count);
	for (uint32_t i = 0; i < count; i++) {
		writer_u32(&writer, first + i);
		writer_u32(&writer, values[i]);
	}
	end(&writer, &all);
	return all;
}

struct bytes response_of_public(uint16_t type, uint32_t attributes)
{
	static const uint8_t name[34] = {0, 0x0b, 0xaa};
	struct writer writer;
	struct bytes all;

	begin(&writer, &all, TPM_ST_NO_SESSIONS, TPM_RC_SUCCESS);
	writer_u16(&writer, 8); /* outPublic, as far as it is looked at */
	writer_u16(&writer, type);
	writer_u16(&writer, 0x000b); /* nameAlg: TPM_ALG_SHA256 */
	writer_u32(&writer, attributes);
	writer_u16(&writer, sizeof name);
	writer_bytes(&writer, name, sizeof name);
	writer_u16(&writer, sizeof name); /* qualifiedName */
	writer_bytes(&writer, name, sizeof name);
	end(&writer, &all);
	return all;
}

struct bytes nv_public(uint32_t index, uint32_t attributes)
{
	struct bytes all;
	struct writer writer = writer_new(all.bytes, sizeof all.bytes);

	writer_u32(&writer, index);
	writer_u16(&writer, 0x000b); /* nameAlg: TPM_ALG_SHA256 */
	writer_u32(&writer, attributes);
	writer_u16(&writer, 0);  /* authPolicy */
	writer_u16(&writer, 32); /* dataSize */
	all.size = writer.used;
	return all;
}

struct bytes response_of_nv_public(uint32_t index, uint32_t attributes)
{
	struct bytes public = nv_public(index, attributes);
	struct writer writer;
	struct bytes all;

	begin(&writer, &all, TPM_ST_NO_SESSIONS, TPM_RC_SUCCESS);
	writer_u16(&writer, (uint16_t) public.size);
	writer_bytes(&writer, public.bytes, public.size);
	writer_u16(&writer, 0); /* nvName */
	end(&writer, &all);
	return all;
}
