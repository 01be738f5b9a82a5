#pragma once
/*
 * How one stands with the broker: what is left of the TPM, what is recorded, what was refused.
 */
#include "client/tpmgate.h"
#include "common/protocol.h"

#include <stdbool.h>
#include <stddef.h>

#define STANDING_GONE 8 /* uids without a user that are told of */

struct json;

/* All texts are clean and end. */
struct standing {
	bool has_account;
	struct protocol_account account;
	struct protocol_record *records;
	size_t record_count;
	struct protocol_refusal *refusals;
	size_t refusal_count;
	char problem[TPMGATE_MESSAGE_SIZE]; /* what is wrong with the records; may be empty */
	/* uids of records that the user database does not have */
	uint32_t gone[STANDING_GONE];
	size_t gone_count;
};

/*
 * Asks the broker, which answers as the lists show. What it does not tell, as an older one, is
 * empty. The caller ends it with standing_done().
 */
void standing_read(const struct tpmgate_options *options, struct standing *ret_standing);
void standing_done(struct standing *standing);

/* Sections of `tpmgate status`. */
void standing_print(const struct standing *standing);
void standing_json(const struct standing *standing, struct json *json);
