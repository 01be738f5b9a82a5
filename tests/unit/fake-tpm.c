#include "fake-tpm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CC_CERTIFY           0x148u
#define CC_SEQUENCE_UPDATE   0x15cu
#define CC_POLICY_AUTH_VALUE 0x16bu
#define CC_POLICY_RESTART    0x180u
#define CC_POLICY_GET_DIGEST 0x189u

#define TPM_RC_INTEGRITY 0x1dfu /* about parameter 1 */
#define SEAL             0x5ea1u

/* A command under way, and the response to it. */
struct run {
	struct fake_tpm *tpm;
	const struct tpm_command *command;
	uint32_t handle;          /* to return; 0: none */
	uint8_t parameters[1100]; /* of the response */
	struct writer writer;     /* of these */
};

void fake_tpm_init(struct fake_tpm *tpm)
{
	memset(tpm, 0, sizeof *tpm);
	tpm->counter = FAKE_TPM_SESSIONS + 1;
}

/* ---- objects ---- */

static struct fake_tpm_object *object_of(struct fake_tpm *tpm, uint32_t handle)
{
	uint32_t slot = handle & 0xffffff;

	if (handle >> 24 != TPM_HT_TRANSIENT || slot >= FAKE_TPM_OBJECTS ||
		tpm->objects[slot].number == 0)
		return NULL;
	return &tpm->objects[slot];
}

static uint32_t add_object(struct run *run, struct fake_tpm_object object)
{
	for (uint32_t i = 0; i < FAKE_TPM_OBJECTS; i++) {
		if (run->tpm->objects[i].number != 0)
			continue;
		run->tpm->objects[i] = object;
		run->handle = (uint32_t)TPM_HT_TRANSIENT << 24 | i;
		return TPM_RC_SUCCESS;
	}
	return TPM_RC_OBJECT_MEMORY;
}

static uint32_t make_object(struct run *run, bool sequence)
{
	struct fake_tpm_object object = {.number = run->tpm->last_number + 1, .sequence = sequence};
	uint32_t code = add_object(run, object);

	if (code == TPM_RC_SUCCESS)
		run->tpm->last_number++;
	return code;
}

/* ---- sessions ---- */

static uint64_t truncated(uint64_t counter)
{
	return counter % (FAKE_TPM_GAP + FAKE_TPM_SESSIONS + 1);
}

/* A number of a slot stands for a loaded session, so that the counter leaves those out. */
static void count_save(struct fake_tpm *tpm)
{
	tpm->counter++;
	if (truncated(tpm->counter) == 0)
		tpm->counter += FAKE_TPM_SESSIONS + 1;
}

static uint32_t session_handle(const struct fake_tpm *tpm, const struct fake_tpm_session *session)
{
	uint32_t kind = session->policy ? TPM_HT_POLICY_SESSION : TPM_HT_HMAC_SESSION;

	return kind << 24 | (uint32_t)(session - tpm->sessions);
}

static struct fake_tpm_session *session_of(struct fake_tpm *tpm, uint32_t handle)
{
	uint32_t i = handle & 0xffffff;
	uint32_t kind = handle >> 24;

	if ((kind != TPM_HT_HMAC_SESSION && kind != TPM_HT_POLICY_SESSION) ||
		i >= FAKE_TPM_ACTIVE || tpm->sessions[i].number == 0)
		return NULL;
	return &tpm->sessions[i];
}

static struct fake_tpm_session *loaded_session(struct fake_tpm *tpm, uint32_t handle)
{
	struct fake_tpm_session *session = session_of(tpm, handle);

	if (!session || session->saved != 0 || session_handle(tpm, session) != handle)
		return NULL;
	return session;
}

static unsigned free_sessions(const struct fake_tpm *tpm)
{
	unsigned count = FAKE_TPM_SESSIONS;

	for (unsigned i = 0; i < FAKE_TPM_ACTIVE; i++)
		if (tpm->sessions[i].number != 0 && tpm->sessions[i].saved == 0)
			count--;
	return count;
}

static struct fake_tpm_session *oldest_session(struct fake_tpm *tpm)
{
	struct fake_tpm_session *oldest = NULL;

