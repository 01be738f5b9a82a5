#include "relay/pump.h"

#include "relay/dues.h"
#include "relay/filter.h"
#include "relay/log.h"
#include "relay/pump-sessions.h"
#include "relay/query.h"

#include <errno.h>
#include <string.h>

#define PARTIAL_NS  UINT64_C(2000000000) /* how long half a command may stay half */
#define QUERIES_MAX 8 /* a command has three handles, of each of which two facts can matter */

void pump_init(struct pump *pump, const struct policy_image *image)
{
	memset(pump, 0, sizeof *pump);
	pump->image = image;
	pump->channel = channel_new(image);
	pump->channel.ordered = pump_renew_as_ordered;
	pump->channel.releasing = pump_tell_last;
	pump->channel.context = pump;
	pump->account = account_new(image->object_slots, image->session_slots);
}

/* The answer by which a command is refused, told to the log and to the broker. */
static size_t refuse_by_rule(
	struct pump *pump, const struct tpm_command *command, const char *rule, uint32_t code)
{
	const char *name = command ? command->info->name : "a malformed command";

	log_refusal(name, rule, code);
	link_refused(
		&pump->channel.link, channel_now(), command ? command->info->code : 0, code, rule);
	return tpm_response_error(code, pump->output);
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
	pump_lose_sessions(pump);
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

/* Reads the public area of HANDLE. That there is none may be news to the broker. */
static int learn_public(struct pump *pump, uint32_t handle)
{
	struct account_message message = account_message_new(ACCOUNT_ABSENT, 0);
	int r = query_public(&pump->channel, &pump->account, handle);
	const struct account_entity *entity = account_entity(&pump->account, handle);

	if (r < 0 || !entity || !entity->absent || handle >> 24 == TPM_HT_TRANSIENT)
		return r;
	message.kind = handle >> 24 == TPM_HT_NV_INDEX ? ACCOUNT_KIND_NV : ACCOUNT_KIND_PERSISTENT;
	message.handle = handle;
	channel_tell(&pump->channel, &message);
	return 0;
}

/* Learns what VERDICT wants to know. */
static int learn_fact(struct pump *pump, const struct filter_verdict *verdict)
{
	switch (verdict->fact) {
	case FILTER_FACT_PUBLIC:
		return learn_public(pump, verdict->query);
	case FILTER_FACT_HANDLE_OWN:
		return query_ownership(&pump->channel, &pump->account, verdict->query,
			verdict->query >> 24 == TPM_HT_NV_INDEX ? ACCOUNT_KIND_NV
								: ACCOUNT_KIND_PERSISTENT);
	case FILTER_FACT_SEALED_OWN:
		return query_ownership(
			&pump->channel, &pump->account, verdict->query, ACCOUNT_KIND_SEALED);
	case FILTER_FACT_NONE:
	default:
		return -EINVAL;
	}
}

/* Judges COMMAND, asking the TPM and the broker for the facts that the verdict depends on. */
static int judge(
	struct pump *pump, const struct tpm_command *command, struct filter_verdict *ret_verdict)
{
	struct filter_verdict verdict = filter_check(pump->image, &pump->account, command);

