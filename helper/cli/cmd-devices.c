#include "cli/cli.h"
#include "cli/json.h"
#include "cli/lists.h"

#include <inttypes.h>
#include <stdio.h>

void cmd_devices_text(const struct lists *lists, const char *indent)
{
	for (size_t i = 0; i < lists->device_count; i++) {
		const struct tpmgate_device *device = lists->devices[i];

		printf("%s%-10s %s, %s, %" PRIu32 " open %s%s%s\n", indent, device->name,
			device->path, device->description, device->sessions,
			device->sessions == 1 ? "session" : "sessions",
			device->is_single ? ", one at a time" : "",
			device->is_default ? " (default)" : "");
	}
}

void cmd_devices_json(const struct lists *lists, struct json *json, const char *key)
{
	json_open(json, key, '[');
	for (size_t i = 0; i < lists->device_count; i++) {
		const struct tpmgate_device *device = lists->devices[i];

		json_open(json, NULL, '{');
		json_text(json, "name", device->name);
		json_text(json, "path", device->path);
		json_text(json, "description", device->description);
		json_bool(json, "default", device->is_default);
		json_bool(json, "single", device->is_single);
		json_number(json, "sessions", device->sessions);
		json_close(json, '}');
	}
	json_close(json, ']');
}

enum cli_exit cmd_devices(const struct cli *cli)
{
	struct tpmgate_options options = cli->options;
	struct lists lists = {.profiles = NULL};
	struct json json = {.stream = stdout};
	struct tpmgate_message message;
	size_t count;
	int r;

	options.timeout_ms = CLI_FACTS_TIMEOUT_MS;
	r = lists_read_devices(&lists, &options, &message);
	if (r == 0 && cli->json) {
		cmd_devices_json(&lists, &json, NULL);
		putchar('\n');
	} else if (r == 0) {
		cmd_devices_text(&lists, "");
	}
	count = lists.device_count;
	lists_done(&lists);
	if (r < 0)
		return cli_fail_call(r, &message);
	if (count == 0)
		return cli_fail(CLI_NO_TPM, "the broker knows no TPM 2.0. More: tpmgate status");
	return CLI_OK;
}
