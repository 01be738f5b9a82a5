/*
 *	question pending: none --question--> one --ANSWER--> none; a second one ends the session
 *	claim:            none --CLAIM, DROP--> made --CONFIRM--> none; lost between: in doubt
 */
#include "broker/conversation.h"

#include "broker/device.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>

#define CONVERSATION_WAIT_MS 1000 /* then the relay is told that it is not forgotten */
/* Longer than any command takes: the relay itself gives the TPM up after 330 s. */
#ifndef CONVERSATION_TOKEN_MS
#define CONVERSATION_TOKEN_MS 340000
#endif
#define CONVERSATION_ORDER_MS  CONVERSATION_TOKEN_MS /* a relay obeys before its next command */
#define CONVERSATION_SETTLE_MS 2000                  /* for a relay of the broker before this one */

struct conversation {
	const struct accounts *accounts;
	const struct protocol_session *facts;
	int fd;
	struct ledger_party *party;
	conversation_failed failed;
	void *context;

	struct account_message question; /* type 0: none is pending */
	uint32_t answered;               /* serial of the last question that was */
	struct registry_entry claim;     /* kind 0: there is none */
	bool adopted;
	guint wait_timer;   /* of a question that is not answered at once */
	guint token_timer;  /* as long as it has the token */
	guint settle_timer; /* until an adopted session has told what it holds */
	guint order_timer;  /* as long as it has not renewed what is loaded in it */
	uint64_t order;     /* ledger_unobeyed_order() as that began */
};

static void conversation_end(struct conversation *conversation, const char *because)
{
	conversation->failed(conversation->context, because);
}

