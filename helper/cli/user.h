#pragma once
/*
 * Users as people name them, and uids as people read them.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* TEXT is a uid or a name of the user database. False where it is neither. */
bool user_find(const char *text, uint32_t *ret_uid);

/* The name of UID, or the number where there is none. Returns whether the database has it. */
bool user_name(uint32_t uid, char *ret_name, size_t size);

/* Whether the database is sure that it has no user of UID; not where it cannot be asked. */
bool user_is_gone(uint32_t uid);
