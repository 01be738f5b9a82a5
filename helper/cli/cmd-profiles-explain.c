/*
 * tpmgate profiles --explain COMMAND: which of the installed profiles allow a TPM command, under
 * which conditions, and which rule of the filter refuses it to the others. Asks no broker.
 */
#include "broker/profile-set.h"
#include "cli/cli.h"
#include "cli/explain.h"
#include "cli/json.h"
#include "common/rules.h"

#include <stdio.h>
#include <string.h>

/* A profile and what came out for the command. */
struct verdict {
	const struct profile *profile;
	const char *rule; /* that refuses it; NULL: it is allowed */
	GPtrArray *conditions;
};

struct explanation {
	const struct tpm_command_info *info;
	struct profile_set *set;
	GArray *verdicts; /* struct verdict */
};

static void verdict_clear(gpointer data)
{
	struct verdict *verdict = data;

	g_ptr_array_unref(verdict->conditions);
}

/* Those that --profile names, or all. Prints why where there is none. */
static enum cli_exit explain_verdicts(struct explanation *explanation, const char *names)
{
	g_auto(GStrv) wanted = g_strsplit(names ? names : "", "+", -1);

	for (size_t i = 0; wanted[i]; i++)
		if (!profile_set_find(explanation->set, wanted[i]))
			return cli_fail(CLI_USAGE, "there is no profile '%s'", wanted[i]);
	if (profile_set_count(explanation->set) == 0)
		return cli_fail(CLI_FAILED, "there are no profiles: --profiles-dir names others");
	for (guint i = 0; i < profile_set_count(explanation->set); i++) {
		struct verdict verdict = {.profile = profile_set_get(explanation->set, i)};

		if (wanted[0] &&
			!g_strv_contains((const char *const *)wanted, verdict.profile->name))
			continue;
		verdict.conditions = g_ptr_array_new_with_free_func(g_free);
		if (!verdict.profile->fault)
			verdict.rule = explain_command(
				&verdict.profile->policy, explanation->info, verdict.conditions);
		g_array_append_val(explanation->verdicts, verdict);
	}
	return CLI_OK;
}

static void explain_load(const struct cli *cli, struct explanation *explanation)
{
	g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func(g_free);
	struct config_paths paths = {
		.profile_dirs = cli->profile_dir_count > 0 ? cli->profile_dirs : NULL};
	g_auto(GStrv) dirs = config_profile_dirs(&paths);
	g_autofree char *problem = NULL;
	struct config config;

	if (!config_load(&paths, &config, &problem)) {
		g_ptr_array_add(problems, g_steal_pointer(&problem));
		config = config_new();
	}
	explanation->set = profile_set_load((const char *const *)dirs, &config, problems);
	for (guint i = 0; i < problems->len; i++) {
		const char *text = g_ptr_array_index(problems, i);

		/* what is wrong with one profile is shown with it, and nobody asked for its groups
		 */
		if (!g_str_has_prefix(text, "profile '"))
			fprintf(stderr, "warning: %s\n", text);
	}
	config_done(&config);
}

/* ---- printing ------------------------------------------------------------------------------- */

/* Prints the verdicts that are allowed, or those that are not, under a HEADING. */
static void print_verdicts(const struct explanation *explanation, bool allowed, const char *heading)
{
	for (guint i = 0; i < explanation->verdicts->len; i++) {
		const struct verdict *verdict =
			&g_array_index(explanation->verdicts, struct verdict, i);
		const struct profile *profile = verdict->profile;

		if ((!profile->fault && !verdict->rule) != allowed)
			continue;
		if (heading)
			puts(heading);
		heading = NULL;
		if (profile->fault)
			printf("  %-10s faulty: %s\n", profile->name, profile->fault);
		else if (verdict->rule)
			printf("  %-10s %s: %s\n", profile->name, verdict->rule,
				rule_reason(verdict->rule));
		else if (verdict->conditions->len == 0)
			printf("  %-10s without conditions\n", profile->name);
		for (guint j = 0; j < verdict->conditions->len; j++)
			printf("  %-10s %s\n", j == 0 ? profile->name : "",
				(const char *)g_ptr_array_index(verdict->conditions, j));
	}
}

