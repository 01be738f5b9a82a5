#include "relay/pump-sessions.h"

#include "relay/log.h"
#include "relay/query.h"

#include <errno.h>

#define CONTEXT_GAP_USUAL 65535
/*
 * To the broker, while the gap passes once: what all the relays of a TPM have not told yet is to be
 * a small part of it.
 */
#define CONTEXT_REPORTS 1024

void pump_tell_sessions(struct pump *pump, uint32_t saved)
{
	struct link *link = &pump->channel.link;

	for (unsigned i = 0; i < POLICY_SLOTS_MAX; i++) {
		uint32_t handle = link->sessions[i];

		if (handle != 0 && !account_session(&pump->account, handle))
			channel_tell_session(&pump->channel,
				handle == saved ? ACCOUNT_SAVED : ACCOUNT_GONE, handle);
	}
}

void pump_lose_sessions(struct pump *pump)
{
	account_forget_sessions(&pump->account);
	pump_tell_sessions(pump, 0);
}

static unsigned session_count(const struct account *account)
{
	unsigned count = 0;

	for (unsigned i = 0; i < account->session_slots; i++)
		count += account->sessions[i].handle != 0;
	return count;
}

/* Reads it, after which the kernel has saved all sessions once more, or has flushed them. */
static int read_gap(struct pump *pump)
{
	int r = query_property(&pump->channel, TPM_PT_CONTEXT_GAP_MAX, &pump->context_gap);

	if (r < 0 && r != -EBADMSG)
		pump_lose_sessions(pump);
	return r;
}

/* How far two context saves may lie apart. */
static uint32_t context_gap(struct pump *pump)
{
	if (pump->context_gap == 0 && !pump->gap_was_read) {
		pump->gap_was_read = true;
		read_gap(pump);
	}
	return pump->context_gap != 0 ? pump->context_gap : CONTEXT_GAP_USUAL;
}

/* One that a broker is too busy to hear is told with the next. */
static void tell_saves(struct pump *pump)
{
	struct account_message message = account_message_new(ACCOUNT_SAVES, pump->saves);

	message.values[0] = pump->context_gap;
	if (link_tell(&pump->channel.link, &message) == 0)
		pump->saves = 0;
}

/*
 * Counts how many times sessions were saved at most: the kernel saves every session of a descriptor
 * after each command. tpmgate-rm keeps count itself, and renews what gets old.
 */
static void count_saves(struct pump *pump)
{
	uint64_t commands = pump->channel.transacted - pump->counted;
	unsigned before = pump->sessions;

	pump->counted = pump->channel.transacted;
	pump->sessions = session_count(&pump->account);
	if (pump->channel.backend == POLICY_BACKEND_DEVICE)
		pump->saves +=
			(uint32_t)commands * (before > pump->sessions ? before : pump->sessions);
}

void pump_report_saves(struct pump *pump)
{
	count_saves(pump);
	if (pump->saves > 0 && pump->channel.tpm >= 0 &&
		pump->saves >= context_gap(pump) / CONTEXT_REPORTS)
		tell_saves(pump);
}

void pump_tell_last(void *context)
{
	struct pump *pump = context;

	count_saves(pump);
	if (pump->saves > 0 && pump->channel.tpm >= 0)
		tell_saves(pump);
}

/*
 * Renews the sessions that are loaded here, which others' saves have made old: by any command, as
 * the kernel saves them anew after it. Behind other backends what is loaded does not get old.
 */
static void renew(struct pump *pump)
{
	int r;

	if (pump->channel.backend != POLICY_BACKEND_DEVICE)
		return;
	r = read_gap(pump);
	if (r < 0 && r != -EBADMSG)
		return;
	count_saves(pump);
	tell_saves(pump);
}

/* Flushes the saved session HANDLE, whosever it is. Returns -EBUSY where that must wait. */
static int flush(struct pump *pump, uint32_t handle)
{
	struct account_message question = account_message_new(ACCOUNT_FLUSH_BEGIN, 0);
	struct account_message answer;
	int r;

	/* its number may be somebody else's since it was ordered */
	question.handle = handle;
	r = channel_ask(&pump->channel, &question, &answer);
	if (r < 0 || answer.argument != ACCOUNT_YES)
		return r;
	if (query_flush(&pump->channel, handle) < 0) {
		pump_lose_sessions(pump);
		return 0;
	}
	log_event(NULL, "a TPM session was flushed: it was too old, or one too many");
	channel_tell_session(&pump->channel, ACCOUNT_GONE, handle);
	return 0;
}

void pump_renew_as_ordered(void *context)
{
	struct pump *pump = context;
	struct link *link = &pump->channel.link;
	bool loaded = false;
	unsigned left = 0;

	for (unsigned i = 0; i < link->order_count; i++) {
		if (account_session(&pump->account, link->orders[i]))
			loaded = true;
		else
			link->orders[left++] = link->orders[i];
	}
	link->order_count = left;
	if (loaded && pump->channel.tpm >= 0)
		renew(pump);
}

void pump_obey(struct pump *pump)
{
	struct link *link = &pump->channel.link;

	pump_renew_as_ordered(pump);
	while (link->order_count > 0 && pump->channel.tpm >= 0) {
		uint32_t handle = link->orders[--link->order_count];

		if (flush(pump, handle) == -EBUSY) {
			link_order(link, handle);
			return;
		}
	}
}
