#include "broker/fdstore.h"

#include "common/policy.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define FDSTORE_PREFIX "tpmgate-"

/* PREFIX, kind, four numbers in hexadecimal, two texts, six commas */
_Static_assert(sizeof FDSTORE_PREFIX + 1 + 16 + 16 + 8 + 8 + 63 + 127 + 6 <= FDSTORE_NAME_SIZE,
	"the longest name fits");

static bool fdstore_text_is_usable(const char *text, size_t size)
{
	size_t length = strnlen(text, size);

	if (length == 0 || length == size)
		return false;
	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] > '~' || text[i] == ':' || text[i] == ',')
			return false;
	return true;
}

int fdstore_encode(enum fdstore_kind kind, const struct protocol_session *session,
	char ret_name[FDSTORE_NAME_SIZE])
{
	if (!fdstore_text_is_usable(session->profiles, sizeof session->profiles) ||
		!fdstore_text_is_usable(session->device, sizeof session->device))
		return -EINVAL;
	snprintf(ret_name, FDSTORE_NAME_SIZE,
		FDSTORE_PREFIX "%c,%" PRIx64 ",%" PRIx64 ",%" PRIx32 ",%" PRIx32 ",%s,%s",
		kind == FDSTORE_ACCOUNT ? 'a' : 'p', session->session, (uint64_t)session->started,
		session->uid, (uint32_t)session->pid, session->device, session->profiles);
	return 0;
}

enum fdstore_kind fdstore_decode(const char *name, struct protocol_session *ret_session)
{
	g_auto(GStrv) parts = g_strsplit(name, ",", 8);
	struct protocol_session session;
	enum fdstore_kind kind;
	char again[FDSTORE_NAME_SIZE];
	guint64 numbers[4];

	if (g_strv_length(parts) != 7)
		return FDSTORE_NONE;
	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
		if (!g_ascii_string_to_unsigned(
			    parts[1 + i], 16, 0, G_MAXUINT64, &numbers[i], NULL))
			return FDSTORE_NONE;
	memset(&session, 0, sizeof session);
	session.session = numbers[0];
	session.started = (int64_t)numbers[1];
	session.uid = (uint32_t)numbers[2];
	session.pid = (int32_t)(uint32_t)numbers[3];
	g_strlcpy(session.device, parts[5], sizeof session.device);
	g_strlcpy(session.profiles, parts[6], sizeof session.profiles);
	kind = strcmp(parts[0], FDSTORE_PREFIX "a") == 0 ? FDSTORE_ACCOUNT : FDSTORE_PIDFD;
	/* what was cut, padded or made up does not come out the same */
	if (session.session == 0 || fdstore_encode(kind, &session, again) < 0 ||
		strcmp(name, again) != 0)
		return FDSTORE_NONE;
	*ret_session = session;
	return kind;
}

void fdstore_encode_rm(
	enum fdstore_kind kind, const struct rm_lease *lease, char ret_name[FDSTORE_NAME_SIZE])
{
	snprintf(ret_name, FDSTORE_NAME_SIZE, FDSTORE_PREFIX "%c,%x,%x",
		kind == FDSTORE_RM_CONTROL ? 'm' : 'q', lease->object_slots, lease->session_slots);
}

enum fdstore_kind fdstore_decode_rm(const char *name, struct rm_lease *ret_lease)
{
	static const enum fdstore_kind kinds[] = {FDSTORE_RM_CONTROL, FDSTORE_RM_PIDFD};
	g_auto(GStrv) parts = g_strsplit(name, ",", 4);
	guint64 slots[2];

	if (g_strv_length(parts) != 3)
		return FDSTORE_NONE;
	for (size_t i = 0; i < G_N_ELEMENTS(slots); i++)
		if (!g_ascii_string_to_unsigned(
			    parts[1 + i], 16, 1, POLICY_SLOTS_MAX, &slots[i], NULL))
			return FDSTORE_NONE;
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		struct rm_lease lease = {
			.object_slots = (unsigned)slots[0], .session_slots = (unsigned)slots[1]};
		char again[FDSTORE_NAME_SIZE];

		fdstore_encode_rm(kinds[i], &lease, again);
		if (strcmp(name, again) == 0) {
			*ret_lease = lease;
			return kinds[i];
		}
	}
	return FDSTORE_NONE;
}
