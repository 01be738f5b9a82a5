#pragma once
/*
 * What a broker demands of a relay, without being one: it knows what the relay holds, has claimed
 * and has been let make, and ends the program where a broker would end the session.
 */
#include "common/account-protocol.h"
#include "common/policy.h"

#include <stdbool.h>

struct strict_broker {
	int fd;
	struct account_message question; /* type 0: none is unanswered */
	bool resumed;                    /* RESUME was said: then a relay may repeat itself */
	bool token;
	bool turn;
	bool session; /* one more TPM session */
	bool claim;
	uint32_t claimed;
	uint32_t saving; /* the session that is about to be saved; 0: none */
	bool revoked;
	bool closed;
	uint32_t sessions[POLICY_SLOTS_MAX]; /* 0: free */
};

/* Hears what the relay has said. Returns whether a question has come. */
bool strict_broker_hear(struct strict_broker *broker);
/* Answers the question, if there is one. */
void strict_broker_answer(struct strict_broker *broker, enum account_answer answer);
/* Says what a broker may say unasked; VALUE is a handle or a reason. */
void strict_broker_say(struct strict_broker *broker, enum account_type type, uint32_t value);
