#include "rm/space.h"

#include <string.h>

void space_init(struct space *space, unsigned object_slots, unsigned session_slots, uint8_t *memory)
{
	memset(space, 0, sizeof *space);
	space->object_slots = object_slots;
	space->session_slots = session_slots;
	space->memory = memory;
}

uint8_t *space_object_context(struct space *space, const struct space_object *object)
{
	return space->memory + (size_t)(object - space->objects) * SPACE_CONTEXT_SIZE;
}

uint8_t *space_session_context(struct space *space, const struct space_session *session)
{
	size_t slot = space->object_slots + (size_t)(session - space->sessions);

	return space->memory + slot * SPACE_CONTEXT_SIZE;
}

struct space_object *space_object(struct space *space, uint32_t handle)
{
	uint32_t slot = SPACE_FIRST_HANDLE - handle; /* wraps to something large above the first */

	if (slot >= space->object_slots || space->objects[slot].handle != handle)
		return NULL;
	return &space->objects[slot];
}

struct space_session *space_session(struct space *space, uint32_t handle)
{
	for (unsigned i = 0; handle != 0 && i < space->session_slots; i++)
		if (space->sessions[i].handle == handle)
			return &space->sessions[i];
	return NULL;
}

struct space_object *space_add_object(struct space *space, uint32_t real, bool sequence)
{
	for (unsigned i = 0; i < space->object_slots; i++) {
		if (space->objects[i].handle != 0)
			continue;
		space->objects[i] = (struct space_object){
			.handle = SPACE_FIRST_HANDLE - i, .real = real, .sequence = sequence};
		return &space->objects[i];
	}
	return NULL;
}

struct space_session *space_add_session(struct space *space, uint32_t handle)
{
	for (unsigned i = 0; i < space->session_slots; i++) {
		if (space->sessions[i].handle != 0)
			continue;
		space->sessions[i] = (struct space_session){.handle = handle};
		return &space->sessions[i];
	}
	return NULL;
}

static bool is_session(uint32_t handle)
{
	return handle >> 24 == TPM_HT_HMAC_SESSION || handle >> 24 == TPM_HT_POLICY_SESSION;
}

bool space_same_session(uint32_t a, uint32_t b)
{
	return is_session(a) && is_session(b) && (a & 0xffffff) == (b & 0xffffff);
}

bool space_objects_full(const struct space *space)
{
	for (unsigned i = 0; i < space->object_slots; i++)
		if (space->objects[i].handle == 0)
			return false;
	return true;
}

bool space_sessions_full(const struct space *space)
{
	for (unsigned i = 0; i < space->session_slots; i++)
		if (space->sessions[i].handle == 0)
			return false;
	return true;
}

void space_list(const struct space *space, uint32_t property, struct tpm_handles *list)
{
	uint32_t first = property & 0xffffff;

	if (property >> 24 == TPM_HT_TRANSIENT)
		for (unsigned i = 0; i < space->object_slots; i++)
			if (space->objects[i].handle != 0 &&
				(space->objects[i].handle & 0xffffff) >= first)
				tpm_handles_add(list, space->objects[i].handle);
	/* for whoever has them they are loaded, whichever kind of session they are */
	if (property >> 24 == TPM_HT_HMAC_SESSION)
		for (unsigned i = 0; i < space->session_slots; i++)
			if (space->sessions[i].handle != 0 &&
				(space->sessions[i].handle & 0xffffff) >= first)
				tpm_handles_add(list, space->sessions[i].handle);
}
