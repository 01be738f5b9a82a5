#include "cli/cli.h"
#include "cli/json.h"
#include "cli/lists.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <time.h>

static void print_session(const struct tpmgate_session *session, const char *indent)
{
	const struct passwd *user = getpwuid(session->uid);
	char number[16];
	char started[32] = "?";
	time_t time = (time_t)session->started;
	struct tm local;

	snprintf(number, sizeof number, "%" PRIu32, session->uid);
	if (localtime_r(&time, &local))
		(void)strftime(started, sizeof started, "%Y-%m-%d %H:%M:%S", &local);
	printf("%s%-20" PRIu64 " %-10s pid %-8" PRId32 " %s  %s on %s\n", indent, session->session,
		user ? user->pw_name : number, session->pid, started, session->profiles,
		session->device);
}

void cmd_sessions_text(const struct lists *lists, const char *indent)
{
	for (size_t i = 0; i < lists->session_count; i++)
		print_session(lists->sessions[i], indent);
	if (lists->session_count == 0)
		printf("%snone open\n", indent);
}

void cmd_sessions_json(const struct lists *lists, struct json *json, const char *key)
{
	json_open(json, key, '[');
	for (size_t i = 0; i < lists->session_count; i++) {
		const struct tpmgate_session *session = lists->sessions[i];
		char number[24];

		/* a text: many readers of JSON cut numbers to 53 bits */
		snprintf(number, sizeof number, "%" PRIu64, session->session);
		json_open(json, NULL, '{');
		json_text(json, "session", number);
		json_number(json, "started", session->started);
		json_number(json, "uid", session->uid);
		json_number(json, "pid", session->pid);
		json_text(json, "profiles", session->profiles);
		json_text(json, "device", session->device);
		json_close(json, '}');
	}
	json_close(json, ']');
}

enum cli_exit cmd_sessions(const struct cli *cli)
{
	struct tpmgate_options options = cli->options;
	struct lists lists = {.profiles = NULL};
	struct json json = {.stream = stdout};
	struct tpmgate_message message;
	int r;

	if (!cli->all || !options.interactive) /* or somebody may have to type a password */
		options.timeout_ms = CLI_FACTS_TIMEOUT_MS;
	r = lists_read_sessions(&lists, &options, cli->all, &message);
	if (r == 0 && cli->json) {
		cmd_sessions_json(&lists, &json, NULL);
		putchar('\n');
	} else if (r == 0) {
		cmd_sessions_text(&lists, "");
	}
	lists_done(&lists);
	return r < 0 ? cli_fail_call(r, &message) : CLI_OK;
}
