#pragma once
/*
 * The service manager's protocol (sd_notify(3)): NOTIFY_SOCKET, and its descriptor store. Without
 * one every call does nothing.
 */
#include <stdbool.h>
#include <stddef.h>

struct notify;

/* ADDRESS is $NOTIFY_SOCKET, a path or "@" and an abstract name; NULL: there is none. */
struct notify *notify_new(const char *address);
void notify_free(struct notify *notify);

/* Lines of assignments. What cannot be sent at once is sent later, in order. */
void notify_send(struct notify *notify, const char *lines);

void notify_ready(struct notify *notify);
void notify_reloading(struct notify *notify);
void notify_stopping(struct notify *notify);

/* Stores FD, which stays the caller's, under NAME; drops all that is stored under it. */
void notify_store(struct notify *notify, const char *name, int fd);
void notify_drop(struct notify *notify, const char *name);
