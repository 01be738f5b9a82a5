#include "rm/swap.h"

#include <errno.h>
#include <string.h>

#define FLUSH_ROUNDS 64  /* a TPM that always has more to tell is not believed for ever */
#define SWAP_ROUNDS  128 /* each makes room by one; there is no more to be had */

/* Flushes HANDLE. What is not there cannot be flushed, and that is as good. */
static int flush(struct swap *swap, uint32_t handle)
{
	uint32_t code;

	return request_flush(&swap->request, handle, &code);
}

/* Saves HANDLE into CONTEXT. *ret_size is 0 where the TPM answers with another *ret_code. */
static int save(struct swap *swap, uint32_t handle, uint8_t *context, size_t *ret_size,
	uint64_t *ret_number, uint32_t *ret_code)
{
	struct cursor saved = cursor_new(NULL, 0);
	int r = request_save(&swap->request, handle, &saved, ret_number, ret_code);

	*ret_size = 0;
	if (r < 0 || *ret_code != TPM_RC_SUCCESS)
		return r;
	memcpy(context, saved.next, saved.left);
	*ret_size = saved.left;
	return 0;
}

/* ---- records ---- */

/* The session that TPMs know by HANDLE, in SPACE; NULL where there is none. */
static struct space_session *find_session(struct space *space, uint32_t handle)
{
	for (unsigned i = 0; space->taken && i < space->session_slots; i++)
		if (space_same_session(space->sessions[i].handle, handle))
			return &space->sessions[i];
	return NULL;
}

bool swap_holds_session(const struct swap *swap, uint32_t handle)
{
	for (unsigned i = 0; i < swap->space_count; i++)
		if (find_session(&swap->spaces[i], handle))
			return true;
	return false;
}

void swap_forget(struct swap *swap, uint32_t real)
{
	struct orphan *orphan = orphan_find(&swap->orphans, real);

	if (orphan)
		*orphan = (struct orphan){0};
	for (unsigned i = 0; i < swap->space_count; i++) {
		struct space *space = &swap->spaces[i];
		struct space_session *session = find_session(space, real);

		if (session)
			*session = (struct space_session){0};
		for (unsigned j = 0; space->taken && real != 0 && j < space->object_slots; j++)
			if (space->objects[j].real == real)
				space->objects[j].real = 0;
	}
}

void swap_forget_all(struct swap *swap)
{
	memset(swap->orphans.orphans, 0, sizeof swap->orphans.orphans);
	for (unsigned i = 0; i < swap->space_count; i++) {
		struct space *space = &swap->spaces[i];

		if (!space->taken)
			continue;
		memset(space->sessions, 0, sizeof space->sessions);
		for (unsigned j = 0; j < space->object_slots; j++) {
			space->objects[j].real = 0;
			space->objects[j].saved = 0;
		}
	}
}

/* ---- out of the TPM ---- */

/* What was used longest ago, of the loaded objects that the current command does not need. */
static struct space_object *oldest_object(struct swap *swap, struct space **ret_space)
{
	struct space_object *oldest = NULL;

	for (unsigned i = 0; i < swap->space_count; i++) {
		struct space *space = &swap->spaces[i];

		for (unsigned j = 0; space->taken && j < space->object_slots; j++) {
			struct space_object *object = &space->objects[j];

			if (object->real == 0 || object->used == swap->clock ||
				(oldest && object->used >= oldest->used))
				continue;
			oldest = object;
			*ret_space = space;
		}
	}
	return oldest;
}

/* Returns 1 where there is more room now, 0 where there is not. */
static int evict_object(struct swap *swap)
{
	struct space *space = NULL;
	struct space_object *object = oldest_object(swap, &space);
	uint64_t number;
	uint32_t real;
	uint32_t code;
	int r = 0;

	if (!object)
		return 0;
	real = object->real;
	if (object->saved == 0)
		r = save(swap, real, space_object_context(space, object), &object->saved, &number,
			&code);
	if (r < 0)
		return r;
	if (object->saved == 0 && code != TPM_RC_REFERENCE_H0)
		return 0;
	object->real = 0;
	r = object->saved > 0 ? flush(swap, real) : 0;
	return r < 0 ? r : 1;
}

static struct space_session *oldest_session(struct swap *swap, bool saved, struct space **ret_space)
{
	struct space_session *oldest = NULL;

