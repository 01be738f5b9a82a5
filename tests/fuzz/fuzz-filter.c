/*
 * The filter: a policy image, what the session owns, and a command, all from the input. Checks
 * what is allowed against rules that are written down here once more, and that what the filter
 * wants to know is enough to decide: facts are answered from the input until none is asked for.
 *
 *   a piece   the image and the account, see fill_policy() and fill_account()
 *   a piece   the command
 *   the rest  one byte for each fact
 */
#include "filter-oracle.h"

#include "pieces.h"

#include <string.h>

#define STATE_MAX   4096
#define QUERIES_MAX 8 /* as the pump has it */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fill_policy(struct cursor *state, struct policy *policy, unsigned number)
{
	uint8_t what = pieces_u8(state);

	policy->name[0] = (char)('a' + number);
	if (what & 1)
		memset(policy->commands, 0xff, sizeof policy->commands);
	else
		for (size_t i = 0; i < POLICY_CODES / 64; i++)
			policy->commands[i] = (uint64_t)pieces_u32(state) << 32 | pieces_u32(state);
	policy->capabilities = what & 2 ? UINT32_MAX : pieces_u32(state);
	policy->pcrs = what & 4 ? 0x00810000 : 0;
	policy->hierarchies = pieces_u8(state) & POLICY_HIERARCHY_ALL;
	policy->secrets = pieces_u8(state) & POLICY_HIERARCHY_ALL;
	policy->flags = pieces_u8(state) & POLICY_FLAG_ALL;
	policy->range_count = pieces_u8(state) % 4;
	for (uint32_t i = 0; i < policy->range_count; i++) {
		uint32_t first = pieces_u32(state);
		uint32_t use = pieces_u8(state) & POLICY_USE_ALL;

		policy->ranges[i] = (struct policy_range){
			.first = first, .last = first | 0xff, .use = use > 0 ? use : 1};
	}
}

static struct account_entity fill_entity(struct cursor *state)
{
	struct account_entity entity = {.handle = pieces_u32(state)};
	uint8_t what = pieces_u8(state);

	entity.known = what & 1;
	entity.unreadable = !entity.known && what & 2;
	entity.absent = entity.unreadable && what & 4;
	entity.sequence = entity.known && what & 4;
	entity.handle_own = (enum account_ownership)((what >> 3 & 3) % 3);
	entity.sealed_own = (enum account_ownership)((what >> 5 & 3) % 3);
	entity.policies = pieces_u8(state);
	entity.type = (uint16_t)pieces_u8(state);
	entity.attributes = pieces_u32(state);
	return entity;
}

static bool is_of_kind(uint32_t handle, uint32_t kinds)
{
	return tpm_handle_kind(handle) & kinds;
}

/* Each handle once, and of a kind that can be there: what account_learn() sees to. */
static void fill_account(struct cursor *state, struct account *account)
{
	*account = account_new(pieces_u8(state) % 5, pieces_u8(state) % 5);
	for (unsigned i = 0; i < account->object_slots; i++) {
		struct account_entity entity = fill_entity(state);

		if (is_of_kind(entity.handle, TPM_KIND_TRANSIENT) &&
			!account_object(account, entity.handle))
			account->objects[i] = entity;
	}
	for (unsigned i = 0; i < account->session_slots; i++) {
		struct account_session session = {.handle = pieces_u32(state)};

		session.dictionary_attack = pieces_u8(state) & 1;
		if (is_of_kind(session.handle, TPM_KIND_HMAC_SESSION | TPM_KIND_POLICY_SESSION) &&
			!account_session(account, session.handle))
			account->sessions[i] = session;
	}
	for (unsigned i = 0; i < 2; i++) {
		struct account_entity entity = fill_entity(state);

		if (is_of_kind(entity.handle, TPM_KIND_PERSISTENT | TPM_KIND_NV) &&
			!account_entity(account, entity.handle))
			account->entities[i] = entity;
	}
	account->spent = pieces_u8(state);
	pieces_u8(state); /* the corpus has a byte here */
}

/* A fact, or that there is none. */
static void learn(struct account *account, const struct filter_verdict *verdict, uint8_t how,
	struct cursor rest)
{
	switch (verdict->fact) {
	case FILTER_FACT_PUBLIC:
		account_learn_public(account, verdict->query,
			how & 1 ? TPM_RC_SUCCESS : tpm_rc_at(TPM_RC_HANDLE, how >> 1 & 1), rest);
		break;
	case FILTER_FACT_HANDLE_OWN:
		account_learn_ownership(account, verdict->query, ACCOUNT_KIND_NV, how & 1);
		break;
	case FILTER_FACT_SEALED_OWN:
		account_learn_ownership(account, verdict->query, ACCOUNT_KIND_SEALED, how & 1);
		break;
	case FILTER_FACT_NONE:
	default:
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy_image image = policy_image_new();
	struct cursor input = cursor_new(data, size);
	struct cursor state = pieces_next(&input, STATE_MAX);
	struct cursor bytes = pieces_next(&input, TPM_MESSAGE_MAX);
	struct tpm_command command;
	struct filter_verdict verdict;
	struct account account;
	unsigned queries = 0;

	if (tpm_command_parse(bytes.next, bytes.left, &command) != TPM_RC_SUCCESS)
		return 0;
	image.backend = POLICY_BACKEND_DEVICE;
	image.policy_count = pieces_u8(&state) % 3 + 1;
	fill_account(&state, &account);
	for (unsigned i = 0; i < image.policy_count; i++)
		fill_policy(&state, &image.policies[i], i);
	if (policy_image_check(&image) < 0)
		abort();
	for (;;) {
		struct filter_question_asked asked;

		verdict = filter_check(&image, &account, &command);
		oracle_check(&image, &account, &command, &verdict);
		if (verdict.kind != FILTER_QUERY)
			break;
		if (++queries > QUERIES_MAX)
			abort();
		asked = (struct filter_question_asked){verdict.fact, verdict.query};
		learn(&account, &verdict, pieces_u8(&input), input);
		verdict = filter_check(&image, &account, &command);
		if (verdict.kind == FILTER_QUERY && verdict.fact == asked.fact &&
			verdict.query == asked.query)
			abort();
	}
	memset(image.policies, 0, sizeof image.policies);
	if (filter_check(&image, &account, &command).kind == FILTER_ALLOW)
		abort(); /* a policy that names nothing allows nothing */
	return 0;
}
