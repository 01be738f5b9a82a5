#include "cli/cli.h"
#include "cli/json.h"
#include "cli/lists.h"

#include <stdio.h>

const char *cmd_profiles_verdict(enum tpmgate_verdict verdict)
{
	switch (verdict) {
	case TPMGATE_YES:
		return "yes";
	case TPMGATE_PROMPT:
		return "prompt";
	case TPMGATE_FAULTY:
		return "faulty";
	default:
		return "no";
	}
}

void cmd_profiles_text(const struct lists *lists, const char *indent)
{
	for (size_t i = 0; i < lists->profile_count; i++) {
		const struct tpmgate_profile *profile = lists->profiles[i];

		printf("%s%-10s %-7s %s\n", indent, profile->name,
			cmd_profiles_verdict(profile->verdict), profile->summary);
	}
}

void cmd_profiles_json(const struct lists *lists, struct json *json, const char *key)
{
	json_open(json, key, '[');
	for (size_t i = 0; i < lists->profile_count; i++) {
		const struct tpmgate_profile *profile = lists->profiles[i];

		json_open(json, NULL, '{');
		json_text(json, "name", profile->name);
		json_text(json, "allowed", cmd_profiles_verdict(profile->verdict));
		json_text(json, "summary", profile->summary);
		json_close(json, '}');
	}
	json_close(json, ']');
}

enum cli_exit cmd_profiles(const struct cli *cli)
{
	struct tpmgate_options options = cli->options;
	struct lists lists = {.profiles = NULL};
	struct json json = {.stream = stdout};
	struct tpmgate_message message;
	int r;

	if (cli->check)
		return cmd_profiles_check(cli);
	if (cli->explain)
		return cmd_profiles_explain(cli);
	options.timeout_ms = CLI_FACTS_TIMEOUT_MS;
	r = lists_read_profiles(&lists, &options, &message);
	if (r == 0 && cli->json) {
		cmd_profiles_json(&lists, &json, NULL);
		putchar('\n');
	} else if (r == 0) {
		printf("%-10s %-7s %s\n", "PROFILE", "ALLOWED", "WHAT");
		cmd_profiles_text(&lists, "");
	}
	lists_done(&lists);
	return r < 0 ? cli_fail_call(r, &message) : CLI_OK;
}
