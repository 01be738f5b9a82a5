/*
 * tpmgate forget: has the broker forget what a user has in the TPMs, and says what stays in them.
 */
#include "cli/cli.h"
#include "cli/user.h"
#include "client/client.h"
#include "client/text.h"

#include <inttypes.h>
#include <stdio.h>

static void print_record(const struct protocol_record *record)
{
	char device[sizeof record->device];

	text_clean(record->device, sizeof record->device, device, sizeof device);
	switch (record->kind) {
	case PROTOCOL_KIND_NV:
		printf("  NV index 0x%08" PRIx32 " of %s, %" PRIu32 " bytes. To remove it:\n"
		       "    TPM2TOOLS_TCTI=tpmgate:profile=admin,device=%s tpm2_nvundefine -C o "
		       "0x%08" PRIx32 "\n",
			record->handle, device, record->nv_size, device, record->handle);
		break;
	case PROTOCOL_KIND_PERSISTENT:
		printf("  persistent object 0x%08" PRIx32 " of %s. To remove it:\n"
		       "    TPM2TOOLS_TCTI=tpmgate:profile=admin,device=%s tpm2_evictcontrol -C o "
		       "-c "
		       "0x%08" PRIx32 "\n",
			record->handle, device, device, record->handle);
		break;
	default:
		break; /* sealed data is in the user's files */
	}
}

static void print_records(const struct call_reply *reply, const char *name)
{
	struct protocol_record record;
	uint32_t handles = 0;
	uint32_t sealed = 0;

	for (uint32_t i = 0; i < reply->header.item_count; i++) {
		client_item(reply, i, &record, sizeof record);
		if (record.kind == PROTOCOL_KIND_SEALED)
			sealed += record.count;
		else
			handles++;
	}
	if (reply->header.item_count == 0) {
		printf("nothing was recorded for %s\n", name);
		return;
	}
	printf("nothing is recorded for %s any more\n", name);
	if (sealed > 0)
		printf("  %" PRIu32 " sealed %s: only the profile unseal opens that now\n", sealed,
			sealed == 1 ? "secret" : "secrets");
	if (handles > 0)
		puts("This is still in the TPM, as nobody's:");
	for (uint32_t i = 0; i < reply->header.item_count; i++) {
		client_item(reply, i, &record, sizeof record);
		print_record(&record);
	}
}

enum cli_exit cmd_forget(const struct cli *cli)
{
	struct call_question question = {
		.request = protocol_request_new(PROTOCOL_FORGET),
		.item_size = sizeof(struct protocol_record),
	};
	struct call_reply reply = {.fd = -1};
	struct tpmgate_message message;
	char name[64];
	uint32_t uid;
	int r;

	if (!user_find(cli->arguments[0], &uid))
		return cli_fail(CLI_USAGE,
			"there is no user '%s'; one that was removed is named by the uid that "
			"tpmgate status shows",
			cli->arguments[0]);
	question.request.session = uid;
	r = client_ask(&cli->options, &question, &message, &reply);
	if (r < 0)
		return cli_fail_call(r, &message);
	if (user_name(uid, name, sizeof name))
		print_records(&reply, name);
	else {
		snprintf(name, sizeof name, "uid %" PRIu32, uid);
		print_records(&reply, name);
	}
	if (reply.header.message[0]) {
		text_clean(reply.header.message, sizeof reply.header.message, message.text,
			sizeof message.text);
		puts(message.text);
	}
	call_reply_done(&reply);
	return CLI_OK;
}