	for (unsigned i = 0; i < FAKE_TPM_ACTIVE; i++) {
		struct fake_tpm_session *session = &tpm->sessions[i];

		if (session->number != 0 && session->saved != 0 &&
			(!oldest || session->saved < oldest->saved))
			oldest = session;
	}
	return oldest;
}

static bool is_gap_full(struct fake_tpm *tpm)
{
	const struct fake_tpm_session *oldest = oldest_session(tpm);

	return oldest && truncated(oldest->saved) == truncated(tpm->counter);
}

static uint32_t start_session(struct run *run)
{
	struct fake_tpm *tpm = run->tpm;

	if (free_sessions(tpm) == 0)
		return TPM_RC_SESSION_MEMORY;
	if (free_sessions(tpm) == 1 && is_gap_full(tpm))
		return TPM_RC_CONTEXT_GAP;
	for (uint32_t i = 0; i < FAKE_TPM_ACTIVE; i++) {
		struct fake_tpm_session *session = &tpm->sessions[i];

		if (session->number != 0)
			continue;
		*session = (struct fake_tpm_session){.number = ++tpm->last_number,
			.policy = run->command->parameters[2].number != TPM_SE_HMAC};
		run->handle = session_handle(tpm, session);
		writer_u16(&run->writer, sizeof(uint32_t));
		writer_u32(&run->writer, session->number);
		return TPM_RC_SUCCESS;
	}
	return 0x905; /* TPM_RC_SESSION_HANDLES */
}

static uint32_t run_policy(struct run *run)
{
	struct fake_tpm_session *session = loaded_session(run->tpm, run->command->handles[0]);

	switch (run->command->info->code) {
	case CC_POLICY_AUTH_VALUE:
		session->count++;
		break;
	case CC_POLICY_RESTART:
		session->count = 0;
		break;
	default:
		writer_u16(&run->writer, 2 * sizeof(uint32_t));
		writer_u32(&run->writer, session->number);
		writer_u32(&run->writer, session->count);
	}
	return TPM_RC_SUCCESS;
}

/* ---- contexts ---- */

/* TPMS_CONTEXT (Part 2, section 14.5), whose blob is what is needed to make it again. */
static void write_context(struct run *run, uint64_t sequence, uint32_t handle, uint32_t number,
	uint32_t value, uint32_t clears)
{
	const struct fake_tpm *tpm = run->tpm;
	struct writer *writer = &run->writer;

	writer_u32(writer, (uint32_t)(sequence >> 32));
	writer_u32(writer, (uint32_t)sequence);
	writer_u32(writer, handle);
	writer_u32(writer, handle >> 24 == TPM_HT_TRANSIENT ? TPM_RH_OWNER : TPM_RH_NULL);
	writer_u16(writer, 5 * sizeof(uint32_t));
	writer_u32(writer, number);
	writer_u32(writer, value);
	writer_u32(writer, tpm->resets);
	writer_u32(writer, clears);
	writer_u32(writer, number ^ value ^ handle ^ (uint32_t)sequence ^ SEAL);
}

static uint32_t save(struct run *run)
{
	struct fake_tpm *tpm = run->tpm;
	uint32_t handle = run->command->handles[0];
	struct fake_tpm_session *session = loaded_session(tpm, handle);
	const struct fake_tpm_object *object = object_of(tpm, handle);

	if (object) {
		write_context(run, ++tpm->objects_saved,
			(uint32_t)TPM_HT_TRANSIENT << 24 | object->sequence, object->number,
			object->sum, tpm->clears);
		return TPM_RC_SUCCESS;
	}
	if (is_gap_full(tpm))
		return TPM_RC_CONTEXT_GAP;
	session->saved = tpm->counter;
	count_save(tpm);
	write_context(run, session->saved, handle, session->number, session->count, 0);
	return TPM_RC_SUCCESS;
}

static uint32_t load_session(struct run *run, uint32_t number, uint32_t count)
{
	struct fake_tpm *tpm = run->tpm;
	const struct tpm_parameter *parameters = run->command->parameters;
	struct fake_tpm_session *session = session_of(tpm, (uint32_t)parameters[1].number);

	if (!session || session->saved != parameters[0].number || session->number != number ||
		session_handle(tpm, session) != parameters[1].number)
		return tpm_rc_at(TPM_RC_HANDLE | TPM_RC_P, 0);
	if (free_sessions(tpm) == 0)
		return TPM_RC_SESSION_MEMORY;
	if (free_sessions(tpm) == 1 && is_gap_full(tpm) && session != oldest_session(tpm))
		return TPM_RC_CONTEXT_GAP;
	session->saved = 0;
	session->count = count;
	run->handle = (uint32_t)parameters[1].number;
	return TPM_RC_SUCCESS;
}

