/*
 * A whole session, with its client, its TPM and its broker played from the input. Whenever the
 * relay waits, whoever it waits for takes a step, which is a byte and what follows it; time passes
 * only where nobody has anything to say.
 *
 *   the first byte  the kind of TPM, and what the policy allows
 *   a piece         the steps of the TPM and the broker; 0 are honest answers and YES
 *   the rest        the client's steps
 *
 *   the client      bits 0-1  0, 1 a command of the size that its header is made to say (a piece)
 *                             2    the bytes of a piece
 *                             3    the broker speaks, unasked
 *   the TPM         bits 0-2  0, 1 an honest answer; bits 3-7 are its mood
 *                             2    an error
 *                             3    a piece, which may be an empty packet
 *                             4    a piece of the size that its header is made to say
 *                             5    nothing; 6  it closes; 7  an honest answer in two parts
 *   the broker      bits 0-1  0, 1 yes; 2  whatever bits 2-4 say; 3  nothing
 *
 * Checks that each answer to the client is a whole one, that the TPM gets nothing but the client's
 * command and the relay's own, that what takes a token or a turn has one, and what strict-broker.c
 * demands.
 */
#include "honest-tpm.h"
#include "relay/log.h"
#include "relay/pump.h"
#include "strict-broker.h"

#include "pieces.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_ppoll(
	struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask);
int __real_ppoll(
	struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);
int __real_clock_gettime(clockid_t clock, struct timespec *ret_time);

#define SECOND UINT64_C(1000000000)

static struct {
	struct pump pump;
	struct cursor input;     /* the client's steps */
	struct cursor reactions; /* the TPM's and the broker's */
	uint64_t now;            /* ns */
	int client;
	int tpm;
	struct honest_tpm honest;
	struct strict_broker broker;
	uint8_t rest[TPM_MESSAGE_MAX]; /* of the TPM's answer, yet to come */
	size_t rest_size;
	uint8_t answers[2 * TPM_MESSAGE_MAX]; /* to the client, not yet whole */
	size_t answers_size;
} scene;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
	if (clock != CLOCK_BOOTTIME && clock != CLOCK_MONOTONIC)
		return __real_clock_gettime(clock, ret_time);
	*ret_time = (struct timespec){
		.tv_sec = (time_t)(scene.now / SECOND), .tv_nsec = (long)(scene.now % SECOND)};
	return 0;
}

/* ---- the client ---- */

/* Reads what it was answered: one whole response after the other. */
static void client_hear(void)
{
	struct tpm_header header;
	ssize_t got;

	while ((got = recv(scene.client, scene.answers + scene.answers_size,
			sizeof scene.answers - scene.answers_size, MSG_DONTWAIT)) > 0) {
		scene.answers_size += (size_t)got;
		while (tpm_header_parse(scene.answers, scene.answers_size, &header) == 0) {
			if (header.size < TPM_HEADER_SIZE || header.size > TPM_MESSAGE_MAX)
				abort();
			if (header.size > scene.answers_size)
				break;
			scene.answers_size -= header.size;
			memmove(scene.answers, scene.answers + header.size, scene.answers_size);
		}
	}
}

static void broker_speak(uint8_t how)
{
	uint32_t value = pieces_u32(&scene.input);

	switch (how % 5) {
	case 0:
		strict_broker_say(&scene.broker, ACCOUNT_FLUSH, value);
		break;
	case 1:
		strict_broker_say(&scene.broker, ACCOUNT_RESUME, 0);
		break;
	case 2:
		strict_broker_say(&scene.broker, ACCOUNT_REVOKE, value);
		break;
	case 3:
		shutdown(scene.broker.fd, SHUT_WR);
		break;
	default: /* late */
		strict_broker_answer(
			&scene.broker, (enum account_answer)(value % (ACCOUNT_RATE + 1)));
		break;
	}
}

