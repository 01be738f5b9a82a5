#include "rm/orphan.h"

#include <string.h>

static uint8_t *orphan_original(const struct orphan_list *list, const struct orphan *orphan)
{
	return list->memory + (size_t)(orphan - list->orphans) * 2 * SPACE_CONTEXT_SIZE;
}

uint8_t *orphan_renewed(const struct orphan_list *list, const struct orphan *orphan)
{
	return orphan_original(list, orphan) + SPACE_CONTEXT_SIZE;
}

struct orphan *orphan_find(struct orphan_list *list, uint32_t handle)
{
	for (unsigned i = 0; i < ORPHANS_MAX; i++)
		if (space_same_session(list->orphans[i].handle, handle))
			return &list->orphans[i];
	return NULL;
}

static struct orphan *orphan_free_slot(struct orphan_list *list)
{
	for (unsigned i = 0; i < ORPHANS_MAX; i++)
		if (list->orphans[i].handle == 0)
			return &list->orphans[i];
	return NULL;
}

void orphan_add(struct orphan_list *list, uint32_t handle, struct cursor context)
{
	struct orphan *orphan = orphan_free_slot(list);
	struct cursor cursor = context;
	uint64_t number;

	if (!orphan || context.left > SPACE_CONTEXT_SIZE || cursor_u64(&cursor, &number) < 0)
		return;
	*orphan = (struct orphan){.handle = handle, .number = number, .original = context.left};
	memcpy(orphan_original(list, orphan), context.next, context.left);
}

struct orphan *orphan_oldest(struct orphan_list *list)
{
	struct orphan *oldest = NULL;

	for (unsigned i = 0; i < ORPHANS_MAX; i++)
		if (list->orphans[i].handle != 0 &&
			(!oldest || list->orphans[i].number < oldest->number))
			oldest = &list->orphans[i];
	return oldest;
}

struct cursor orphan_context(const struct orphan_list *list, const struct orphan *orphan)
{
	if (orphan->renewed > 0)
		return cursor_new(orphan_renewed(list, orphan), orphan->renewed);
	return cursor_new(orphan_original(list, orphan), orphan->original);
}

struct cursor orphan_translate(const struct orphan_list *list, struct cursor context)
{
	for (unsigned i = 0; i < ORPHANS_MAX; i++) {
		const struct orphan *orphan = &list->orphans[i];

		if (orphan->handle != 0 && orphan->renewed > 0 &&
			orphan->original == context.left &&
			memcmp(orphan_original(list, orphan), context.next, context.left) == 0)
			return orphan_context(list, orphan);
	}
	return cursor_new(NULL, 0);
}
