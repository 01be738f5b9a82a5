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

static const char *reason_name(enum tpmgate_reason reason)
{
	switch (reason) {
	case TPMGATE_REASON_ROOT:
		return "root";
	case TPMGATE_REASON_GROUP:
		return "group";
	case TPMGATE_REASON_POLKIT:
		return "polkit";
	case TPMGATE_REASON_NO_POLKIT:
		return "no-polkit";
	case TPMGATE_REASON_NONE:
	default:
		return NULL;
	}
}

/* Why yes, prompt or no, in a line of its own. */
static void print_reason(const struct tpmgate_profile *profile, const char *indent)
{
	bool yes = profile->verdict == TPMGATE_YES;
	bool prompt = profile->verdict == TPMGATE_PROMPT;

	if (profile->reason == TPMGATE_REASON_NONE)
		return;
	printf("%s%-18s ", indent, "");
	if (profile->reason == TPMGATE_REASON_ROOT)
		(void)fputs("because you are root", stdout);
	else if (profile->reason == TPMGATE_REASON_GROUP)
		printf("by a group of yours: it lets in %s", profile->group);
	else if (profile->reason == TPMGATE_REASON_NO_POLKIT)
		printf("polkit has to allow %s, and cannot be asked", profile->action);
	else
		printf(yes       ? "polkit allows %s here"
			: prompt ? "polkit wants a password for %s"
				 : "polkit does not allow %s here",
			profile->action);
	if (!yes && profile->group[0])
		printf("; members of %s are let in", profile->group);
	putchar('\n');
}

void cmd_profiles_text(const struct lists *lists, const char *indent)
{
	for (size_t i = 0; i < lists->profile_count; i++) {
		const struct tpmgate_profile *profile = lists->profiles[i];

		printf("%s%-10s %-7s %s\n", indent, profile->name,
			cmd_profiles_verdict(profile->verdict), profile->summary);
		print_reason(profile, indent);
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
		json_text(json, "reason", reason_name(profile->reason));
		json_text(json, "group", profile->group[0] ? profile->group : NULL);
		json_text(json, "action", profile->action[0] ? profile->action : NULL);
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
