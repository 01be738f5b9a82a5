#include "pump-scene.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

int scene_setup(void **state)
{
	static const struct timeval patience = {.tv_sec = 5}; /* for what does not come */
	static struct scene scene;
	struct scene *s = &scene;
	int client[2];
	int tpm_ends[2];
	int account[2];

	memset(s, 0, sizeof *s);
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || /* as the relay does */
		socketpair(AF_UNIX, SOCK_STREAM, 0, client) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM, 0, tpm_ends) < 0 ||
		fcntl(tpm_ends[0], F_SETFL, O_NONBLOCK) < 0 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET, 0, account) < 0 ||
		setsockopt(client[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
		return -1;
	s->image = policy_image_new();
	s->image.backend = POLICY_BACKEND_STREAM;
	s->image.policy_count = 1;
	strcpy(s->image.policies[0].name, "test");
	memset(s->image.policies[0].commands, 0xff, sizeof s->image.policies[0].commands);
	s->image.policies[0].capabilities = 1 << TPM_CAP_HANDLES;
	s->image.policies[0].flags = POLICY_STORAGE_ROOT_KEY;
	s->image.policies[0].hierarchies = POLICY_OWNER | POLICY_NULL;
	pump_init(&s->pump, &s->image);
	s->pump.channel.client = client[0];
	s->pump.channel.tpm = tpm_ends[0];
	s->pump.channel.link.fd = account[0];
	s->client = client[1];
	s->tpm = tpm_ends[1];
	s->account = account[1];
	*state = s;
	return 0;
}

int scene_teardown(void **state)
{
	struct scene *s = *state;

	if (s->player > 0) {
		kill(s->player, SIGKILL);
		waitpid(s->player, NULL, 0);
	}
	close(s->client);
	close(s->tpm);
	close(s->account);
	close(s->pump.channel.client);
	if (s->pump.channel.tpm >= 0)
		close(s->pump.channel.tpm);
	if (s->pump.channel.link.fd >= 0)
		close(s->pump.channel.link.fd);
	return 0;
}

void scene_send(struct scene *scene, struct bytes command)
{
	assert_int_equal(send(scene->client, command.bytes, command.size, 0), command.size);
}

void scene_run(struct scene *scene)
{
	shutdown(scene->client, SHUT_WR);
	pump_run(&scene->pump);
}

uint32_t scene_take(struct scene *scene)
{
	uint8_t bytes[TPM_MESSAGE_MAX];
	struct tpm_header header;

	assert_int_equal(recv(scene->client, bytes, TPM_HEADER_SIZE, MSG_WAITALL), TPM_HEADER_SIZE);
	assert_int_equal(tpm_header_parse(bytes, TPM_HEADER_SIZE, &header), 0);
	if (header.size > TPM_HEADER_SIZE)
		assert_int_equal(
			recv(scene->client, bytes, header.size - TPM_HEADER_SIZE, MSG_WAITALL),
			header.size - TPM_HEADER_SIZE);
	return header.code;
}

size_t scene_asked(struct scene *scene, uint8_t *bytes, size_t size)
{
	ssize_t got = recv(scene->tpm, bytes, size, MSG_DONTWAIT);

	return got < 0 ? 0 : (size_t)got;
}

void scene_own_object(struct scene *scene, uint32_t handle, uint16_t type, uint32_t attributes)
{
	scene->pump.account.objects[0] = (struct account_entity){
		handle, .known = true, .policies = 1, .type = type, .attributes = attributes};
}

void scene_own_session(struct scene *scene, uint32_t handle)
{
	scene->pump.account.sessions[0].handle = handle;
	scene->pump.channel.link.sessions[0] = handle;
}

/* ---- commands and responses ---- */

struct bytes bytes_of(const void *bytes, size_t size)
{
	struct bytes all = {.size = size};

	assert_true(size <= sizeof all.bytes);
	if (size > 0)
		memcpy(all.bytes, bytes, size);
	return all;
}

static struct bytes begin(struct writer *ret_writer, struct bytes *all, uint16_t tag, uint32_t code)
{
	*all = (struct bytes){0};
	*ret_writer = writer_new(all->bytes, sizeof all->bytes);
	writer_u16(ret_writer, tag);
	writer_u32(ret_writer, 0); /* size, at the end */
	writer_u32(ret_writer, code);
	return *all;
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

struct bytes command_with_password(uint32_t code, const uint32_t *handles, size_t handle_count,
	const void *parameters, size_t size)
{
	static const uint8_t password[] = {0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 1, 0, 0};
	struct writer writer;
	struct bytes all;

	begin(&writer, &all, TPM_ST_SESSIONS, code);
	for (size_t i = 0; i < handle_count; i++)
		writer_u32(&writer, handles[i]);
	writer_bytes(&writer, password, sizeof password);
	if (size > 0)
		writer_bytes(&writer, parameters, size);
	end(&writer, &all);
	return all;
}

struct bytes response_of(uint32_t code)
{
	return command_of(code, NULL, 0);
}

struct bytes response_with_password(const void *parameters, size_t size)
{
	static const uint8_t session[] = {0, 0, 1, 0, 0};
	struct writer writer;
	struct bytes all;

	begin(&writer, &all, TPM_ST_SESSIONS, TPM_RC_SUCCESS);
	writer_u32(&writer, (uint32_t)size);
	if (size > 0)
		writer_bytes(&writer, parameters, size);
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

/* ---- what TPM and broker do ---- */

struct step tpm(uint32_t code, struct bytes answer)
{
	return (struct step){PLAY_TPM, .type = code, .answer = answer};
}

struct step tpm_breaks(uint32_t code)
{
	return (struct step){PLAY_BREAK, .type = code};
}

static struct step message_step(
	enum play play, enum account_type type, uint32_t argument, uint32_t handle)
{
	struct step step = {play, .type = type, .message = account_message_new(type, argument)};

	step.message.handle = handle;
	return step;
}

struct step asked(enum account_type type, uint32_t handle, enum account_answer answer)
{
	return message_step(PLAY_ASKED, type, answer, handle);
}

struct step asked_about(enum account_type type, enum account_kind kind, uint32_t handle,
	struct bytes data, enum account_answer answer)
{
	struct step step = asked(type, handle, answer);

	step.message.kind = kind;
	assert_int_equal(account_message_set_data(&step.message, data.bytes, data.size), 0);
	return step;
}

struct step asked_charged(uint32_t charge)
{
	struct step step = asked(ACCOUNT_DA_BEGIN, 0, ACCOUNT_YES);

	step.message.values[0] = charge;
	return step;
}

struct step silent(enum account_type type)
{
	return message_step(PLAY_SILENT, type, 0, 0);
}

struct step stale(void)
{
	return message_step(PLAY_STALE, ACCOUNT_ANSWER, ACCOUNT_YES, 0);
}

struct step told(enum account_type type, uint32_t argument, uint32_t handle)
{
	return message_step(PLAY_TOLD, type, argument, handle);
}

struct step told_end(bool failed, uint32_t counter, uint32_t maximum, uint32_t interval)
{
	struct step step = told(ACCOUNT_DA_END, failed, 0);

	step.message.values[0] = counter;
	step.message.values[1] = maximum;
	step.message.values[2] = interval;
	return step;
}

struct step told_refused(uint32_t code, const char *rule)
{
	struct step step = told(ACCOUNT_REFUSED, code, 0);

	account_message_set_data(&step.message, rule, strlen(rule));
	return step;
}

struct step order(enum account_type type, uint32_t handle)
{
	return message_step(PLAY_ORDER, type, 0, handle);
}

struct step leaves(void)
{
	return (struct step){.play = PLAY_LEAVE};
}

/* Whether FOUND is what STEP says. */
static bool is_expected(const struct step *step, const struct account_message *found)
{
	const struct account_message *wanted = &step->message;

	if (found->type != step->type)
		return false;
	if (step->play == PLAY_SILENT)
		return true;
	return found->handle == wanted->handle && found->size == wanted->size &&
	       found->kind == wanted->kind &&
	       memcmp(found->data, wanted->data, sizeof found->data) == 0 &&
	       (step->play != PLAY_TOLD || found->argument == wanted->argument) &&
	       (step->type != ACCOUNT_DA_END ||
		       memcmp(found->values, wanted->values, sizeof found->values) == 0);
}

static bool take_message(
	struct scene *scene, const struct step *step, struct account_message *ret_message)
{
	struct account_message found = {0};
	ssize_t got = recv(scene->account, &found, sizeof found, 0);

	if (got == sizeof found && is_expected(step, &found)) {
		*ret_message = found;
		return true;
	}
	fprintf(stderr, "message of %zd bytes: type %u, argument %x, handle %08x, %u bytes %.*s\n",
		got, found.type, found.argument, found.handle, found.size, (int)found.size,
		(const char *)found.data);
	return false;
}

static bool send_message(struct scene *scene, const struct account_message *message)
{
	return send(scene->account, message, sizeof *message, 0) == sizeof *message;
}

static bool send_answer(struct scene *scene, const struct step *step, uint32_t serial)
{
	struct account_message answer = account_message_new(ACCOUNT_ANSWER, step->message.argument);

	answer.serial = serial;
	if (step->type == ACCOUNT_DA_BEGIN)
		memcpy(answer.values, step->message.values, sizeof answer.values);
	return send_message(scene, &answer);
}

static bool play_tpm(struct scene *scene, const struct step *step)
{
	uint8_t command[TPM_MESSAGE_MAX];
	ssize_t got = recv(scene->tpm, command, sizeof command, 0);
	struct tpm_header header = {0};

	if (got < 0 || tpm_header_parse(command, (size_t)got, &header) < 0 ||
		header.code != step->type) {
		fprintf(stderr, "the TPM was asked %x, %zd bytes\n", header.code, got);
		return false;
	}
	if (step->play == PLAY_BREAK)
		return shutdown(scene->tpm, SHUT_RDWR) == 0;
	return send(scene->tpm, step->answer.bytes, step->answer.size, 0) ==
	       (ssize_t)step->answer.size;
}

static bool play_step(struct scene *scene, const struct step *step, uint32_t *serial)
{
	struct account_message found;

	switch (step->play) {
	case PLAY_TPM:
	case PLAY_BREAK:
		return play_tpm(scene, step);
	case PLAY_ASKED:
	case PLAY_SILENT:
		if (!take_message(scene, step, &found))
			return false;
		*serial = found.serial;
		return step->play == PLAY_SILENT || send_answer(scene, step, found.serial);
	case PLAY_STALE:
		return send_answer(scene, step, *serial + 1);
	case PLAY_TOLD:
		return take_message(scene, step, &found);
	case PLAY_ORDER:
		return send_message(scene, &step->message);
	case PLAY_LEAVE:
	default:
		return shutdown(scene->client, SHUT_RDWR) == 0;
	}
}

void scene_play(struct scene *scene, const struct step *steps, size_t count)
{
	uint32_t serial = 0;

	scene->player = fork();
	assert_true(scene->player >= 0);
	if (scene->player > 0)
		return;
	for (size_t i = 0; i < count; i++)
		if (!play_step(scene, &steps[i], &serial)) {
			fprintf(stderr, "step %zu (%x) did not come\n", i, steps[i].type);
			shutdown(scene->account, SHUT_RDWR);
			shutdown(scene->tpm, SHUT_RDWR);
			_exit(1);
		}
	_exit(0);
}

void scene_played(struct scene *scene)
{
	uint8_t bytes[TPM_MESSAGE_MAX];
	struct account_message message;
	int status = -1;

	assert_int_equal(waitpid(scene->player, &status, 0), scene->player);
	scene->player = 0;
	assert_int_equal(status, 0);
	assert_int_equal(scene_asked(scene, bytes, sizeof bytes), 0);
	if (recv(scene->account, &message, sizeof message, MSG_DONTWAIT) > 0)
		fail_msg("the broker was told %u", message.type);
}
