#include "rm-scene.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

const struct rm_authorization rm_password[2] = {
	{TPM_RS_PW, TPMA_SESSION_CONTINUE}, {TPM_RS_PW, TPMA_SESSION_CONTINUE}};

int rm_scene_setup(void **state)
{
	static struct rm_scene scene;

	memset(&scene, 0, sizeof scene);
	scene.backend.timeout = 5;
	scene.tpm = fake_tpm_start(&scene.backend.fd);
	if (scene.tpm < 0 || manager_init(&scene.manager, &scene.backend, RM_SPACES, RM_OBJECTS,
				     RM_SESSIONS) < 0)
		return -1;
	if (manager_start(&scene.manager, true) < 0)
		return -1;
	for (unsigned i = 0; i < RM_SPACES; i++)
		scene.spaces[i] = manager_take(&scene.manager);
	*state = &scene;
	return scene.spaces[RM_SPACES - 1] ? 0 : -1;
}

int rm_scene_teardown(void **state)
{
	struct rm_scene *scene = *state;

	manager_done(&scene->manager);
	backend_close(&scene->backend);
	return waitpid(scene->tpm, NULL, 0) == scene->tpm ? 0 : -1;
}

struct rm_command rm_command(uint32_t code, const uint32_t *handles, unsigned handle_count,
	const struct rm_authorization *authorizations, unsigned authorization_count,
	const void *parameters, size_t size)
{
	struct rm_command command;
	struct writer writer = writer_new(command.bytes, sizeof command.bytes);

	writer_u16(&writer, authorizations ? TPM_ST_SESSIONS : TPM_ST_NO_SESSIONS);
	writer_u32(&writer, 0); /* size, below */
	writer_u32(&writer, code);
	for (unsigned i = 0; i < handle_count; i++)
		writer_u32(&writer, handles[i]);
	if (authorizations)
		writer_u32(&writer, authorization_count * 9);
	for (unsigned i = 0; authorizations && i < authorization_count; i++) {
		writer_u32(&writer, authorizations[i].handle);
		writer_u16(&writer, 0);
		writer_u8(&writer, authorizations[i].attributes);
		writer_u16(&writer, 0);
	}
	writer_bytes(&writer, parameters, size);
	writer_patch_u32(&writer, sizeof(uint16_t), (uint32_t)writer.used);
	assert_false(writer.overflowed);
	command.size = writer.used;
	return command;
}

uint32_t rm_execute(struct rm_scene *scene, unsigned i, struct rm_command command)
{
	struct tpm_header header;

	scene->result = manager_execute(
		&scene->manager, scene->spaces[i], command.bytes, command.size, &scene->size);
	if (scene->result < 0)
		return UINT32_MAX;
	assert_int_equal(tpm_header_parse(scene->manager.response, scene->size, &header), 0);
	assert_int_equal(header.size, scene->size);
	return header.code;
}

/* COUNT numbers of four bytes, OFFSET bytes behind the header. */
static void take_numbers(
	const struct rm_scene *scene, size_t offset, unsigned count, uint32_t *ret_numbers)
{
	struct cursor cursor = cursor_new(scene->manager.response, scene->size);
	struct cursor skipped;

	assert_int_equal(cursor_bytes(&cursor, TPM_HEADER_SIZE + offset, &skipped), 0);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(cursor_u32(&cursor, &ret_numbers[i]), 0);
}

#define SIZE_2B     2 /* bytes of a TPM2B before its content */
#define SIZE_HANDLE 4
#define SIZE_SIZE   4 /* of parameterSize */

uint32_t rm_create(struct rm_scene *scene, unsigned i, uint32_t *ret_handle, uint32_t *ret_number)
{
	static const uint32_t owner = TPM_RH_OWNER;
	static const uint8_t parameters[10] = {0}; /* three TPM2B and a list, all empty */
	uint32_t code = rm_execute(scene, i,
		rm_command(TPM_CC_CREATE_PRIMARY, &owner, 1, rm_password, 1, parameters,
			sizeof parameters));

	if (code == TPM_RC_SUCCESS) {
		take_numbers(scene, 0, 1, ret_handle);
		take_numbers(scene, SIZE_HANDLE + SIZE_SIZE + SIZE_2B, 1, ret_number);
	}
	return code;
}

uint32_t rm_public(struct rm_scene *scene, unsigned i, uint32_t handle, uint32_t *ret_number)
{
	uint32_t code =
		rm_execute(scene, i, rm_command(TPM_CC_READ_PUBLIC, &handle, 1, NULL, 0, NULL, 0));

	if (code == TPM_RC_SUCCESS)
		take_numbers(scene, SIZE_2B, 1, ret_number);
	return code;
}

uint32_t rm_public_with(struct rm_scene *scene, unsigned i, uint32_t handle, uint32_t session,
	uint8_t attributes, uint32_t *ret_number)
{
	const struct rm_authorization authorization = {session, attributes};
	uint32_t code = rm_execute(
		scene, i, rm_command(TPM_CC_READ_PUBLIC, &handle, 1, &authorization, 1, NULL, 0));

	if (code == TPM_RC_SUCCESS)
		take_numbers(scene, SIZE_SIZE + SIZE_2B, 1, ret_number);
	return code;
}

