#pragma once
/*
 * What a person should do next, concluded from what `tpmgate status` found.
 */
#include "cli/facts.h"
#include "cli/lists.h"
#include "cli/properties.h"
#include "cli/reach.h"
#include "cli/standing.h"

#define ADVICE_MAX  24
#define ADVICE_SIZE 440

struct advice {
	char lines[ADVICE_MAX][ADVICE_SIZE];
	size_t count;
	bool works; /* a session with the wanted profiles would be granted without a prompt */
};

/* What was found. */
struct advice_input {
	const struct facts *facts;
	const struct lists *lists;       /* empty where there is no broker */
	const struct standing *standing; /* empty, too */
	const struct properties *properties;
	const char *socket;
	const char *source; /* who named the socket: "given", "environment", "default" */
	const char *wanted; /* profiles that a session would ask for, joined by '+' */
	int broker;         /* 0 where it answers, else an enum tpmgate_error */
	enum reach reach;   /* how far one gets */
};

void advice_read(const struct advice_input *input, struct advice *ret_advice);
