#include "relay/pump.h"

#include "relay/filter.h"
#include "relay/log.h"
#include "relay/query.h"

#include <errno.h>
#include <string.h>

#define PARTIAL_NS  UINT64_C(2000000000) /* how long half a command may stay half */
#define QUERIES_MAX 4 /* a command has three handles; more facts than that it cannot need */

void pump_init(struct pump *pump, const struct policy_image *image)
{
	memset(pump, 0, sizeof *pump);
	pump->image = image;
	pump->channel = channel_new(image);
	pump->account = account_new(image->object_slots, image->session_slots);
}

static size_t refuse(struct pump *pump, uint32_t code)
{
	return tpm_response_error(code, pump->output);
}

/* What a failed transaction means to the client, and to what the session owns. */
static size_t answer_failure(struct pump *pump, int error)
{
	if (pump->channel.tpm < 0)
		return refuse(pump, pump->channel.released_code);
	/* The kernel's resource manager may have flushed this descriptor's sessions, and their
	 * numbers may be somebody else's by now. */
	account_forget_sessions(&pump->account);
	return refuse(
		pump, TPM_RC_LAYER | (error == -ENOMEM ? TPM_RC_OBJECT_MEMORY : TPM_RC_FAILURE));
}

static size_t answer_locally(struct pump *pump, const struct tpm_command *command)
{
	size_t size;
	int r;

	/* The TPM runs since long: what an initialized one answers, and programs wait for. */
	if (command->info->code == TPM_CC_STARTUP)
		return refuse(pump, TPM_RC_INITIALIZE);
	r = query_handles(&pump->channel, pump->image, &pump->account,
		(uint32_t)command->parameters[1].number, (uint32_t)command->parameters[2].number,
		pump->output, &size);
	return r < 0 ? answer_failure(pump, r) : size;
}

/* Judges COMMAND, reading public areas from the TPM where the verdict depends on them. */
static int judge(
	struct pump *pump, const struct tpm_command *command, struct filter_verdict *ret_verdict)
{
	struct filter_verdict verdict = filter_check(pump->image, &pump->account, command);

	for (int i = 0; verdict.kind == FILTER_QUERY && i < QUERIES_MAX; i++) {
		int r = query_public(&pump->channel, &pump->account, verdict.query);

		if (r < 0)
			return r;
		verdict = filter_check(pump->image, &pump->account, command);
	}
	*ret_verdict = verdict;
	return 0;
}

/* Which of POLICIES are used up. Without an answer nobody knows what the TPM did: it counts. */
static uint32_t spend(const struct pump *pump, const struct tpm_command *command, uint32_t policies,
	uint32_t code)
{
	uint32_t spent = 0;

	for (uint32_t i = 0; i < pump->image->policy_count; i++)
		if (policies >> i & 1 && filter_spends(pump->image, i, command, code))
			spent |= 1u << i;
	return spent;
}

/* Whether COMMAND flushes objects of the session without naming them. */
static bool flushes_unnamed(const struct tpm_command *command)
{
	return command->info->code == TPM_CC_CLEAR ||
	       command->info->code == TPM_CC_HIERARCHY_CONTROL;
}

static size_t answer_by_tpm(
	struct pump *pump, size_t size, const struct tpm_command *command, uint32_t policies)
{
	struct tpm_response response;
	uint32_t code = TPM_RC_SUCCESS;
	size_t answered = 0;
	int r = channel_transact(&pump->channel, pump->input, size, pump->output, &answered);

	if (r == 0)
		r = tpm_response_parse(command, pump->output, answered, &response);
	if (r == 0) {
		code = response.code;
		r = account_learn(&pump->account, command, policies, &response);
	}
	pump->account.spent |= spend(pump, command, policies, code);
	if (r == 0 && code == TPM_RC_SUCCESS && flushes_unnamed(command))
		r = query_objects(&pump->channel, &pump->account);
	if (r == -EBADMSG) {
		log_event("the TPM's response contradicts the command: it is released");
		channel_release(&pump->channel, TPM_RC_LAYER | TPM_RC_FAILURE);
	}
	return r < 0 ? answer_failure(pump, r) : answered;
}

size_t pump_answer(struct pump *pump, size_t size)
{
	struct tpm_command command;
	struct filter_verdict verdict;
	uint32_t code;
	int r;

	if (pump->channel.tpm < 0)
		return refuse(pump, pump->channel.released_code);
	account_forget_entities(&pump->account);
	code = tpm_command_parse(pump->input, size, &command);
	if (code != TPM_RC_SUCCESS) {
		log_refusal("a malformed command", "malformed", code);
		return refuse(pump, code);
	}
	r = judge(pump, &command, &verdict);
	if (r < 0)
		return answer_failure(pump, r);
	switch (verdict.kind) {
	case FILTER_ALLOW:
		return answer_by_tpm(pump, size, &command, verdict.policies);
	case FILTER_LOCAL:
		return answer_locally(pump, &command);
	case FILTER_DENY:
	case FILTER_ACCOUNT:
	case FILTER_QUERY:
	default:
		log_refusal(command.info->name, verdict.rule, verdict.code);
		return refuse(pump, verdict.code);
	}
}

/* The size that the header of the input says, 0 while the header is incomplete. */
static size_t declared_size(const struct pump *pump)
{
	struct tpm_header header;

	return tpm_header_parse(pump->input, pump->received, &header) < 0 ? 0 : header.size;
}

static bool size_is_impossible(const struct pump *pump)
{
	size_t size = declared_size(pump);

	return pump->received >= TPM_HEADER_SIZE &&
	       (size < TPM_HEADER_SIZE || size > sizeof pump->input);
}

/* What is left of the time for the rest of a command, -1 while none has begun. */
static int partial_ms(struct pump *pump)
{
	uint64_t now;

	if (pump->received == 0)
		return -1;
	now = channel_now();
	if (pump->partial_deadline == 0)
		pump->partial_deadline = now + PARTIAL_NS;
	return pump->partial_deadline > now ? (int)((pump->partial_deadline - now) / 1000000) : 0;
}

/*
 * Collects one command at the front of `input`. Returns its size; 0 when the client has left;
 * -EBADMSG when what came is no command and was dropped.
 */
static ssize_t collect(struct pump *pump)
{
	pump->partial_deadline = 0;
	for (;;) {
		size_t size = declared_size(pump);
		ssize_t got = -ETIME;

		if (!size_is_impossible(pump) && size > 0 && pump->received >= size)
			return (ssize_t)size;
		if (!size_is_impossible(pump))
			got = channel_receive(&pump->channel, pump->input + pump->received,
				sizeof pump->input - pump->received, partial_ms(pump));
		if (got == 0)
			return 0;
		if (got > 0)
			pump->received += (size_t)got;
		if (got == -ETIME) {
			/* A stream cannot be resynchronised: all that is there goes. */
			channel_drop(&pump->channel);
			pump->received = 0;
			return -EBADMSG;
		}
	}
}

static void consume(struct pump *pump, size_t size)
{
	pump->received -= size;
	memmove(pump->input, pump->input + size, pump->received);
}

void pump_run(struct pump *pump)
{
	for (;;) {
		ssize_t size = collect(pump);
		size_t answered;

		if (size == 0)
			return;
		answered = size < 0 ? refuse(pump, TPM_RC_COMMAND_SIZE)
				    : pump_answer(pump, (size_t)size);
		if (channel_send(&pump->channel, pump->output, answered) < 0)
			return;
		if (size > 0)
			consume(pump, (size_t)size);
	}
}
