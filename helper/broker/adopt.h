#pragma once
/*
 * Sessions of a broker before this one, which the service manager kept and hands back.
 */
#include "broker/activation.h"
#include "broker/session.h"

/*
 * Takes up the sessions among ACTIVATION's descriptors, and closes with a warning what is named
 * like one and is none.
 */
void adopt_sessions(struct session_list *list, struct activation *activation);

/* The same for the resource manager; before its sessions. */
void adopt_manager(struct rm *rm, struct activation *activation);
