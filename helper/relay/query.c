#include "relay/query.h"

#include "relay/filter.h"
#include "relay/tpm-handles.h"

#include <errno.h>

#define ROUNDS_MAX 64 /* a TPM that always has more to tell is not believed for ever */

/* Has the TPM execute CODE with up to three u32 after the header; none is a session command. */
static int ask(struct channel *channel, uint32_t code, const uint32_t *words, unsigned word_count,
	uint8_t response[TPM_MESSAGE_MAX], struct tpm_header *ret_header, struct cursor *ret_body)
{
	uint8_t command[TPM_HEADER_SIZE + 3 * sizeof(uint32_t)];
	struct writer writer = writer_new(command, sizeof command);
	struct tpm_header header;
	struct cursor cursor;
	struct cursor skipped;
	size_t size;
	int r;

	writer_u16(&writer, TPM_ST_NO_SESSIONS);
	writer_u32(&writer, (uint32_t)(TPM_HEADER_SIZE + word_count * sizeof(uint32_t)));
	writer_u32(&writer, code);
	for (unsigned i = 0; i < word_count; i++)
		writer_u32(&writer, words[i]);
	if (writer.overflowed)
		return -EINVAL;
	r = channel_transact(channel, command, writer.used, response, &size);
	if (r < 0)
		return r;
	cursor = cursor_new(response, size);
	if (tpm_header_parse(response, size, &header) < 0 ||
		cursor_bytes(&cursor, TPM_HEADER_SIZE, &skipped) < 0)
		return -EBADMSG;
	*ret_header = header;
	*ret_body = cursor;
	return 0;
}

int query_public(struct channel *channel, struct account *account, uint32_t handle)
{
	uint8_t response[TPM_MESSAGE_MAX];
	uint32_t code =
		handle >> 24 == TPM_HT_NV_INDEX ? TPM_CC_NV_READ_PUBLIC : TPM_CC_READ_PUBLIC;
	struct tpm_header header;
	struct cursor body;
	int r = ask(channel, code, &handle, 1, response, &header, &body);

	if (r == 0)
		account_learn_public(account, handle, header.code, body);
	return r;
}

static void list_own(struct tpm_handles *list, const struct account *account, uint32_t property)
{
	uint32_t first = property & 0xffffff;

	if (property >> 24 == TPM_HT_TRANSIENT) {
		for (unsigned i = 0; i < account->object_slots; i++)
			if (account->objects[i].handle != 0 &&
				(account->objects[i].handle & 0xffffff) >= first)
				tpm_handles_add(list, account->objects[i].handle);
	} else if (property >> 24 == TPM_HT_HMAC_SESSION) {
		for (unsigned i = 0; i < account->session_slots; i++)
			if (account->sessions[i].handle != 0 &&
				(account->sessions[i].handle & 0xffffff) >= first)
				tpm_handles_add(list, account->sessions[i].handle);
	}
	/* TPM_HT_POLICY_SESSION asks for saved sessions, which are nobody's until they are loaded.
	 */
}

/* One answer of the TPM: its code, and where that is success the handles from PROPERTY on. */
static int ask_handles(struct channel *channel, uint32_t property,
	uint8_t response[TPM_MESSAGE_MAX], struct cursor *ret_handles, uint32_t *ret_code,
	bool *ret_more)
{
	const uint32_t words[] = {TPM_CAP_HANDLES, property, TPM_CAP_MAX_HANDLES};
	struct tpm_header header;
	struct cursor body;
	int r = ask(channel, TPM_CC_GET_CAPABILITY, words, 3, response, &header, &body);

	if (r < 0)
		return r;
	*ret_code = header.code;
	return header.code == TPM_RC_SUCCESS ? tpm_handles_parse(body, ret_handles, ret_more) : 0;
}

static enum account_kind kind_of(uint32_t handle)
{
	return handle >> 24 == TPM_HT_NV_INDEX ? ACCOUNT_KIND_NV : ACCOUNT_KIND_PERSISTENT;
}

/* Whether the registry has HANDLE for this uid, as whatever. */
static bool is_recorded(struct channel *channel, uint32_t handle)
{
	struct account_message question = account_message_new(ACCOUNT_LOOKUP, 0);
	struct account_message answer;

	question.kind = kind_of(handle);
	question.handle = handle;
	return channel_ask(channel, &question, &answer) == 0 && answer.argument == ACCOUNT_YES;
}

int query_ownership(
	struct channel *channel, struct account *account, uint32_t handle, enum account_kind kind)
{
	const struct account_entity *entity = account_entity(account, handle);
	const struct account_record *record;
	struct account_message question = account_message_new(ACCOUNT_LOOKUP, 0);
	struct account_message answer = {.argument = ACCOUNT_NO};
	int r = 0;

	if (!entity)
		return -EINVAL;
	record = kind == ACCOUNT_KIND_SEALED ? &entity->sealed_record : &entity->handle_record;
	question.kind = kind == ACCOUNT_KIND_SEALED ? kind : kind_of(handle);
	question.handle = kind == ACCOUNT_KIND_SEALED ? 0 : handle;
	/* what cannot be described is nobody's */
	if (record->size > 0 &&
		account_message_set_data(&question, record->bytes, record->size) == 0)
		r = channel_ask(channel, &question, &answer);
	if (r == 0)
		account_learn_ownership(account, handle, kind, answer.argument == ACCOUNT_YES);
	return r;
}

