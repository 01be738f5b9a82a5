#pragma once
/*
 * A small registry's file to be damaged, and what was so after each of its records. Nothing is
 * synchronised (-Wl,--wrap): no power fails here.
 */
#include "registry-model.h"

#include <glib.h>

#define RECORD      ((size_t)256) /* bytes */
#define RECORDS_MAX 40

struct sample {
	struct registry_scene scene;
	char *path;
	char *bytes;
	gsize size;
	size_t records; /* the header included */
	struct model models[RECORDS_MAX];
	struct registry_entry about[RECORDS_MAX];
};

/* Of cmocka: *state is the sample, whose registry is closed. */
int sample_setup(void **state);
int sample_teardown(void **state);

void sample_open(struct sample *sample);
/* Makes BYTES the file, under the inode that it was made as, and removes what was set aside. */
void sample_put(struct sample *sample, const char *bytes, size_t size);
char *sample_copy(const struct sample *sample);
/* What is so after the last record. */
const struct model *sample_model(const struct sample *sample);

/*
 * Checks that what was said after the record DAMAGED stays so, and sealed data wherever its record
 * is another.
 */
void sample_check_survivors(const struct sample *sample, size_t damaged);
