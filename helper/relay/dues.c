#include "relay/dues.h"

#include "common/lockout.h"
#include "relay/log.h"
#include "relay/public-area.h"
#include "relay/query.h"

#include <errno.h>

#define SLOTS_SPARE 2 /* persistent slots that are left to others */

static struct dues_refusal refusal(const char *rule, uint32_t code)
{
	return (struct dues_refusal){.code = TPM_RC_LAYER | code, .rule = rule};
}

/* Asks the broker. An answer that does not come is a refusal. */
static struct dues_refusal ask(struct channel *channel, const struct account_message *question,
	const char *rule, uint32_t code, struct account_message *ret_answer)
{
	struct account_message answer;

	if (channel_ask(channel, question, &answer) < 0) {
		/* a broker that asked for patience is there */
		if (channel->link.deferred)
			return refusal(rule, code);
		return refusal("broker", TPM_RC_DISABLED);
	}
	if (ret_answer)
		*ret_answer = answer;
	switch (answer.argument) {
	case ACCOUNT_YES:
		return (struct dues_refusal){0};
	case ACCOUNT_UNAVAILABLE:
		return refusal("registry", TPM_RC_DISABLED);
	case ACCOUNT_RATE:
		return refusal("nv-writes", TPM_RC_NV_RATE);
	case ACCOUNT_TAKEN:
		return refusal("handle-taken", TPM_RC_NV_DEFINED);
	default:
		return refusal(rule, code);
	}
}

static struct dues_refusal ask_simply(struct channel *channel, enum account_type type,
	uint32_t handle, const char *rule, uint32_t code)
{
	struct account_message question = account_message_new(type, 0);

	question.handle = handle;
	return ask(channel, &question, rule, code, NULL);
}

static struct dues_refusal judge_lockout(const struct dues_lockout *lockout, uint32_t charge)
{
	if (lockout->interval == 0)
		return (struct dues_refusal){0}; /* this TPM counts nothing */
	if (lockout->counter >= lockout_counter_limit(lockout->maximum))
		return refusal("lockout-near", TPM_RC_LOCKOUT);
	if (charge >= lockout_charge_limit(lockout->maximum))
		return refusal("own-failures", TPM_RC_LOCKOUT);
	return (struct dues_refusal){0};
}

static void end_token(struct channel *channel, const struct dues_lockout *lockout, bool failed)
{
	struct account_message message = account_message_new(ACCOUNT_DA_END, failed);

	message.values[0] = lockout->counter;
	message.values[1] = lockout->maximum;
	message.values[2] = lockout->interval;
	channel->link.held &= ~(uint32_t)ACCOUNT_HELD_DA;
	channel_tell(channel, &message);
}

/* The token, and whether the TPM's counter leaves room for one more failure. */
static int pay_token(struct channel *channel, struct dues *dues, struct dues_refusal *ret_refusal)
{
	struct account_message question = account_message_new(ACCOUNT_DA_BEGIN, 0);
	struct account_message answer;
	int r;

	*ret_refusal = ask(channel, &question, "dictionary-attack", TPM_RC_LOCKOUT, &answer);
	if (ret_refusal->rule)
		return 0;
	r = query_lockout(
		channel, &dues->lockout.counter, &dues->lockout.maximum, &dues->lockout.interval);
	if (r == -EBADMSG) { /* what the TPM does not tell cannot be judged */
		*ret_refusal = refusal("dictionary-attack", TPM_RC_LOCKOUT);
		r = 0;
	} else if (r == 0) {
		*ret_refusal = judge_lockout(&dues->lockout, answer.values[0]);
	}
	if (r < 0 || ret_refusal->rule)
		end_token(channel, &dues->lockout, false);
	return r;
}

/* The public area, as it will be read when the index is used. */
static int describe_nv(struct cursor public, struct account_message *question)
{
	uint8_t bytes[PUBLIC_NV_MAX];
	struct public_nv nv;
	int size;

	if (public_parse_nv(public, &nv) < 0)
		return -EBADMSG;
	size = public_normalize_nv(public, bytes);
	if (size < 0)
		return size;
	question->values[0] = nv.data_size;
	return account_message_set_data(question, bytes, (size_t)size);
}

