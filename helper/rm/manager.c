#include "rm/manager.h"

#include "relay/tpm-response.h"
#include "rm/handles.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int manager_init(struct manager *manager, struct backend *backend, unsigned spaces,
	unsigned object_slots, unsigned session_slots)
{
	size_t slots = (size_t)spaces * (object_slots + session_slots);
	size_t size = ORPHAN_MEMORY + slots * SPACE_CONTEXT_SIZE;
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	struct space *list = calloc(spaces, sizeof *list);
	void *memory;

	memset(manager, 0, sizeof *manager);
	if (!list)
		return -ENOMEM;
	/* cppcheck-suppress invalidFunctionArg */
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (memory == MAP_FAILED) {
		free(list);
		return -ENOMEM;
	}
	manager->memory = memory;
	manager->memory_size = size;
	manager->object_slots = object_slots;
	manager->session_slots = session_slots;
	manager->swap.request.backend = backend;
	manager->swap.spaces = list;
	manager->swap.space_count = spaces;
	manager->swap.orphans.memory = memory;
	return 0;
}

void manager_done(struct manager *manager)
{
	if (manager->memory)
		munmap(manager->memory, manager->memory_size);
	free(manager->swap.spaces);
	memset(manager, 0, sizeof *manager);
}

/* Starts the TPM, unless somebody has. */
static int startup(struct manager *manager)
{
	uint32_t code;
	int r = request_startup(&manager->swap.request, &code);

	return r == 0 && code != TPM_RC_SUCCESS && code != TPM_RC_INITIALIZE ? -EPROTO : r;
}

/* The TPM was reset: what it had is gone, or is nobody's where it only says so. */
static int restart(struct manager *manager)
{
	int r;

	swap_forget_all(&manager->swap);
	r = startup(manager);
	return r < 0 ? r : swap_flush_all(&manager->swap, false);
}

int manager_start(struct manager *manager, bool saved)
{
	int r = startup(manager);

	return r < 0 ? r : swap_flush_all(&manager->swap, saved);
}

int manager_stop(struct manager *manager)
{
	return swap_flush_renewed(&manager->swap);
}

struct space *manager_take(struct manager *manager)
{
	size_t size = (size_t)(manager->object_slots + manager->session_slots) * SPACE_CONTEXT_SIZE;

	for (unsigned i = 0; i < manager->swap.space_count; i++) {
		struct space *space = &manager->swap.spaces[i];

		if (space->taken)
			continue;
		space_init(space, manager->object_slots, manager->session_slots,
			manager->memory + ORPHAN_MEMORY + i * size);
		space->taken = true;
		return space;
	}
	return NULL;
}

int manager_leave(struct manager *manager, struct space *space)
{
	return swap_flush_space(&manager->swap, space);
}

static size_t answer(struct manager *manager, uint32_t code)
{
	return tpm_response_error(code, manager->response);
}

/* ---- commands that need no TPM, or not this command ---- */

/*
 * Handles that the space may know of: its own, and among the saved sessions those that are in
 * nobody's space, because they belong to whoever holds the context.
 */
static int list_handles(
	struct manager *manager, struct space *space, uint32_t property, struct tpm_handles *list)
{
	struct cursor handles;
	uint32_t handle;
	bool more;
	int r = 0;

	space_list(space, property, list);
	if (property >> 24 != TPM_HT_POLICY_SESSION)
		return 0;
	r = request_handles(&manager->swap.request, property, &handles, &more);
	while (r == 0 && cursor_u32(&handles, &handle) == 0)
		if (!swap_holds_session(&manager->swap, handle))
			tpm_handles_add(list, handle);
	return r;
}

static bool is_for_manager(const struct tpm_command *command)
{
	uint64_t property = command->parameters[1].number;

	return command->info->code == TPM_CC_GET_CAPABILITY &&
	       command->parameters[0].number == TPM_CAP_HANDLES &&
	       (property >> 24 == TPM_HT_TRANSIENT || property >> 24 == TPM_HT_HMAC_SESSION ||
		       property >> 24 == TPM_HT_POLICY_SESSION);
}

static int answer_handles(struct manager *manager, struct space *space,
	const struct tpm_command *command, size_t *ret_size)
{
	struct tpm_handles list = tpm_handles_new((uint32_t)command->parameters[2].number);
	int r;

	/* only the TPM can make the HMAC that a response with sessions needs */
	if (command->authorization_count > 0) {
		*ret_size = answer(manager, TPM_RC_LAYER | TPM_RC_AUTH_CONTEXT);
		return 0;
	}
	r = list_handles(manager, space, (uint32_t)command->parameters[1].number, &list);
	if (r == 0)
		*ret_size = tpm_handles_write(&list, manager->response);
	return r;
}

