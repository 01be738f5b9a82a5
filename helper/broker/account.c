#include "broker/account.h"

#include "broker/config.h"

#include <glib.h>

struct user {
	unsigned undecided;
	unsigned sessions;
	bool prompt;
};

struct account {
	GHashTable *users; /* uid -> struct user; only those that have something */
	unsigned undecided;
	unsigned prompts;
	unsigned sessions;
};

struct account *account_new(void)
{
	struct account *account = g_new0(struct account, 1);

	account->users = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	return account;
}

void account_free(struct account *account)
{
	if (!account)
		return;
	g_hash_table_unref(account->users);
	g_free(account);
}

static struct user *account_find(const struct account *account, uint32_t uid)
{
	return g_hash_table_lookup(account->users, GUINT_TO_POINTER(uid));
}

static struct user *account_get(struct account *account, uint32_t uid)
{
	struct user *user = account_find(account, uid);

	if (!user) {
		user = g_new0(struct user, 1);
		g_hash_table_insert(account->users, GUINT_TO_POINTER(uid), user);
	}
	return user;
}

static void account_tidy(struct account *account, uint32_t uid)
{
	const struct user *user = account_find(account, uid);

	if (user && user->undecided == 0 && user->sessions == 0 && !user->prompt)
		g_hash_table_remove(account->users, GUINT_TO_POINTER(uid));
}

bool account_has_room(const struct account *account, const struct config *config)
{
	return account->undecided < config->max_undecided;
}

bool account_enter(struct account *account, const struct config *config, uint32_t uid)
{
	const struct user *user = account_find(account, uid);

	if (user && user->undecided >= config->max_undecided_per_user)
		return false;
	account_get(account, uid)->undecided++;
	account->undecided++;
	return true;
}

void account_leave(struct account *account, uint32_t uid)
{
	account_get(account, uid)->undecided--;
	account->undecided--;
	account_tidy(account, uid);
}

bool account_begin_prompt(struct account *account, uint32_t uid)
{
	struct user *user = account_get(account, uid);

	if (user->prompt)
		return false;
	user->prompt = true;
	user->undecided--;
	account->undecided--;
	account->prompts++;
	return true;
}

void account_end_prompt(struct account *account, uint32_t uid)
{
	struct user *user = account_get(account, uid);

	user->prompt = false;
	user->undecided++;
	account->undecided++;
	account->prompts--;
}

enum account_limit account_may_open(
	const struct account *account, const struct config *config, uint32_t uid)
{
	const struct user *user = account_find(account, uid);

	if (user && user->sessions >= config->max_sessions_per_user)
		return ACCOUNT_E_UID;
	return account->sessions >= config->max_sessions ? ACCOUNT_E_TOTAL : ACCOUNT_WITHIN;
}

void account_add_session(struct account *account, uint32_t uid)
{
	account_get(account, uid)->sessions++;
	account->sessions++;
}

void account_remove_session(struct account *account, uint32_t uid)
{
	account_get(account, uid)->sessions--;
	account->sessions--;
	account_tidy(account, uid);
}

unsigned account_connections(const struct account *account)
{
	return account->undecided + account->prompts;
}

unsigned account_sessions(const struct account *account)
{
	return account->sessions;
}
