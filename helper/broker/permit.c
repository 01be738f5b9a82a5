/*
 * Owns: the order of questions. First every item without a prompt, so that nobody types a password
 * for something that is refused afterwards; then, one after the other, those that need a prompt.
 *
 *	for each item	root, or in a group of the item: yes
 *			polkit: yes, no, or a challenge
 *	then		for each challenge: the prompt
 *
 * Sandboxed callers must be allowed `sandboxed` besides, whichever way the rest was decided: their
 * user's rights are not theirs.
 *
 * polkit answers for a pid; the answer counts if the pidfd says afterwards that the process lives.
 */
#include "broker/permit.h"

#include <glib.h>

struct permit {
	struct authz *authz;
	struct account *account;
	struct permit_request request;
	permit_done done;
	void *context;
	struct permit_item items[PERMIT_ITEMS];
	bool challenged[PERMIT_ITEMS];
	size_t count;
	size_t next;
	bool prompting; /* the second round, and account_begin_prompt() was called */
	struct authz_check *check;
};

bool permit_has_group(const struct peer *peer, const struct permit_item *item)
{
	for (size_t i = 0; i < item->group_count; i++)
		if (peer_has_group(peer, item->groups[i]))
			return true;
	return false;
}

static bool permit_is_sandboxed(const struct permit_request *request)
{
	return request->identity->sandbox[0] != '\0' && request->identity->peer.uid != 0;
}

static bool permit_is_admitted(const struct permit_request *request, const struct permit_item *item)
{
	return request->identity->peer.uid == 0 || permit_has_group(&request->identity->peer, item);
}

bool permit_needs_polkit(const struct permit_request *request)
{
	for (size_t i = 0; i < request->item_count; i++)
		if (!permit_is_admitted(request, &request->items[i]))
			return true;
	return permit_is_sandboxed(request);
}

struct permit *permit_new(struct authz *authz, struct account *account,
	const struct permit_request *request, permit_done done, void *context)
{
	struct permit *permit = g_new0(struct permit, 1);

	permit->authz = authz;
	permit->account = account;
	permit->request = *request;
	permit->done = done;
	permit->context = context;
	for (size_t i = 0; i < request->item_count && i < PERMIT_ITEMS - 1; i++)
		permit->items[permit->count++] = request->items[i];
	if (permit_is_sandboxed(request))
		permit->items[permit->count++] = (struct permit_item){
			.name = request->names,
			.action = "io.github.tpmgate.sandboxed",
		};
	return permit;
}

static void permit_end_prompt(struct permit *permit)
{
	if (permit->prompting)
		account_end_prompt(permit->account, permit->request.identity->peer.uid);
	permit->prompting = false;
}

void permit_free(struct permit *permit)
{
	if (!permit)
		return;
	authz_cancel(permit->check);
	permit_end_prompt(permit);
	g_free(permit);
}

static void permit_decide(struct permit *permit, enum permit_verdict verdict, const char *problem)
{
	permit_end_prompt(permit);
	permit->done(permit->context, verdict,
		verdict == PERMIT_YES ? NULL : &permit->items[permit->next], problem);
}

static void permit_step(struct permit *permit);

static enum permit_verdict permit_refusal(const struct permit *permit, enum authz_answer answer)
{
	switch (answer) {
	case AUTHZ_CHALLENGE:
		return permit->prompting ? PERMIT_NO_AGENT : PERMIT_PROMPT;
	case AUTHZ_DISMISSED:
		return PERMIT_DISMISSED;
	case AUTHZ_UNAVAILABLE:
		return PERMIT_UNAVAILABLE;
	case AUTHZ_FAULT:
		return PERMIT_FAULT;
	case AUTHZ_NO:
	case AUTHZ_YES:
	default:
		return PERMIT_NO;
	}
}

static void permit_on_answer(void *context, enum authz_answer answer, const char *problem)
{
	struct permit *permit = context;

	permit->check = NULL;
	if (!peer_is_alive(&permit->request.identity->peer)) {
		permit_decide(permit, PERMIT_GONE, NULL);
		return;
	}
	if (answer == AUTHZ_CHALLENGE && !permit->prompting)
		permit->challenged[permit->next] = true;
	else if (answer != AUTHZ_YES) {
		permit_decide(permit, permit_refusal(permit, answer), problem);
		return;
	}
	permit->next++;
	permit_step(permit);
}

/* What the prompt calls the program: one in a sandbox chooses what it calls itself, not this. */
static const char *permit_program(const struct identity *identity)
{
	return identity->sandbox[0] ? identity->sandbox : identity->program;
}

static void permit_ask(struct permit *permit)
{
	const struct identity *identity = permit->request.identity;
	const struct permit_item *item = &permit->items[permit->next];

	permit->check = authz_ask(permit->authz,
		&(struct authz_question){
			.action = item->action,
			.pid = identity->peer.pid,
			.uid = identity->peer.uid,
			.pidfd = identity->peer.pidfd,
			.interactive = permit->prompting,
			.profile = item->name,
			.program = permit_program(identity),
			.device = permit->request.device,
			.sandbox = identity->sandbox,
		},
		permit_on_answer, permit);
}

static bool permit_skips(const struct permit *permit)
{
	if (permit->prompting)
		return !permit->challenged[permit->next];
	return permit_is_admitted(&permit->request, &permit->items[permit->next]);
}

/* The first round is over: on to the prompts, if there are any. Returns false where it is decided.
 */
static bool permit_begin_prompts(struct permit *permit)
{
	permit->next = 0;
	while (permit->next < permit->count && !permit->challenged[permit->next])
		permit->next++;
	if (permit->next == permit->count) {
		permit_decide(permit, PERMIT_YES, NULL);
		return false;
	}
	if (!permit->request.interactive) {
		permit_decide(permit, PERMIT_PROMPT, NULL);
		return false;
	}
	if (!account_begin_prompt(permit->account, permit->request.identity->peer.uid)) {
		permit_decide(permit, PERMIT_PENDING, NULL);
		return false;
	}
	permit->prompting = true;
	return true;
}

static void permit_step(struct permit *permit)
{
	while (permit->next < permit->count && permit_skips(permit))
		permit->next++;
	if (permit->next == permit->count && permit->prompting) {
		permit_decide(permit, PERMIT_YES, NULL);
		return;
	}
	if (permit->next == permit->count && !permit_begin_prompts(permit))
		return;
	permit_ask(permit);
}

void permit_start(struct permit *permit)
{
	const struct identity *identity = permit->request.identity;

	if (permit_needs_polkit(&permit->request) && !identity->proven) {
		permit_decide(permit, PERMIT_UNAVAILABLE,
			"the calling process is outside the broker's view");
		return;
	}
	permit_step(permit);
}