static void conversation_send(
	struct conversation *conversation, const struct account_message *message)
{
	if (send(conversation->fd, message, sizeof *message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
		errno != EPIPE) /* it is about to exit, which its pidfd tells */
		conversation_end(conversation, "it does not listen to the broker");
}

static void conversation_answer(struct conversation *conversation, enum account_answer answer,
	uint32_t charge, uint32_t age)
{
	struct account_message message = account_message_new(ACCOUNT_ANSWER, answer);

	g_clear_handle_id(&conversation->wait_timer, g_source_remove);
	message.serial = conversation->question.serial;
	message.values[0] = charge;
	message.values[1] = age;
	conversation->answered = message.serial;
	conversation->question.type = ACCOUNT_INVALID;
	/* whatever a broker before this one let it begin has been told of by now */
	if (conversation->settle_timer == 0)
		conversation->adopted = false;
	conversation_send(conversation, &message);
}

static gboolean conversation_on_hoarded(gpointer data)
{
	struct conversation *conversation = data;

	conversation->token_timer = 0;
	conversation_end(conversation, "it kept the token for too long");
	return G_SOURCE_REMOVE;
}

static void conversation_on_granted(
	void *context, enum account_held what, uint32_t charge, uint32_t age)
{
	struct conversation *conversation = context;

	if (what == ACCOUNT_HELD_TURN && conversation->question.argument == 1 &&
		!ledger_begin_guess(conversation->party)) {
		ledger_end_turn(conversation->party, false);
		conversation_answer(conversation, ACCOUNT_LIMIT, 0, 0);
		return;
	}
	if (what == ACCOUNT_HELD_DA)
		conversation->token_timer =
			g_timeout_add(CONVERSATION_TOKEN_MS, conversation_on_hoarded, conversation);
	conversation_answer(conversation, ACCOUNT_YES, charge, age);
}

static gboolean conversation_on_unobeyed(gpointer data);

static void conversation_watch_orders(struct conversation *conversation)
{
	if (conversation->order_timer != 0)
		return;
	conversation->order = ledger_unobeyed_order(conversation->party);
	if (conversation->order != 0)
		conversation->order_timer = g_timeout_add(
			CONVERSATION_ORDER_MS, conversation_on_unobeyed, conversation);
}

/* What is loaded in it nobody else can renew, and others cannot save theirs any more soon. */
static gboolean conversation_on_unobeyed(gpointer data)
{
	struct conversation *conversation = data;

	conversation->order_timer = 0;
	if (ledger_unobeyed_order(conversation->party) == conversation->order)
		conversation_end(conversation, "it did not renew a TPM session that is too old");
	else
		conversation_watch_orders(conversation);
	return G_SOURCE_REMOVE;
}

static void conversation_on_flush(void *context, uint32_t handle)
{
	struct account_message message = account_message_new(ACCOUNT_FLUSH, 0);

	message.handle = handle;
	conversation_watch_orders(context);
	conversation_send(context, &message);
}

static gboolean conversation_on_unsettled(gpointer data)
{
	struct conversation *conversation = data;

	conversation->settle_timer = 0;
	conversation_end(conversation, "it did not tell within 2 seconds what it holds");
	return G_SOURCE_REMOVE;
}

struct conversation *conversation_new(const struct accounts *accounts,
	const struct protocol_session *facts, int fd, bool adopted, conversation_failed failed,
	void *context)
{
	static const struct ledger_calls calls = {
		.granted = conversation_on_granted, .flush = conversation_on_flush};
	struct conversation *conversation = g_new0(struct conversation, 1);
	struct account_message resume = account_message_new(ACCOUNT_RESUME, 0);

	conversation->accounts = accounts;
	conversation->facts = facts;
	conversation->fd = fd;
	conversation->adopted = adopted;
	conversation->failed = failed;
	conversation->context = context;
	conversation->party = ledger_join(
		accounts->ledger, facts->device, facts->uid, adopted, &calls, conversation);
	if (adopted) {
		conversation->settle_timer = g_timeout_add(
			CONVERSATION_SETTLE_MS, conversation_on_unsettled, conversation);
		conversation_send(conversation, &resume);
	}
	return conversation;
}

void conversation_let_go(struct conversation *conversation)
{
	if (!conversation)
		return;
	conversation->claim.kind = ACCOUNT_KIND_NONE; /* the next broker hears of it */
	conversation_free(conversation);
}

void conversation_free(struct conversation *conversation)
{
	if (!conversation)
		return;
	g_clear_handle_id(&conversation->settle_timer, g_source_remove);
	g_clear_handle_id(&conversation->wait_timer, g_source_remove);
	g_clear_handle_id(&conversation->token_timer, g_source_remove);
	g_clear_handle_id(&conversation->order_timer, g_source_remove);
	ledger_leave(conversation->party);
	if (conversation->accounts->registry) {
		registry_forget_waiter(conversation->accounts->registry, conversation);
		if (conversation->claim.kind != ACCOUNT_KIND_NONE)
			registry_doubt(conversation->accounts->registry, &conversation->claim);
	}
	g_free(conversation);
}

/* What MESSAGE is about, as this session's uid and TPM have it. */
static struct registry_entry conversation_entry(
	const struct conversation *conversation, const struct account_message *message)
{
	struct registry_entry entry = {
		.uid = conversation->facts->uid,
		.kind = message->kind,
		.handle = message->handle,
		.nv_size = message->kind == ACCOUNT_KIND_NV ? message->values[0] : 0,
		.size = message->size,
	};

	g_strlcpy(entry.device, conversation->facts->device, sizeof entry.device);
	memcpy(entry.data, message->data, sizeof entry.data);
	return entry;
}

static void conversation_on_recorded(void *context, enum account_answer answer)
{
	struct conversation *conversation = context;
	const struct account_message *question = &conversation->question;

	if (question->type != ACCOUNT_CONFIRM && question->kind != ACCOUNT_KIND_SEALED &&
		answer == ACCOUNT_YES)
		conversation->claim = conversation_entry(conversation, question);
	conversation_answer(conversation, answer, 0, 0);
}

/* CLAIM, DROP and CONFIRM: what changes the registry. One claim or drop at a time. */
static void conversation_record(
	struct conversation *conversation, const struct account_message *message)
{
	struct registry *registry = conversation->accounts->registry;
	struct registry_entry entry = conversation_entry(conversation, message);

