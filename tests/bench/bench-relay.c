/*
 * What the relay costs a command: client, relay and an instant-answer TPM stand-in, against client
 * and stand-in alone, over the same kind of socket with messages of the same sizes. Two hops
 * instead of one make 2.0 the floor.
 */
#include "bench.h"
#include "measure.h"
#include "process.h"
#include "random.h"
#include "standin.h"

#include "common/account-protocol.h"
#include "common/cleanup.h"
#include "common/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define BENCH_RELAY_COUNT      2000
#define BENCH_RELAY_TIMEOUT_MS 10000

static int bench_relay_image(void)
{
	struct policy_image image = policy_image_new();
	struct policy *policy = &image.policies[0];

	image.backend = POLICY_BACKEND_STREAM;
	image.session = 1;
	image.uid = getuid();
	image.pid = getpid();
	image.policy_count = 1;
	memcpy(policy->name, "bench", sizeof "bench");
	policy_allow_command(policy, RANDOM_COMMAND_CODE);
	return policy_image_to_memfd(&image);
}

static int bench_relay_wait_ready(int account)
{
	struct pollfd ready = {.fd = account, .events = POLLIN};
	struct account_message message;
	char packet[sizeof message + 1];

	if (poll(&ready, 1, BENCH_RELAY_TIMEOUT_MS) <= 0)
		return -ETIMEDOUT;

	ssize_t got = recv(account, packet, sizeof packet, 0);

	if (got < 0)
		return -errno;

	int r = account_message_decode(packet, (size_t)got, ACCOUNT_FROM_RELAY, &message);

	return r < 0 ? r : message.type == ACCOUNT_READY ? 0 : -EBADMSG;
}

/* Starts a relay between TPM and CLIENT, which are its ends. */
static int bench_relay_start(const struct bench *bench, int client, int tpm, pid_t *ret_pid)
{
	int account[2];

	if (fcntl(tpm, F_SETFL, O_NONBLOCK) < 0 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, account) < 0)
		return -errno;

	/* Ours stays open for as long as the relay is to serve: as long as this program runs. */
	CLEANUP_FD int relays = account[1];
	CLEANUP_FD int image = bench_relay_image();

	if (image < 0)
		return image;

	const char *const argv[] = {bench->relay, NULL};
	const int fds[] = {client, tpm, image, relays};

	_Static_assert(RELAY_FD_CLIENT == 3 && RELAY_FD_TPM == 4 && RELAY_FD_IMAGE == 5 &&
			       RELAY_FD_ACCOUNT == 6,
		"the order in fds");

	pid_t pid = process_start(argv, fds, sizeof fds / sizeof fds[0], 0);

	close(TAKE_FD(relays)); /* so that its death is seen */
	if (pid < 0)
		return pid;
	*ret_pid = pid;
	return bench_relay_wait_ready(account[0]);
}

static int bench_relay_measure(const struct bench *bench, pid_t pids[3])
{
	int direct[2], behind[2], client[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, direct) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, behind) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, client) < 0)
		return -errno;
	pids[0] = process_fork(standin_serve, direct[1]);
	pids[1] = process_fork(standin_serve, behind[1]);
	close(direct[1]);
	close(behind[1]);

	int r = bench_relay_start(bench, client[1], behind[0], &pids[2]);

	close(client[1]);
	close(behind[0]);
	if (r < 0)
		return r;

	struct way ways[] = {way_over_fd(&direct[0]), way_over_fd(&client[0])};
	struct measure measures[] = {
		{.run = random_run, .context = &ways[0], .count = BENCH_RELAY_COUNT},
		{.run = random_run, .context = &ways[1], .count = BENCH_RELAY_COUNT},
	};

	r = measure_interleaved(measures, 2);
	close(direct[0]);
	close(client[0]);
	if (r < 0)
		return r;

	double bare = measure_median(&measures[0]), relayed = measure_median(&measures[1]);

	printf("command round trip, TPM stand-in that answers at once\n"
	       "  socketpair               %8.1f us\n"
	       "  through the relay        %8.1f us\n"
	       "  ratio                    %8.2f     aim: at most 2.5\n"
	       "  the filter's share       %8.2f %%\n",
		bare, relayed, relayed / bare, 100 * bench_filter_random() / relayed);
	return 0;
}

int bench_relay(const struct bench *bench)
{
	pid_t pids[3] = {0};
	int r = bench_relay_measure(bench, pids);

	/* The relay first: without its TPM it would complain. */
	for (size_t i = 3; i > 0; i--)
		process_end(pids[i - 1]);
	return r;
}
