#pragma once
/*
 * The registry in memory: who has what. One entry for each handle of a TPM, whoever has it, and one
 * for each sealed datum of each uid.
 */
#include "broker/registry.h"

struct registry_table;

struct registry_table *registry_table_new(void);
void registry_table_free(struct registry_table *table);

/* Whether ENTRY can be of a registry at all: a device, a kind, a handle or none, a size. */
bool registry_entry_is_sound(const struct registry_entry *entry);

/* What is recorded of ENTRY's handle, whoever has it; for sealed data of ENTRY's uid. Or NULL. */
const struct registry_entry *registry_table_find(
	const struct registry_table *table, const struct registry_entry *entry);
/* Puts ENTRY in the place of what is recorded of its handle. */
void registry_table_set(struct registry_table *table, const struct registry_entry *entry);
void registry_table_remove(struct registry_table *table, const struct registry_entry *entry);
/* Removes, and buries, what UID has. */
void registry_table_forget(struct registry_table *table, uint32_t uid);

/*
 * Whether ENTRY's handle is recorded and commands that were judged before the last change may still
 * be on their way to the TPM: for 340 s.
 */
bool registry_table_is_young(
	const struct registry_table *table, const struct registry_entry *entry);
/* Whether nothing is known in memory only: no handle is buried, nothing DOUBTFUL is young. */
bool registry_table_is_settled(const struct registry_table *table);

/*
 * The table has been read: makes every entry that is not settled DOUBTFUL; `was` says what it was.
 * What is OWN is as old as its record says.
 */
void registry_table_unsettle(struct registry_table *table);
/* Makes every NV index and persistent object DOUBTFUL: records about any of them may be missing. */
void registry_table_doubt(struct registry_table *table);

/* How many entries of KIND UID has, in any state. */
uint32_t registry_table_count(
	const struct registry_table *table, uint32_t uid, enum account_kind kind);
/* Bytes of the NV indices of UID on DEVICE, or of everybody for UINT32_MAX. */
uint64_t registry_table_nv_size(
	const struct registry_table *table, const char *device, uint32_t uid);

/* Keeps ENTRY's handle from other uids for ten minutes. In memory only. */
void registry_table_bury(struct registry_table *table, const struct registry_entry *entry);
/* Whether another uid than ENTRY's had its handle until lately. */
bool registry_table_is_buried(
	const struct registry_table *table, const struct registry_entry *entry);
size_t registry_table_size(const struct registry_table *table);

/* Calls EACH for the entries of UID, or of everybody for UINT32_MAX. */
void registry_table_each(const struct registry_table *table, uint32_t uid,
	void (*each)(const struct registry_entry *entry, void *context), void *context);
