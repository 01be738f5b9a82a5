#pragma once
/*
 * The TPMs that sessions can have. The only file that knows libudev.
 */
#include "common/policy.h"
#include "common/protocol.h"

#include <glib.h>
#include <stdbool.h>

/* Names of TPMs that are no device nodes. */
#define DEVICE_UNIX "unix"
#define DEVICE_RM   "rm"

struct device {
	char name[sizeof((struct protocol_device *)0)->name];
	char path[sizeof((struct protocol_device *)0)->path];
	char description[sizeof((struct protocol_device *)0)->description];
	unsigned number;             /* N of tpmrmN; the lowest is the default */
	enum policy_backend backend; /* POLICY_BACKEND_STREAM: see stream.h; _MANAGER: rm.h */
};

struct device_list;

/* NAME was removed: what its sessions have leads nowhere. */
typedef void (*device_gone)(void *context, const char *name);

/*
 * SPEC is empty for the TPMs that udev knows, a path of a device node, "unix:PATH", "rm:unix:PATH"
 * or "rm:tcti:NAME:CONF". Returns NULL and *ret_problem for anything else.
 */
struct device_list *device_list_new(
	const char *spec, device_gone gone, void *context, char **ret_problem);
void device_list_free(struct device_list *list);

/* The PATH of "unix:PATH", or NULL. */
const char *device_list_socket(const struct device_list *list);
/* What follows "rm:", or NULL. */
const char *device_list_managed(const struct device_list *list);

guint device_list_count(const struct device_list *list);
const struct device *device_list_get(const struct device_list *list, guint i); /* 0: the default */

/* NAME, or the default where it is empty. Returns NULL and *ret_problem, which the caller frees. */
const struct device *device_list_find(
	const struct device_list *list, const char *name, char **ret_problem);

/* Opens a device node. Returns the descriptor, or a negative errno and *ret_problem. */
int device_open(const struct device *device, char **ret_problem);
