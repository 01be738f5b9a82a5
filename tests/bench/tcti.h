#pragma once
/* Ways through TCTIs of tpm2-tss; the only part that knows it, and needs its headers. */
#include "way.h"

/*
 * Loads the libraries of all TCTIs that are compared, for as long as this program runs: loading is
 * not what is measured. Returns 0, 1 after saying what is missing, or a negative errno.
 */
int tcti_load(void);

/* Opens CONF, as Tss2_TctiLdr_Initialize() takes it. Returns 0, or a negative errno after saying
 * why. */
int tcti_open(const char *conf, void **ret_tcti);
/* Ignores NULL. */
void tcti_close(void *tcti);

struct way way_over_tcti(void *tcti);