static uint32_t load(struct run *run)
{
	const struct tpm_parameter *parameters = run->command->parameters;
	uint32_t handle = (uint32_t)parameters[1].number;
	struct cursor blob = parameters[3].bytes;
	uint32_t number;
	uint32_t value;
	uint32_t resets;
	uint32_t clears;
	uint32_t seal;

	if (cursor_u32(&blob, &number) < 0 || cursor_u32(&blob, &value) < 0 ||
		cursor_u32(&blob, &resets) < 0 || cursor_u32(&blob, &clears) < 0 ||
		cursor_u32(&blob, &seal) < 0 || blob.left > 0 ||
		seal != (number ^ value ^ handle ^ (uint32_t)parameters[0].number ^ SEAL) ||
		number == 0 || resets != run->tpm->resets)
		return TPM_RC_INTEGRITY;
	if (handle >> 24 != TPM_HT_TRANSIENT)
		return load_session(run, number, value);
	if (clears != run->tpm->clears)
		return TPM_RC_INTEGRITY;
	return add_object(run,
		(struct fake_tpm_object){.number = number, .sum = value, .sequence = handle & 1});
}

static uint32_t flush(struct run *run)
{
	uint32_t handle = (uint32_t)run->command->parameters[0].number;
	struct fake_tpm_object *object = object_of(run->tpm, handle);
	struct fake_tpm_session *session = session_of(run->tpm, handle);

	/* a loaded one by its own handle only, a saved one whatever kind is said */
	if (session && session->saved == 0 && !loaded_session(run->tpm, handle))
		session = NULL;
	if (object)
		object->number = 0;
	else if (session)
		session->number = 0;
	else
		return tpm_rc_at(TPM_RC_HANDLE | TPM_RC_P, 0);
	return TPM_RC_SUCCESS;
}

static uint32_t list_handles(struct run *run)
{
	struct fake_tpm *tpm = run->tpm;
	uint32_t property = (uint32_t)run->command->parameters[1].number;
	uint32_t kind = property >> 24;
	uint32_t count = 0;

	if (run->command->parameters[0].number != TPM_CAP_HANDLES)
		return tpm_rc_at(TPM_RC_VALUE | TPM_RC_P, 0);
	writer_u8(&run->writer, 0);
	writer_u32(&run->writer, TPM_CAP_HANDLES);
	writer_u32(&run->writer, 0); /* count, below */
	for (uint32_t i = property & 0xffffff; i < FAKE_TPM_ACTIVE; i++) {
		const struct fake_tpm_session *session = &tpm->sessions[i];
		bool listed =
			session->number != 0 && kind == TPM_HT_HMAC_SESSION + (session->saved != 0);
		uint32_t handle = session_handle(tpm, session);

		if (kind == TPM_HT_POLICY_SESSION) /* saved ones, and not of which kind */
			handle = (uint32_t)TPM_HT_HMAC_SESSION << 24 | i;
		if (kind == TPM_HT_TRANSIENT) {
			handle = kind << 24 | i;
			listed = i < FAKE_TPM_OBJECTS && tpm->objects[i].number != 0;
		}
		if (!listed)
			continue;
		writer_u32(&run->writer, handle);
		count++;
	}
	writer_patch_u32(&run->writer, 5, count);
	return TPM_RC_SUCCESS;
}

/* ---- commands ---- */

/* Numbers of the first COUNT handles' objects, and the sum of a sequence. */
static void tell_objects(struct run *run, unsigned count, bool sum)
{
	writer_u16(&run->writer, (uint16_t)((count + sum) * sizeof(uint32_t)));
	for (unsigned i = 0; i < count; i++) {
		const struct fake_tpm_object *object =
			object_of(run->tpm, run->command->handles[i]);

		writer_u32(&run->writer, object ? object->number : 0);
	}
	if (sum)
		writer_u32(&run->writer, object_of(run->tpm, run->command->handles[0])->sum);
}