static int answer_flush(
	struct manager *manager, struct space *space, uint32_t handle, size_t *ret_size)
{
	struct space_object *object = space_object(space, handle);
	struct space_session *session = space_session(space, handle);
	uint32_t kind = handle >> 24;
	uint32_t code = TPM_RC_SUCCESS;
	uint32_t ignored; /* what of one's own is not there cannot be flushed, and is gone */
	int r = 0;

	/* One's own, or a saved session that is in nobody's space. */
	if (!object && !session &&
		((kind != TPM_HT_HMAC_SESSION && kind != TPM_HT_POLICY_SESSION) ||
			swap_holds_session(&manager->swap, handle))) {
		*ret_size = answer(manager, TPM_RC_LAYER | tpm_rc_at(TPM_RC_HANDLE | TPM_RC_P, 0));
		return 0;
	}
	if (object && object->real != 0)
		r = request_flush(&manager->swap.request, object->real, &ignored);
	else if (!object)
		r = request_flush(&manager->swap.request, handle, session ? &ignored : &code);
	if (object)
		*object = (struct space_object){0};
	else
		swap_forget(&manager->swap, handle);
	*ret_size = answer(manager, code);
	return r;
}

/* ---- what a response says of what is in the TPM ---- */

/* Sequences change with each command; ContextLoad says what it loads by the handle it has saved. */
static bool makes_sequence(const struct tpm_command *command)
{
	switch (command->info->code) {
	case TPM_CC_CREATE_PRIMARY:
	case TPM_CC_CREATE_LOADED:
	case TPM_CC_LOAD:
	case TPM_CC_LOAD_EXTERNAL:
		return false;
	case TPM_CC_CONTEXT_LOAD:
		return command->parameters[1].number == 0x80000001u; /* Part 2, section 14.3 */
	default:
		return true; /* HMAC_Start, HashSequenceStart and their like */
	}
}

/* Returns 0, or -EBADMSG where there is no slot for what handles_check() has found one for. */
static int learn_handle(struct manager *manager, struct space *space,
	const struct tpm_command *command, uint32_t handle)
{
	swap_forget(&manager->swap, handle);
	if (handle >> 24 == TPM_HT_TRANSIENT) {
		struct space_object *object =
			space_add_object(space, handle, makes_sequence(command));

		if (!object)
			return -EBADMSG;
		object->used = manager->swap.clock;
		handles_leave(manager->response, object->handle);
		return 0;
	}

	struct space_session *session = space_add_session(space, handle);

	if (!session)
		return -EBADMSG;
	session->used = manager->swap.clock;
	return 0;
}

static void lose(struct space *space, uint32_t handle)
{
	struct space_object *object = space_object(space, handle);
	struct space_session *session = space_session(space, handle);

	if (object)
		*object = (struct space_object){0};
	if (session)
		*session = (struct space_session){0};
}

/* Whether COMMAND flushes objects without naming them. */
static bool flushes_unnamed(uint32_t code)
{
	return code == TPM_CC_CLEAR || code == TPM_CC_HIERARCHY_CONTROL ||
	       code == TPM_CC_CHANGE_EPS || code == TPM_CC_CHANGE_PPS;
}

static int learn_success(struct manager *manager, struct space *space,
	const struct tpm_command *command, const struct tpm_response *response)
{
	uint32_t code = command->info->code;

	if (tpm_command_flushes(command->info))
		for (unsigned i = 0; i < command->handle_count; i++)
			if (command->info->handles[i].use == TPM_USE_SEQUENCE)
				lose(space, command->handles[i]);
	for (unsigned i = 0; i < command->authorization_count; i++)
		if (!(command->authorizations[i].attributes & TPMA_SESSION_CONTINUE))
			lose(space, command->authorizations[i].handle);
	if (code == TPM_CC_CONTEXT_SAVE && command->handles[0] >> 24 != TPM_HT_TRANSIENT) {
		lose(space, command->handles[0]);
		orphan_add(&manager->swap.orphans, command->handles[0], response->parameters);
	}
	if (response->handle != 0)
		return learn_handle(manager, space, command, response->handle);
	return flushes_unnamed(code) ? swap_check_objects(&manager->swap) : 0;
}