	for (unsigned i = 0; i < swap->space_count; i++) {
		struct space *space = &swap->spaces[i];

		for (unsigned j = 0; space->taken && j < space->session_slots; j++) {
			struct space_session *session = &space->sessions[j];

			if (session->handle == 0 || (session->saved > 0) != saved)
				continue;
			if (!saved && session->used == swap->clock)
				continue;
			if (oldest && (saved ? session->number >= oldest->number
					     : session->used >= oldest->used))
				continue;
			oldest = session;
			*ret_space = space;
		}
	}
	return oldest;
}

/* Flushes the handles of KIND; where UNKNOWN, those only of which there is no record. */
static int flush_kind(struct swap *swap, uint32_t kind, bool unknown)
{
	bool more = true;

	for (int round = 0; more && round < FLUSH_ROUNDS; round++) {
		uint8_t bytes[TPM_CAP_MAX_HANDLES * sizeof(uint32_t)];
		struct cursor handles;
		uint32_t handle;
		int r = request_handles(&swap->request, kind << 24, &handles, &more);

		if (r < 0)
			return r;
		memcpy(bytes, handles.left > 0 ? handles.next : bytes, handles.left);
		handles.next = bytes;
		while (r == 0 && cursor_u32(&handles, &handle) == 0)
			if (!unknown || (!swap_holds_session(swap, handle) &&
						!orphan_find(&swap->orphans, handle)))
				r = flush(swap, handle);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A saved session, whoever holds it. */
struct saved {
	struct space_session *session; /* of a space, or NULL */
	struct orphan *orphan;         /* or of somebody outside */
	uint32_t handle;
	struct cursor context; /* that holds now */
	uint8_t *renewed;      /* where a newer one goes, ... */
	size_t *size;          /* its size ... */
	uint64_t *number;      /* and its number */
};

static bool oldest_saved(struct swap *swap, struct saved *ret_saved)
{
	struct space *space = NULL;
	struct space_session *session = oldest_session(swap, true, &space);
	struct orphan *orphan = orphan_oldest(&swap->orphans);

	if (session && (!orphan || session->number < orphan->number)) {
		uint8_t *context = space_session_context(space, session);

		*ret_saved = (struct saved){.session = session,
			.handle = session->handle,
			.context = cursor_new(context, session->saved),
			.renewed = context,
			.size = &session->saved,
			.number = &session->number};
		return true;
	}
	if (!orphan)
		return false;
	*ret_saved = (struct saved){.orphan = orphan,
		.handle = orphan->handle,
		.context = orphan_context(&swap->orphans, orphan),
		.renewed = orphan_renewed(&swap->orphans, orphan),
		.size = &orphan->renewed,
		.number = &orphan->number};
	return true;
}

static void forget_saved(const struct saved *saved)
{
	if (saved->session)
		*saved->session = (struct space_session){0};
	if (saved->orphan)
		*saved->orphan = (struct orphan){0};
}

/* Whether CODE, about a context that was good once, says that the TPM will never take it again. */
static bool is_lost(uint32_t code)
{
	return code & 0x80 || (code >= TPM_RC_REFERENCE_H0 && code < TPM_RC_REFERENCE_S0);
}

/* One that somebody saved in the time of an earlier manager cannot be loaded here. */
static int flush_unknown(struct swap *swap)
{
	return flush_kind(swap, TPM_HT_POLICY_SESSION, true);
}

/*
 * Loads and saves the oldest that is known, so that it becomes the youngest: the TPM keeps a slot
 * free for that. *ret_code stays TPM_RC_CONTEXT_GAP where another, unknown one is in the way.
 */
static int renew_oldest(struct swap *swap, uint32_t *ret_code)
{
	struct saved saved;
	uint32_t handle = 0;
	int r;

	*ret_code = TPM_RC_CONTEXT_GAP;
	if (!oldest_saved(swap, &saved))
		return 0;
	r = request_load(&swap->request, saved.context, &handle, ret_code);
	if (r < 0)
		return r;
	if (*ret_code != TPM_RC_SUCCESS) {
		if (is_lost(*ret_code))
			forget_saved(&saved); /* flushed past the manager */
		return 0;
	}
	if (handle != saved.handle)
		return -EBADMSG;
	r = save(swap, handle, saved.renewed, saved.size, saved.number, ret_code);
	if (r == 0 && *ret_code == TPM_RC_CONTEXT_GAP) {
		r = flush_unknown(swap);
		if (r == 0)
			r = save(swap, handle, saved.renewed, saved.size, saved.number, ret_code);
	}
	if (r == 0 && *ret_code != TPM_RC_SUCCESS && saved.orphan) {
		/* loaded, and not to be saved: its holder has lost it */
		forget_saved(&saved);
		r = flush(swap, handle);
	}
	return r;
}

/*
 * The session that was saved longest ago keeps all others from being saved (TPM_RC_CONTEXT_GAP).
 * One that somebody saved in the time of an earlier manager cannot be loaded here: it is flushed.
 * Returns 1 where that may have helped, 0 where it has not.
 */
static int close_gap(struct swap *swap)
{
	uint32_t code;
	int r = renew_oldest(swap, &code);

	if (r == 0 && code == TPM_RC_CONTEXT_GAP)
		r = flush_unknown(swap);
	else if (r == 0 && code != TPM_RC_SUCCESS && !is_lost(code))
		return 0;
	return r < 0 ? r : 1;
}

static int evict_session(struct swap *swap)
{
	struct space *space = NULL;
	struct space_session *session = oldest_session(swap, false, &space);
	uint32_t code = TPM_RC_CONTEXT_GAP;
	int r = 0;

	if (!session)
		return 0;
	for (int i = 0; code == TPM_RC_CONTEXT_GAP && i < ORPHANS_MAX; i++) {
		if (i > 0 && (r = close_gap(swap)) == 0)
			return 0;
		if (r >= 0)
			r = save(swap, session->handle, space_session_context(space, session),
				&session->saved, &session->number, &code);
		if (r < 0)
			return r;
	}
	if (code == TPM_RC_REFERENCE_H0)
		*session = (struct space_session){0};
	return code == TPM_RC_SUCCESS || code == TPM_RC_REFERENCE_H0;
}

/* Returns 1 where the command that got CODE may succeed now, 0 where it will not. */
static int make_room(struct swap *swap, uint32_t code)
{
	int r;

	switch (code) {
	case TPM_RC_OBJECT_MEMORY:
	case TPM_RC_OBJECT_HANDLES:
		return evict_object(swap);
	case TPM_RC_SESSION_MEMORY:
		return evict_session(swap);
	case TPM_RC_MEMORY:
		r = evict_object(swap);
		return r == 0 ? evict_session(swap) : r;
	case TPM_RC_CONTEXT_GAP:
		return close_gap(swap);
	default:
		return 0;
	}
}

int swap_execute(struct swap *swap, const uint8_t *command, size_t size,
	uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size)
{
	for (unsigned i = 0; i < SWAP_ROUNDS; i++) {
		struct tpm_header header;
		int r = backend_execute(swap->request.backend, command, size, response, ret_size);

		if (r == 0)
			r = tpm_header_parse(response, *ret_size, &header);
		if (r == 0)
			r = make_room(swap, header.code);
		if (r <= 0)
			return r;
	}
	return 0;
}

/* ---- into the TPM ---- */

static int load_object(
	struct swap *swap, struct space *space, struct space_object *object, uint32_t *ret_code)
{
	struct cursor context = cursor_new(space_object_context(space, object), object->saved);
	uint32_t real = 0;
	int r = object->saved > 0;

	*ret_code = TPM_RC_HANDLE; /* of one that has no context */
	for (unsigned i = 0; r > 0 && i < SWAP_ROUNDS; i++) {
		r = request_load(&swap->request, context, &real, ret_code);
		if (r == 0)
			r = make_room(swap, *ret_code);
	}
	if (r < 0 || *ret_code != TPM_RC_SUCCESS)
		return r < 0 ? r : 0;
	if (real >> 24 != TPM_HT_TRANSIENT)
		return -EBADMSG;
	swap_forget(swap, real);
	object->real = real;
	return 0;
}

/* Making room may renew the session itself, lose it, or leave it loaded. */
static int load_session(
	struct swap *swap, struct space *space, struct space_session *session, uint32_t *ret_code)
{
	uint32_t wanted = session->handle;
	uint32_t handle = 0;
	int r = 1;

	for (unsigned i = 0; r > 0 && session->saved > 0 && i < SWAP_ROUNDS; i++) {
		r = request_load(&swap->request,
			cursor_new(space_session_context(space, session), session->saved), &handle,
			ret_code);
		if (r == 0 && *ret_code == TPM_RC_SUCCESS)
			session->saved = 0;
		else if (r == 0)
			r = make_room(swap, *ret_code);
	}
	if (r < 0)
		return r;
	if (session->handle != wanted)
		*ret_code = TPM_RC_HANDLE;
	else if (session->saved == 0 && *ret_code != TPM_RC_SUCCESS)
		*ret_code = TPM_RC_SUCCESS;
	else if (*ret_code == TPM_RC_SUCCESS && handle != wanted)
		return -EBADMSG;
	return 0;
}

/* What the current command needs must not make room for itself. */
static void stamp(struct swap *swap, struct space *space, uint32_t handle)
{
	struct space_object *object = space_object(space, handle);
	struct space_session *session = space_session(space, handle);

	if (object)
		object->used = swap->clock;
	if (session)
		session->used = swap->clock;
}

/* Loads HANDLE, where it is one of SPACE that is not loaded; else there is nothing to do. */
static int load_handle(
	struct swap *swap, struct space *space, uint32_t handle, uint32_t lost, uint32_t *ret_code)
{
	struct space_object *object = space_object(space, handle);
	struct space_session *session = space_session(space, handle);
	int r = 0;

	*ret_code = TPM_RC_SUCCESS;
	if (object && object->real == 0)
		r = load_object(swap, space, object, ret_code);
	else if (session && session->saved > 0)
		r = load_session(swap, space, session, ret_code);
	if (r == 0 && is_lost(*ret_code)) {
		*ret_code = TPM_RC_LAYER | lost;
		if (object)
			*object = (struct space_object){0};
		if (session)
			*session = (struct space_session){0};
	}
	if (r == 0 && *ret_code == TPM_RC_SUCCESS && object && object->sequence)
		object->saved = 0; /* the command will change it */
	return r;
}

int swap_in(struct swap *swap, struct space *space, const struct tpm_command *command,
	uint32_t *ret_code)
{
	uint32_t code = TPM_RC_SUCCESS;
	int r = 0;

	swap->clock++;
	for (unsigned i = 0; i < command->handle_count; i++)
		stamp(swap, space, command->handles[i]);
	for (unsigned i = 0; i < command->authorization_count; i++)
		stamp(swap, space, command->authorizations[i].handle);
	for (unsigned i = 0; r == 0 && code == TPM_RC_SUCCESS && i < command->handle_count; i++)
		r = load_handle(swap, space, command->handles[i], TPM_RC_REFERENCE_H0 + i, &code);
	for (unsigned i = 0; r == 0 && code == TPM_RC_SUCCESS && i < command->authorization_count;
		i++)
		r = load_handle(swap, space, command->authorizations[i].handle,
			TPM_RC_REFERENCE_S0 + i, &code);
	/* a TPM that gives out a handle twice has taken one object for the other */
	for (unsigned i = 0; r == 0 && code == TPM_RC_SUCCESS && i < command->handle_count; i++) {
		const struct space_object *object = space_object(space, command->handles[i]);

		if (object && object->real == 0)
			r = -EBADMSG;
	}
	*ret_code = code;
	return r;
}

/* ---- at the ends ---- */

int swap_flush_space(struct swap *swap, struct space *space)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < space->object_slots; i++)
		if (space->objects[i].real != 0)
			r = flush(swap, space->objects[i].real);
	for (unsigned i = 0; r == 0 && i < space->session_slots; i++)
		if (space->sessions[i].handle != 0)
			r = flush(swap, space->sessions[i].handle);
	space->taken = false;
	return r;
}

