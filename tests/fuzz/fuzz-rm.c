/*
 * Several spaces of one resource manager. The input is cut into steps, each a byte and pieces with
 * a length in front of them:
 *
 *   bits 0-1   which space
 *   bit 2      leave it, and take it anew; there is no command
 *   bit 3      a piece follows for each answer of the TPM to what it is asked in this step;
 *              otherwise, and where a piece is empty, fake-tpm.h answers
 *   a piece    the command
 *
 * Checks after each step that the answer to the client is a whole one, that no object of the TPM is
 * two spaces', and that of a command only the handle area has changed on its way. As long as nobody
 * has lied, nothing may be left in the TPM at the end.
 */
#include "fake-tpm.h"
#include "rm/manager.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SPACES 4
#define SLOTS  4 /* of objects, and of sessions */
#define SPACE  0x03
#define LEAVE  0x04
#define LIES   0x08

#define EXECUTIONS_MAX 4096 /* in a step; a TPM that lies may take as many */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_backend_execute(struct backend *backend, const uint8_t *command, size_t size,
	uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size);

static struct {
	struct fake_tpm tpm;
	struct cursor input;
	bool lies;     /* in this step */
	bool has_lied; /* at any time */
	unsigned executions;
	uint8_t sent[TPM_MESSAGE_MAX]; /* by the client */
	size_t sent_size;
} scene;

/* A length of two bytes and that many bytes, as far as there are any. */
static struct cursor next_piece(void)
{
	struct cursor piece = cursor_new(NULL, 0);
	uint16_t size;

	if (cursor_u16(&scene.input, &size) < 0)
		return piece;
	size %= TPM_MESSAGE_MAX + 1;
	if (cursor_bytes(&scene.input, size < scene.input.left ? size : scene.input.left, &piece) <
		0)
		abort();
	return piece;
}

static bool is_of_manager(uint32_t code)
{
	return code == TPM_CC_CONTEXT_LOAD || code == TPM_CC_CONTEXT_SAVE ||
	       code == TPM_CC_FLUSH_CONTEXT || code == TPM_CC_GET_CAPABILITY ||
	       code == TPM_CC_STARTUP;
}

/* What the manager does not ask for itself is the client's, but for the handle area. */
static void check_forwarded(const uint8_t *command, size_t size)
{
	struct tpm_command parsed;
	struct tpm_header header;
	size_t rest;

	if (tpm_header_parse(command, size, &header) < 0 || header.size != size)
		abort();
	if (is_of_manager(header.code))
		return;
	if (size != scene.sent_size || memcmp(command, scene.sent, TPM_HEADER_SIZE) != 0 ||
		tpm_command_parse(scene.sent, size, &parsed) != TPM_RC_SUCCESS)
		abort();
	rest = TPM_HEADER_SIZE + parsed.handle_count * sizeof(uint32_t);
	if (memcmp(command + rest, scene.sent + rest, size - rest) != 0)
		abort();
	for (unsigned i = 0; i < parsed.handle_count; i++)
		if (parsed.handles[i] >> 24 != TPM_HT_TRANSIENT &&
			memcmp(command + TPM_HEADER_SIZE + i * sizeof(uint32_t),
				scene.sent + TPM_HEADER_SIZE + i * sizeof(uint32_t),
				sizeof(uint32_t)) != 0)
			abort();
}

/* In place of that of the manager: what it promises is kept here too. */
int __wrap_backend_execute(struct backend *backend, const uint8_t *command, size_t size,
	uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size)
{
	struct cursor answer = cursor_new(NULL, 0);
	struct tpm_header header;

	(void)backend;
	check_forwarded(command, size);
	if (scene.executions++ == EXECUTIONS_MAX)
		return -ETIME;
	if (scene.lies)
		answer = next_piece();
	if (answer.left == 0) {
		*ret_size = fake_tpm_execute(&scene.tpm, command, size, response);
		return 0;
	}
	scene.has_lied = true;
	memcpy(response, answer.next, answer.left);
	*ret_size = answer.left;
	return tpm_header_parse(response, answer.left, &header) < 0 || header.size != answer.left
		       ? -EBADMSG
		       : 0;
}

static void check_apart(const struct manager *manager)
{
	uint32_t seen[SPACES * 2 * SLOTS];
	size_t count = 0;

	for (unsigned i = 0; i < manager->swap.space_count; i++) {
		const struct space *space = &manager->swap.spaces[i];

		for (unsigned j = 0; space->taken && j < SLOTS; j++) {
			if (space->objects[j].real != 0)
				seen[count++] = space->objects[j].real;
			if (space->sessions[j].handle != 0)
				seen[count++] = space->sessions[j].handle;
		}
	}
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			if (seen[i] == seen[j])
				abort();
}

static int run_command(struct manager *manager, struct space *space)
{
	uint8_t command[TPM_MESSAGE_MAX];
	struct cursor piece = next_piece();
	struct tpm_header header;
	size_t size = 0;
	int r;

	if (piece.left > 0)
		memcpy(command, piece.next, piece.left);
	if (piece.left > 0)
		memcpy(scene.sent, piece.next, piece.left);
	scene.sent_size = piece.left;
	r = manager_execute(manager, space, command, piece.left, &size);
	if (r == 0 &&
		(tpm_header_parse(manager->response, size, &header) < 0 || header.size != size))
		abort();
	return r;
}

/* What is left when all have left: saved sessions that were given away. */
static void check_empty(struct manager *manager, struct space *spaces[SPACES])
{
	scene.lies = false;
	for (unsigned i = 0; i < SPACES; i++)
		if (manager_leave(manager, spaces[i]) < 0)
			abort();
	for (unsigned i = 0; i < FAKE_TPM_OBJECTS; i++)
		if (scene.tpm.objects[i].number != 0)
			abort();
	for (unsigned i = 0; i < FAKE_TPM_ACTIVE; i++)
		if (scene.tpm.sessions[i].number != 0 && scene.tpm.sessions[i].saved == 0)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct manager manager;
	static struct backend backend = {.fd = -1};
	struct space *spaces[SPACES];
	uint8_t step;
	int r;

	memset(&scene, 0, sizeof scene);
	fake_tpm_init(&scene.tpm);
	if (manager_init(&manager, &backend, SPACES, SLOTS, SLOTS) < 0 ||
		manager_start(&manager, true) < 0)
		abort();
	for (unsigned i = 0; i < SPACES; i++)
		spaces[i] = manager_take(&manager);
	scene.input = cursor_new(data, size);
	r = 0;
	while (r == 0 && cursor_u8(&scene.input, &step) == 0) {
		struct space *space = spaces[step & SPACE];

		scene.executions = 0;
		scene.lies = step & LIES;
		if (!(step & LEAVE))
			r = run_command(&manager, space);
		else
			r = manager_leave(&manager, space);
		if (step & LEAVE && manager_take(&manager) != space)
			abort();
		check_apart(&manager);
	}
	if (r == 0 && !scene.has_lied)
		check_empty(&manager, spaces);
	if (r < 0 && !scene.has_lied && scene.executions <= EXECUTIONS_MAX)
		abort(); /* an honest TPM is not given up */
	manager_done(&manager);
	return 0;
}
