/*
 * tpmgate status: all that bears on the question "why does it not work for me", and the answer.
 */
#include "cli/advice.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/standing.h"
#include "client/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define INDENT "           "

struct status {
	const char *socket;
	const char *source;
	const char *wanted;
	int broker; /* 0 or enum tpmgate_error */
	enum reach reach;
	struct tpmgate_message message;
	struct facts facts;
	struct lists lists;
	struct standing standing;
	struct properties properties;
	struct advice advice;
};

/* The TPM that is meant; NULL: none that there is. */
static const struct tpmgate_device *status_device(const struct cli *cli, const struct lists *lists)
{
	const char *name = cli->options.device;

	for (size_t i = 0; i < lists->device_count; i++)
		if (name && *name ? strcmp(lists->devices[i]->name, name) == 0
				  : lists->devices[i]->is_default)
			return lists->devices[i];
	return NULL;
}

/* Nobody waits for a TPM that serves one session at a time, and has one. */
static void status_ask_tpm(
	const struct cli *cli, const struct tpmgate_options *options, struct status *status)
{
	const struct tpmgate_device *device = status_device(cli, &status->lists);

	if (!device)
		return;
	if (device->is_single && device->sessions > 0)
		snprintf(status->properties.problem.text, sizeof status->properties.problem.text,
			"the TPM serves one session at a time, and has one");
	else
		properties_read(options, &status->properties);
}

static void status_read(const struct cli *cli, struct status *status)
{
	struct tpmgate_options options = cli->options;

	options.timeout_ms = CLI_FACTS_TIMEOUT_MS;
	status->socket = client_socket(&options, &status->source);
	status->wanted = client_profiles(&options);
	facts_read(cli->facts_root, &status->facts);
	status->broker = lists_read_devices(&status->lists, &options, &status->message);
	if (status->broker == 0)
		status->broker = lists_read_profiles(&status->lists, &options, &status->message);
	if (status->broker == 0)
		status->broker =
			lists_read_sessions(&status->lists, &options, false, &status->message);
	if (status->broker == 0) {
		standing_read(&options, &status->standing);
		status_ask_tpm(cli, &options, status);
	}
	status->reach = reach_judge(status->socket, status->broker);
	advice_read(&(struct advice_input){.facts = &status->facts,
			    .lists = &status->lists,
			    .standing = &status->standing,
			    .properties = &status->properties,
			    .socket = status->socket,
			    .source = status->source,
			    .wanted = status->wanted,
			    .broker = status->broker,
			    .reach = status->reach},
		&status->advice);
}

static void print_properties(const struct properties *properties)
{
	static const char *const states[] = {[LOCKOUT_UNKNOWN] = "the TPM does not say",
		[LOCKOUT_NO] = "no",
		[LOCKOUT_NEAR] = "near: nobody may try a password that the TPM would count",
		[LOCKOUT_YES] = "yes: the TPM has locked everybody out"};

	if (!properties->known) {
		printf("Lockout    not known: %s\n", properties->problem.text[0]
							     ? properties->problem.text
							     : "there is no TPM to ask");
		return;
	}
	printf("Lockout    %s\n", states[properties->lockout]);
	printf(INDENT "%" PRIu32 " wrong authorizations counted now, %" PRIu32 " lock it",
		properties->counter, properties->maximum);
	if (properties->interval > 0)
		printf("; one is taken back every %" PRIu32 " s\n", properties->interval);
	else
		puts("; none is counted, because the recovery time is 0");
}

static const char *group_text(const struct facts_group *group)
{
	if (!group->exists)
		return "no such group here";
	if (group->listed)
		return group->effective ? "yes" : "yes, but not in this login";
	return group->effective ? "in this login only" : "no";
}

static void print_node(const struct chip_node *node, const char *rule)
{
	if (!node->present) {
		printf(INDENT "  %s: no such node\n", node->path);
		return;
	}
	printf(INDENT "  %s: %s:%s %04o, ", node->path, node->owner, node->group, node->mode);
	if (node->as_rules)
		(void)fputs("as the rules give it", stdout);
	else
		printf("not as the rules give it (%s)", rule);
	puts(node->usable ? "; open to you directly"
			  : "; not open to you directly, as it should be");
}

static void print_chip(const struct chip *chip)
{
	static const char *const versions[] = {"a TPM", "a TPM 1.2", "a TPM 2.0"};
	bool known = chip->version == 1 || chip->version == 2;

	printf(INDENT "the kernel shows %s: %s", chip->name, versions[known ? chip->version : 0]);
	if (chip->driver[0])
		printf(", driver %s", chip->driver);
	if (chip->description[0])
		printf(", %s", chip->description);
	if (chip->maker[0])
		printf(", made by %s", chip->maker);
	putchar('\n');
	if (chip->node.path[0])
		print_node(&chip->node, CHIPS_NODE_RULE);
	if (chip->raw.present)
		print_node(&chip->raw, CHIPS_RAW_RULE);
}

