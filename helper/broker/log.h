#pragma once
/*
 * One event, one line: to the journal with fields where standard error is the journal, to standard
 * error elsewhere. Never blocks; what cannot be written at once is dropped. Lines that a caller can
 * cause without a session are limited to a few a second, of each kind and each user.
 */
#include "common/events.h"

#include <glib.h>
#include <stdint.h>

enum log_kind {
	LOG_BROKER = 0, /* of the broker's own making: not limited */
	LOG_CONNECTION, /* connections that are refused before they say what they want */
	LOG_VERDICT,    /* who was not let in: limited for each user */
	LOG_SESSION,    /* sessions, from their opening on: never left out */
	LOG_DEVICE,
	LOG_KINDS,
};

/* What a line is about: fields TPMGATE_UID, TPMGATE_PID and so on, and MESSAGE_ID. Zero and NULL
 * are left out. */
struct log_about {
	const uint32_t *uid;
	int32_t pid;
	uint64_t session;
	const char *profiles;
	const char *device;
	const char *verdict;
	const char *event; /* one of common/events.h */
};

/* Before the first line, and before there is a second thread. */
void log_init(void);

/* LEVEL is G_LOG_LEVEL_MESSAGE, _WARNING or _CRITICAL, and ABOUT may be NULL. Main thread only. */
void log_event(enum log_kind kind, GLogLevelFlags level, const struct log_about *about,
	const char *format, ...) G_GNUC_PRINTF(4, 5);

/*
 * A datagram socket connected to the journal, for a relay; -1 where our lines do not go there, or
 * where it cannot be had.
 */
int log_journal_socket(void);
