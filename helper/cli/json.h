#pragma once
/*
 * Writes JSON (RFC 8259) to a stream. Commas are set by themselves; KEY is NULL for the members of
 * an array and for the outermost value. Brackets are the caller's to balance.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
	FILE *stream;
	bool comma; /* the next value needs one before it */
};

void json_open(struct json *json, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json *json, char bracket);                 /* '}' or ']' */
/* TEXT is written as valid UTF-8 whatever it is; NULL as null. */
void json_text(struct json *json, const char *key, const char *text);
void json_number(struct json *json, const char *key, int64_t number);
void json_bool(struct json *json, const char *key, bool value);
