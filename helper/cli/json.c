#include "cli/json.h"

#include "client/text.h"

#include <inttypes.h>
#include <string.h>

/* Escapes what JSON demands, and DEL, C1 and beyond-ASCII line ends for the sake of terminals. */
static void json_string(FILE *stream, const char *text)
{
	size_t left = strlen(text);

	fprintf(stream, "\"");
	while (left > 0) {
		uint32_t point = 0;
		size_t length = text_decode(text, left, &point);

		if (length == 0) {
			fprintf(stream, "\\ufffd");
			length = 1;
		} else if (point == '"' || point == '\\') {
			fprintf(stream, "\\%c", (char)point);
		} else if (point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x2028 ||
			   point == 0x2029) {
			fprintf(stream, "\\u%04" PRIx32, point);
		} else {
			fprintf(stream, "%.*s", (int)length, text);
		}
		text += length;
		left -= length;
	}
	fprintf(stream, "\"");
}

static void json_key(struct json *json, const char *key)
{
	if (json->comma)
		fprintf(json->stream, ",");
	json->comma = true;
	if (key) {
		json_string(json->stream, key);
		fprintf(json->stream, ":");
	}
}

void json_open(struct json *json, const char *key, char bracket)
{
	json_key(json, key);
	fprintf(json->stream, "%c", bracket);
	json->comma = false;
}

void json_close(struct json *json, char bracket)
{
	fprintf(json->stream, "%c", bracket);
	json->comma = true;
}

void json_text(struct json *json, const char *key, const char *text)
{
	json_key(json, key);
	if (text)
		json_string(json->stream, text);
	else
		fprintf(json->stream, "null");
}

void json_number(struct json *json, const char *key, int64_t number)
{
	json_key(json, key);
	fprintf(json->stream, "%" PRId64, number);
}

void json_bool(struct json *json, const char *key, bool value)
{
	json_key(json, key);
	fprintf(json->stream, "%s", value ? "true" : "false");
}
