#pragma once
/*
 * The broker: what all requests share, and how it changes.
 */
#include "broker/account.h"
#include "broker/authz.h"
#include "broker/config.h"
#include "broker/device.h"
#include "broker/notify.h"
#include "broker/profile-set.h"
#include "broker/rm.h"
#include "broker/session.h"
#include "broker/stream.h"
#include "broker/subuid.h"

#include <gio/gio.h>

struct broker_options {
	const char *tpm;
	const char *relay;
	const char *rm;
	const char *state_dir;
	struct config_paths paths;
	bool polkit;
	int idle_exit; /* seconds; 0: never */
	const char *notify_address;
	const char *eventlog_dir; /* NULL: the kernel's */
};

struct broker {
	struct broker_options options;
	struct config config;
	struct profile_set *profiles;
	struct account *account;
	struct accounts accounts; /* what relays ask about */
	struct authz *authz;
	struct device_list *devices;
	struct stream *stream; /* NULL but for a TPM behind a socket */
	struct rm *rm;         /* NULL but for one behind a resource manager */
	struct session_list *sessions;
	struct subuid *subuid;
	struct notify *notify;

	bool reloading;
	bool reload_again;
	GCancellable *reload_cancellable;
	guint idle_timer;
	/* called when nothing has happened for idle_exit seconds; decides whether that is the end
	 */
	void (*idle)(void *context);
	void *idle_context;
};

/* Returns NULL and *ret_problem where it cannot start. OPTIONS' texts must outlive the broker. */
struct broker *broker_new(const struct broker_options *options, char **ret_problem);
void broker_free(struct broker *broker);

/* Reads configuration and profiles again, off the main loop; what is faulty is logged. */
void broker_reload(struct broker *broker);

/* Something happened: the time until idle() begins again, if there is nothing to do any more. */
void broker_touch(struct broker *broker);