uint32_t rm_certify(
	struct rm_scene *scene, unsigned i, const uint32_t handles[2], uint32_t ret_numbers[2])
{
	static const uint8_t parameters[4] = {0, 0, 0, 0x10}; /* no data, TPM_ALG_NULL */
	uint32_t code = rm_execute(scene, i,
		rm_command(
			RM_CC_CERTIFY, handles, 2, rm_password, 2, parameters, sizeof parameters));

	if (code == TPM_RC_SUCCESS)
		take_numbers(scene, SIZE_SIZE + SIZE_2B, 2, ret_numbers);
	return code;
}

uint32_t rm_sequence_start(struct rm_scene *scene, unsigned i, uint32_t *ret_handle)
{
	static const uint8_t parameters[] = {0, 0, 0, 0x0b}; /* no password, SHA-256 */
	uint32_t code = rm_execute(scene, i,
		rm_command(TPM_CC_HASH_SEQUENCE_START, NULL, 0, NULL, 0, parameters,
			sizeof parameters));

	if (code == TPM_RC_SUCCESS)
		take_numbers(scene, 0, 1, ret_handle);
	return code;
}

uint32_t rm_sequence_update(struct rm_scene *scene, unsigned i, uint32_t handle, uint8_t byte)
{
	const uint8_t parameters[] = {0, 1, byte};

	return rm_execute(scene, i,
		rm_command(RM_CC_SEQUENCE_UPDATE, &handle, 1, rm_password, 1, parameters,
			sizeof parameters));
}

uint32_t rm_sequence_complete(
	struct rm_scene *scene, unsigned i, uint32_t handle, uint32_t ret_told[2])
{
	static const uint8_t parameters[] = {0, 0, 0x40, 0, 0, 7};
	uint32_t code = rm_execute(scene, i,
		rm_command(TPM_CC_SEQUENCE_COMPLETE, &handle, 1, rm_password, 1, parameters,
			sizeof parameters));

	if (code == TPM_RC_SUCCESS)
		take_numbers(scene, SIZE_SIZE + SIZE_2B, 2, ret_told);
	return code;
}

uint32_t rm_session_start(struct rm_scene *scene, unsigned i, uint8_t type, uint32_t *ret_handle,
	uint32_t *ret_number)
{
	static const uint32_t handles[] = {TPM_RH_NULL, TPM_RH_NULL};
	const uint8_t parameters[] = {0, 0, 0, 0, type, 0, 0x10, 0, 0x0b};
	uint32_t code = rm_execute(scene, i,
		rm_command(TPM_CC_START_AUTH_SESSION, handles, 2, NULL, 0, parameters,
			sizeof parameters));

	if (code == TPM_RC_SUCCESS) {
		take_numbers(scene, 0, 1, ret_handle);
		take_numbers(scene, SIZE_HANDLE + SIZE_2B, 1, ret_number);
	}
	return code;
}

uint32_t rm_policy(struct rm_scene *scene, unsigned i, uint32_t code, uint32_t handle)
{
	return rm_execute(scene, i, rm_command(code, &handle, 1, NULL, 0, NULL, 0));
}

uint32_t rm_digest(struct rm_scene *scene, unsigned i, uint32_t handle, uint32_t ret_told[2])
{
	uint32_t code = rm_policy(scene, i, RM_CC_POLICY_GET_DIGEST, handle);

	if (code == TPM_RC_SUCCESS)
		take_numbers(scene, SIZE_2B, 2, ret_told);
	return code;
}

uint32_t rm_save(
	struct rm_scene *scene, unsigned i, uint32_t handle, struct rm_context *ret_context)
{
	uint32_t code =
		rm_execute(scene, i, rm_command(TPM_CC_CONTEXT_SAVE, &handle, 1, NULL, 0, NULL, 0));

	if (code == TPM_RC_SUCCESS) {
		ret_context->size = scene->size - TPM_HEADER_SIZE;
		memcpy(ret_context->bytes, scene->manager.response + TPM_HEADER_SIZE,
			ret_context->size);
	}
	return code;
}

uint32_t rm_load(
	struct rm_scene *scene, unsigned i, const struct rm_context *context, uint32_t *ret_handle)
{
	uint32_t code = rm_execute(scene, i,
		rm_command(TPM_CC_CONTEXT_LOAD, NULL, 0, NULL, 0, context->bytes, context->size));

	if (code == TPM_RC_SUCCESS)
		take_numbers(scene, 0, 1, ret_handle);
	return code;
}

static struct rm_command with_numbers(uint32_t code, const uint32_t *numbers, unsigned count)
{
	return rm_command(code, numbers, count, NULL, 0, NULL, 0);
}