	for (int i = 0; verdict.kind == FILTER_QUERY && i < QUERIES_MAX; i++) {
		int r;

		/* others may have the TPM meanwhile, with each question for minutes */
		pump_renew_as_ordered(pump);
		r = learn_fact(pump, &verdict);
		if (r < 0 && verdict.fact == FILTER_FACT_PUBLIC)
			return r;
		if (r < 0) { /* the broker does not say */
			verdict.rule = "broker";
			break;
		}
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

/* Has the TPM execute COMMAND. Returns the size of its answer, or a negative errno. */
static ssize_t execute(struct pump *pump, size_t size, const struct tpm_command *command,
	uint32_t policies, struct tpm_response *ret_response)
{
	uint32_t code = TPM_RC_SUCCESS;
	size_t answered = 0;
	int r = channel_transact(&pump->channel, pump->input, size, pump->output, &answered);

	if (r == 0)
		r = tpm_response_parse(command, pump->output, answered, ret_response);
	if (r == 0) {
		code = ret_response->code;
		r = account_learn(&pump->account, command, policies, ret_response);
	}
	pump->account.spent |= spend(pump, command, policies, code);
	if (r == -EBADMSG) {
		log_event(EVENT_TPM_FAILED,
			"the TPM's response contradicts the command: it is released");
		channel_release(&pump->channel, TPM_RC_LAYER | TPM_RC_FAILURE);
	}
	return r < 0 ? r : (ssize_t)answered;
}

/* Sealed data that could not be recorded is not given out, and its object not kept. */
static size_t record_sealed(struct pump *pump, const struct tpm_command *command,
	const struct tpm_response *response, size_t answered)
{
	struct dues_refusal refusal;

	if (dues_record(&pump->channel, response, &refusal))
		return answered;
	if (response->handle != 0) {
		if (query_flush(&pump->channel, response->handle) < 0)
			channel_release(&pump->channel, TPM_RC_LAYER | TPM_RC_FAILURE);
		account_forget(&pump->account, response->handle);
	}
	return refuse_by_rule(pump, command, refusal.rule, refusal.code);
}

/* A failed authorization that nothing was held for. */
static void tell_failure(
	struct pump *pump, const struct tpm_command *command, uint32_t paid, uint32_t code)
{
	struct account_message message = account_message_new(ACCOUNT_FAILED, 0);

	if (tpm_command_authorizes_hierarchy(command)) {
		if (account_is_wrong_authorization(code) && !tpm_command_guesses_hierarchy(command))
			message.argument = ACCOUNT_FAILURE_HIERARCHY;
	} else if (account_is_counted_failure(code) && !(paid & FILTER_DUE_DA)) {
		message.argument = ACCOUNT_FAILURE_COUNTED;
		account_distrust_sessions(&pump->account, command);
	}
	if (message.argument != 0)
		channel_tell(&pump->channel, &message);
}

static bool saves_session(const struct tpm_command *command)
{
	return command->info->code == TPM_CC_CONTEXT_SAVE &&
	       command->handles[0] >> 24 != TPM_HT_TRANSIENT;
}

/* What success means beyond what was learnt. Returns the size of the answer. */
static size_t succeed(struct pump *pump, const struct tpm_command *command,
	const struct filter_verdict *verdict, const struct tpm_response *response, size_t answered)
{
	if (verdict->dues & FILTER_DUE_SESSION)
		channel_tell_session(&pump->channel, ACCOUNT_SESSION_END, response->handle);
	if (saves_session(command) && pump->channel.backend != POLICY_BACKEND_MANAGER)
		pump->saves++;
	if (flushes_unnamed(command)) {
		int r = query_objects(&pump->channel, &pump->account);

		if (r < 0)
			return answer_failure(pump, r);
	}
	return verdict->dues & FILTER_DUE_RECORD ? record_sealed(pump, command, response, answered)
						 : answered;
}

/*
 * Judges COMMAND once more after the waits that its dues took: what a persistent handle or NV index
 * names may have been replaced meanwhile. Returns 0 and *ret_refusal, whose rule is NULL where all
 * is as it was.
 */
static int judge_again(struct pump *pump, const struct tpm_command *command,
	struct filter_verdict *verdict, struct dues_refusal *ret_refusal)
{
	struct filter_verdict now;
	int r;

	account_forget_entities(&pump->account);
	r = judge(pump, command, &now);
	if (r < 0)
		return r;
	if (now.kind != FILTER_ALLOW)
		*ret_refusal = (struct dues_refusal){.code = now.code, .rule = now.rule};
	else if (now.dues & ~verdict->dues)
		*ret_refusal = (struct dues_refusal){
			.code = TPM_RC_LAYER | TPM_RC_DISABLED, .rule = "changed"};
	verdict->policies = now.policies;
	return 0;
}

/*
 * Pays what COMMAND owes. What takes long comes first and is followed by another look; what is
 * claimed or dropped then is nobody else's any more.
 */
static int pay(struct pump *pump, const struct tpm_command *command, struct filter_verdict *verdict,
	struct dues *dues, struct dues_refusal *ret_refusal)
{
	uint32_t waited = verdict->dues & DUES_WAITED;
	int r = dues_pay(&pump->channel, &pump->account, command, waited, dues, ret_refusal);

	if (r == 0 && !ret_refusal->rule && waited != 0) {
		r = judge_again(pump, command, verdict, ret_refusal);
		if (r < 0 || ret_refusal->rule)
			dues_settle(&pump->channel, command, dues, DUES_NOT_SENT, 0);
	}
	if (r < 0 || ret_refusal->rule)
		return r;
	return dues_pay(&pump->channel, &pump->account, command, verdict->dues & DUES_RECORDED,
		dues, ret_refusal);
}

/* Ahead: what the TPM has saved stays when this session ends before it can tell. */
static void tell_saving(struct pump *pump, uint32_t handle)
{
	struct account_message message = account_message_new(ACCOUNT_SAVED, 1);

	message.handle = handle;
	channel_tell(&pump->channel, &message);
}

static size_t answer_by_tpm(struct pump *pump, size_t size, const struct tpm_command *command,
	struct filter_verdict *verdict)
{
	struct tpm_response response = {0};
	struct dues_refusal refusal = {0};
	struct dues dues = {0};
	uint32_t paid;
	ssize_t answered;
	int r = pay(pump, command, verdict, &dues, &refusal);

	if (r < 0)
		return answer_failure(pump, r);
	if (refusal.rule)
		return refuse_by_rule(pump, command, refusal.rule, refusal.code);
	paid = dues.paid;
	if (saves_session(command))
		tell_saving(pump, command->handles[0]);
	answered = execute(pump, size, command, verdict->policies, &response);
	dues_settle(&pump->channel, command, &dues, answered < 0 ? DUES_UNKNOWN : DUES_ANSWERED,
		response.code);
	if (answered < 0)
		return answer_failure(pump, (int)answered);
	if (response.code == TPM_RC_SUCCESS)
		return succeed(pump, command, verdict, &response, (size_t)answered);
	tell_failure(pump, command, paid, response.code);
	return (size_t)answered;
}

/* Judges a well-formed command and answers it. */
static size_t answer(struct pump *pump, size_t size, const struct tpm_command *command)
{
	struct filter_verdict verdict;
	int r = judge(pump, command, &verdict);

	if (r < 0)
		return answer_failure(pump, r);
	switch (verdict.kind) {
	case FILTER_ALLOW:
		return answer_by_tpm(pump, size, command, &verdict);
	case FILTER_LOCAL:
		return answer_locally(pump, command);
	case FILTER_DENY:
	case FILTER_QUERY:
	default:
		return refuse_by_rule(pump, command, verdict.rule, verdict.code);
	}
}

/* The TPM session that COMMAND has saved, according to the answer of so many bytes; 0: none. */
static uint32_t saved_session(
	const struct pump *pump, const struct tpm_command *command, size_t answered)
{
	struct tpm_header header;

	return saves_session(command) && tpm_header_parse(pump->output, answered, &header) == 0 &&
			       header.code == TPM_RC_SUCCESS
		       ? command->handles[0]
		       : 0;
}

size_t pump_answer(struct pump *pump, size_t size)
{
	struct tpm_command command;
	uint32_t code;
	size_t answered;

	pump_obey(pump);
	if (pump->channel.tpm < 0)
		return refuse(pump, pump->channel.released_code);
	account_forget_entities(&pump->account);
	code = tpm_command_parse(pump->input, size, &command);
	if (code != TPM_RC_SUCCESS)
		return refuse_by_rule(pump, NULL, "malformed", code);
	answered = answer(pump, size, &command);
	pump_tell_sessions(pump, saved_session(pump, &command, answered));
	pump_report_saves(pump);
	return answered;
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
		pump_obey(pump);
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

/*
 * Sends the first SIZE bytes of `output`. A client that does not read them keeps no TPM session
 * from being flushed by that: the TPM has nothing else to do. Returns 0, or -EPIPE when the client
 * has left.
 */
static int deliver(struct pump *pump, size_t size)
{
	size_t sent = 0;
	int r;

	while ((r = channel_send(&pump->channel, pump->output, size, &sent)) == -EAGAIN)
		pump_obey(pump);
	return r;
}

void pump_run(struct pump *pump)
{
	for (;;) {
		ssize_t size = collect(pump);
		size_t answered;

		if (size == 0)
			break;
		answered = size < 0 ? refuse(pump, TPM_RC_COMMAND_SIZE)
				    : pump_answer(pump, (size_t)size);
		if (deliver(pump, answered) < 0)
			break;
		if (size > 0)
			consume(pump, (size_t)size);
	}
	pump_tell_last(pump);
}
