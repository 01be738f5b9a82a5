/*
 * tpmgate-rm: one TPM for many sessions. Started by the broker with the descriptors of enum rm_fd;
 * see docs/architecture.md. Nobody is authorized here: the broker decides who has a session, and
 * the session's relay what it may do.
 */
#include "common/cleanup.h"
#include "common/rm-protocol.h"
#include "common/sandbox.h"
#include "rm/confine.h"
#include "rm/log.h"
#include "rm/server.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#ifdef TPMGATE_ATTEMPT
/* The test-only build's: tries what confinement must stop, and does not come back. */
void attempt(void);
#endif

#define SPARE_DESCRIPTORS 16 /* the control socket, the TPM's, standard error, a TCTI's own */

struct options {
	const char *tpm;
	unsigned long objects;
	unsigned long sessions;
	unsigned long clients;
	unsigned long timeout;
	bool flush_saved;
};

/* While the broker's clients wait for the first answer, which they do for ten seconds. */
#define START_TIMEOUT 8

static struct manager manager;
static struct rm_message expired; /* what is said when a TCTI does not return */

static int usage(void)
{
	(void)fputs(
		"Usage: tpmgate-rm --tpm unix:PATH|tcti:NAME:CONF --objects N --sessions N "
		"--clients N --timeout SECONDS [--flush-saved]\n"
		"It is started by tpmgate-broker, with a socket that it is told of sessions by; "
		"see tpmgate-rm(8).\n",
		stderr);
	return 2;
}

static bool parse_number(const char *text, unsigned long max, unsigned long *ret_number)
{
	char *end = NULL;
	unsigned long number;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || number == 0 || number > max)
		return false;
	*ret_number = number;
	return true;
}

static bool parse(int argc, char **argv, struct options *ret_options)
{
	static const struct option known[] = {{"tpm", required_argument, NULL, 't'},
		{"objects", required_argument, NULL, 'o'},
		{"sessions", required_argument, NULL, 's'},
		{"clients", required_argument, NULL, 'c'},
		{"timeout", required_argument, NULL, 'w'}, {"flush-saved", no_argument, NULL, 'f'},
		{NULL, 0, NULL, 0}};
	struct options options = {.tpm = NULL};
	bool valid = true;
	int option;

	while (valid && (option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 't':
			options.tpm = optarg;
			break;
		case 'o':
			valid = parse_number(optarg, POLICY_SLOTS_MAX, &options.objects);
			break;
		case 's':
			valid = parse_number(optarg, POLICY_SLOTS_MAX, &options.sessions);
			break;
		case 'c':
			valid = parse_number(optarg, 65536, &options.clients);
			break;
		case 'w':
			valid = parse_number(optarg, 86400, &options.timeout);
			break;
		case 'f':
			options.flush_saved = true;
			break;
		default:
			valid = false;
		}
	}
	*ret_options = options;
	return valid && optind == argc && options.tpm && options.objects > 0 &&
	       options.sessions > 0 && options.clients > 0 && options.timeout > 0;
}

static int tell(enum rm_type type, const char *text)
{
	struct rm_message message = rm_message_new(type, text);

	return sendto(RM_FD_CONTROL, &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL, NULL,
		       0) < 0
		       ? -errno
		       : 0;
}

static void on_alarm(int number)
{
	(void)number;
	/* the broker logs it; only calls that a signal handler may make */
	sendto(RM_FD_CONTROL, &expired, sizeof expired, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
	_exit(1);
}

static int fail(const char *problem)
{
	log_line("%s", problem);
	tell(RM_FAILED, problem);
	return 1;
}

static const char *explain(int error)
{
	switch (error) {
	case -ETIME:
		return "gave no answer in time; it hangs, or serves another program";
	case -EBADMSG:
		return "gave a response that contradicts the command";
	case -EPROTO:
		return "does not start (TPM2_Startup)";
	case -EPIPE:
		return "has closed the connection";
	default:
		return "cannot be reached any more";
	}
}

static int lost(const char *tpm, int error)
{
	char problem[RM_TEXT_SIZE];

	snprintf(problem, sizeof problem, "the TPM at %s %s", tpm, explain(error));
	return fail(problem);
}

/* One for each session and some more, as far as there may be. */
static rlim_t descriptors(const struct options *options)
{
	rlim_t wanted = options->clients + SPARE_DESCRIPTORS;
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < wanted ? limit.rlim_max
										: wanted;
}

static unsigned start_timeout(const struct options *options)
{
	return options->timeout < START_TIMEOUT ? (unsigned)options->timeout : START_TIMEOUT;
}

/* Everything that takes more than the confined process may do. */
static int prepare(const struct options *options, struct backend *backend, struct server *server)
{
	struct sigaction action = {.sa_handler = on_alarm};
	char problem[BACKEND_PROBLEM_SIZE];
	int r = sandbox_close_descriptors(RM_FD_END);

	if (r < 0)
		return fail("cannot close descriptors");
	snprintf(problem, sizeof problem, "the TPM at %s %s", options->tpm, explain(-ETIME));
	expired = rm_message_new(RM_FAILED, problem);
	if (sigaction(SIGALRM, &action, NULL) < 0)
		return fail("cannot set its alarm");
	alarm(start_timeout(options));
	r = backend_open(options->tpm, start_timeout(options), backend, problem);
	alarm(0);
	if (r < 0)
		return fail(problem);
	r = manager_init(&manager, backend, (unsigned)options->clients, (unsigned)options->objects,
		(unsigned)options->sessions);
	if (r == 0)
		r = server_init(server, &manager, backend->fd, (unsigned)options->clients);
	if (r == 0)
		r = confine(backend->tcti != NULL, descriptors(options));
	return r < 0 ? fail("cannot prepare itself: no memory, or no seccomp") : 0;
}

int main(int argc, char **argv)
{
	struct options options;
	struct backend backend;
	struct server server;
	int status;
	int r;

	if (!parse(argc, argv, &options) || fcntl(RM_FD_CONTROL, F_GETFD) < 0)
		return usage();
	status = prepare(&options, &backend, &server);
	if (status != 0)
		return status;
	r = manager_start(&manager, options.flush_saved);
	backend.timeout = (unsigned)options.timeout;
	if (r == 0)
		r = tell(RM_READY, NULL);
#ifdef TPMGATE_ATTEMPT
	attempt();
#endif
	if (r == 0)
		r = server_run(&server);
	if (r == 0)
		r = manager_stop(&manager);
	if (r == 0)
		tell(RM_CLEAN, NULL);
	status = r < 0 ? lost(options.tpm, r) : 0;
	if (backend.tcti)
		backend_close(&backend);
	_exit(status); /* exit() would do more than the confined process may */
}