/* The TPM's handles from PROPERTY on, as far as the session may see them. */
static int list_shown(struct tpm_handles *list, struct channel *channel,
	const struct policy_image *image, uint32_t property, uint32_t *ret_code)
{
	uint8_t response[TPM_MESSAGE_MAX];
	uint32_t type = property >> 24;
	bool more = true;

	*ret_code = TPM_RC_SUCCESS;
	for (int round = 0; more && !list->more && round < ROUNDS_MAX; round++) {
		struct cursor handles;
		uint32_t handle;
		int r = ask_handles(channel, property, response, &handles, ret_code, &more);

		if (r < 0)
			return r;
		if (*ret_code != TPM_RC_SUCCESS)
			return 0;
		while (cursor_u32(&handles, &handle) == 0) {
			if (handle < property || handle >> 24 != type)
				return -EBADMSG;
			if (filter_shows_handle(image, handle) || is_recorded(channel, handle))
				tpm_handles_add(list, handle);
			property = handle + 1;
			more = more && property >> 24 == type;
		}
	}
	return 0;
}

int query_handles(struct channel *channel, const struct policy_image *image,
	const struct account *account, uint32_t property, uint32_t count,
	uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size)
{
	struct tpm_handles list = tpm_handles_new(count);
	uint32_t code = TPM_RC_SUCCESS;

	if (property >> 24 == TPM_HT_PERSISTENT || property >> 24 == TPM_HT_NV_INDEX) {
		int r = list_shown(&list, channel, image, property, &code);

		if (r < 0)
			return r;
	} else {
		list_own(&list, account, property);
	}
	*ret_size = code == TPM_RC_SUCCESS ? tpm_handles_write(&list, response)
					   : tpm_response_error(code, response);
	return 0;
}

int query_objects(struct channel *channel, struct account *account)
{
	uint8_t response[TPM_MESSAGE_MAX];
	struct cursor handles;
	uint32_t code;
	bool more;
	int r = ask_handles(channel, TPM_HT_TRANSIENT << 24, response, &handles, &code, &more);

	if (r == 0 && code == TPM_RC_SUCCESS)
		account_keep_objects(account, handles);
	return r;
}

/* TPMS_CAPABILITY_DATA with a TPML_TAGGED_TPM_PROPERTY (Part 2, section 10.8): COUNT of them. */
static int parse_properties(
	struct cursor body, uint32_t first, uint32_t *ret_values, uint32_t count)
{
	uint8_t more;
	uint32_t capability;
	uint32_t have;

	if (cursor_u8(&body, &more) < 0 || cursor_u32(&body, &capability) < 0 ||
		capability != TPM_CAP_TPM_PROPERTIES || cursor_u32(&body, &have) < 0 ||
		have != count)
		return -EBADMSG;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t property;

		if (cursor_u32(&body, &property) < 0 || property != first + i ||
			cursor_u32(&body, &ret_values[i]) < 0)
			return -EBADMSG;
	}
	return 0;
}

static int ask_properties(
	struct channel *channel, uint32_t first, uint32_t *ret_values, uint32_t count)
{
	const uint32_t words[] = {TPM_CAP_TPM_PROPERTIES, first, count};
	uint8_t response[TPM_MESSAGE_MAX];
	struct tpm_header header;
	struct cursor body;
	int r = ask(channel, TPM_CC_GET_CAPABILITY, words, 3, response, &header, &body);

	if (r < 0)
		return r;
	return header.code == TPM_RC_SUCCESS ? parse_properties(body, first, ret_values, count)
					     : -EBADMSG;
}

int query_property(struct channel *channel, uint32_t property, uint32_t *ret_value)
{
	uint32_t value;
	int r = ask_properties(channel, property, &value, 1);

	if (r == 0)
		*ret_value = value;
	return r;
}

_Static_assert(TPM_PT_MAX_AUTH_FAIL == TPM_PT_LOCKOUT_COUNTER + 1 &&
		       TPM_PT_LOCKOUT_INTERVAL == TPM_PT_LOCKOUT_COUNTER + 2,
	"read with one command");

int query_lockout(struct channel *channel, uint32_t *ret_counter, uint32_t *ret_maximum,
	uint32_t *ret_interval)
{
	uint32_t values[3];
	int r = ask_properties(channel, TPM_PT_LOCKOUT_COUNTER, values, 3);

	if (r < 0)
		return r;
	*ret_counter = values[0];
	*ret_maximum = values[1];
	*ret_interval = values[2];
	return 0;
}

int query_flush(struct channel *channel, uint32_t handle)
{
	uint8_t response[TPM_MESSAGE_MAX];
	struct tpm_header header;
	struct cursor body;

	return ask(channel, TPM_CC_FLUSH_CONTEXT, &handle, 1, response, &header, &body);
}

static int flush_kind(struct channel *channel, uint32_t kind)
{
	uint8_t response[TPM_MESSAGE_MAX];
	uint8_t answer[TPM_MESSAGE_MAX];
	bool more = true;

	for (int round = 0; more && round < ROUNDS_MAX; round++) {
		struct tpm_header header;
		struct cursor handles;
		struct cursor body;
		uint32_t handle;
		uint32_t code;
		int r = ask_handles(channel, kind << 24, response, &handles, &code, &more);

		if (r < 0 || code != TPM_RC_SUCCESS)
			return r;
		while (r == 0 && cursor_u32(&handles, &handle) == 0)
			r = ask(channel, TPM_CC_FLUSH_CONTEXT, &handle, 1, answer, &header, &body);
		if (r < 0)
			return r;
	}
	return 0;
}

int query_flush_all(struct channel *channel)
{
	int r = flush_kind(channel, TPM_HT_TRANSIENT);

	return r < 0 ? r : flush_kind(channel, TPM_HT_HMAC_SESSION);
}