/* What the registry is to know the new NV index or persistent key by. */
static int describe_claim(struct channel *channel, struct account *account,
	const struct tpm_command *command, struct account_message *question)
{
	uint32_t object = command->handles[1];
	const struct account_entity *entity;
	struct cursor public = command->parameters[1].bytes;
	struct cursor skipped;
	int r;

	if (question->kind == ACCOUNT_KIND_NV) {
		if (command->info->code == TPM_CC_NV_DEFINE_SPACE_2 &&
			cursor_bytes(&public, 1, &skipped) < 0)
			return -EBADMSG;
		return describe_nv(public, question);
	}
	r = query_public(channel, account, object);
	if (r < 0)
		return r;
	entity = account_entity(account, object);
	if (!entity || entity->handle_record.size == 0)
		return -EBADMSG;
	return account_message_set_data(
		question, entity->handle_record.bytes, entity->handle_record.size);
}

static int pay_claim(struct channel *channel, struct account *account,
	const struct tpm_command *command, struct dues_refusal *ret_refusal)
{
	struct account_message question = account_message_new(ACCOUNT_CLAIM, 0);
	enum account_kind kind;
	uint32_t available;
	int r;

	question.handle = filter_claimed_handle(command, &kind);
	question.kind = kind;
	if (kind == ACCOUNT_KIND_PERSISTENT) {
		r = query_property(channel, TPM_PT_HR_PERSISTENT_AVAIL, &available);
		if (r < 0 && r != -EBADMSG)
			return r;
		if (r < 0 || available < SLOTS_SPARE) {
			*ret_refusal = refusal("persistent-slots", TPM_RC_NV_SPACE);
			return 0;
		}
	}
	r = describe_claim(channel, account, command, &question);
	if (r == -EBADMSG || r == -EMSGSIZE) {
		*ret_refusal = refusal("unknown-fact", TPM_RC_DISABLED);
		return 0;
	}
	if (r == 0)
		*ret_refusal = ask(channel, &question,
			kind == ACCOUNT_KIND_NV ? "nv-quota" : "persistent-quota", TPM_RC_NV_SPACE,
			NULL);
	return r;
}

static struct dues_refusal pay_drop(struct channel *channel, const struct tpm_command *command)
{
	struct account_message question = account_message_new(ACCOUNT_DROP, 0);
	enum account_kind kind;

	question.handle = filter_claimed_handle(command, &kind);
	question.kind = kind;
	return ask(channel, &question, "registry", TPM_RC_DISABLED, NULL);
}

/* The turn; and whether the uid has guesses at hierarchies left, if COMMAND is one. */
static struct dues_refusal pay_turn(struct channel *channel, const struct tpm_command *command)
{
	struct account_message question =
		account_message_new(ACCOUNT_TURN_BEGIN, tpm_command_guesses_hierarchy(command));
	struct account_message answer = {0};
	struct dues_refusal refused = ask(channel, &question, "turn", TPM_RC_DISABLED, &answer);

	if (answer.argument == ACCOUNT_LIMIT && question.argument == 1)
		return refusal("hierarchy-guesses", TPM_RC_LOCKOUT);
	return refused;
}

/* What is not known to be right is taken for a wrong guess. */
static void end_turn(struct channel *channel, const struct tpm_command *command,
	enum dues_outcome outcome, uint32_t code)
{
	struct account_message message = account_message_new(ACCOUNT_TURN_END, 0);

	if (tpm_command_guesses_hierarchy(command))
		message.argument =
			outcome == DUES_UNKNOWN ||
			(outcome == DUES_ANSWERED && account_is_wrong_authorization(code));
	channel->link.held &= ~(uint32_t)ACCOUNT_HELD_TURN;
	channel_tell(channel, &message);
}

static int pay(struct channel *channel, struct account *account, const struct tpm_command *command,
	enum filter_due due, struct dues *dues, struct dues_refusal *ret_refusal)
{
	uint32_t saved = command->info->code == TPM_CC_CONTEXT_LOAD
				 ? (uint32_t)command->parameters[1].number
				 : 0;

