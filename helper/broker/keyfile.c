#include "broker/keyfile.h"

#include <string.h>

struct entry {
	char *section;
	char *key; /* NULL: the section's own line */
	unsigned line;
	bool known; /* somebody asked for it */
};

struct keyfile {
	char *path;
	GKeyFile *values;
	GPtrArray *entries;
	char *problem;
};

static void keyfile_free_entry(gpointer data)
{
	struct entry *entry = data;

	g_free(entry->section);
	g_free(entry->key);
	g_free(entry);
}

static struct entry *keyfile_find(
	const struct keyfile *keyfile, const char *section, const char *key)
{
	for (guint i = 0; i < keyfile->entries->len; i++) {
		struct entry *entry = g_ptr_array_index(keyfile->entries, i);

		if (strcmp(entry->section, section) == 0 && g_strcmp0(entry->key, key) == 0)
			return entry;
	}
	return NULL;
}

static void keyfile_fault_at(struct keyfile *keyfile, unsigned line, const char *text)
{
	if (keyfile->problem)
		return;
	keyfile->problem = line > 0 ? g_strdup_printf("%s:%u: %s", keyfile->path, line, text)
				    : g_strdup_printf("%s: %s", keyfile->path, text);
}

void keyfile_fault(
	struct keyfile *keyfile, const char *section, const char *key, const char *format, ...)
{
	const struct entry *entry = keyfile_find(keyfile, section, key);
	g_autofree char *text = NULL;
	va_list arguments;

	va_start(arguments, format);
	text = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	if (!entry) /* a key that is missing: where it should be */
		entry = keyfile_find(keyfile, section, NULL);
	keyfile_fault_at(keyfile, entry ? entry->line : 0, text);
}

static void keyfile_add(struct keyfile *keyfile, const char *section, char *key, unsigned line)
{
	struct entry *entry;

	if (keyfile_find(keyfile, section, key)) {
		g_autofree char *text = key ? g_strdup_printf("%s= is there twice", key)
					    : g_strdup_printf("[%s] is there twice", section);

		keyfile_fault_at(keyfile, line, text);
		g_free(key);
		return;
	}
	entry = g_new0(struct entry, 1);
	entry->section = g_strdup(section);
	entry->key = key;
	entry->line = line;
	g_ptr_array_add(keyfile->entries, entry);
}

/* Records where each section and key is. GKeyFile reads the values afterwards. */
static void keyfile_scan(struct keyfile *keyfile, const char *bytes)
{
	g_auto(GStrv) lines = g_strsplit(bytes, "\n", -1);
	g_autofree char *section = NULL;

	for (unsigned i = 0; lines[i] && !keyfile->problem; i++) {
		char *line = g_strstrip(lines[i]);
		char *equals = strchr(line, '=');
		char *key;

		if (line[0] == '\0' || line[0] == '#')
			continue;
		if (line[0] == '[' && g_str_has_suffix(line, "]")) {
			g_free(section);
			section = g_strndup(line + 1, strlen(line) - 2);
			keyfile_add(keyfile, section, NULL, i + 1);
		} else if (!section) {
			keyfile_fault_at(keyfile, i + 1, "there is no [Section] above this line");
		} else if (equals && equals > line) {
			key = g_strndup(line, (gsize)(equals - line));
			keyfile_add(keyfile, section, g_strchomp(key), i + 1);
		} else {
			keyfile_fault_at(keyfile, i + 1, "is neither [Section] nor Key=value");
		}
	}
}

/* The number of the line that END is in. */
static unsigned keyfile_line(const char *bytes, const char *end)
{
	unsigned line = 1;

	for (; bytes < end; bytes++)
		line += *bytes == '\n';
	return line;
}

/*
 * The first character of TEXT that a terminal obeys, or that is drawn over others; NULL: there is
 * none. Whoever judges a file by what is shown of it must see all.
 */
static const char *keyfile_hidden(const char *text, bool lines)
{
	for (const char *p = text; *p; p = g_utf8_find_next_char(p, NULL)) {
		GUnicodeType type = g_unichar_type(g_utf8_get_char(p));
		bool ends_line = *p == '\n' || (p[0] == '\r' && p[1] == '\n');

		if (*p == '\t' || (lines && ends_line))
			continue;
		if (type == G_UNICODE_CONTROL || type == G_UNICODE_FORMAT ||
			type == G_UNICODE_LINE_SEPARATOR || type == G_UNICODE_PARAGRAPH_SEPARATOR)
			return p;
	}
	return NULL;
}