uint32_t rm_flush(struct rm_scene *scene, unsigned i, uint32_t handle)
{
	return rm_execute(scene, i, with_numbers(TPM_CC_FLUSH_CONTEXT, &handle, 1));
}

uint32_t rm_clear(struct rm_scene *scene, unsigned i)
{
	static const uint32_t lockout = TPM_RH_LOCKOUT;

	return rm_execute(scene, i, rm_command(TPM_CC_CLEAR, &lockout, 1, rm_password, 1, NULL, 0));
}

static void parse_list(const uint8_t *response, size_t size, struct tpm_handles *ret_list)
{
	struct cursor cursor = cursor_new(response, size);
	struct cursor handles;
	uint32_t handle;
	bool more;

	*ret_list = tpm_handles_new(TPM_CAP_MAX_HANDLES);
	assert_int_equal(cursor_bytes(&cursor, TPM_HEADER_SIZE, &handles), 0);
	assert_int_equal(tpm_handles_parse(cursor, &handles, &more), 0);
	while (cursor_u32(&handles, &handle) == 0)
		ret_list->handles[ret_list->count++] = handle;
	ret_list->more = more;
}

uint32_t rm_list(struct rm_scene *scene, unsigned i, uint32_t property, uint32_t wanted,
	struct tpm_handles *ret_list)
{
	const uint32_t numbers[] = {TPM_CAP_HANDLES, property, wanted};
	uint32_t code = rm_execute(scene, i, with_numbers(TPM_CC_GET_CAPABILITY, numbers, 3));

	if (code == TPM_RC_SUCCESS)
		parse_list(scene->manager.response, scene->size, ret_list);
	return code;
}

/* ---- past the manager ---- */

static size_t ask_tpm(
	struct rm_scene *scene, struct rm_command command, uint8_t response[TPM_MESSAGE_MAX])
{
	size_t size = 0;

	assert_int_equal(
		backend_execute(&scene->backend, command.bytes, command.size, response, &size), 0);
	return size;
}

unsigned rm_tpm_count(struct rm_scene *scene, uint32_t kind)
{
	const uint32_t numbers[] = {TPM_CAP_HANDLES, kind << 24, TPM_CAP_MAX_HANDLES};
	uint8_t response[TPM_MESSAGE_MAX];
	struct tpm_handles list;
	size_t size = ask_tpm(scene, with_numbers(TPM_CC_GET_CAPABILITY, numbers, 3), response);

	parse_list(response, size, &list);
	return list.count;
}

uint32_t rm_tpm_saved_session(struct rm_scene *scene)
{
	static const uint32_t handles[] = {TPM_RH_NULL, TPM_RH_NULL};
	static const uint8_t parameters[] = {0, 0, 0, 0, RM_SE_POLICY, 0, 0x10, 0, 0x0b};
	uint8_t response[TPM_MESSAGE_MAX];
	size_t size = ask_tpm(scene,
		rm_command(TPM_CC_START_AUTH_SESSION, handles, 2, NULL, 0, parameters,
			sizeof parameters),
		response);
	struct cursor cursor = cursor_new(response, size);
	struct cursor skipped;
	struct tpm_header header;
	uint32_t handle = 0;

	assert_int_equal(cursor_bytes(&cursor, TPM_HEADER_SIZE, &skipped), 0);
	assert_int_equal(cursor_u32(&cursor, &handle), 0);
	size = ask_tpm(scene, with_numbers(TPM_CC_CONTEXT_SAVE, &handle, 1), response);
	assert_int_equal(tpm_header_parse(response, size, &header), 0);
	assert_int_equal(header.code, TPM_RC_SUCCESS);
	return handle;
}

void rm_tpm_reset(struct rm_scene *scene, bool started)
{
	const uint8_t byte = started;
	uint8_t response[TPM_MESSAGE_MAX];

	ask_tpm(scene, rm_command(FAKE_TPM_CC_RESET, NULL, 0, NULL, 0, &byte, 1), response);
}

void rm_tpm_lie(struct rm_scene *scene, uint32_t code, const void *answer, size_t size)
{
	uint8_t response[TPM_MESSAGE_MAX];
	uint8_t parameters[128];
	struct writer writer = writer_new(parameters, sizeof parameters);

	writer_u32(&writer, code);
	writer_bytes(&writer, answer, size);
	assert_false(writer.overflowed);
	ask_tpm(scene, rm_command(FAKE_TPM_CC_LIE, NULL, 0, NULL, 0, parameters, writer.used),
		response);
}

void assert_public(struct rm_scene *scene, unsigned space, uint32_t handle, uint32_t expected)
{
	uint32_t number = 0;

	OK(rm_public(scene, space, handle, &number));
	assert_int_equal(number, expected);
}

void start_four(struct rm_scene *scene, unsigned space, uint32_t sessions[4])
{
	uint32_t number;

	for (unsigned i = 0; i < 4; i++)
		OK(rm_session_start(scene, space, RM_SE_POLICY, &sessions[i], &number));
}
