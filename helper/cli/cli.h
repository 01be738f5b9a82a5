#pragma once
/*
 * What the verbs of the command `tpmgate` share. A verb is a function in its own file cmd-VERB.c.
 */
#include "client/tpmgate.h"

#include <stdbool.h>
#include <stddef.h>

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_REFUSED = 3,
	CLI_NO_TPM = 4, /* no broker or no TPM */
};

/* What the verbs that only ask for facts wait for the broker: no person has to answer. */
#define CLI_FACTS_TIMEOUT_MS 10000

#define CLI_PROFILE_DIRS 8

struct cli {
	struct tpmgate_options options;
	bool json;
	const char *check;                              /* profiles: a file, NULL: none */
	const char *explain;                            /* profiles: a TPM command, NULL: none */
	const char *profile_dirs[CLI_PROFILE_DIRS + 1]; /* profiles: ends with NULL */
	size_t profile_dir_count;
	const char *user;       /* --for; NULL: not given */
	bool all;               /* sessions: everybody's */
	const char *facts_root; /* status: where /sys, /dev and udev's rules are; "": here */
	char **arguments; /* after the verb: as many as its line in the table says, then NULL */
};

/* Prints "tpmgate: " and the line to stderr and returns CODE. */
enum cli_exit cli_fail(enum cli_exit code, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Prints why a call of libtpmgate returned ERROR, and returns the exit code for it. */
enum cli_exit cli_fail_call(int error, const struct tpmgate_message *message);

enum cli_exit cmd_stdio(const struct cli *cli);
enum cli_exit cmd_status(const struct cli *cli);
enum cli_exit cmd_profiles(const struct cli *cli);
enum cli_exit cmd_devices(const struct cli *cli);
enum cli_exit cmd_sessions(const struct cli *cli);
enum cli_exit cmd_revoke(const struct cli *cli);
enum cli_exit cmd_eventlog(const struct cli *cli);
enum cli_exit cmd_adopt(const struct cli *cli);
enum cli_exit cmd_forget(const struct cli *cli);

/* What `profiles` does with --check and with --explain. */
enum cli_exit cmd_profiles_check(const struct cli *cli);
enum cli_exit cmd_profiles_explain(const struct cli *cli);

struct json;
struct lists;

/* A list as lines of text, each after INDENT, and as a JSON array. */
void cmd_profiles_text(const struct lists *lists, const char *indent);
void cmd_profiles_json(const struct lists *lists, struct json *json, const char *key);
void cmd_devices_text(const struct lists *lists, const char *indent);
void cmd_devices_json(const struct lists *lists, struct json *json, const char *key);
void cmd_sessions_text(const struct lists *lists, const char *indent);
void cmd_sessions_json(const struct lists *lists, struct json *json, const char *key);

/* "yes", "prompt", "no", "faulty" */
const char *cmd_profiles_verdict(enum tpmgate_verdict verdict);
