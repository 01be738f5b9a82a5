#pragma once
/*
 * The registry's file as bytes: records of one size, in machine byte order, each about one entry.
 *
 *   HEADER  the first, and no other: which inode the file was made as
 *   SET     the entry as it is from here on, whatever was recorded of its handle
 *   REMOVE  nothing is recorded of the handle any more
 *
 * A record carries the file's random number, its own number in the file, and a SHA-256 of all that.
 *
 * Whatever is not the next record of this file is damage, and takes all that was said of handles
 * before it with it: what is missing could have been about any of them. Those are DOUBTFUL until a
 * later record speaks of them again. Sealed data is named by a digest of what it is, and there is
 * no record that takes it from anybody (a uid is forgotten by writing the file anew), so that
 * damage does not make it doubtful.
 *
 * A torn end is no damage: a record that was not written to its end, or was not written though
 * the file had grown already (zeros), as a crash or power cut leaves it. Nobody was told that it is
 * on disk.
 */
#include "broker/registry-table.h"

#include <stddef.h>
#include <stdint.h>

#define REGISTRY_RECORD_SIZE 256

enum registry_operation {
	REGISTRY_HEADER = 1,
	REGISTRY_SET = 2,
	REGISTRY_REMOVE = 3,
};

struct registry_record {
	uint32_t magic;
	uint16_t version;
	uint16_t operation; /* enum registry_operation */
	uint64_t file;
	uint64_t number; /* 0 for the header */
	uint64_t inode;  /* of the header, otherwise 0 */
	int64_t changed;
	uint32_t uid;
	uint32_t kind;
	uint32_t handle;
	uint32_t nv_size;
	uint32_t state;
	uint32_t was;
	uint32_t size;
	uint32_t reserved[3]; /* 0 */
	uint8_t data[ACCOUNT_DATA_MAX];
	char device[sizeof((struct registry_entry *)0)->device];
	uint8_t digest[32]; /* of all before it */
};

_Static_assert(sizeof(struct registry_record) == REGISTRY_RECORD_SIZE, "file format");

/* A record about ENTRY, without `file`, `number` and `digest`. */
struct registry_record registry_record_new(
	enum registry_operation operation, const struct registry_entry *entry);
struct registry_record registry_record_header(uint64_t inode);
/* Fills in what makes it the record NUMBER of FILE. */
void registry_record_seal(struct registry_record *record, uint64_t file, uint64_t number);

/* All of TABLE, as SET records. */
GArray *registry_record_all(const struct registry_table *table);

struct registry_reading {
	bool damaged;
	uint64_t file;  /* its number; 0 where there is no header */
	uint64_t inode; /* of the header */
	uint64_t next;  /* number of the next record */
	size_t end;     /* bytes up to a torn end: where that record goes */
};

/* Reads a file's bytes into TABLE, which is empty. */
struct registry_reading registry_read(
	const uint8_t *bytes, size_t size, struct registry_table *table);
