#pragma once
/*
 * What the tests of libtpmgate begin with: a fake broker, and options that name its socket.
 */
#include "client/tpmgate.h"
#include "fake-broker.h"

extern struct fake_broker broker;
extern struct tpmgate_options options;
extern struct tpmgate_message message;

int client_scene_setup(void **state);
int client_scene_teardown(void **state); /* fails if a descriptor stayed open */

/* Calls tpmgate_open() while the broker answers as it was told. */
int open_once(void);

/* The message has PART in it. */
void assert_message(const char *part);
