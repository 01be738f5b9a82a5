#pragma once
/*
 * Confinement of the manager: what a TPM that has taken it over can still do.
 */
#include <stdbool.h>
#include <sys/resource.h>

/*
 * At most DESCRIPTORS descriptors, no new processes and privileges, and the system calls of
 * confine.c, with those that a TCTI may need where TCTI is set. Returns 0 or a negative errno.
 */
int confine(bool tcti, rlim_t descriptors);
