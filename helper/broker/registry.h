#pragma once
/*
 * The registry: which uid made which NV index, persistent object and sealed data, on which TPM. A
 * file that only the broker opens, in the state directory.
 *
 *   CLAIMED    on disk before the TPM is asked; counts for quotas, grants nothing
 *   OWN        the TPM has made it
 *   DROPPED    on disk before the TPM is asked to remove it; grants nothing any more
 *   DOUBTFUL   broker or relay were lost between claim or drop and what became of it. Grants
 *              nothing, because what is there now may be somebody else's; `tpmgate status` reports
 *              it and an administrator decides with adopt
 *
 * Whatever changes the file is done when it is on disk: written off the main loop, in order.
 */
#include "common/account-protocol.h"
#include "common/protocol.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct config;
struct registry;

enum registry_state {
	REGISTRY_NONE = 0,
	REGISTRY_CLAIMED,
	REGISTRY_OWN,
	REGISTRY_DROPPED,
	REGISTRY_DOUBTFUL,
};

struct registry_entry {
	char device[sizeof((struct protocol_device *)0)->name];
	uint32_t uid;
	uint32_t kind;    /* enum account_kind */
	uint32_t handle;  /* 0 for sealed data */
	uint32_t nv_size; /* bytes of the NV index's data, otherwise 0 */
	uint32_t state;   /* enum registry_state */
	/* of DOUBTFUL: CLAIMED or DROPPED, while its session may still say what became of it; of
	 * CLAIMED, or DOUBTFUL that was: OWN where it replaced another record; otherwise NONE */
	uint32_t was;
	int64_t changed;                /* seconds since 1970 */
	uint32_t size;                  /* bytes of `data` */
	uint8_t data[ACCOUNT_DATA_MAX]; /* as in enum account_kind */
};

/*
 * `answer` is what the relay is told: YES, LIMIT, TAKEN, NO (there is no such entry), UNAVAILABLE.
 * Always called from the main loop (of registry_open()'s thread), never from within the function
 * that was given it, and in the order of what was asked. It may ask for more, but not close.
 * NULL: nobody waits.
 */
typedef void (*registry_done)(void *context, enum account_answer answer);

/*
 * Opens or makes the registry in DIRECTORY, which must be the broker's own and nobody else's to
 * write, and no symbolic link. Returns NULL and *ret_problem where it cannot be used; corrupt
 * records are no reason: the file as it was is set aside, and registry_problem() tells.
 */
struct registry *registry_open(const char *directory, char **ret_problem);
/* Waits until everything is on disk. No callback is called any more. */
void registry_close(struct registry *registry);
/* What was set aside or cannot be written, in one line with what to do; NULL: nothing. */
const char *registry_problem(const struct registry *registry);

/* Whether ENTRY (device, uid, kind, handle, data) is recorded as OWN. */
bool registry_owns(const struct registry *registry, const struct registry_entry *entry);
/* Whether any uid has HANDLE of KIND on DEVICE, in any state. */
const struct registry_entry *registry_find(const struct registry *registry, const char *device,
	enum account_kind kind, uint32_t handle);

/*
 * Whether the registry may be closed: no handle is kept from others or from its own uid for a time
 * that is in memory only.
 */
bool registry_is_settled(const struct registry *registry);

/*
 * Records that the TPM is about to make ENTRY, within the limits of CONFIG. What the same uid has
 * of the same handle, OWN or DOUBTFUL, is replaced: the relay has seen that nothing is there. Where
 * the TPM finds otherwise (CONFIRM of a failure), it is DOUBTFUL. But for 340 s after the last
 * change it is TAKEN: a command about it may still be on its way, and make what was recorded.
 * A handle that one uid has no longer is TAKEN for others for ten minutes, for the same reason.
 * Sealed data is OWN at once; if it is already, that is YES.
 */
void registry_claim(struct registry *registry, const struct config *config,
	const struct registry_entry *entry, registry_done done, void *context);
/* Records that ENTRY's handle, of its uid, is about to be removed. */
void registry_drop(struct registry *registry, const struct registry_entry *entry,
	registry_done done, void *context);
/*
 * Records what became of either: a CLAIMED entry is OWN or gone, a DROPPED one gone or OWN. That
 * also holds for an entry which is DOUBTFUL because a broker before this one did not hear it, as
 * long as `was` says so.
 */
void registry_confirm(struct registry *registry, const struct registry_entry *entry, bool success,
	registry_done done, void *context);
/* Nobody will say what became of ENTRY's handle, which its uid was told to go on with (YES). */
void registry_doubt(struct registry *registry, const struct registry_entry *entry);

/*
 * The TPM has nothing of ENTRY's handle: what its uid had there is gone. For 340 s after the last
 * change nothing comes of it: a command that makes it may still be on its way.
 */
void registry_absent(struct registry *registry, const struct registry_entry *entry);

/* An administrator's word: ENTRY is its uid's from here on, whosever it was. */
void registry_adopt(struct registry *registry, const struct registry_entry *entry,
	registry_done done, void *context);
/* Removes every entry of UID. NO: there was none. */
void registry_forget(struct registry *registry, uint32_t uid, registry_done done, void *context);

/*
 * CONTEXT does not wait any more; what it asked for is done all the same. But for claims of handles
 * and drops: since nobody was told to go on, all is as if they had not been asked for, and there is
 * nothing to doubt.
 */
void registry_forget_waiter(struct registry *registry, const void *context);

/* Calls EACH for the entries of UID, or of everybody for UINT32_MAX. */
void registry_each(const struct registry *registry, uint32_t uid,
	void (*each)(const struct registry_entry *entry, void *context), void *context);