/* Loses what the TPM says that it does not have, and makes sure of that. */
static int discard(struct manager *manager, struct space *space, uint32_t handle)
{
	const struct space_object *object = space_object(space, handle);
	uint32_t real = object ? object->real : handle;
	uint32_t code;

	if (!object && !space_session(space, handle))
		return 0;
	lose(space, handle);
	return real != 0 ? request_flush(&manager->swap.request, real, &code) : 0;
}

/* The TPM has lost something without being told: it was reset, or others use it too. */
static int learn_failure(struct manager *manager, struct space *space,
	const struct tpm_command *command, uint32_t code)
{
	if (code == TPM_RC_INITIALIZE)
		return restart(manager);
	for (unsigned i = 0; i < command->handle_count; i++)
		if (code == TPM_RC_REFERENCE_H0 + i)
			return discard(manager, space, command->handles[i]);
	for (unsigned i = 0; i < command->authorization_count; i++)
		if (code == TPM_RC_REFERENCE_S0 + i)
			return discard(manager, space, command->authorizations[i].handle);
	return 0;
}

static int learn(struct manager *manager, struct space *space, const struct tpm_command *command,
	size_t size)
{
	struct tpm_response response;
	int r = tpm_response_parse(command, manager->response, size, &response);

	if (r < 0)
		return r;
	return response.code == TPM_RC_SUCCESS
		       ? learn_success(manager, space, command, &response)
		       : learn_failure(manager, space, command, response.code);
}

/* ---- a command ---- */

/* The bytes to send: COMMAND with real handles, or ContextLoad with the context that holds now. */
static size_t enter(struct manager *manager, struct space *space, const struct tpm_command *command,
	uint8_t *bytes, size_t size)
{
	struct cursor whole = cursor_new(bytes, size);
	struct cursor skipped;
	struct cursor renewed;

	handles_enter(space, command, bytes);
	if (command->info->code != TPM_CC_CONTEXT_LOAD ||
		cursor_bytes(&whole, TPM_HEADER_SIZE, &skipped) < 0)
		return size;
	renewed = orphan_translate(&manager->swap.orphans, whole);
	if (renewed.left == 0 || renewed.left > TPM_MESSAGE_MAX - TPM_HEADER_SIZE)
		return size;

	struct writer writer = writer_new(bytes, TPM_MESSAGE_MAX);

	writer_u16(&writer, TPM_ST_NO_SESSIONS);
	writer_u32(&writer, (uint32_t)(TPM_HEADER_SIZE + renewed.left));
	writer_u32(&writer, TPM_CC_CONTEXT_LOAD);
	writer_bytes(&writer, renewed.next, renewed.left);
	return writer.used;
}

static int execute(struct manager *manager, struct space *space, const struct tpm_command *command,
	uint8_t *bytes, size_t size, size_t *ret_size)
{
	uint32_t code;
	int r = swap_in(&manager->swap, space, command, &code);

	if (r < 0)
		return r;
	if (code != TPM_RC_SUCCESS) {
		*ret_size = answer(manager, code);
		return code == TPM_RC_INITIALIZE ? restart(manager) : 0;
	}
	size = enter(manager, space, command, bytes, size);
	r = swap_execute(&manager->swap, bytes, size, manager->response, ret_size);
	return r < 0 ? r : learn(manager, space, command, *ret_size);
}

int manager_execute(struct manager *manager, struct space *space, uint8_t command[TPM_MESSAGE_MAX],
	size_t size, size_t *ret_size)
{
	struct tpm_command parsed;
	uint32_t code = tpm_command_parse(command, size, &parsed);

	if (code == TPM_RC_SUCCESS)
		code = handles_check(space, &parsed);
	if (code != TPM_RC_SUCCESS) {
		*ret_size = answer(manager, code);
		return 0;
	}
	if (parsed.info->code == TPM_CC_STARTUP) {
		/* the TPM runs; and this code means a reset, where another command gets it */
		*ret_size = answer(manager, TPM_RC_INITIALIZE);
		return 0;
	}
	if (parsed.info->code == TPM_CC_FLUSH_CONTEXT)
		return answer_flush(
			manager, space, (uint32_t)parsed.parameters[0].number, ret_size);
	if (is_for_manager(&parsed))
		return answer_handles(manager, space, &parsed, ret_size);
	return execute(manager, space, &parsed, command, size, ret_size);
}
