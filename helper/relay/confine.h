#pragma once
/*
 * Confinement: what a relay that its client has taken over can still do is what this file leaves
 * it.
 */
#include <stdbool.h>

/* Closes every descriptor but those of enum relay_fd and stderr. Returns 0 or a negative errno. */
int confine_descriptors(void);

/*
 * No core dump, no tracing, no new privileges, no new descriptors or processes, and the system
 * calls of the pump only, with the descriptors that they are made for. LOG_TO_JOURNAL says which
 * descriptor log lines go to. Returns 0 or a negative errno; there is no way back.
 */
int confine(bool log_to_journal);
