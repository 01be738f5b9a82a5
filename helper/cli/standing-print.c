#include "cli/json.h"
#include "cli/standing.h"
#include "cli/user.h"
#include "common/rules.h"
#include "relay/tpm-table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define INDENT         "           "
#define REFUSALS_SHOWN 5 /* each with the lines that it takes */

static void print_time(int64_t seconds)
{
	char text[32] = "?";
	time_t when = (time_t)seconds;
	struct tm local;

	if (localtime_r(&when, &local))
		(void)strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
	(void)fputs(text, stdout);
}

/* ---- the account ---- */

static void print_failures(const struct protocol_account *account)
{
	if (account->maximum == 0) {
		puts(INDENT "wrong authorizations: none was possible yet, so the TPM's counter was "
			    "not read");
		return;
	}
	printf(INDENT "wrong authorizations: %" PRIu32
		      " counted by the TPM when a session read it last, which locks everybody "
		      "out at %" PRIu32 "; tpmgate lets nobody try from %" PRIu32 " on\n",
		account->counter, account->maximum, account->limit);
	if (account->interval > 0)
		printf(INDENT "  the TPM takes one back every %" PRIu32 " s\n", account->interval);
	else
		puts(INDENT "  the TPM counts none any more: its recovery time is 0");
	printf(INDENT "  %" PRIu32 " of %" PRIu32 " were yours", account->charge,
		account->charge_limit);
	if (account->charge_falls > 0)
		printf("; the next is taken back in %" PRIu32 " s", account->charge_falls);
	putchar('\n');
}

static void print_account(const struct protocol_account *account)
{
	printf("Account    of yours, of %s\n", account->device);
	print_failures(account);
	printf(INDENT "TPM sessions: %" PRIu32 " of %" PRIu32 "\n", account->tpm_sessions,
		account->tpm_sessions_max);
	printf(INDENT "NV writes left in this hour: %" PRIu32 " of %" PRIu32 "\n",
		account->nv_writes, account->nv_writes_max);
}

static void json_account(const struct standing *standing, struct json *json)
{
	const struct protocol_account *account = &standing->account;

	if (!standing->has_account) {
		json_text(json, "account", NULL);
		return;
	}
	json_open(json, "account", '{');
	json_text(json, "device", account->device);
	json_bool(json, "known", account->maximum > 0);
	json_number(json, "counter", account->counter);
	json_number(json, "maximum", account->maximum);
	json_number(json, "limit", account->limit);
	json_number(json, "interval", account->interval);
	json_number(json, "charge", account->charge);
	json_number(json, "charge_limit", account->charge_limit);
	json_number(json, "charge_falls", account->charge_falls);
	json_number(json, "tpm_sessions", account->tpm_sessions);
	json_number(json, "tpm_sessions_max", account->tpm_sessions_max);
	json_number(json, "nv_writes", account->nv_writes);
	json_number(json, "nv_writes_max", account->nv_writes_max);
	json_close(json, '}');
}

/* ---- the records ---- */

static const char *kind_name(uint32_t kind)
{
	switch (kind) {
	case PROTOCOL_KIND_NV:
		return "nv";
	case PROTOCOL_KIND_PERSISTENT:
		return "persistent";
	case PROTOCOL_KIND_SEALED:
		return "sealed";
	default:
		return "unknown";
	}
}

static const char *state_name(uint32_t state)
{
	switch (state) {
	case PROTOCOL_STATE_CLAIMED:
		return "claimed";
	case PROTOCOL_STATE_OWN:
		return "own";
	case PROTOCOL_STATE_DROPPED:
		return "dropped";
	default:
		return "doubtful";
	}
}

/* What a person should know of a state; nothing of the usual one. */
static const char *state_text(uint32_t state)
{
	switch (state) {
	case PROTOCOL_STATE_CLAIMED:
		return ", being made";
	case PROTOCOL_STATE_OWN:
		return "";
	case PROTOCOL_STATE_DROPPED:
		return ", being removed";
	default:
		return ", in doubt";
	}
}

static void print_record(const struct protocol_record *record)
{
	char name[64];

	user_name(record->uid, name, sizeof name);
	printf(INDENT "%-10s ", name);
	switch (record->kind) {
	case PROTOCOL_KIND_NV:
		printf("NV index 0x%08" PRIx32 ", %" PRIu32 " bytes", record->handle,
			record->nv_size);
		break;
	case PROTOCOL_KIND_PERSISTENT:
		printf("persistent object 0x%08" PRIx32, record->handle);
		break;
	case PROTOCOL_KIND_SEALED:
		printf("%" PRIu32 " sealed %s", record->count,
			record->count == 1 ? "secret" : "secrets");
		break;
	default:
		printf("0x%08" PRIx32, record->handle);
		break;
	}
	printf(" on %s%s\n", record->device, state_text(record->state));
}

