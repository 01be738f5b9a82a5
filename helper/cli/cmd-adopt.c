/*
 * tpmgate adopt: has an NV index or persistent object that the TPM has already recorded as a
 * user's. Its public area is read here, through a session, because the broker reads nothing that
 * comes from a TPM.
 *
 *	which TPM is meant -> a session of the profile `admin` -> the public area -> ADOPT
 */
#include "cli/cli.h"
#include "cli/exchange.h"
#include "cli/lists.h"
#include "cli/public-area.h"
#include "cli/user.h"
#include "client/client.h"
#include "common/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADOPT_PROFILE    "admin"
#define ADOPT_TIMEOUT_MS 120000 /* other sessions may keep the TPM busy */

static enum cli_exit fail_code(uint32_t handle, uint32_t code)
{
	/* TPM_RC_HANDLE for a handle, from the TPM or a resource manager (Part 2, section 6.6) */
	if ((code & 0xbf) == 0x8b)
		return cli_fail(CLI_FAILED, "the TPM has nothing at 0x%08" PRIx32, handle);
	if (code == 0x000b0120)
		return cli_fail(CLI_REFUSED,
			"the session's profile does not allow to read the public area of "
			"0x%08" PRIx32 "; --profile names another",
			handle);
	return cli_fail(CLI_FAILED,
		"the TPM does not give the public area of 0x%08" PRIx32 ": error 0x%08" PRIx32,
		handle, code);
}

/* Reads the public area of HANDLE through SESSION. */
static enum cli_exit read_area(int session, uint32_t handle, struct protocol_adopt *ret_adopt)
{
	uint8_t command[PUBLIC_AREA_COMMAND];
	uint8_t response[EXCHANGE_MAX];
	ssize_t size;
	int64_t r;

	public_area_command(handle, command);
	size = exchange(session, command, sizeof command, ADOPT_TIMEOUT_MS, response);
	if (size < 0)
		return cli_fail(CLI_FAILED, "the TPM does not answer: %s", strerror((int)-size));
	r = public_area_parse(handle, response, (size_t)size, ret_adopt);
	if (r > 0)
		return fail_code(handle, (uint32_t)r);
	if (r < 0)
		return cli_fail(CLI_FAILED, "the TPM's answer is no public area");
	return CLI_OK;
}

/* The session and the record must be of one TPM, even if another becomes the default meanwhile. */
static enum cli_exit choose_device(struct tpmgate_options *options, char *ret_name, size_t size)
{
	struct lists lists = {.profiles = NULL};
	struct tpmgate_message message;
	int r;

	if (options->device && *options->device)
		return CLI_OK;
	ret_name[0] = '\0';
	r = lists_read_devices(&lists, options, &message);
	for (size_t i = 0; r == 0 && i < lists.device_count; i++)
		if (lists.devices[i]->is_default)
			snprintf(ret_name, size, "%s", lists.devices[i]->name);
	lists_done(&lists);
	if (r < 0)
		return cli_fail_call(r, &message);
	if (!*ret_name)
		return cli_fail(CLI_NO_TPM, "the broker knows no TPM 2.0. More: tpmgate status");
	options->device = ret_name;
	return CLI_OK;
}

static enum cli_exit record(
	const struct tpmgate_options *options, const struct protocol_adopt *adopt)
{
	struct call_question question = {
		.request = protocol_request_new(PROTOCOL_ADOPT), .adopt = *adopt};
	struct call_reply reply = {.fd = -1};
	struct tpmgate_message message;
	char name[64] = "";
	int r = client_ask(options, &question, &message, &reply);

	if (r < 0)
		return cli_fail_call(r, &message);
	call_reply_done(&reply);
	user_name(adopt->uid, name, sizeof name);
	printf("0x%08" PRIx32 " of %s is %s's from now on\n", adopt->handle, options->device, name);
	return CLI_OK;
}

static bool parse_handle(const char *text, uint32_t *ret_handle)
{
	unsigned long long number;
	char *end;

	errno = 0;
	number = strtoull(text, &end, 0);
	/* strtoull() takes a sign and spaces, too */
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || number > UINT32_MAX ||
		protocol_handle_kind((uint32_t)number) == PROTOCOL_KIND_NONE)
		return false;
	*ret_handle = (uint32_t)number;
	return true;
}

enum cli_exit cmd_adopt(const struct cli *cli)
{
	struct tpmgate_options options = cli->options;
	char device[sizeof((struct protocol_device *)0)->name];
	struct protocol_adopt adopt = {0};
	struct tpmgate_message message;
	enum cli_exit code;
	uint32_t handle;
	uint32_t uid;
	CLEANUP_FD int session = -1;

	if (!parse_handle(cli->arguments[0], &handle))
		return cli_fail(CLI_USAGE,
			"'%s' is neither an NV index (0x01000000-0x01ffffff) nor a persistent "
			"handle of the owner's (0x81000000-0x817fffff)",
			cli->arguments[0]);
	if (!cli->user)
		return cli_fail(CLI_USAGE, "whose is it to be? --for USER is missing");
	if (!user_find(cli->user, &uid))
		return cli_fail(CLI_USAGE, "there is no user '%s'", cli->user);
	code = choose_device(&options, device, sizeof device);
	if (code != CLI_OK)
		return code;
	if (!options.profiles)
		options.profiles = ADOPT_PROFILE;
	session = tpmgate_open(&options, &message);
	if (session < 0)
		return cli_fail_call(session, &message);
	code = read_area(session, handle, &adopt);
	if (code != CLI_OK)
		return code;
	adopt.uid = uid;
	return record(&options, &adopt);
}
