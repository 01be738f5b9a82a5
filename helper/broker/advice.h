#pragma once
/*
 * What a person is told when a session is refused: what, why, and what to do.
 */
#include "broker/permit.h"
#include "common/protocol.h"

struct advice {
	enum permit_verdict verdict; /* not PERMIT_YES */
	const char *name;            /* of the profile that decided, or of all */
	const char *action;          /* polkit's */
	const char *sandbox; /* NULL, or the sandboxed application that has to be allowed besides */
	const char *problem; /* NULL where there is none */
	const char *group;   /* whose members need no polkit; NULL: none */
	uint32_t uid;
	const char *user; /* the name of UID; NULL: not known */
};

enum protocol_status advice_status(enum permit_verdict verdict);

/* Whether the text would name the user, so that it is worth looking the name up. */
bool advice_names_user(const struct advice *advice);

/* The caller frees it. */
char *advice_text(const struct advice *advice);
