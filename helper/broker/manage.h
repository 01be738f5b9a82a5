#pragma once
/*
 * What is everybody's own, and administrators' for all users: root, and whom the action `manage`
 * lets in.
 */
#include "broker/client.h"

/* Asks whether the client may have what is others'. INTERACTIVE: after a prompt, too. */
void manage_ask(struct client *client, bool interactive, client_permitted permitted);

/* Refuses what VERDICT, ITEM and PROBLEM, as PERMITTED got them, do not allow. */
void manage_refuse(struct client *client, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem);
