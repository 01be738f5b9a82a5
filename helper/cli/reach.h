#pragma once
/*
 * Whether the broker can be reached, and how far one gets otherwise.
 */

enum reach {
	REACH_FAILED = 0, /* the call failed for a reason of its own */
	REACH_ANSWERS,
	REACH_MISSING,   /* there is no file at the path */
	REACH_REFUSED,   /* there is a socket, at which nobody listens */
	REACH_CLOSED,    /* the file or its directory is not open to this process */
	REACH_NO_SOCKET, /* something else is at the path */
	REACH_SILENT,    /* somebody listens, and does not answer */
	REACH_STRANGE,   /* what answers does not speak the protocol */
	REACH_BUSY,      /* it answers that there are too many connections of this user */
};

/* After a call to the broker at PATH that returned ERROR: 0 or an enum tpmgate_error. */
enum reach reach_judge(const char *path, int error);

/* Such as "answers", for --json. */
const char *reach_name(enum reach reach);
/* The same for people. */
const char *reach_text(enum reach reach);