struct keyfile *keyfile_new(const char *path, const char *bytes, gsize size, char **ret_problem)
{
	struct keyfile *keyfile = g_new0(struct keyfile, 1);
	g_autoptr(GError) error = NULL;
	const char *end;
	const char *hidden;

	keyfile->path = g_strdup(path);
	keyfile->values = g_key_file_new();
	keyfile->entries = g_ptr_array_new_with_free_func(keyfile_free_entry);
	if (!g_utf8_validate_len(bytes, size, &end))
		keyfile_fault_at(keyfile, keyfile_line(bytes, end), "is not a text in UTF-8");
	else if ((hidden = keyfile_hidden(bytes, true)) != NULL)
		keyfile_fault_at(keyfile, keyfile_line(bytes, hidden),
			"has a character that is not shown, such as an escape");
	else
		keyfile_scan(keyfile, bytes);
	if (!keyfile->problem &&
		!g_key_file_load_from_data(keyfile->values, bytes, size, G_KEY_FILE_NONE, &error))
		keyfile_fault_at(keyfile, 0, error->message);
	if (keyfile->problem) {
		*ret_problem = g_steal_pointer(&keyfile->problem);
		keyfile_free(keyfile);
		return NULL;
	}
	return keyfile;
}

void keyfile_free(struct keyfile *keyfile)
{
	if (!keyfile)
		return;
	g_ptr_array_unref(keyfile->entries);
	g_key_file_unref(keyfile->values);
	g_free(keyfile->problem);
	g_free(keyfile->path);
	g_free(keyfile);
}

/* Whether KEY is there; whoever asks knows it. */
static bool keyfile_has(struct keyfile *keyfile, const char *section, const char *key)
{
	struct entry *entry = keyfile_find(keyfile, section, key);
	struct entry *parent = keyfile_find(keyfile, section, NULL);

	if (parent)
		parent->known = true;
	if (entry)
		entry->known = true;
	return entry != NULL;
}

char *keyfile_string(struct keyfile *keyfile, const char *section, const char *key)
{
	g_autoptr(GError) error = NULL;
	char *value;

	if (!keyfile_has(keyfile, section, key))
		return NULL;
	value = g_key_file_get_string(keyfile->values, section, key, &error);
	if (!value)
		keyfile_fault(keyfile, section, key, "%s", error->message);
	else if (keyfile_hidden(value, false))
		keyfile_fault(keyfile, section, key, "%s= has more than one line", key);
	return value ? g_strstrip(value) : NULL;
}

char **keyfile_list(struct keyfile *keyfile, const char *section, const char *key)
{
	g_autoptr(GError) error = NULL;
	char **list;

	if (!keyfile_has(keyfile, section, key))
		return NULL;
	list = g_key_file_get_string_list(keyfile->values, section, key, NULL, &error);
	if (!list) {
		keyfile_fault(keyfile, section, key, "%s", error->message);
		return NULL;
	}
	for (size_t i = 0; list[i]; i++)
		if (g_strstrip(list[i])[0] == '\0')
			keyfile_fault(keyfile, section, key, "%s= has an empty element", key);
		else if (keyfile_hidden(list[i], false))
			keyfile_fault(keyfile, section, key, "%s= has more than one line", key);
	return list;
}

void keyfile_bool(struct keyfile *keyfile, const char *section, const char *key, bool *ret_value)
{
	g_autofree char *value = keyfile_string(keyfile, section, key);

	if (!value)
		return;
	if (strcmp(value, "yes") == 0 || strcmp(value, "true") == 0)
		*ret_value = true;
	else if (strcmp(value, "no") == 0 || strcmp(value, "false") == 0)
		*ret_value = false;
	else
		keyfile_fault(keyfile, section, key, "%s= is yes or no, not '%s'", key, value);
}

char *keyfile_problem(struct keyfile *keyfile)
{
	for (guint i = 0; i < keyfile->entries->len && !keyfile->problem; i++) {
		const struct entry *entry = g_ptr_array_index(keyfile->entries, i);

		if (entry->known)
			continue;
		keyfile_fault(keyfile, entry->section, entry->key,
			entry->key ? "there is no key %s= in [%s]" : "there is no section %s%s",
			entry->key ? entry->key : entry->section, entry->key ? entry->section : "");
	}
	return keyfile->problem ? g_strdup(keyfile->problem) : NULL;
}