	switch (due) {
	case FILTER_DUE_SESSION:
		*ret_refusal = ask_simply(channel, ACCOUNT_SESSION_BEGIN, saved, "tpm-sessions",
			TPM_RC_SESSION_MEMORY);
		return 0;
	case FILTER_DUE_TURN:
		*ret_refusal = pay_turn(channel, command);
		return 0;
	case FILTER_DUE_DA:
		return pay_token(channel, dues, ret_refusal);
	case FILTER_DUE_CHARGE:
		*ret_refusal = ask_simply(channel, ACCOUNT_CHARGE, 0, "nv-writes", TPM_RC_NV_RATE);
		return 0;
	case FILTER_DUE_CLAIM:
		return pay_claim(channel, account, command, ret_refusal);
	case FILTER_DUE_DROP:
		*ret_refusal = pay_drop(channel, command);
		return 0;
	case FILTER_DUE_RECORD:
	default:
		return 0;
	}
}

int dues_pay(struct channel *channel, struct account *account, const struct tpm_command *command,
	uint32_t which, struct dues *dues, struct dues_refusal *ret_refusal)
{
	struct dues_refusal refused = {0};
	int r = 0;

	for (uint32_t due = FILTER_DUE_SESSION; due <= FILTER_DUE_DROP; due <<= 1) {
		if (!(which & due))
			continue;
		r = pay(channel, account, command, (enum filter_due)due, dues, &refused);
		if (r < 0 || refused.rule) {
			dues_settle(channel, command, dues, DUES_NOT_SENT, 0);
			break;
		}
		dues->paid |= due;
	}
	*ret_refusal = refused;
	return r;
}

/*
 * What became of a claim or drop. Where nobody knows, the session ends, and the broker doubts it:
 * it takes no other claim of a session that has not told of its last.
 */
static void settle_claim(struct channel *channel, const struct tpm_command *command,
	enum dues_outcome outcome, uint32_t code)
{
	struct account_message question = account_message_new(ACCOUNT_CONFIRM, 0);
	struct account_message answer;
	enum account_kind kind;

	if (outcome == DUES_UNKNOWN) {
		log_event(EVENT_SESSION_FAILED,
			"session ended: nobody knows whether the TPM has made what was claimed");
		channel_release(channel, TPM_RC_LAYER | TPM_RC_FAILURE);
		return;
	}
	question.argument = outcome == DUES_ANSWERED && code == TPM_RC_SUCCESS;
	question.handle = filter_claimed_handle(command, &kind);
	question.kind = kind;
	channel_ask(channel, &question, &answer);
}

void dues_settle(struct channel *channel, const struct tpm_command *command, struct dues *dues,
	enum dues_outcome outcome, uint32_t code)
{
	if (dues->paid & FILTER_DUE_DA)
		end_token(channel, &dues->lockout,
			outcome == DUES_UNKNOWN ||
				(outcome == DUES_ANSWERED && account_is_counted_failure(code)));
	if (dues->paid & (FILTER_DUE_CLAIM | FILTER_DUE_DROP))
		settle_claim(channel, command, outcome, code);
	if (dues->paid & FILTER_DUE_TURN)
		end_turn(channel, command, outcome, code);
	/* a session that was made is told when it is learnt */
	if (dues->paid & FILTER_DUE_SESSION && (outcome != DUES_ANSWERED || code != TPM_RC_SUCCESS))
		channel_tell_session(channel, ACCOUNT_SESSION_END, 0);
	dues->paid = 0;
}

bool dues_record(struct channel *channel, const struct tpm_response *response,
	struct dues_refusal *ret_refusal)
{
	struct account_record record = account_sealed_record(response->parameters);
	struct account_message question = account_message_new(ACCOUNT_CLAIM, 0);

	if (record.size == 0) /* no sealed data after all */
		return true;
	question.kind = ACCOUNT_KIND_SEALED;
	account_message_set_data(&question, record.bytes, record.size);
	*ret_refusal = ask(channel, &question, "sealed-quota", TPM_RC_NV_SPACE, NULL);
	return ret_refusal->rule == NULL;
}
