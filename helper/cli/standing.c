/*
 * Owns: copies of the items. Trusts: no text of the broker's.
 */
#include "cli/standing.h"

#include "cli/user.h"
#include "client/client.h"
#include "client/text.h"

#include <stdlib.h>
#include <string.h>

/*
 * Asks for the items of TYPE, each of SIZE bytes here. Returns them as an array, and NULL where
 * there are none. MESSAGE is the broker's, or says why it did not answer.
 */
static void *standing_ask(const struct tpmgate_options *options, enum protocol_type type,
	size_t size, size_t *ret_count, struct tpmgate_message *message)
{
	struct call_question question = {.request = protocol_request_new(type), .item_size = size};
	struct call_reply reply = {.fd = -1};
	uint8_t *items = NULL;
	int r = client_ask(options, &question, message, &reply);

	*ret_count = 0;
	if (r < 0) {
		if (r == TPMGATE_E_PROTOCOL) /* a broker that does not know the request */
			message->text[0] = '\0';
		return NULL;
	}
	text_clean(reply.header.message, sizeof reply.header.message, message->text,
		sizeof message->text);
	if (reply.header.item_count > 0)
		items = calloc(reply.header.item_count, size);
	if (items) {
		*ret_count = reply.header.item_count;
		for (uint32_t i = 0; i < reply.header.item_count; i++)
			client_item(&reply, i, items + i * size, size);
	}
	call_reply_done(&reply);
	return items;
}

/* In its place. */
static void standing_clean(char *field, size_t size)
{
	char text[128];

	text_clean(field, size, text, size < sizeof text ? size : sizeof text);
	memcpy(field, text, strlen(text) + 1);
}

static void standing_note_gone(struct standing *standing, uint32_t uid)
{
	for (size_t i = 0; i < standing->gone_count; i++)
		if (standing->gone[i] == uid)
			return;
	if (standing->gone_count < STANDING_GONE && user_is_gone(uid))
		standing->gone[standing->gone_count++] = uid;
}

void standing_read(const struct tpmgate_options *options, struct standing *ret_standing)
{
	struct standing standing = {.has_account = false};
	struct tpmgate_message message;
	struct protocol_account *account;
	size_t count;

	account = standing_ask(options, PROTOCOL_ACCOUNT, sizeof *account, &count, &message);
	if (account) {
		standing.account = *account;
		standing_clean(standing.account.device, sizeof standing.account.device);
		standing.has_account = true;
		free(account);
	}
	standing.refusals = standing_ask(options, PROTOCOL_REFUSALS, sizeof *standing.refusals,
		&standing.refusal_count, &message);
	for (size_t i = 0; i < standing.refusal_count; i++)
		standing_clean(standing.refusals[i].rule, sizeof standing.refusals[i].rule);
	standing.records = standing_ask(options, PROTOCOL_RECORDS, sizeof *standing.records,
		&standing.record_count, &message);
	memcpy(standing.problem, message.text, sizeof standing.problem);
	for (size_t i = 0; i < standing.record_count; i++) {
		standing_clean(standing.records[i].device, sizeof standing.records[i].device);
		standing_note_gone(&standing, standing.records[i].uid);
	}
	*ret_standing = standing;
}

void standing_done(struct standing *standing)
{
	free(standing->records);
	free(standing->refusals);
	*standing = (struct standing){.has_account = false};
}