static uint32_t update_sequence(struct run *run)
{
	struct fake_tpm_object *object = object_of(run->tpm, run->command->handles[0]);
	struct cursor data = run->command->parameters[0].bytes;
	uint8_t byte;

	if (!object || !object->sequence)
		return tpm_rc_at(0x083, 0); /* TPM_RC_MODE */
	while (cursor_u8(&data, &byte) == 0)
		object->sum = object->sum * 31 + byte;
	return TPM_RC_SUCCESS;
}

static uint32_t complete_sequence(struct run *run)
{
	uint32_t code = update_sequence(run);

	if (code != TPM_RC_SUCCESS)
		return code;
	tell_objects(run, 1, true);
	object_of(run->tpm, run->command->handles[0])->number = 0;
	return TPM_RC_SUCCESS;
}

static uint32_t create_primary(struct run *run)
{
	uint32_t code = make_object(run, false);

	writer_u16(&run->writer, sizeof(uint32_t));
	writer_u32(&run->writer, run->tpm->last_number);
	return code;
}

static uint32_t run_command(struct run *run)
{
	switch (run->command->info->code) {
	case TPM_CC_STARTUP:
		return TPM_RC_INITIALIZE; /* it has started */
	case TPM_CC_CREATE_PRIMARY:
		return create_primary(run);
	case TPM_CC_READ_PUBLIC:
		tell_objects(run, 1, false);
		return TPM_RC_SUCCESS;
	case CC_CERTIFY:
		tell_objects(run, 2, false);
		return TPM_RC_SUCCESS;
	case TPM_CC_HASH_SEQUENCE_START:
		return make_object(run, true);
	case CC_SEQUENCE_UPDATE:
		return update_sequence(run);
	case TPM_CC_SEQUENCE_COMPLETE:
		return complete_sequence(run);
	case TPM_CC_START_AUTH_SESSION:
		return start_session(run);
	case CC_POLICY_AUTH_VALUE:
	case CC_POLICY_RESTART:
	case CC_POLICY_GET_DIGEST:
		return run_policy(run);
	case TPM_CC_CONTEXT_SAVE:
		return save(run);
	case TPM_CC_CONTEXT_LOAD:
		return load(run);
	case TPM_CC_FLUSH_CONTEXT:
		return flush(run);
	case TPM_CC_GET_CAPABILITY:
		return list_handles(run);
	case TPM_CC_CLEAR:
		run->tpm->clears++;
		memset(run->tpm->objects, 0, sizeof run->tpm->objects);
		return TPM_RC_SUCCESS;
	default:
		return TPM_RC_COMMAND_CODE;
	}
}

/* Whether all that the command names is loaded. */
static uint32_t check_handles(struct fake_tpm *tpm, const struct tpm_command *command)
{
	for (unsigned i = 0; i < command->handle_count; i++) {
		uint32_t handle = command->handles[i];
		uint32_t kind = handle >> 24;

		if ((kind == TPM_HT_TRANSIENT && !object_of(tpm, handle)) ||
			((kind == TPM_HT_HMAC_SESSION || kind == TPM_HT_POLICY_SESSION) &&
				!loaded_session(tpm, handle)))
			return TPM_RC_REFERENCE_H0 + i;
	}
	for (unsigned i = 0; i < command->authorization_count; i++)
		if (command->authorizations[i].handle != TPM_RS_PW &&
			!loaded_session(tpm, command->authorizations[i].handle))
			return TPM_RC_REFERENCE_S0 + i;
	return TPM_RC_SUCCESS;
}

static size_t answer(const struct run *run, uint32_t code, uint8_t response[TPM_MESSAGE_MAX])
{
	unsigned sessions = run->command ? run->command->authorization_count : 0;
	struct writer writer = writer_new(response, TPM_MESSAGE_MAX);

	if (code != TPM_RC_SUCCESS)
		sessions = 0;
	writer_u16(&writer, sessions > 0 ? TPM_ST_SESSIONS : TPM_ST_NO_SESSIONS);
	writer_u32(&writer, 0); /* size, below */
	writer_u32(&writer, code);
	if (code == TPM_RC_SUCCESS) {
		if (run->handle != 0)
			writer_u32(&writer, run->handle);
		if (sessions > 0)
			writer_u32(&writer, (uint32_t)run->writer.used);
		writer_bytes(&writer, run->parameters, run->writer.used);
	}
	for (unsigned i = 0; i < sessions; i++) {
		writer_u16(&writer, 0);
		writer_u8(&writer, TPMA_SESSION_CONTINUE);
		writer_u16(&writer, 0);
	}
	writer_patch_u32(&writer, sizeof(uint16_t), (uint32_t)writer.used);
	return writer.used;
}

