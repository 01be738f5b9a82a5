#pragma once
/*
 * TPM sessions that their owners have saved: each belongs to whoever holds the context. One blocks
 * everybody when it gets too old (TPM_RC_CONTEXT_GAP), so that a copy is kept to renew it by.
 * Records only; nothing here does I/O.
 */
#include "common/cursor.h"
#include "rm/space.h"

#define ORPHANS_MAX 64 /* active sessions of a TPM, as a rule (TPM_PT_ACTIVE_SESSIONS_MAX) */

struct orphan {
	uint32_t handle; /* 0: the slot is free */
	uint64_t number; /* as in struct space_session */
	size_t original; /* bytes of the context that was given away */
	size_t renewed;  /* bytes of the one that holds now; 0: the original does */
};

struct orphan_list {
	struct orphan orphans[ORPHANS_MAX];
	uint8_t *memory; /* ORPHAN_MEMORY bytes, which outlive it: two contexts for each */
};

#define ORPHAN_MEMORY ((size_t)ORPHANS_MAX * 2 * SPACE_CONTEXT_SIZE)

/*
 * Keeps a copy of CONTEXT, which ContextSave gave out for the session HANDLE. Where there is no
 * room the session cannot be renewed, and is flushed when it blocks.
 */
void orphan_add(struct orphan_list *list, uint32_t handle, struct cursor context);
/* NULL where HANDLE is none of them. */
struct orphan *orphan_find(struct orphan_list *list, uint32_t handle);
/* The one that was saved longest ago, or NULL. */
struct orphan *orphan_oldest(struct orphan_list *list);

/* The context that the TPM takes now. */
struct cursor orphan_context(const struct orphan_list *list, const struct orphan *orphan);
/* Where a renewed context goes: SPACE_CONTEXT_SIZE bytes. */
uint8_t *orphan_renewed(const struct orphan_list *list, const struct orphan *orphan);

/*
 * What to load in place of CONTEXT, which somebody wants to load: the renewed one, or an empty
 * cursor where CONTEXT itself is good.
 */
struct cursor orphan_translate(const struct orphan_list *list, struct cursor context);