static void explain_print(const struct explanation *explanation)
{
	const struct tpm_command_info *info = explanation->info;
	const char *demand = explain_parameters(info->code);

	printf("TPM2_%s (0x%08X)%s%s\n", info->name, info->code, info->alias ? ", also TPM2_" : "",
		info->alias ? info->alias : "");
	if (info->scope == TPM_SCOPE_PROFILE) {
		for (unsigned i = 0; i < tpm_command_handle_count(info); i++)
			printf("  %s: %s\n", info->handles[i].name,
				explain_use(info->handles[i].use));
		if (demand)
			printf("  %s\n", demand);
	}
	print_verdicts(explanation, true, "Allowed by");
	print_verdicts(explanation, false, "Refused by");
	printf("\n%c%s.\n", g_ascii_toupper(explain_own[0]), explain_own + 1);
}

static void json_verdict(struct json *json, const struct verdict *verdict)
{
	const char *fault = verdict->profile->fault;

	json_open(json, NULL, '{');
	json_text(json, "name", verdict->profile->name);
	json_bool(json, "allowed", !fault && !verdict->rule);
	json_text(json, "fault", fault);
	json_text(json, "rule", verdict->rule);
	json_text(json, "reason", verdict->rule ? rule_reason(verdict->rule) : NULL);
	json_text(json, "advice", verdict->rule ? rule_advice(verdict->rule) : NULL);
	json_open(json, "conditions", '[');
	for (guint i = 0; i < verdict->conditions->len; i++)
		json_text(json, NULL, g_ptr_array_index(verdict->conditions, i));
	json_close(json, ']');
	json_close(json, '}');
}

static void explain_json(const struct explanation *explanation)
{
	const struct tpm_command_info *info = explanation->info;
	struct json json = {.stream = stdout};

	json_open(&json, NULL, '{');
	json_text(&json, "command", info->name);
	json_text(&json, "alias", info->alias);
	json_number(&json, "code", info->code);
	json_open(&json, "handles", '[');
	for (unsigned i = 0; i < tpm_command_handle_count(info); i++) {
		json_open(&json, NULL, '{');
		json_text(&json, "name", info->handles[i].name);
		json_text(&json, "demand", explain_use(info->handles[i].use));
		json_text(&json, "rules", explain_use_rules(info->handles[i].use));
		json_close(&json, '}');
	}
	json_close(&json, ']');
	json_text(&json, "parameters", explain_parameters(info->code));
	json_open(&json, "profiles", '[');
	for (guint i = 0; i < explanation->verdicts->len; i++)
		json_verdict(&json, &g_array_index(explanation->verdicts, struct verdict, i));
	json_close(&json, ']');
	json_close(&json, '}');
	putchar('\n');
}

enum cli_exit cmd_profiles_explain(const struct cli *cli)
{
	struct explanation explanation = {.info = explain_find(cli->explain)};
	enum cli_exit code;

	if (!explanation.info)
		return cli_fail(
			CLI_USAGE, "'%s' is no command of the TPM 2.0 specification", cli->explain);
	explanation.verdicts = g_array_new(FALSE, FALSE, sizeof(struct verdict));
	g_array_set_clear_func(explanation.verdicts, verdict_clear);
	explain_load(cli, &explanation);
	code = explain_verdicts(&explanation, cli->options.profiles);
	if (code == CLI_OK && cli->json)
		explain_json(&explanation);
	else if (code == CLI_OK)
		explain_print(&explanation);
	g_array_unref(explanation.verdicts);
	profile_set_unref(explanation.set);
	return code;
}
