#pragma once
/*
 * The ranges of subuid(5). One user owns every uid of their range, so that what is counted by uid
 * means nothing for these.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct subuid;

struct subuid *subuid_new(void);
void subuid_free(struct subuid *subuid);

/*
 * Whether UID is in a range of the file PATH, which is read again when it has changed. True also
 * where that cannot be known: the file is there and cannot be read.
 */
bool subuid_contains(struct subuid *subuid, const char *path, uint32_t uid);

/* The same for TEXT, the content of such a file. Lines that are not understood have no range. */
bool subuid_text_contains(const char *text, uint32_t uid);
