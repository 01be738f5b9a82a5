#pragma once
/*
 * The broker's lists as arrays, for verbs that look at a whole list before they print.
 */
#include "client/tpmgate.h"

#include <stdbool.h>
#include <stddef.h>

struct lists {
	struct tpmgate_profile **profiles;
	size_t profile_count;
	struct tpmgate_device **devices;
	size_t device_count;
	struct tpmgate_session **sessions;
	size_t session_count;
	bool out_of_memory;
};

/* Each asks the broker. Returns 0 or one of enum tpmgate_error, with MESSAGE set. */
int lists_read_profiles(struct lists *lists, const struct tpmgate_options *options,
	struct tpmgate_message *message);
int lists_read_devices(struct lists *lists, const struct tpmgate_options *options,
	struct tpmgate_message *message);
/* EVERYBODY: all sessions or an error, and not only one's own where one may not see others'. */
int lists_read_sessions(struct lists *lists, const struct tpmgate_options *options, bool everybody,
	struct tpmgate_message *message);

void lists_done(struct lists *lists); /* accepts a zeroed one */
