#include "broker/registry-record.h"

#include <stddef.h>
#include <string.h>

#define RECORD_MAGIC   0x52504d54u
#define RECORD_VERSION 1

struct registry_record registry_record_new(
	enum registry_operation operation, const struct registry_entry *entry)
{
	struct registry_record record = {
		.magic = RECORD_MAGIC,
		.version = RECORD_VERSION,
		.operation = (uint16_t)operation,
		.changed = entry->changed,
		.uid = entry->uid,
		.kind = entry->kind,
		.handle = entry->handle,
		.nv_size = entry->nv_size,
		.state = entry->state,
		.was = entry->was,
		.size = entry->size,
	};

	memcpy(record.data, entry->data, entry->size);
	memcpy(record.device, entry->device, strlen(entry->device));
	return record;
}

struct registry_record registry_record_header(uint64_t inode)
{
	return (struct registry_record){
		.magic = RECORD_MAGIC,
		.version = RECORD_VERSION,
		.operation = REGISTRY_HEADER,
		.inode = inode,
	};
}

static void add_record(const struct registry_entry *entry, void *context)
{
	struct registry_record record = registry_record_new(REGISTRY_SET, entry);

	g_array_append_val((GArray *)context, record);
}

GArray *registry_record_all(const struct registry_table *table)
{
	GArray *records = g_array_new(FALSE, FALSE, sizeof(struct registry_record));

	registry_table_each(table, UINT32_MAX, add_record, records);
	return records;
}

static void record_digest(const struct registry_record *record, uint8_t ret_digest[32])
{
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
	gsize size = 32;

	g_checksum_update(sum, (const guchar *)record, offsetof(struct registry_record, digest));
	g_checksum_get_digest(sum, ret_digest, &size);
}

void registry_record_seal(struct registry_record *record, uint64_t file, uint64_t number)
{
	record->file = file;
	record->number = number;
	record_digest(record, record->digest);
}

static bool record_is_whole(const struct registry_record *record)
{
	uint8_t digest[32];

	if (record->magic != RECORD_MAGIC || record->version != RECORD_VERSION)
		return false;
	record_digest(record, digest);
	return memcmp(digest, record->digest, sizeof digest) == 0;
}

/* Returns false for what no registry writes. */
static bool record_entry(const struct registry_record *record, struct registry_entry *ret_entry)
{
	struct registry_entry entry = {
		.changed = record->changed,
		.uid = record->uid,
		.kind = record->kind,
		.handle = record->handle,
		.nv_size = record->nv_size,
		.state = record->state,
		.was = record->was,
		.size = record->size,
	};

	memcpy(entry.device, record->device, sizeof entry.device);
	memcpy(entry.data, record->data, sizeof entry.data);
	if (!registry_entry_is_sound(&entry))
		return false;
	if (entry.state < REGISTRY_CLAIMED || entry.state > REGISTRY_DOUBTFUL)
		return false;
	if (entry.kind == ACCOUNT_KIND_SEALED && entry.state != REGISTRY_OWN)
		return false;
	if (entry.was == REGISTRY_OWN && entry.state != REGISTRY_CLAIMED &&
		entry.state != REGISTRY_DOUBTFUL)
		return false;
	if ((entry.was == REGISTRY_CLAIMED || entry.was == REGISTRY_DROPPED) &&
		entry.state != REGISTRY_DOUBTFUL)
		return false;
	if (entry.was > REGISTRY_DROPPED)
		return false;
	*ret_entry = entry;
	return true;
}

/* Whether RECORD is the next of what READING has read. */
static bool read_record(struct registry_reading *reading, const struct registry_record *record,
	struct registry_table *table)
{
	struct registry_entry entry;

	if (!record_is_whole(record))
		return false;
	if (record->operation == REGISTRY_HEADER) {
		if (reading->file != 0 || reading->next != 0 || record->number != 0)
			return false;
		reading->file = record->file;
		reading->inode = record->inode;
		reading->next = 1;
		return true;
	}
	if (reading->file == 0 && reading->damaged)
		reading->file = record->file; /* what is damaged is the header */
	if (reading->file == 0 || record->file != reading->file || record->number < reading->next)
		return false;
	if (!record_entry(record, &entry))
		return false;
	if (record->operation != REGISTRY_SET &&
		(record->operation != REGISTRY_REMOVE || entry.kind == ACCOUNT_KIND_SEALED))
		return false;
	if (record->number != reading->next) {
		reading->damaged = true;
		registry_table_doubt(table);
	}
	if (record->operation == REGISTRY_SET)
		registry_table_set(table, &entry);
	else
		registry_table_remove(table, &entry);
	reading->next = record->number + 1;
	return true;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/*
 * Whether BYTES, from a record that is not whole to the file's end, are what an interrupted write
 * leaves: part of a record, and zeros. A record that was whole once ends in its digest.
 */
static bool is_torn(const uint8_t *bytes, size_t size)
{
	const size_t tail = offsetof(struct registry_record, digest);

	return size < REGISTRY_RECORD_SIZE || is_zero(bytes + tail, size - tail);
}

struct registry_reading registry_read(
	const uint8_t *bytes, size_t size, struct registry_table *table)
{
	struct registry_reading reading = {.file = 0};

	while (reading.end < size) {
		struct registry_record record;

		if (size - reading.end >= sizeof record) {
			memcpy(&record, bytes + reading.end, sizeof record);
			if (read_record(&reading, &record, table)) {
				reading.end += sizeof record;
				continue;
			}
		}
		if (reading.file != 0 && is_torn(bytes + reading.end, size - reading.end))
			break;
		reading.damaged = true;
		registry_table_doubt(table);
		reading.end += MIN(size - reading.end, sizeof record);
	}
	/* a registry is not there under its name before it has a header, and without one it may be
	 * a copy */
	if (reading.inode == 0) {
		reading.damaged = true;
		registry_table_doubt(table);
	}
	registry_table_unsettle(table);
	return reading;
}
