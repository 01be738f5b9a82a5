/*
 * Owns: the entries and, so that no question takes longer the more of them there are, each uid's
 * numbers. The handles of all TPMs are few; their bytes are added up when asked for.
 *
 * What depends on commands that may still be on their way goes by the monotonic clock, which stands
 * while the machine sleeps, as they do.
 */
#include "broker/registry-table.h"

#include <string.h>

#define KINDS 4

_Static_assert(ACCOUNT_KIND_SEALED == KINDS - 1, "a number for each kind");

/* Drops are charged as NV writes are, so that nobody fills them all in ten minutes. */
#define GRAVES   64
#define GRAVE_US (G_GINT64_CONSTANT(600) * G_TIME_SPAN_SECOND)

/* No command is on its way for longer: a relay waits 330 s for the TPM. */
#define YOUNG_S 340

struct known {
	struct registry_entry entry;
	gint64 since; /* g_get_monotonic_time() of the last change */
};

struct grave {
	struct registry_entry entry; /* kind 0: free */
	gint64 until;                /* g_get_monotonic_time() */
};

struct registry_table {
	GHashTable *handles; /* struct known by its entry's device, kind and handle */
	GHashTable *sealed;  /* struct known by its entry's device, uid and data */
	GHashTable *numbers; /* uid -> uint32_t[KINDS]; only those that have something */
	struct grave graves[GRAVES];
	unsigned next_grave; /* to be reused next */
};

static guint handle_hash(gconstpointer key)
{
	const struct registry_entry *entry = key;

	return g_str_hash(entry->device) ^ entry->handle;
}

static gboolean handle_equal(gconstpointer a, gconstpointer b)
{
	const struct registry_entry *first = a;
	const struct registry_entry *second = b;

	return first->handle == second->handle && first->kind == second->kind &&
	       strcmp(first->device, second->device) == 0;
}

static guint sealed_hash(gconstpointer key)
{
	const struct registry_entry *entry = key;
	guint hash = entry->uid * 2654435761u;

	for (uint32_t i = 0; i < entry->size; i++)
		hash = hash * 33 + entry->data[i];
	return hash;
}

static gboolean sealed_equal(gconstpointer a, gconstpointer b)
{
	const struct registry_entry *first = a;
	const struct registry_entry *second = b;

	return first->uid == second->uid && first->size == second->size &&
	       memcmp(first->data, second->data, first->size) == 0 &&
	       strcmp(first->device, second->device) == 0;
}

struct registry_table *registry_table_new(void)
{
	struct registry_table *table = g_new0(struct registry_table, 1);

	table->handles = g_hash_table_new_full(handle_hash, handle_equal, g_free, NULL);
	table->sealed = g_hash_table_new_full(sealed_hash, sealed_equal, g_free, NULL);
	table->numbers = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	return table;
}

void registry_table_free(struct registry_table *table)
{
	if (!table)
		return;
	g_hash_table_unref(table->handles);
	g_hash_table_unref(table->sealed);
	g_hash_table_unref(table->numbers);
	g_free(table);
}

bool registry_entry_is_sound(const struct registry_entry *entry)
{
	if (entry->device[0] == '\0' || !memchr(entry->device, '\0', sizeof entry->device))
		return false;
	if (entry->kind < ACCOUNT_KIND_NV || entry->kind > ACCOUNT_KIND_SEALED)
		return false;
	if ((entry->kind == ACCOUNT_KIND_SEALED) != (entry->handle == 0))
		return false;
	if (entry->kind != ACCOUNT_KIND_NV && entry->nv_size != 0)
		return false;
	return entry->uid != UINT32_MAX && entry->size <= sizeof entry->data;
}

static GHashTable *table_of(const struct registry_table *table, uint32_t kind)
{
	return kind == ACCOUNT_KIND_SEALED ? table->sealed : table->handles;
}

static void table_count(struct registry_table *table, const struct registry_entry *entry, bool more)
{
	uint32_t *numbers = g_hash_table_lookup(table->numbers, GUINT_TO_POINTER(entry->uid));

	if (!numbers) {
		numbers = g_new0(uint32_t, KINDS);
		g_hash_table_insert(table->numbers, GUINT_TO_POINTER(entry->uid), numbers);
	}
	/* number 0, of no kind, is that of them all */
	numbers[entry->kind] += more ? 1u : -1u;
	numbers[0] += more ? 1u : -1u;
	if (numbers[0] == 0)
		g_hash_table_remove(table->numbers, GUINT_TO_POINTER(entry->uid));
}

const struct registry_entry *registry_table_find(
	const struct registry_table *table, const struct registry_entry *entry)
{
	return g_hash_table_lookup(table_of(table, entry->kind), entry);
}

void registry_table_remove(struct registry_table *table, const struct registry_entry *entry)
{
	const struct registry_entry *found = registry_table_find(table, entry);

	if (!found)
		return;
	table_count(table, found, false);
	g_hash_table_remove(table_of(table, entry->kind), entry);
}

void registry_table_set(struct registry_table *table, const struct registry_entry *entry)
{
	struct known *known = g_new(struct known, 1);

	*known = (struct known){.entry = *entry, .since = g_get_monotonic_time()};
	registry_table_remove(table, &known->entry);
	table_count(table, &known->entry, true);
	g_hash_table_add(table_of(table, known->entry.kind), &known->entry);
}

