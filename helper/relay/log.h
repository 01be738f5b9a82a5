#pragma once
/*
 * One line an event: to the journal where the broker gave a socket for it, to stderr elsewhere.
 * Never blocks, never holds payload bytes; what cannot be written at once is dropped and counted,
 * and no client can write more than a few lines a second.
 */
#include "common/events.h"
#include "common/policy.h"

/* Keeps what every line says about the session. IMAGE must outlive the log. */
void log_init(const struct policy_image *image, bool to_journal);

/* A command that was refused: COMMAND is its name, RULE the filter's rule. All constant texts. */
void log_refusal(const char *command, const char *rule, uint32_t code);

/* Anything else worth a line. TEXT is a constant, EVENT one of common/events.h or NULL. */
void log_event(const char *event, const char *text);
