#include "cli-scene.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fake_broker broker;

struct cli_scene cli;
int non_blocking;

int cli_scene_setup(void **state)
{
	(void)state;
	fake_broker_init(&broker);
	setenv("TPMGATE_SOCKET", broker.path, 1);
	unsetenv("TPMGATE_PROFILES");
	return 0;
}

int cli_scene_teardown(void **state)
{
	(void)state;
	fake_broker_done(&broker);
	return 0;
}

void start(char *const arguments[])
{
	int in[2];
	int out[2];
	int err[2];

	memset(&cli, 0, sizeof cli);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(err, O_CLOEXEC), 0);
	cli.pid = fork();
	assert_true(cli.pid >= 0);
	if (cli.pid == 0) {
		fcntl(in[0], F_SETFL, non_blocking);
		fcntl(out[1], F_SETFL, non_blocking);
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		execv(TPMGATE_PATH, arguments);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	cli.in = in[1];
	cli.out = out[0];
	cli.err = err[0];
}

void close_stream(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static size_t read_all(int *fd, char *text, size_t size)
{
	size_t used = 0;
	ssize_t got;

	if (*fd < 0)
		return 0;
	while ((got = read(*fd, text + used, size - 1 - used)) > 0)
		used += (size_t)got;
	text[used] = '\0';
	close_stream(fd);
	return used;
}

int finish(void)
{
	int status;

	cli.out_size = read_all(&cli.out, cli.out_text, sizeof cli.out_text);
	read_all(&cli.err, cli.err_text, sizeof cli.err_text);
	close_stream(&cli.in);
	assert_int_equal(waitpid(cli.pid, &status, 0), cli.pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int run(const char *arguments)
{
	static char line[300];
	char *list[16] = {(char[]){"tpmgate"}};
	char *rest = line;
	size_t count = 1;

	snprintf(line, sizeof line, "%s", arguments);
	while (*line && count < 15 && (list[count] = strsep(&rest, " ")) != NULL)
		count++;
	start(list);
	close_stream(&cli.in);
	return finish();
}

void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in \"%s\"", part, text);
}
