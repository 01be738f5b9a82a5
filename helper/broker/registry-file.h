#pragma once
/*
 * The registry's file on disk. One thread at a time; every function that changes something returns
 * when it is on disk, or has failed.
 *
 *   registry            the records, see registry-record.h; only appended to, or replaced as a
 * whole registry.new        being written, to replace it registry.lock       locked by the broker
 * that has it open registry.corrupt-*  damaged files, as they were, for an administrator to look at
 * and remove
 */
#include "broker/registry-record.h"

struct registry_file;

/*
 * Opens or makes it in DIRECTORY and reads it into TABLE. Returns NULL and *ret_problem where it
 * cannot be used.
 */
struct registry_file *registry_file_open(
	const char *directory, struct registry_table *table, char **ret_problem);
void registry_file_close(struct registry_file *file);

/* Looks anew at what registry_file_problem() is about. */
void registry_file_look(struct registry_file *file);
/* What an administrator should know of what was found, in one line; or NULL. */
const char *registry_file_problem(const struct registry_file *file);
const char *registry_file_path(const struct registry_file *file);

/* Whether nothing can be appended before the file is written anew. */
bool registry_file_needs_rewrite(const struct registry_file *file);
/* How many records the file has, the header included. */
uint64_t registry_file_records(const struct registry_file *file);

/* Appends RECORD. Returns 0, or a negative errno and the file counts as it was. */
int registry_file_append(struct registry_file *file, struct registry_record record);

/*
 * Replaces the file by one with COUNT RECORDS; what was damaged is set aside. Returns 0, or a
 * negative errno: the one or the other is there then, and it is to be written anew.
 */
int registry_file_rewrite(
	struct registry_file *file, struct registry_record *records, size_t count);
