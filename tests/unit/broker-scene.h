#pragma once
/*
 * A directory of a test's own, and files in it.
 */
#include <sys/types.h>

/* Makes the directory; to be removed with scene_end(). */
void scene_begin(void);
void scene_end(void);

/* The path of NAME in the directory; the caller frees it. */
char *scene_path(const char *name);
/* Writes TEXT to NAME with MODE, making the directories that NAME has. The caller frees the path.
 */
char *scene_write(const char *name, const char *text, mode_t mode);
