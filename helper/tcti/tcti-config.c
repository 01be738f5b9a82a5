#include "tcti/tcti-config.h"

#include "client/call.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

static int tcti_config_set(
	struct tpmgate_options *options, char *item, struct tpmgate_message *message)
{
	char *value = strchr(item, '=');

	if (!value || value[1] == '\0')
		return call_fail(message, TPMGATE_E_ARGUMENT,
			"'%s' in the TCTI configuration is not of the form key=value. Known: %s",
			item, TCTI_CONFIG_HELP);
	*value++ = '\0';
	if (strcmp(item, "socket") == 0) {
		options->socket = value;
	} else if (strcmp(item, "profile") == 0) {
		options->profiles = value;
	} else if (strcmp(item, "device") == 0) {
		options->device = value;
	} else if (strcmp(item, "interactive") == 0) {
		options->interactive = strcmp(value, "yes") == 0;
		if (!options->interactive && strcmp(value, "no") != 0)
			return call_fail(message, TPMGATE_E_ARGUMENT,
				"interactive= in the TCTI configuration is yes or no, not '%s'",
				value);
	} else {
		return call_fail(message, TPMGATE_E_ARGUMENT,
			"unknown key '%s' in the TCTI configuration. Known: %s", item,
			TCTI_CONFIG_HELP);
	}
	return 0;
}

int tcti_config_read(
	const char *text, struct tpmgate_message *message, struct tcti_config *ret_config)
{
	size_t length = text ? strlen(text) : 0;
	char *rest = ret_config->text;
	char *item;

	ret_config->options = (struct tpmgate_options){.size = sizeof ret_config->options};
	if (length == 0)
		return 0;
	if (length >= sizeof ret_config->text)
		return call_fail(message, TPMGATE_E_ARGUMENT,
			"the TCTI configuration has more than %zu bytes",
			sizeof ret_config->text - 1);
	memcpy(ret_config->text, text, length + 1);
	while ((item = strsep(&rest, ",")) != NULL) {
		int r = tcti_config_set(&ret_config->options, item, message);

		if (r < 0)
			return r;
	}
	return 0;
}

/* TSS2_LOG: module+level, joined by commas; "all" is every module, and one's own name wins. */
int tcti_config_may_log(const char *tss2_log)
{
	static const char *const modules[] = {"all+", "tcti+"};
	bool silent = false;

	if (!tss2_log)
		return 1;
	for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
		const char *level = strcasestr(tss2_log, modules[i]);

		if (level)
			silent = strncasecmp(level + strlen(modules[i]), "none", 4) == 0;
	}
	return !silent;
}
