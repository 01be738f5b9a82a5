#pragma once
/*
 * What each uid has of the broker: connections that are not answered yet, sessions, and at most one
 * password prompt.
 *
 *	connection  account_enter ........................................ account_leave
 *	prompt                    account_begin_prompt .. account_end_prompt
 *
 * A connection that waits at a prompt does not count as undecided, so that people who are slow with
 * their passwords delay nobody.
 */
#include <stdbool.h>
#include <stdint.h>

struct config;

/* Which limit account_may_open() finds reached. */
enum account_limit {
	ACCOUNT_WITHIN = 0,
	ACCOUNT_E_UID,
	ACCOUNT_E_TOTAL,
};

struct account;

struct account *account_new(void);
void account_free(struct account *account);

/* Whether there may be one more undecided connection. */
bool account_has_room(const struct account *account, const struct config *config);

/* Counts a new connection of UID; false, and nothing is counted, where UID has as many as it may.
 */
bool account_enter(struct account *account, const struct config *config, uint32_t uid);
void account_leave(struct account *account, uint32_t uid);

/* False where UID has a prompt already. The connection is not undecided until the prompt ends. */
bool account_begin_prompt(struct account *account, uint32_t uid);
void account_end_prompt(struct account *account, uint32_t uid);

/* Whether UID may have one more session. */
enum account_limit account_may_open(
	const struct account *account, const struct config *config, uint32_t uid);
void account_add_session(struct account *account, uint32_t uid);
void account_remove_session(struct account *account, uint32_t uid);

/* Connections that are not answered, those at prompts included. */
unsigned account_connections(const struct account *account);
unsigned account_sessions(const struct account *account);
