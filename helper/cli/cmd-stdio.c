/*
 * tpmgate stdio: carries whole commands from standard input to the session and whole responses
 * back, one at a time.
 *
 * Owns: the session. Trusts: neither side's size fields.
 *
 *	state    | waits for                | then
 *	---------+--------------------------+----------------------------------
 *	COMMAND  | standard input readable  | a whole command: SEND; its end: done
 *	SEND     | session writable         | all written: RESPONSE
 *	RESPONSE | session readable         | a whole response: WRITE
 *	WRITE    | standard output writable | all written: COMMAND
 *
 * So at the end of standard input nothing is outstanding. In every state a reader of standard
 * output who goes away ends the session, and its TPM objects with it.
 *
 * The standard streams' file descriptions belong to others as well: their O_NONBLOCK is left as it
 * is, nothing is read without being readable, and what is written at once fits a pipe that poll()
 * calls writable. SIGPIPE is ignored; SIGTERM, which tpm2-tss sends at the end, may end this
 *process anywhere, for the kernel closes the session.
 */
#include "cli/cli.h"
#include "common/cleanup.h"
#include "common/cursor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#define STDIO_HEADER   10   /* bytes: tag, size, code (TPM 2.0 Part 1) */
#define STDIO_MAX_SIZE 4096 /* bytes of a command or a response; a pipe takes as many at once */

enum stdio_state {
	STDIO_COMMAND,
	STDIO_SEND,
	STDIO_RESPONSE,
	STDIO_WRITE,
};

/* What one step came to. */
enum stdio_step {
	STDIO_AGAIN, /* not finished: wait again */
	STDIO_DONE,  /* finished: next state */
	STDIO_END,   /* the other side has gone */
	STDIO_WRONG, /* what came is no TPM message */
	STDIO_ERROR, /* errno says why */
};

struct stdio_message {
	uint8_t bytes[STDIO_MAX_SIZE];
	size_t size; /* 0 while the header is not complete */
	size_t done; /* bytes read, or written */
};

static enum stdio_step step_result(ssize_t r, size_t *done)
{
	if (r > 0) {
		*done += (size_t)r;
		return STDIO_DONE;
	}
	if (r == 0)
		return STDIO_END;
	return errno == EAGAIN || errno == EINTR       ? STDIO_AGAIN
	       : errno == EPIPE || errno == ECONNRESET ? STDIO_END
						       : STDIO_ERROR;
}

/* One read of a message, never beyond its end. */
static enum stdio_step step_read(int fd, struct stdio_message *message)
{
	size_t wanted = message->size ? message->size : STDIO_HEADER;
	enum stdio_step step = step_result(
		read(fd, message->bytes + message->done, wanted - message->done), &message->done);

	if (step != STDIO_DONE || message->done < wanted)
		return step == STDIO_DONE ? STDIO_AGAIN : step;
	if (message->size == 0) {
		struct cursor cursor = cursor_new(message->bytes, STDIO_HEADER);
		uint16_t tag;
		uint32_t size = 0;

		if (cursor_u16(&cursor, &tag) < 0 || cursor_u32(&cursor, &size) < 0 ||
			size < STDIO_HEADER || size > STDIO_MAX_SIZE)
			return STDIO_WRONG;
		message->size = size;
		if (size > STDIO_HEADER)
			return STDIO_AGAIN;
	}
	message->done = 0; /* from here on counts what is written */
	return STDIO_DONE;
}

static enum stdio_step step_write(int fd, struct stdio_message *message)
{
	enum stdio_step step = step_result(
		write(fd, message->bytes + message->done, message->size - message->done),
		&message->done);

	if (step != STDIO_DONE || message->done < message->size)
		return step == STDIO_DONE ? STDIO_AGAIN : step;
	message->size = message->done = 0;
	return STDIO_DONE;
}

/* Waits until STATE can go on. Returns false where nobody reads standard output any more. */
static bool stdio_wait(enum stdio_state state, int session)
{
	struct pollfd output = {.fd = STDOUT_FILENO, .events = state == STDIO_WRITE ? POLLOUT : 0};
	struct pollfd other = {.fd = state == STDIO_COMMAND ? STDIN_FILENO
				     : state == STDIO_WRITE ? -1
							    : session,
		.events = state == STDIO_SEND ? POLLOUT : POLLIN};
	struct pollfd fds[] = {output, other};

	while (poll(fds, 2, -1) < 0)
		if (errno != EINTR)
			return true; /* the read or write that follows says what is wrong */
	return !(fds[0].revents & (POLLERR | POLLHUP | POLLNVAL));
}

static enum cli_exit stdio_fail(enum stdio_state state, enum stdio_step step, size_t done)
{
	static const char *const doing[] = {
		[STDIO_COMMAND] = "read a command from standard input",
		[STDIO_SEND] = "send the command",
		[STDIO_RESPONSE] = "receive the response",
		[STDIO_WRITE] = "write the response to standard output",
	};

	if (step == STDIO_WRONG)
		return cli_fail(
			CLI_FAILED, state == STDIO_COMMAND
					    ? "what is on standard input is not a TPM command"
					    : "what came from the session is not a TPM response");
	if (step == STDIO_ERROR)
		return cli_fail(CLI_FAILED, "cannot %s: %s", doing[state], strerror(errno));
	switch (state) {
	case STDIO_COMMAND:
		if (done == 0)
			return CLI_OK;
		return cli_fail(CLI_FAILED, "standard input ended within a command");
	case STDIO_WRITE:
		return cli_fail(CLI_FAILED, "nobody reads the responses any more");
	default:
		return cli_fail(CLI_FAILED, "the session has ended");
	}
}

static enum cli_exit stdio_pump(int session)
{
	struct stdio_message message = {.size = 0};
	enum stdio_state state = STDIO_COMMAND;

	for (;;) {
		enum stdio_step step = STDIO_ERROR;

		/* A reader who leaves between commands has simply finished. */
		if (!stdio_wait(state, session))
			return state == STDIO_COMMAND && message.done == 0
				       ? CLI_OK
				       : stdio_fail(STDIO_WRITE, STDIO_END, 0);
		switch (state) {
		case STDIO_COMMAND:
			step = step_read(STDIN_FILENO, &message);
			break;
		case STDIO_SEND:
			step = step_write(session, &message);
			break;
		case STDIO_RESPONSE:
			step = step_read(session, &message);
			break;
		case STDIO_WRITE:
			step = step_write(STDOUT_FILENO, &message);
			break;
		}
		if (step == STDIO_DONE)
			state = (enum stdio_state)((state + 1) % (STDIO_WRITE + 1));
		else if (step != STDIO_AGAIN)
			return stdio_fail(state, step, message.done);
	}
}

enum cli_exit cmd_stdio(const struct cli *cli)
{
	struct tpmgate_message message;
	CLEANUP_FD int session = -1;

	if (isatty(STDIN_FILENO) || isatty(STDOUT_FILENO))
		return cli_fail(CLI_USAGE,
			"TPM commands and responses are not for terminals. As a TCTI: "
			"TPM2TOOLS_TCTI=\"cmd:tpmgate stdio\"");
	session = tpmgate_open(&cli->options, &message);
	if (session < 0)
		return cli_fail_call(session, &message);
	(void)signal(SIGPIPE, SIG_IGN);
	return stdio_pump(session);
}