	if (!registry) {
		conversation_answer(conversation, ACCOUNT_UNAVAILABLE, 0, 0);
	} else if (message->type == ACCOUNT_CONFIRM) {
		conversation->claim.kind = ACCOUNT_KIND_NONE;
		registry_confirm(registry, &entry, message->argument == 1, conversation_on_recorded,
			conversation);
	} else if (conversation->claim.kind != ACCOUNT_KIND_NONE &&
		   message->kind != ACCOUNT_KIND_SEALED) {
		conversation_end(conversation, "it made a claim before it told of the last");
	} else if (message->kind != ACCOUNT_KIND_SEALED &&
		   ledger_charge(conversation->party) != ACCOUNT_YES) {
		conversation_answer(conversation, ACCOUNT_RATE, 0, 0);
	} else if (message->type == ACCOUNT_DROP) {
		registry_drop(registry, &entry, conversation_on_recorded, conversation);
	} else {
		registry_claim(registry, conversation->accounts->config, &entry,
			conversation_on_recorded, conversation);
	}
}

/* An outcome must be that of this session's claim, or perhaps of one before this broker. */
static bool conversation_confirms(
	const struct conversation *conversation, const struct account_message *message)
{
	const struct registry_entry *claim = &conversation->claim;

	if (message->type != ACCOUNT_CONFIRM)
		return true;
	if (claim->kind == ACCOUNT_KIND_NONE)
		return conversation->adopted;
	return claim->kind == message->kind && claim->handle == message->handle;
}

static enum account_answer conversation_lookup(
	const struct conversation *conversation, const struct account_message *message)
{
	const struct registry *registry = conversation->accounts->registry;
	struct registry_entry entry = conversation_entry(conversation, message);
	const struct registry_entry *found;

	if (!registry)
		return ACCOUNT_NO;
	if (entry.size > 0)
		return registry_owns(registry, &entry) ? ACCOUNT_YES : ACCOUNT_NO;
	found = registry_find(registry, entry.device, message->kind, entry.handle);
	return found && found->uid == entry.uid && found->state == REGISTRY_OWN ? ACCOUNT_YES
										: ACCOUNT_NO;
}

static bool conversation_is_session(uint32_t handle)
{
	return handle >> 24 == 0x02 || handle >> 24 == 0x03;
}

static void conversation_begin(struct conversation *conversation, enum account_held what)
{
	if (!ledger_begin(conversation->party, what))
		conversation_end(conversation, "it asked for what it has");
}

static void conversation_begin_session(
	struct conversation *conversation, const struct account_message *message)
{
	enum account_answer answer;

	if (message->handle != 0 && !conversation_is_session(message->handle)) {
		conversation_end(conversation, "it named a session that cannot be one");
		return;
	}
	answer = ledger_begin_session(conversation->party, message->handle);
	conversation_answer(conversation, answer, 0, 0);
}

static gboolean conversation_on_wait(gpointer data)
{
	struct conversation *conversation = data;
	struct account_message message = account_message_new(ACCOUNT_ANSWER, ACCOUNT_WAIT);

	conversation->wait_timer = 0;
	message.serial = conversation->question.serial;
	conversation_send(conversation, &message);
	return G_SOURCE_REMOVE;
}

static void conversation_ask(
	struct conversation *conversation, const struct account_message *message)
{
	/* once more after RESUME: it is being answered, or was */
	if (message->serial == conversation->answered ||
		(conversation->question.type == message->type &&
			conversation->question.serial == message->serial))
		return;
	if (conversation->question.type != ACCOUNT_INVALID) {
		conversation_end(conversation, "it asked before it was answered");
		return;
	}
	conversation->question = *message;
	switch (message->type) {
	case ACCOUNT_DA_BEGIN:
		conversation_begin(conversation, ACCOUNT_HELD_DA);
		break;
	case ACCOUNT_TURN_BEGIN:
		conversation_begin(conversation, ACCOUNT_HELD_TURN);
		break;
	case ACCOUNT_SESSION_BEGIN:
		conversation_begin_session(conversation, message);
		break;
	case ACCOUNT_CLAIM:
	case ACCOUNT_DROP:
	case ACCOUNT_CONFIRM:
		if (conversation_confirms(conversation, message))
			conversation_record(conversation, message);
		else
			conversation_end(conversation, "it told of a claim that it never made");
		break;
	case ACCOUNT_LOOKUP:
		conversation_answer(conversation, conversation_lookup(conversation, message), 0, 0);
		break;
	case ACCOUNT_FLUSH_BEGIN:
		conversation_answer(conversation,
			ledger_flush_session(conversation->party, message->handle), 0, 0);
		break;
	case ACCOUNT_CHARGE:
	default:
		conversation_answer(conversation, ledger_charge(conversation->party), 0, 0);
		break;
	}
	if (conversation->question.type != ACCOUNT_INVALID)
		conversation->wait_timer =
			g_timeout_add(CONVERSATION_WAIT_MS, conversation_on_wait, conversation);
}

/* The token or turn comes back; or the question for it is withdrawn. */
static void conversation_give_back(
	struct conversation *conversation, const struct account_message *message)
{
	bool token = message->type == ACCOUNT_DA_END;
	struct ledger_lockout lockout = {.counter = message->values[0],
		.maximum = message->values[1],
		.interval = message->values[2]};