/* Between commands nothing is held, when the relay has heard everything, the end included. */
static void check_idle(void)
{
	const struct strict_broker *broker = &scene.broker;
	int link = scene.pump.channel.link.fd;
	uint8_t byte;

	if (scene.pump.channel.tpm < 0 || link < 0 ||
		recv(link, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)
		return;
	if (broker->token || broker->turn || broker->session || broker->claim)
		abort();
}

/* The relay waits for the client. */
static void client_step(void)
{
	uint8_t command[TPM_MESSAGE_MAX];
	uint8_t step = 0;
	struct cursor piece;
	struct writer writer;

	check_idle();
	if (cursor_u8(&scene.input, &step) < 0) {
		shutdown(scene.client, SHUT_WR);
		return;
	}
	if ((step & 3) == 3) {
		broker_speak(step >> 2);
		return;
	}
	piece = pieces_next(&scene.input, sizeof command);
	writer = writer_new(command, sizeof command);
	writer_bytes(&writer, piece.next, piece.left);
	if ((step & 3) < 2)
		writer_patch_u32(&writer, sizeof(uint16_t), (uint32_t)writer.used);
	if (send(scene.client, command, writer.used, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		abort();
}

/* ---- the TPM ---- */

static bool is_own_query(const struct tpm_header *header)
{
	return header->tag == TPM_ST_NO_SESSIONS && header->size <= TPM_HEADER_SIZE + 12 &&
	       (header->code == TPM_CC_GET_CAPABILITY || header->code == TPM_CC_READ_PUBLIC ||
		       header->code == TPM_CC_NV_READ_PUBLIC ||
		       header->code == TPM_CC_FLUSH_CONTEXT);
}

/* What comes is the client's command as it came from it, or a question of the relay's. */
static void check_command(const uint8_t *bytes, size_t size)
{
	struct tpm_header header;
	struct tpm_command command;

	if (tpm_header_parse(bytes, size, &header) < 0 || header.size != size)
		abort();
	if (tpm_command_parse(bytes, size, &command) != TPM_RC_SUCCESS ||
		command.info->scope != TPM_SCOPE_PROFILE)
		abort();
	if (size > scene.pump.received || memcmp(bytes, scene.pump.input, size) != 0) {
		if (!is_own_query(&header))
			abort();
		return;
	}
	if ((header.code == TPM_CC_CREATE_PRIMARY || header.code == TPM_CC_CREATE) &&
		!scene.broker.turn)
		abort();
	for (unsigned i = 0; i < command.authorization_count; i++) {
		const struct account_session *session =
			account_session(&scene.pump.account, command.authorizations[i].handle);

		if (session && session->dictionary_attack && !scene.broker.token)
			abort();
	}
}

static void tpm_send(const void *bytes, size_t size)
{
	if (send(scene.tpm, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
		errno != EPIPE) /* it has closed before */
		abort();
}

static void tpm_send_piece(bool sized)
{
	uint8_t answer[TPM_MESSAGE_MAX];
	struct cursor piece = pieces_next(&scene.reactions, sizeof answer);
	struct writer writer = writer_new(answer, sizeof answer);

	writer_bytes(&writer, piece.next, piece.left);
	if (sized)
		writer_patch_u32(&writer, sizeof(uint16_t), (uint32_t)writer.used);
	tpm_send(answer, writer.used);
}

static void tpm_send_error(uint8_t mood)
{
	static const uint32_t codes[] = {0x98e, 0x9a2, 0x910, 0x918, 0x101, 0x921, 0x903, 0x1cb};
	uint8_t answer[TPM_HEADER_SIZE] = {0};
	size_t size = tpm_response_error(codes[mood % 8], answer);

	tpm_send(answer, size);
}

/* The relay waits for the TPM. */
static void tpm_step(void)
{
	uint8_t command[TPM_MESSAGE_MAX];
	uint8_t answer[TPM_MESSAGE_MAX];
	ssize_t size = recv(scene.tpm, command, sizeof command, MSG_DONTWAIT);
	uint8_t step;
	size_t answered;

	if (size <= 0) { /* it has it, and waits for more */
		if (scene.rest_size > 0)
			tpm_send(scene.rest, scene.rest_size);
		scene.rest_size = 0;
		return;
	}
	check_command(command, (size_t)size);
	step = pieces_u8(&scene.reactions);
	answered = honest_tpm_execute(&scene.honest, command, (size_t)size, step >> 3, answer);
	switch (step & 7) {
	case 2:
		tpm_send_error(step >> 3);
		break;
	case 3:
	case 4:
		tpm_send_piece((step & 7) == 4);
		break;
	case 5:
		break;
	case 6:
		shutdown(scene.tpm, SHUT_WR);
		break;
	case 7:
		scene.rest_size = answered / 2;
		memcpy(scene.rest, answer + answered - scene.rest_size, scene.rest_size);
		tpm_send(answer, answered - scene.rest_size);
		break;
	default:
		tpm_send(answer, answered);
		break;
	}
}

/* ---- the broker ---- */

static void broker_step(void)
{
	uint8_t step = pieces_u8(&scene.reactions);

	if ((step & 3) < 2)
		strict_broker_answer(&scene.broker, ACCOUNT_YES);
	else if ((step & 3) == 2)
		strict_broker_answer(
			&scene.broker, (enum account_answer)((step >> 2) % (ACCOUNT_RATE + 1)));
}

/* ---- the session ---- */

int __wrap_ppoll(
	struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	static const struct timespec now = {0};
	int r;

	client_hear();
	if (strict_broker_hear(&scene.broker))
		broker_step();
	if (fds[0].fd == scene.pump.channel.tpm && fds[0].events == POLLIN)
		tpm_step();
	else if (fds[0].fd == scene.pump.channel.client && fds[0].events == POLLIN)
		client_step();
	r = __real_ppoll(fds, count, &now, mask);
	if (r == 0 && timeout)
		scene.now += (uint64_t)timeout->tv_sec * SECOND + (uint64_t)timeout->tv_nsec + 1;
	if (r == 0 && !timeout && fds[0].events != POLLIN)
		abort(); /* nobody would ever wake it */
	return r;
}

static struct policy_image make_image(uint8_t what)
{
	struct policy_image image = policy_image_new();
	struct policy *policy = &image.policies[0];

	image.backend = what % 3 + 1u;
	image.idle_seconds = what & 0x80 ? 60 : 0;
	image.policy_count = 1;
	strcpy(policy->name, "fuzz");
	memset(policy->commands, 0xff, sizeof policy->commands);
	policy->capabilities = UINT32_MAX;
	policy->hierarchies = POLICY_HIERARCHY_ALL;
	policy->secrets = POLICY_OWNER;
	policy->flags = (what >> 2) & POLICY_FLAG_ALL;
	if (what & 0x20) {
		policy->range_count = 2;
		policy->ranges[0] = (struct policy_range){
			0x81000000, 0x81ffffff, POLICY_USE_KEY | POLICY_USE_EVICT};
		policy->ranges[1] = (struct policy_range){
			0x01000000, 0x01ffffff, POLICY_USE_NV_READ | POLICY_USE_NV_WRITE};
	}
	return image;
}

/* The numbers that a relay is started with are nobody's, and the log goes nowhere. */
static void reserve_descriptors(void)
{
	int fds[2];
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd < RELAY_FD_END);
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0 ||
		dup2(fds[0], RELAY_FD_LOG) < 0)
		abort();
}

static void make_pair(int type, int *ret_near, int *ret_far)
{
	int fds[2];

	if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	*ret_near = fds[0];
	*ret_far = fds[1];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct policy_image image;
	struct pump *pump = &scene.pump;
	int account;
	uint8_t what;

	if (image.size == 0)
		reserve_descriptors();
	log_init(&image, true);
	memset(&scene, 0, sizeof scene);
	scene.input = cursor_new(data, size);
	scene.now = SECOND;
	what = pieces_u8(&scene.input);
	scene.reactions = pieces_next(&scene.input, UINT16_MAX - 1);
	image = make_image(what);
	pump_init(pump, &image);
	pump->channel.peek = what & 0x40;
	make_pair(SOCK_STREAM, &pump->channel.client, &scene.client);
	make_pair(image.backend == POLICY_BACKEND_STREAM ? SOCK_STREAM : SOCK_SEQPACKET,
		&pump->channel.tpm, &scene.tpm);
	make_pair(SOCK_SEQPACKET, &account, &scene.broker.fd);
	pump->channel.link.fd = account;
	pump_run(pump);
	client_hear();
	if (scene.answers_size != 0)
		abort();
	close(pump->channel.client);
	if (pump->channel.tpm >= 0)
		close(pump->channel.tpm);
	close(account);
	close(scene.client);
	close(scene.tpm);
	close(scene.broker.fd);
	return 0;
}
