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

/* Those for which others may have to be waited for; and those that only the disk delays. */
#define DUES_WAITED   (FILTER_DUE_SESSION | FILTER_DUE_TURN | FILTER_DUE_DA | FILTER_DUE_CHARGE)
#define DUES_RECORDED (FILTER_DUE_CLAIM | FILTER_DUE_DROP)

/*
 * Pays of what COMMAND owes those in WHICH, and adds them to DUES (zero at first), which
 * dues_settle() must get. Returns 0; or 0 and *ret_refusal with a rule, or a negative errno of
 * channel_transact(), and everything in DUES is settled.
 */
int dues_pay(struct channel *channel, struct account *account, const struct tpm_command *command,
	uint32_t which, struct dues *dues, struct dues_refusal *ret_refusal);

/* How a command ended. */
enum dues_outcome {
	DUES_UNKNOWN = 0, /* nobody knows what the TPM did: counted as a failure, claims in doubt */
	DUES_ANSWERED,    /* with `code` */
	DUES_NOT_SENT,
};

/* Gives back what was paid; nothing is paid afterwards. */
void dues_settle(struct channel *channel, const struct tpm_command *command, struct dues *dues,
	enum dues_outcome outcome, uint32_t code);

/*
 * Sealed data that COMMAND returned in RESPONSE becomes the uid's. Returns false and *ret_refusal
 * where it cannot be recorded: nobody could unseal it later.
 */
bool dues_record(struct channel *channel, const struct tpm_response *response,
	struct dues_refusal *ret_refusal);