	if (conversation->question.type == (token ? ACCOUNT_DA_BEGIN : ACCOUNT_TURN_BEGIN)) {
		g_clear_handle_id(&conversation->wait_timer, g_source_remove);
		conversation->answered = conversation->question.serial;
		conversation->question.type = ACCOUNT_INVALID;
		if (ledger_withdraw(
			    conversation->party, token ? ACCOUNT_HELD_DA : ACCOUNT_HELD_TURN))
			return;
	}
	if (token)
		g_clear_handle_id(&conversation->token_timer, g_source_remove);
	if (token ? ledger_end_da(conversation->party, message->argument == 1, &lockout)
		  : ledger_end_turn(conversation->party, message->argument == 1))
		return;
	conversation_end(conversation, "it gave back what it did not have");
}

static void conversation_end_session(
	struct conversation *conversation, const struct account_message *message)
{
	if (message->handle != 0 && !conversation_is_session(message->handle)) {
		conversation_end(conversation, "it named a session that cannot be one");
		return;
	}
	if (!ledger_end_session(conversation->party, message->handle))
		conversation_end(conversation, "it told of a session that it never asked for");
}

static void conversation_settle(
	struct conversation *conversation, const struct account_message *message)
{
	if (conversation->settle_timer == 0 ||
		!ledger_settle(conversation->party, message->argument)) {
		conversation_end(conversation, "it told unasked what it holds");
		return;
	}
	g_clear_handle_id(&conversation->settle_timer, g_source_remove);
	if (message->argument & ACCOUNT_HELD_DA)
		conversation->token_timer =
			g_timeout_add(CONVERSATION_TOKEN_MS, conversation_on_hoarded, conversation);
}

static void conversation_absent(
	struct conversation *conversation, const struct account_message *message)
{
	struct registry *registry = conversation->accounts->registry;
	struct registry_entry entry = conversation_entry(conversation, message);
	const struct registry_entry *found =
		registry ? registry_find(registry, entry.device, message->kind, entry.handle)
			 : NULL;

	if (!found || found->uid != entry.uid)
		return;
	entry = *found;
	registry_absent(registry, &entry);
}

static void conversation_refused(
	struct conversation *conversation, const struct account_message *message)
{
	struct refusal refusal = {
		.time = g_get_real_time() / G_USEC_PER_SEC,
		.session = conversation->facts->session,
		.uid = conversation->facts->uid,
		.command = message->values[0],
		.response = message->argument,
		.untold = message->values[1],
	};

	if (!refusal_set_rule(&refusal, message->data, message->size) ||
		!refusals_add(conversation->accounts->refusals, &refusal))
		conversation_end(conversation, "it named a rule that cannot be one");
}

void conversation_hear(struct conversation *conversation, const struct account_message *message)
{
	if (account_is_question(message->type)) {
		conversation_ask(conversation, message);
		return;
	}
	switch (message->type) {
	case ACCOUNT_DA_END:
	case ACCOUNT_TURN_END:
		conversation_give_back(conversation, message);
		break;
	case ACCOUNT_SESSION_END:
		conversation_end_session(conversation, message);
		break;
	case ACCOUNT_SAVED:
		/* one that it does not have was told of by somebody else meanwhile */
		ledger_saved_session(conversation->party, message->handle, message->argument == 0);
		break;
	case ACCOUNT_GONE:
		ledger_gone_session(conversation->party, message->handle);
		break;
	case ACCOUNT_SAVES:
		if (strcmp(conversation->facts->device, DEVICE_RM) == 0)
			conversation_end(conversation, "it counted saves, as tpmgate-rm does");
		else if (!ledger_saves(conversation->party, message->argument, message->values[0]))
			conversation_end(conversation, "it counted more saves than there can be");
		break;
	case ACCOUNT_REFUSED:
		conversation_refused(conversation, message);
		break;
	case ACCOUNT_STATE:
		conversation_settle(conversation, message);
		break;
	case ACCOUNT_FAILED:
		if (message->argument == ACCOUNT_FAILURE_COUNTED)
			ledger_failed(conversation->party);
		else
			ledger_failed_hierarchy(conversation->party);
		break;
	case ACCOUNT_ABSENT:
		conversation_absent(conversation, message);
		break;
	default:
		conversation_end(conversation, "it sent a message out of turn");
		break;
	}
}
