#pragma once
/*
 * Whether a caller may have what it asks for: root, then the groups that the kernel says it has,
 * then polkit.
 */
#include "broker/account.h"
#include "broker/authz.h"
#include "broker/identity.h"

#include <stdbool.h>
#include <stddef.h>

/* One thing that is asked for. */
struct permit_item {
	const char *name; /* for messages and prompts */
	const char *action;
	const gid_t *groups;
	size_t group_count;
};

#define PERMIT_ITEMS 9 /* profiles of one session, and the sandbox */

struct permit_request {
	const struct identity *identity; /* described; outlives the permit */
	const struct permit_item *items; /* outlive the permit */
	size_t item_count;
	const char *names;  /* all items' names, for the prompt */
	const char *device; /* for the prompt; NULL: none */
	bool interactive;
};

enum permit_verdict {
	PERMIT_NO = 0,
	PERMIT_YES,
	PERMIT_PROMPT,      /* allowed after a prompt, which the request does not allow */
	PERMIT_NO_AGENT,    /* allowed after a prompt, which nobody is there to show */
	PERMIT_DISMISSED,   /* the prompt was closed */
	PERMIT_PENDING,     /* another prompt of this user is on the screen */
	PERMIT_GONE,        /* the process that asked is no more */
	PERMIT_UNAVAILABLE, /* polkit could not be asked */
	PERMIT_FAULT,       /* polkit refuses the question */
};

/* ITEM is the one that decided, NULL for PERMIT_YES; PROBLEM as in authz_done. */
typedef void (*permit_done)(void *context, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem);

struct permit;

/* Whether a group of PEER's is among those of ITEM. */
bool permit_has_group(const struct peer *peer, const struct permit_item *item);

/* Whether polkit has to be asked, so that the identity has to be proven. */
bool permit_needs_polkit(const struct permit_request *request);

/*
 * Decides. DONE is called once, possibly before permit_start() returns. Afterwards, and to give up
 * before (which withdraws a prompt), the caller calls permit_free().
 */
struct permit *permit_new(struct authz *authz, struct account *account,
	const struct permit_request *request, permit_done done, void *context);
void permit_start(struct permit *permit);
void permit_free(struct permit *permit);
