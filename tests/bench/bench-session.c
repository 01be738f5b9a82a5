/*
 * What a session costs: open, one GetRandom and close through a broker, which starts a confined
 * relay for it, against starting /bin/true and waiting for it. The stand-in behind it serves one
 * session at a time, so that the end of one session is part of the next one's opening.
 */
#include "bench.h"
#include "measure.h"
#include "process.h"
#include "random.h"
#include "standin.h"

#include "client/tpmgate.h"
#include "common/cleanup.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define BENCH_SESSION_COUNT      40
#define BENCH_SESSION_TIMEOUT_MS 20000

int bench_write(const char *path, const char *content)
{
	FILE *file = fopen(path, "we");

	if (!file)
		return -errno;

	int failed = fputs(content, file) < 0;

	failed |= fclose(file) != 0;
	return failed ? -EIO : 0;
}

int bench_start_broker(const struct bench *bench, const char *tpm)
{
	char socket_path[BENCH_PATH_SIZE], config[BENCH_PATH_SIZE], profile[BENCH_PATH_SIZE];
	char text[512];
	int r;

	bench_path(bench, "broker.sock", socket_path);
	unlink(socket_path); /* of the broker before this one */
	snprintf(text, sizeof text,
		"[Profile]\nSummary=random numbers, signing keys and TPM sessions\nGroups=%u\n"
		"[Allow]\nCommands=GetRandom;CreatePrimary;Sign;StartAuthSession\n"
		"Hierarchies=OWNER\n",
		(unsigned int)getgid());
	r = bench_write(bench_path(bench, "bench.profile", profile), text);
	if (r == 0)
		r = bench_write(bench_path(bench, "tpmgate.conf", config),
			"[Broker]\nMaxSessionsPerUser=64\n"
			"[Account]\nTpmSessionsPerUser=64\nTpmSessions=64\n");
	if (r < 0)
		return r;

	CLEANUP_FD int listener = process_listen(SOCK_SEQPACKET, socket_path);

	if (listener < 0)
		return listener;

	/* The socket listens before the broker runs, so that nobody waits for it to be ready. */
	const char *const argv[] = {bench->broker, "--tpm", tpm, "--config", config,
		"--profiles-dir", bench->directory, "--relay", bench->relay, "--rm", bench->rm,
		"--state-dir", bench->directory, "--no-polkit", "--idle-exit", "600",
		getuid() == 0 ? "--allow-root" : NULL, NULL};

	return process_start(argv, &listener, 1, PROCESS_LISTEN | PROCESS_QUIET);
}

int bench_open(const struct bench *bench)
{
	char path[BENCH_PATH_SIZE];
	struct tpmgate_options options = {
		.size = sizeof options,
		.socket = bench_path(bench, "broker.sock", path),
		.profiles = "bench",
		.timeout_ms = BENCH_SESSION_TIMEOUT_MS,
	};
	struct tpmgate_message message;
	int fd = tpmgate_open(&options, &message);

	if (fd >= 0)
		return fd;
	fprintf(stderr, "bench-tpmgate: no session: %s (BENCH_LOG=FILE collects logs)\n",
		message.text);
	return -EIO;
}

int bench_session_run(void *context, unsigned int count)
{
	const struct bench *bench = context;

	for (unsigned int i = 0; i < count; i++) {
		CLEANUP_FD int fd = bench_open(bench);
		const struct way way = way_over_fd(&fd);
		int r = fd < 0 ? fd : random_get(&way, 1);

		if (r < 0)
			return r;
	}
	return 0;
}

static int bench_spawn_run(void *context, unsigned int count)
{
	static char path[] = "/bin/true";
	char *argv[] = {path, NULL};

	(void)context;
	for (unsigned int i = 0; i < count; i++) {
		pid_t pid;
		int status;
		int r = posix_spawn(&pid, path, NULL, NULL, argv, environ);

		if (r != 0)
			return -r;
		if (waitpid(pid, &status, 0) < 0)
			return -errno;
		if (status != 0)
			return -ECHILD;
	}
	return 0;
}

int bench_session(const struct bench *bench)
{
	char path[BENCH_PATH_SIZE], tpm[BENCH_PATH_SIZE + 8];
	CLEANUP_FD int listener =
		process_listen(SOCK_STREAM, bench_path(bench, "standin.sock", path));

	if (listener < 0)
		return listener;

	struct bench copy = *bench;
	struct measure measures[] = {
		{.run = bench_spawn_run, .count = BENCH_SESSION_COUNT},
		{.run = bench_session_run, .context = &copy, .count = BENCH_SESSION_COUNT},
	};

	snprintf(tpm, sizeof tpm, "unix:%s", path);

	pid_t standin = process_fork(standin_listen, listener);
	pid_t broker = bench_start_broker(bench, tpm);
	int r = broker < 0 ? broker : measure_interleaved(measures, 2);

	process_end(broker);
	process_end(standin);
	if (r < 0)
		return r;

	double spawn = measure_median(&measures[0]), session = measure_median(&measures[1]);

	printf("open, GetRandom and close\n"
	       "  spawn of /bin/true       %8.0f us\n"
	       "  through the broker       %8.0f us\n"
	       "  ratio                    %8.2f     aim: at most 2\n",
		spawn, session, session / spawn);
	return 0;
}