bool registry_table_is_young(const struct registry_table *table, const struct registry_entry *entry)
{
	const struct known *known = g_hash_table_lookup(table_of(table, entry->kind), entry);

	return known && g_get_monotonic_time() - known->since <= YOUNG_S * G_TIME_SPAN_SECOND;
}

static void forget_in(struct registry_table *table, GHashTable *entries, uint32_t uid)
{
	GHashTableIter iter;
	gpointer key;

	g_hash_table_iter_init(&iter, entries);
	while (g_hash_table_iter_next(&iter, &key, NULL)) {
		const struct registry_entry *entry = key;

		if (entry->uid != uid)
			continue;
		if (entry->kind != ACCOUNT_KIND_SEALED)
			registry_table_bury(table, entry);
		table_count(table, entry, false);
		g_hash_table_iter_remove(&iter);
	}
}

void registry_table_forget(struct registry_table *table, uint32_t uid)
{
	forget_in(table, table->handles, uid);
	forget_in(table, table->sealed, uid);
}

void registry_table_unsettle(struct registry_table *table)
{
	const int64_t now = g_get_real_time() / G_USEC_PER_SEC;
	GHashTableIter iter;
	gpointer key;

	g_hash_table_iter_init(&iter, table->handles);
	while (g_hash_table_iter_next(&iter, &key, NULL)) {
		struct registry_entry *entry = key;

		/* what is not settled, and what comes from the future, is as if of now */
		if (entry->state == REGISTRY_OWN && entry->changed < now - YOUNG_S)
			((struct known *)key)->since -= (YOUNG_S + 1) * G_TIME_SPAN_SECOND;
		if (entry->state != REGISTRY_CLAIMED && entry->state != REGISTRY_DROPPED)
			continue;
		if (entry->was != REGISTRY_OWN) /* else it still says what was claimed */
			entry->was = entry->state;
		entry->state = REGISTRY_DOUBTFUL;
	}
}

void registry_table_doubt(struct registry_table *table)
{
	GHashTableIter iter;
	gpointer key;

	g_hash_table_iter_init(&iter, table->handles);
	while (g_hash_table_iter_next(&iter, &key, NULL)) {
		struct registry_entry *entry = key;

		entry->was = REGISTRY_NONE;
		entry->state = REGISTRY_DOUBTFUL;
	}
}

uint32_t registry_table_count(
	const struct registry_table *table, uint32_t uid, enum account_kind kind)
{
	const uint32_t *numbers = g_hash_table_lookup(table->numbers, GUINT_TO_POINTER(uid));

	return numbers ? numbers[kind] : 0;
}

uint64_t registry_table_nv_size(
	const struct registry_table *table, const char *device, uint32_t uid)
{
	GHashTableIter iter;
	gpointer key;
	uint64_t bytes = 0;

	g_hash_table_iter_init(&iter, table->handles);
	while (g_hash_table_iter_next(&iter, &key, NULL)) {
		const struct registry_entry *entry = key;

		if (strcmp(entry->device, device) == 0 && (uid == UINT32_MAX || entry->uid == uid))
			bytes += entry->nv_size;
	}
	return bytes;
}

bool registry_table_is_settled(const struct registry_table *table)
{
	const gint64 now = g_get_monotonic_time();
	GHashTableIter iter;
	gpointer key;

	for (unsigned i = 0; i < GRAVES; i++)
		if (table->graves[i].until > now)
			return false;
	g_hash_table_iter_init(&iter, table->handles);
	while (g_hash_table_iter_next(&iter, &key, NULL)) {
		const struct registry_entry *entry = key;

		if (entry->state == REGISTRY_DOUBTFUL && registry_table_is_young(table, entry))
			return false;
	}
	return true;
}

size_t registry_table_size(const struct registry_table *table)
{
	return (size_t)g_hash_table_size(table->handles) + g_hash_table_size(table->sealed);
}

static void each_in(GHashTable *entries, uint32_t uid,
	void (*each)(const struct registry_entry *entry, void *context), void *context)
{
	GHashTableIter iter;
	gpointer key;

	g_hash_table_iter_init(&iter, entries);
	while (g_hash_table_iter_next(&iter, &key, NULL)) {
		const struct registry_entry *entry = key;

		if (uid == UINT32_MAX || entry->uid == uid)
			each(entry, context);
	}
}

void registry_table_each(const struct registry_table *table, uint32_t uid,
	void (*each)(const struct registry_entry *entry, void *context), void *context)
{
	each_in(table->handles, uid, each, context);
	each_in(table->sealed, uid, each, context);
}

void registry_table_bury(struct registry_table *table, const struct registry_entry *entry)
{
	table->graves[table->next_grave] =
		(struct grave){.entry = *entry, .until = g_get_monotonic_time() + GRAVE_US};
	table->next_grave = (table->next_grave + 1) % GRAVES;
}

bool registry_table_is_buried(
	const struct registry_table *table, const struct registry_entry *entry)
{
	gint64 now = g_get_monotonic_time();

	for (unsigned i = 0; i < GRAVES; i++) {
		const struct grave *grave = &table->graves[i];

		if (grave->until > now && handle_equal(&grave->entry, entry) &&
			grave->entry.uid != entry->uid)
			return true;
	}
	return false;
}
