#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum cli_exit cmd_revoke(const struct cli *cli)
{
	const char *text = cli->arguments[0];
	struct tpmgate_message message;
	unsigned long long session;
	char *end;
	int r;

	errno = 0;
	session = strtoull(text, &end, 10);
	/* strtoull() takes a sign and spaces, too */
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0)
		return cli_fail(CLI_USAGE,
			"'%s' is not a session's number; tpmgate sessions shows them", text);
	r = tpmgate_revoke(&cli->options, session, &message);
	if (r < 0)
		return cli_fail_call(r, &message);
	printf("session %llu is over\n", session);
	return CLI_OK;
}