static void end_sessions(struct fake_tpm *tpm, const struct tpm_command *command)
{
	for (unsigned i = 0; i < command->authorization_count; i++) {
		struct fake_tpm_session *session =
			loaded_session(tpm, command->authorizations[i].handle);

		if (session && !(command->authorizations[i].attributes & TPMA_SESSION_CONTINUE))
			session->number = 0;
	}
}

static void reset(struct fake_tpm *tpm, bool started)
{
	tpm->started = started;
	tpm->resets++;
	memset(tpm->objects, 0, sizeof tpm->objects);
	memset(tpm->sessions, 0, sizeof tpm->sessions);
	tpm->counter = FAKE_TPM_SESSIONS + 1;
}

/* The commands that a test gives. Returns false where it is not one. */
static bool execute_own(struct fake_tpm *tpm, uint32_t code, struct cursor parameters)
{
	uint8_t started = 0;

	if (code == FAKE_TPM_CC_RESET) {
		cursor_u8(&parameters, &started);
		reset(tpm, started != 0);
		return true;
	}
	if (code != FAKE_TPM_CC_LIE || cursor_u32(&parameters, &tpm->lie_code) < 0)
		return false;
	memcpy(tpm->lie, parameters.next, parameters.left);
	tpm->lie_size = parameters.left;
	return true;
}

size_t fake_tpm_execute(struct fake_tpm *tpm, const uint8_t *command, size_t size,
	uint8_t response[TPM_MESSAGE_MAX])
{
	struct cursor cursor = cursor_new(command, size);
	struct cursor skipped;
	struct tpm_command parsed;
	struct tpm_header header = {0};
	struct run run = {.tpm = tpm};
	uint32_t code;

	run.writer = writer_new(run.parameters, sizeof run.parameters);
	if (tpm_header_parse(command, size, &header) < 0 ||
		cursor_bytes(&cursor, TPM_HEADER_SIZE, &skipped) < 0)
		return answer(&run, TPM_RC_COMMAND_SIZE, response);
	if (execute_own(tpm, header.code, cursor))
		return answer(&run, TPM_RC_SUCCESS, response);
	if (tpm->lie_size > 0 && tpm->lie_code == header.code) {
		size_t told = tpm->lie_size;

		memcpy(response, tpm->lie, told);
		tpm->lie_size = 0;
		return told;
	}
	if (!tpm->started) {
		tpm->started = header.code == TPM_CC_STARTUP;
		return answer(&run, tpm->started ? TPM_RC_SUCCESS : TPM_RC_INITIALIZE, response);
	}
	code = tpm_command_parse(command, size, &parsed);
	if (code != TPM_RC_SUCCESS)
		return answer(&run, code, response);
	code = check_handles(tpm, &parsed);
	if (code != TPM_RC_SUCCESS)
		return answer(&run, code, response);
	run.command = &parsed;
	code = run_command(&run);
	if (code == TPM_RC_SUCCESS)
		end_sessions(tpm, &parsed);
	return answer(&run, code, response);
}

static void serve(int fd)
{
	static struct fake_tpm tpm;
	uint8_t command[TPM_MESSAGE_MAX];
	uint8_t response[TPM_MESSAGE_MAX];
	ssize_t size;

	fake_tpm_init(&tpm);
	while ((size = recv(fd, command, sizeof command, 0)) > 0) {
		size_t answered = fake_tpm_execute(&tpm, command, (size_t)size, response);

		if (send(fd, response, answered, MSG_NOSIGNAL) < 0)
			break;
	}
}

pid_t fake_tpm_start(int *ret_fd)
{
	int pair[2];
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	child = fork();
	if (child == 0) {
		close(pair[0]);
		serve(pair[1]);
		_exit(0);
	}
	close(pair[1]);
	if (child < 0)
		close(pair[0]);
	else
		*ret_fd = pair[0];
	return child;
}
