/*
 * The reader of the registry's file. The first byte says what the rest is:
 *
 *   even  the file as it is
 *   odd   the file's records without file number, number and digest, in their order; they get those
 *         here, so that what they say is reached. The bits above say which record is left out
 *
 * Checks that nothing is owned for which there is no record, that where something is missing no
 * handle is owned by what was said before, and that what was read is the same when it is written
 * anew and read once more.
 */
#include "broker/registry-record.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NUMBER UINT64_C(0x1122334455667788)
#define RECORDS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	struct registry_record records[RECORDS_MAX];
	size_t count;
	size_t missing; /* whatever comes before this one has no say; 0: none is missing */
};

static void check_entry(const struct registry_entry *entry, void *context)
{
	const struct input *input = context;

	if (!registry_entry_is_sound(entry))
		abort();
	if (entry->state != REGISTRY_OWN && entry->state != REGISTRY_DOUBTFUL)
		abort();
	if (entry->state != REGISTRY_OWN)
		return;
	for (size_t i = input->count; i-- > 0;) {
		const struct registry_record *record = &input->records[i];

		if (record->uid != entry->uid || record->kind != entry->kind ||
			record->handle != entry->handle || record->size != entry->size ||
			record->state != REGISTRY_OWN || record->operation != REGISTRY_SET ||
			memcmp(record->data, entry->data, sizeof entry->data) != 0 ||
			memcmp(record->device, entry->device, sizeof entry->device) != 0)
			continue;
		if (entry->kind != ACCOUNT_KIND_SEALED && i < input->missing)
			abort();
		return;
	}
	abort();
}

/* TABLE is the same when it is written anew; what is not settled has become doubtful before. */
static void check_again(const struct registry_table *table)
{
	g_autoptr(GArray) records = registry_record_all(table);
	struct registry_record header = registry_record_header(1);
	struct registry_table *again = registry_table_new();
	struct registry_reading reading;

	for (guint i = 0; i < records->len; i++)
		registry_record_seal(
			&g_array_index(records, struct registry_record, i), FILE_NUMBER, i + 1);
	registry_record_seal(&header, FILE_NUMBER, 0);
	g_array_prepend_val(records, header);
	reading = registry_read((const uint8_t *)records->data,
		records->len * sizeof(struct registry_record), again);
	if (reading.damaged || reading.next != records->len ||
		reading.end != records->len * sizeof(struct registry_record) ||
		registry_table_size(again) != registry_table_size(table))
		abort();
	registry_table_free(again);
}

static void read_input(const uint8_t *bytes, size_t size, struct input *input)
{
	struct registry_table *table = registry_table_new();
	struct registry_reading reading = registry_read(bytes, size, table);

	if (reading.end > size || reading.next > UINT64_MAX - RECORDS_MAX)
		abort();
	if (input->missing > 0 && !reading.damaged)
		abort();
	registry_table_each(table, UINT32_MAX, check_entry, input);
	check_again(table);
	registry_table_free(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct input input;
	struct registry_record sealed[RECORDS_MAX];
	size_t left_out;
	size_t count = 0;

	if (size < 1)
		return 0;
	left_out = data[0] >> 1;
	input.count = MIN((size - 1) / sizeof(struct registry_record), RECORDS_MAX);
	input.missing = 0;
	memcpy(input.records, data + 1, input.count * sizeof(struct registry_record));
	if (data[0] % 2 == 0) {
		if ((size - 1) / sizeof(struct registry_record) <= RECORDS_MAX)
			read_input(data + 1, size - 1, &input);
		return 0;
	}
	for (size_t i = 0; i < input.count; i++) {
		registry_record_seal(&input.records[i], FILE_NUMBER, i);
		/* without the last it is as if that had never been */
		if (left_out > 0 && i == left_out && i + 1 < input.count)
			input.missing = i;
		else
			sealed[count++] = input.records[i];
	}
	read_input((const uint8_t *)sealed, count * sizeof *sealed, &input);
	return 0;
}
