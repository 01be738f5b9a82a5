#pragma once
/*
 * The name of a user, looked up off the main loop: a directory service may not answer.
 */
#include <stdint.h>

struct name_lookup;

/* NAME is fit for a command line that somebody copies; NULL where there is none, or not in time. */
typedef void (*name_done)(void *context, const char *name);

/* DONE is called once, from the main loop; after name_cancel() it is not. */
struct name_lookup *name_find(uint32_t uid, name_done done, void *context);
void name_cancel(struct name_lookup *lookup);
