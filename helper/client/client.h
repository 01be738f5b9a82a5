#pragma once
/*
 * What our own clients know beyond tpmgate.h.
 */
#include "client/call.h"
#include "client/tpmgate.h"

#include <stdbool.h>

/*
 * Where the broker is looked for with OPTIONS (checked or NULL). *ret_source is who said so:
 * "given" (the options), "environment" or "default".
 */
const char *client_socket(const struct tpmgate_options *options, const char **ret_source);

/*
 * Asks QUESTION, whose flags and device are filled in from OPTIONS. Returns as call_broker(), or
 * TPMGATE_E_ARGUMENT for options that are not valid.
 */
int client_ask(const struct tpmgate_options *options, struct call_question *question,
	struct tpmgate_message *message, struct call_reply *ret_reply);

/* Item INDEX of REPLY, of which ITEM_SIZE bytes are known. Those of a newer broker may be longer;
 * what those of an older one do not have is zero.
 */
void client_item(const struct call_reply *reply, uint32_t index, void *ret_item, size_t item_size);

/* As tpmgate_sessions(). EVERYBODY: all sessions, after a prompt where the options allow it, or an
 * error. */
int client_sessions(const struct tpmgate_options *options, bool everybody,
	void (*each)(const struct tpmgate_session *session, void *context), void *context,
	struct tpmgate_message *message);

/* The profiles that a session with OPTIONS would ask for. */
const char *client_profiles(const struct tpmgate_options *options);