static void json_record(struct json *json, const struct protocol_record *record)
{
	json_open(json, NULL, '{');
	json_text(json, "device", record->device);
	json_number(json, "uid", record->uid);
	json_text(json, "kind", kind_name(record->kind));
	json_number(json, "handle", record->handle);
	json_number(json, "nv_size", record->nv_size);
	json_text(json, "state", state_name(record->state));
	json_number(json, "changed", record->changed);
	json_number(json, "count", record->count);
	json_close(json, '}');
}

/* ---- the refusals ---- */

static bool is_alike(const struct protocol_refusal *a, const struct protocol_refusal *b)
{
	return a->uid == b->uid && a->command == b->command && strcmp(a->rule, b->rule) == 0;
}

static void print_command(uint32_t code)
{
	const struct tpm_command_info *info = tpm_table_by_code(code);

	if (info)
		(void)fputs(info->name, stdout);
	else if (code == 0)
		(void)fputs("what is no command", stdout);
	else
		printf("command 0x%08" PRIx32, code);
}

/* REFUSAL, the last of COUNT that are alike; UNTOLD more came with them, of which nobody knows what
 * they were. */
static void print_refusal(const struct protocol_refusal *refusal, size_t count, uint64_t untold)
{
	const char *reason = rule_reason(refusal->rule);
	const char *advice = rule_advice(refusal->rule);
	char name[64];

	user_name(refusal->uid, name, sizeof name);
	(void)fputs(INDENT, stdout);
	print_time(refusal->time);
	printf(" %s: ", name);
	print_command(refusal->command);
	if (count > 1)
		printf(", %zu times", count);
	printf(" (%s, 0x%08" PRIx32 ")\n", refusal->rule, refusal->code);
	if (untold > 0)
		printf(INDENT "  and %" PRIu64 " more that are not listed\n", untold);
	if (reason)
		printf(INDENT "  %s\n", reason);
	if (advice)
		printf(INDENT "  %s\n", advice);
}

/* How many refusals up to LAST are alike. */
static size_t count_alike(const struct standing *standing, size_t last)
{
	size_t count = 1;

	while (count <= last &&
		is_alike(&standing->refusals[last - count], &standing->refusals[last]))
		count++;
	return count;
}

static void print_refusals(const struct standing *standing)
{
	size_t first = standing->refusal_count;

	for (size_t shown = 0; first > 0 && shown < REFUSALS_SHOWN; shown++)
		first -= count_alike(standing, first - 1);
	if (first > 0)
		printf(INDENT "(%zu earlier ones: --json)\n", first);
	while (first < standing->refusal_count) {
		uint64_t untold = 0;
		size_t last = first;

		while (last < standing->refusal_count &&
			is_alike(&standing->refusals[last], &standing->refusals[first]))
			untold += standing->refusals[last++].untold;
		print_refusal(&standing->refusals[last - 1], last - first, untold);
		first = last;
	}
	if (standing->refusal_count == 0)
		puts(INDENT "nothing lately");
}

static void json_refusal(struct json *json, const struct protocol_refusal *refusal)
{
	const struct tpm_command_info *info = tpm_table_by_code(refusal->command);
	char session[24];

	snprintf(session, sizeof session, "%" PRIu64, refusal->session);
	json_open(json, NULL, '{');
	json_number(json, "time", refusal->time);
	json_text(json, "session", session); /* as in the list of sessions */
	json_number(json, "uid", refusal->uid);
	json_number(json, "command", refusal->command);
	json_text(json, "name", info ? info->name : NULL);
	json_number(json, "code", refusal->code);
	json_number(json, "untold", refusal->untold);
	json_text(json, "rule", refusal->rule);
	json_text(json, "reason", rule_reason(refusal->rule));
	json_text(json, "advice", rule_advice(refusal->rule));
	json_close(json, '}');
}

/* ---- all of it ---- */

void standing_print(const struct standing *standing)
{
	if (standing->has_account)
		print_account(&standing->account);
	puts("Records    of what is whose in the TPM");
	for (size_t i = 0; i < standing->record_count; i++)
		print_record(&standing->records[i]);
	if (standing->record_count == 0)
		puts(INDENT "none");
	if (standing->problem[0])
		printf(INDENT "%s\n", standing->problem);
	puts("Refused    lately, the newest last");
	print_refusals(standing);
}

void standing_json(const struct standing *standing, struct json *json)
{
	json_account(standing, json);
	json_open(json, "records", '[');
	for (size_t i = 0; i < standing->record_count; i++)
		json_record(json, &standing->records[i]);
	json_close(json, ']');
	json_text(json, "records_problem", standing->problem[0] ? standing->problem : NULL);
	json_open(json, "refusals", '[');
	for (size_t i = 0; i < standing->refusal_count; i++)
		json_refusal(json, &standing->refusals[i]);
	json_close(json, ']');
	json_open(json, "gone_uids", '[');
	for (size_t i = 0; i < standing->gone_count; i++)
		json_number(json, NULL, standing->gone[i]);
	json_close(json, ']');
}
