/*
 * tpmgate status: all that bears on the question "why does it not work for me", and the answer.
 */
#include "cli/advice.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/standing.h"
#include "client/client.h"

#include <stdio.h>

struct status {
	const char *socket;
	const char *source;
	const char *wanted;
	int broker; /* 0 or enum tpmgate_error */
	struct tpmgate_message message;
	struct facts facts;
	struct lists lists;
	struct standing standing;
	struct advice advice;
};

static void status_read(const struct cli *cli, struct status *status)
{
	struct tpmgate_options options = cli->options;

	options.timeout_ms = CLI_FACTS_TIMEOUT_MS;
	status->socket = client_socket(&options, &status->source);
	status->wanted = client_profiles(&options);
	facts_read(&status->facts);
	status->broker = lists_read_devices(&status->lists, &options, &status->message);
	if (status->broker == 0)
		status->broker = lists_read_profiles(&status->lists, &options, &status->message);
	if (status->broker == 0)
		status->broker = lists_read_sessions(&status->lists, &options, &status->message);
	if (status->broker == 0)
		standing_read(&options, &status->standing);
	advice_read(&(struct advice_input){.facts = &status->facts,
			    .lists = &status->lists,
			    .standing = &status->standing,
			    .socket = status->socket,
			    .source = status->source,
			    .wanted = status->wanted,
			    .broker = status->broker},
		&status->advice);
}

static const char *group_text(const struct facts_group *group)
{
	if (!group->exists)
		return "no such group here";
	if (group->listed)
		return group->effective ? "yes" : "yes, but not in this login";
	return group->effective ? "in this login only" : "no";
}

static const char *broker_text(int broker)
{
	return broker == 0                     ? "answers"
	       : broker == TPMGATE_E_NO_BROKER ? "none"
					       : "does not answer as it should";
}

static void print_chip(const struct facts_chip *chip)
{
	if (chip->version == 1)
		puts("           the kernel shows a TPM 1.2");
	else
		printf("           the kernel shows %s: %s\n", chip->node,
			!chip->node_present ? "no such node"
			: chip->node_usable ? "open to you directly"
					    : "not open to you directly, as it should be");
}

static void status_print(const struct status *status)
{
	const struct facts *facts = &status->facts;
	const struct lists *lists = &status->lists;

	printf("Broker     %s at %s (%s)\n", broker_text(status->broker), status->socket,
		status->source);
	if (status->broker < 0)
		printf("           %s\n", status->message.text);
	puts(lists->device_count > 0 ? "TPM        served by the broker"
				     : "TPM        none served by a broker");
	cmd_devices_text(lists, "           ");
	for (size_t i = 0; i < facts->chip_count; i++)
		print_chip(&facts->chips[i]);
	if (facts->chip_count == 0)
		puts("           the kernel shows none");
	printf("You        %s%s\n", facts->user, facts->over_ssh ? ", over ssh" : "");
	printf("           in group %s: %s\n", facts->users.name, group_text(&facts->users));
	printf("           in group %s: %s\n", facts->direct.name, group_text(&facts->direct));
	if (status->broker == 0) {
		puts("Profiles   (yes: at once; prompt: after a password)");
		cmd_profiles_text(lists, "           ");
		puts(facts->uid == 0 ? "Sessions   of everybody" : "Sessions   of yours");
		cmd_sessions_text(lists, "           ");
		standing_print(&status->standing);
	}
	puts("Next");
	for (size_t i = 0; i < status->advice.count; i++)
		printf("  - %s\n", status->advice.lines[i]);
}

static void json_group(struct json *json, const struct facts_group *group)
{
	json_open(json, NULL, '{');
	json_text(json, "name", group->name);
	json_bool(json, "exists", group->exists);
	json_bool(json, "listed", group->listed);
	json_bool(json, "effective", group->effective);
	json_close(json, '}');
}

static void json_chip(struct json *json, const struct facts_chip *chip)
{
	json_open(json, NULL, '{');
	json_number(json, "version", chip->version);
	json_text(json, "node", chip->node[0] ? chip->node : NULL);
	json_bool(json, "present", chip->node_present);
	json_bool(json, "usable", chip->node_usable);
	json_close(json, '}');
}

static void status_json(const struct status *status)
{
	const struct facts *facts = &status->facts;
	struct json json = {.stream = stdout};

	json_open(&json, NULL, '{');
	json_text(&json, "version", TPMGATE_VERSION);
	json_open(&json, "broker", '{');
	json_bool(&json, "answers", status->broker == 0);
	json_text(&json, "socket", status->socket);
	json_text(&json, "source", status->source);
	json_text(&json, "problem", status->broker < 0 ? status->message.text : NULL);
	json_close(&json, '}');
	cmd_devices_json(&status->lists, &json, "devices");
	json_open(&json, "kernel", '[');
	for (size_t i = 0; i < facts->chip_count; i++)
		json_chip(&json, &facts->chips[i]);
	json_close(&json, ']');
	json_text(&json, "user", facts->user);
	json_number(&json, "uid", facts->uid);
	json_bool(&json, "ssh", facts->over_ssh);
	json_open(&json, "groups", '[');
	json_group(&json, &facts->users);
	json_group(&json, &facts->direct);
	json_close(&json, ']');
	json_text(&json, "wanted", status->wanted);
	json_bool(&json, "works", status->advice.works);
	cmd_profiles_json(&status->lists, &json, "profiles");
	cmd_sessions_json(&status->lists, &json, "sessions");
	standing_json(&status->standing, &json);
	json_open(&json, "next", '[');
	for (size_t i = 0; i < status->advice.count; i++)
		json_text(&json, NULL, status->advice.lines[i]);
	json_close(&json, ']');
	json_close(&json, '}');
	putchar('\n');
}

enum cli_exit cmd_status(const struct cli *cli)
{
	struct status status = {.broker = 0};
	enum cli_exit code;

	status_read(cli, &status);
	if (cli->json)
		status_json(&status);
	else
		status_print(&status);
	code = status.broker < 0 || status.lists.device_count == 0 ? CLI_NO_TPM : CLI_OK;
	standing_done(&status.standing);
	lists_done(&status.lists);
	return code;
}
