#pragma once
/*
 * What an allowed command owes to the accounts (filter-dues.c): asked of the broker before the
 * command goes to the TPM, and settled after.
 */
#include "relay/account.h"
#include "relay/channel.h"
#include "relay/filter.h"

/* What the TPM's failure counter stands at, in words of Part 2, section 6.13. */
struct dues_lockout {
	uint32_t counter;  /* TPM_PT_LOCKOUT_COUNTER */
	uint32_t maximum;  /* TPM_PT_MAX_AUTH_FAIL */
	uint32_t interval; /* TPM_PT_LOCKOUT_INTERVAL: seconds */
};

struct dues {
	uint32_t paid; /* enum filter_due, as bits: those to be settled */
	struct dues_lockout lockout;
};

/* A due that cannot be paid, as the client and the log see it. */
struct dues_refusal {
	uint32_t code;
	const char *rule; /* NULL: everything is paid */
};

/*
 * Pays what VERDICT says that COMMAND owes. Returns 0 and *ret_dues, which dues_settle() must get;
 * or 0 and *ret_refusal with a rule, and nothing is owed; or a negative errno of
 * channel_transact(), and nothing is owed either.
 */
int dues_pay(struct channel *channel, struct account *account, const struct tpm_command *command,
	const struct filter_verdict *verdict, struct dues *ret_dues,
	struct dues_refusal *ret_refusal);

/* How a command ended. */
enum dues_outcome {
	DUES_UNKNOWN = 0, /* nobody knows what the TPM did: counted as a failure, claims in doubt */
	DUES_ANSWERED,    /* with `code` */
	DUES_NOT_SENT,
};

void dues_settle(struct channel *channel, const struct tpm_command *command,
	const struct dues *dues, enum dues_outcome outcome, uint32_t code);

/*
 * Sealed data that COMMAND returned in RESPONSE becomes the uid's. Returns false and *ret_refusal
 * where it cannot be recorded: nobody could unseal it later.
 */
bool dues_record(struct channel *channel, const struct tpm_response *response,
	struct dues_refusal *ret_refusal);
