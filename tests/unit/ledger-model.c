#include "ledger-model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

const char *const model_devices[DEVICES] = {TPM, OTHER};
struct model model;

unsigned model_pick(unsigned count)
{
	/* Knuth's MMIX generator: the same on every machine */
	model.random = model.random * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(model.random >> 33) % count;
}

struct model_user *model_user(const struct model_party *party)
{
	return &model.users[party->device][party->uid];
}

struct model_party *model_party_of(const struct actor *actor)
{
	for (unsigned i = 0; i < PARTIES; i++)
		if (model.parties[i].actor == actor)
			return &model.parties[i];
	fail_msg("called back, but it has left");
	return NULL;
}

void model_pass(int64_t milliseconds)
{
	scene_pass_ms(milliseconds);
	model.now += milliseconds;
	for (unsigned i = 0; i < DEVICES * UIDS; i++) {
		struct model_user *user = &model.users[i / UIDS][i % UIDS];

		while (user->charge > 0 && model.now - user->failed_at >= INTERVAL_MS) {
			user->charge--;
			user->failed_at += INTERVAL_MS;
		}
	}
}

void model_fails(const struct model_party *party)
{
	model_user(party)->charge++;
	model_user(party)->failed_at = model.now;
}

unsigned model_holders(unsigned device, unsigned uid, enum account_held what)
{
	unsigned count = 0;

	for (unsigned i = 0; i < PARTIES; i++) {
		const struct model_party *party = &model.parties[i];

		if (party->actor && party->device == device &&
			(what == ACCOUNT_HELD_DA || party->uid == uid) && (party->held & what))
			count++;
	}
	return count;
}

bool model_is_settled(unsigned device)
{
	for (unsigned i = 0; i < PARTIES; i++)
		if (model.parties[i].actor && model.parties[i].device == device &&
			model.parties[i].unsettled)
			return false;
	return true;
}

static bool is_of(const struct model_session *session, unsigned uid)
{
	return session->there && (uid == UIDS || session->uid == uid);
}

unsigned model_sessions(unsigned device, unsigned uid)
{
	unsigned count = 0;

	for (unsigned i = 0; i < HANDLES; i++)
		count += is_of(&model.sessions[device][i], uid);
	return count;
}

bool model_is_ending(const struct model_session *session)
{
	return !session->party && session->ordered;
}

struct model_session *model_oldest(unsigned device, unsigned uid)
{
	struct model_session *oldest = NULL;

	for (unsigned i = 0; i < HANDLES; i++) {
		struct model_session *session = &model.sessions[device][i];

		if (is_of(session, uid) && !session->party && !session->ordered &&
			(!oldest || session->serial < oldest->serial))
			oldest = session;
	}
	return oldest;
}

void model_room(unsigned device, unsigned uid, unsigned *ret_count, unsigned *ret_saved)
{
	*ret_count = *ret_saved = 0;
	for (unsigned i = 0; i < HANDLES; i++) {
		const struct model_session *session = &model.sessions[device][i];

		if (!is_of(session, uid) || model_is_ending(session))
			continue;
		++*ret_count;
		*ret_saved += !session->party;
	}
}

unsigned model_reserved(unsigned device, unsigned uid)
{
	unsigned count = 0;

	for (unsigned i = 0; i < PARTIES; i++) {
		const struct model_party *party = &model.parties[i];

		count += party->actor && party->device == device && party->reserved &&
			 party->room && (uid == UIDS || party->uid == uid);
	}
	return count;
}
