#pragma once
/*
 * Listening sockets, and what every connection has to pass before it is a client.
 */
#include "broker/activation.h"
#include "broker/broker.h"

struct listener;

struct listener *listener_new(struct broker *broker);
/* Closes the sockets; one that listener_bind() made is removed. */
void listener_free(struct listener *listener);

/*
 * Listens at PATH (SOCK_SEQPACKET, mode 0666). A socket that is there already is replaced if nobody
 * listens on it. Returns false and *ret_problem where that cannot be. Before there is a second
 * thread: the umask is the process's.
 */
bool listener_bind(struct listener *listener, const char *path, char **ret_problem);

/* Takes those of ACTIVATION's descriptors that are ours to listen on. */
void listener_adopt(struct listener *listener, struct activation *activation);

unsigned listener_count(const struct listener *listener);

/* Begins to accept. */
void listener_start(struct listener *listener);

/* Whether a connection waits to be accepted. */
bool listener_has_waiting(const struct listener *listener);
