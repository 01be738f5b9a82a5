#pragma once
/*
 * What the tests of the command begin with: a fake broker that TPMGATE_SOCKET names, and the real
 * program as a child.
 */
#include "fake-broker.h"

extern struct fake_broker broker;

/* A running tpmgate; our ends of its streams. */
struct cli_scene {
	pid_t pid;
	int in;
	int out;
	int err;
	char out_text[32768];
	char err_text[2048];
	size_t out_size;
};

extern struct cli_scene cli;
extern int non_blocking; /* flags of its standard input and output */

int cli_scene_setup(void **state);
int cli_scene_teardown(void **state);

/* Starts tpmgate; ARGUMENTS ends with NULL. */
void start(char *const arguments[]);
void close_stream(int *fd);

/* Waits for the end, with everything that was printed. Returns the exit code, or -signal. */
int finish(void);

/* Runs `tpmgate ARGUMENTS` (separated by single spaces) to its end. */
int run(const char *arguments);

void assert_has(const char *text, const char *part);