int swap_check_objects(struct swap *swap)
{
	struct cursor handles;
	bool more;
	int r = request_handles(&swap->request, TPM_HT_TRANSIENT << 24, &handles, &more);

	for (unsigned i = 0; r == 0 && i < swap->space_count; i++) {
		struct space *space = &swap->spaces[i];

		for (unsigned j = 0; space->taken && j < space->object_slots; j++) {
			struct cursor rest = handles;
			uint32_t handle = 0;
			bool there = space->objects[j].real == 0;

			while (!there && cursor_u32(&rest, &handle) == 0)
				there = handle == space->objects[j].real;
			if (!there)
				space->objects[j].real = 0;
		}
	}
	return r;
}

int swap_flush_all(struct swap *swap, bool saved)
{
	int r = flush_kind(swap, TPM_HT_TRANSIENT, false);

	if (r == 0)
		r = flush_kind(swap, TPM_HT_HMAC_SESSION, false);
	if (r == 0 && saved)
		r = flush_kind(swap, TPM_HT_POLICY_SESSION, false);
	return r;
}

int swap_flush_renewed(struct swap *swap)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < ORPHANS_MAX; i++) {
		const struct orphan *orphan = &swap->orphans.orphans[i];

		if (orphan->handle != 0 && orphan->renewed > 0)
			r = flush(swap, orphan->handle);
	}
	return r;
}
