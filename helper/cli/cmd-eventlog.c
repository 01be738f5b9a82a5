/*
 * tpmgate eventlog: copies the firmware's event log to standard output or into a file.
 */
#include "cli/cli.h"
#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>

static int write_all(int fd, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t written = write(fd, bytes, size);

		if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			bytes += written;
			size -= (size_t)written;
		}
	}
	return 0;
}

/* NAME is where it goes, for people. */
static enum cli_exit copy_log(int log, int output, const char *name)
{
	uint8_t bytes[65536];

	for (;;) {
		ssize_t got = read(log, bytes, sizeof bytes);
		int r;

		if (got == 0)
			return CLI_OK;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return cli_fail(
				CLI_FAILED, "cannot read the event log: %s", strerror(errno));
		r = write_all(output, bytes, (size_t)got);
		if (r < 0)
			return cli_fail(CLI_FAILED, "cannot write %s: %s", name, strerror(-r));
	}
}

enum cli_exit cmd_eventlog(const struct cli *cli)
{
	const char *path = cli->arguments[0];
	struct tpmgate_message message;
	CLEANUP_FD int log = -1;
	CLEANUP_FD int file = -1;

	if (!path && isatty(STDOUT_FILENO))
		return cli_fail(CLI_USAGE,
			"an event log is not for terminals. Readable: tpmgate eventlog FILE, then "
			"tpm2_eventlog FILE");
	log = tpmgate_eventlog(&cli->options, &message);
	if (log < 0)
		return cli_fail_call(log, &message);
	if (!path)
		return copy_log(log, STDOUT_FILENO, "standard output");
	/* it names the machine: for nobody else */
	file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
	if (file < 0)
		return cli_fail(CLI_FAILED, "cannot write %s: %s", path, strerror(errno));
	return copy_log(log, file, path);
}
