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
		setsockopt(client[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
		setsockopt(tpm_ends[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
		setsockopt(account[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
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

uint32_t scene_answer(struct scene *scene, struct bytes command)
{
	struct tpm_header header;
	size_t answered;

	memcpy(scene->pump.input, command.bytes, command.size);
	answered = pump_answer(&scene->pump, command.size);
	assert_int_equal(tpm_header_parse(scene->pump.output, answered, &header), 0);
	assert_int_equal(header.size, answered);
	return header.code;
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

struct step asked_claim(enum account_kind kind, uint32_t handle, uint32_t nv_size,
	struct bytes data, enum account_answer answer)
{
	struct step step = asked_about(ACCOUNT_CLAIM, kind, handle, data, answer);

	step.message.values[0] = nv_size;
	return step;
}

struct step asked_confirm(enum account_kind kind, uint32_t handle, bool success)
{
	struct step step = asked(ACCOUNT_CONFIRM, handle, ACCOUNT_YES);

	step.message.kind = kind;
	step.confirmed = success;
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

struct step asked_guess(enum account_answer answer)
{
	struct step step = asked(ACCOUNT_TURN_BEGIN, 0, answer);

	step.confirmed = true;
	return step;
}

struct step yes(void)
{
	return message_step(PLAY_YES, ACCOUNT_ANSWER, ACCOUNT_YES, 0);
}

struct step told(enum account_type type, uint32_t argument, uint32_t handle)
{
	return message_step(PLAY_TOLD, type, argument, handle);
}

struct step told_absent(enum account_kind kind, uint32_t handle)
{
	struct step step = told(ACCOUNT_ABSENT, 0, handle);

	step.message.kind = kind;
	return step;
}

struct step told_end(bool failed, uint32_t counter, uint32_t maximum, uint32_t interval)
{
	struct step step = told(ACCOUNT_DA_END, failed, 0);

	step.message.values[0] = counter;
	step.message.values[1] = maximum;
	step.message.values[2] = interval;
	return step;
}

struct step told_saves(uint32_t count, uint32_t gap)
{
	struct step step = told(ACCOUNT_SAVES, count, 0);

	step.message.values[0] = gap;
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

struct step tpm_after_order(uint32_t code, struct bytes answer, uint32_t handle)
{
	struct step step = tpm(code, answer);

	step.message = order(ACCOUNT_FLUSH, handle).message;
	return step;
}

struct step reads(size_t size)
{
	return (struct step){.play = PLAY_READ, .size = size};
}

struct step leaves(void)
{
	return (struct step){.play = PLAY_LEAVE};
}

/* Of a fact the argument counts; of a question it is part of the answer to come. */
static bool says_the_same(const struct step *step, const struct account_message *found)
{
	const struct account_message *wanted = &step->message;

	switch (step->type) {
	case ACCOUNT_CONFIRM:
	case ACCOUNT_TURN_BEGIN:
		return found->argument == step->confirmed;
	case ACCOUNT_CLAIM:
		return found->values[0] == wanted->values[0];
	case ACCOUNT_DA_END:
	case ACCOUNT_SAVES:
		return found->argument == wanted->argument &&
		       memcmp(found->values, wanted->values, sizeof found->values) == 0;
	default:
		return step->play != PLAY_TOLD || found->argument == wanted->argument;
	}
}

/* Whether FOUND is what STEP says. */
static bool is_expected(const struct step *step, const struct account_message *found)
{
	const struct account_message *wanted = &step->message;

	if (found->type != step->type || step->play == PLAY_SILENT)
		return found->type == step->type;
	return found->handle == wanted->handle && found->kind == wanted->kind &&
	       found->size == wanted->size &&
	       memcmp(found->data, wanted->data, sizeof found->data) == 0 &&
	       says_the_same(step, found);
}

static bool take_message(
	struct scene *scene, const struct step *step, struct account_message *ret_message)
{
	struct account_message found = {0};
	ssize_t got = recv(scene->account, &found, sizeof found, 0);

	if (got > 0 &&
		account_message_decode(&found, (size_t)got, ACCOUNT_FROM_RELAY, &found) == 0 &&
		is_expected(step, &found)) {
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
	if (step->message.type != ACCOUNT_INVALID && !send_message(scene, &step->message))
		return false;
	return send(scene->tpm, step->answer.bytes, step->answer.size, 0) ==
	       (ssize_t)step->answer.size;
}

static bool play_read(struct scene *scene, size_t size)
{
	uint8_t bytes[TPM_MESSAGE_MAX];

	while (size > 0) {
		ssize_t got =
			recv(scene->client, bytes, size < sizeof bytes ? size : sizeof bytes, 0);

		if (got <= 0)
			return false;
		size -= (size_t)got;
	}
	return true;
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
	case PLAY_YES:
		return send_answer(scene, step, *serial);
	case PLAY_TOLD:
		return take_message(scene, step, &found);
	case PLAY_ORDER:
		return send_message(scene, &step->message);
	case PLAY_READ:
		return play_read(scene, step->size);
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
			shutdown(scene->client, SHUT_RDWR);
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
