#pragma once
/* Lines for standard error, which the broker's service has in the journal. */

/* Writes one line, unless nobody takes it at once: the manager waits for no reader. */
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);