static void print_rules(const struct facts *facts)
{
	puts("Rules      of udev, which say whose the nodes are");
	for (size_t i = 0; i < facts->rule_count; i++) {
		const struct udev_rule *rule = &facts->rules[i];

		printf(INDENT "%s (%s): %s\n", rule->path, rule->from,
			rule->state == UDEV_RULE_APPLIES  ? "applies"
			: rule->state == UDEV_RULE_MASKED ? "is empty, and switches off others of "
							    "its name"
							  : "does not apply: another directory has "
							    "a file of this name");
	}
	if (facts->rule_count == 0)
		puts(INDENT "none");
}

static void status_print(const struct status *status)
{
	const struct facts *facts = &status->facts;
	const struct lists *lists = &status->lists;

	printf("Broker     %s at %s (%s)\n", reach_text(status->reach), status->socket,
		status->source);
	if (status->broker < 0)
		printf(INDENT "%s\n", status->message.text);
	puts(lists->device_count > 0 ? "TPM        served by the broker"
				     : "TPM        none served by a broker");
	cmd_devices_text(lists, INDENT);
	if (status->properties.known)
		printf(INDENT "made by %s (%s), firmware %s\n", status->properties.maker,
			status->properties.model, status->properties.firmware);
	for (size_t i = 0; i < facts->chip_count; i++)
		print_chip(&facts->chips[i]);
	if (facts->chip_count == 0)
		puts(INDENT "the kernel shows none");
	print_rules(facts);
	printf("You        %s%s\n", facts->user, facts->over_ssh ? ", over ssh" : "");
	printf(INDENT "in group %s: %s\n", facts->users.name, group_text(&facts->users));
	printf(INDENT "in group %s: %s\n", facts->direct.name, group_text(&facts->direct));
	if (status->broker == 0) {
		puts("Profiles   (yes: at once; prompt: after a password)");
		cmd_profiles_text(lists, INDENT);
		puts(facts->uid == 0 ? "Sessions   of everybody" : "Sessions   of yours");
		cmd_sessions_text(lists, INDENT);
		print_properties(&status->properties);
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

static void json_node(struct json *json, const char *key, const struct chip_node *node)
{
	char mode[8];

	if (!node->path[0]) {
		json_text(json, key, NULL);
		return;
	}
	snprintf(mode, sizeof mode, "%04o", node->mode);
	json_open(json, key, '{');
	json_text(json, "path", node->path);
	json_bool(json, "present", node->present);
	json_text(json, "owner", node->present ? node->owner : NULL);
	json_text(json, "group", node->present ? node->group : NULL);
	json_text(json, "mode", node->present ? mode : NULL);
	json_bool(json, "as_rules", node->as_rules);
	json_bool(json, "usable", node->usable);
	json_close(json, '}');
}

static void json_chip(struct json *json, const struct chip *chip)
{
	json_open(json, NULL, '{');
	json_text(json, "name", chip->name);
	json_number(json, "version", chip->version);
	json_text(json, "driver", chip->driver[0] ? chip->driver : NULL);
	json_text(json, "description", chip->description[0] ? chip->description : NULL);
	json_text(json, "maker", chip->maker[0] ? chip->maker : NULL);
	json_node(json, "node", &chip->node);
	json_node(json, "raw_node", &chip->raw);
	json_close(json, '}');
}

static void json_rule(struct json *json, const struct udev_rule *rule)
{
	json_open(json, NULL, '{');
	json_text(json, "path", rule->path);
	json_text(json, "from", rule->from);
	json_text(json, "state", udev_rules_state(rule->state));
	json_close(json, '}');
}

static void json_properties(struct json *json, const struct properties *properties)
{
	bool known = properties->known;

	json_open(json, "tpm", '{');
	json_bool(json, "known", known);
	json_text(json, "problem", properties->problem.text[0] ? properties->problem.text : NULL);
	json_text(json, "maker", known ? properties->maker : NULL);
	json_text(json, "model", known ? properties->model : NULL);
	json_text(json, "firmware", known ? properties->firmware : NULL);
	json_text(json, "lockout", properties_lockout(properties->lockout));
	json_number(json, "counter", properties->counter);
	json_number(json, "maximum", properties->maximum);
	json_number(json, "interval", properties->interval);
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
	json_text(&json, "state", reach_name(status->reach));
	json_text(&json, "problem", status->broker < 0 ? status->message.text : NULL);
	json_close(&json, '}');
	cmd_devices_json(&status->lists, &json, "devices");
	json_properties(&json, &status->properties);
	json_open(&json, "kernel", '[');
	for (size_t i = 0; i < facts->chip_count; i++)
		json_chip(&json, &facts->chips[i]);
	json_close(&json, ']');
	json_open(&json, "rules", '[');
	for (size_t i = 0; i < facts->rule_count; i++)
		json_rule(&json, &facts->rules[i]);
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
