/*
 * tpmgate: what a person types. Reads the options, which all verbs share, and calls the verb.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct verb {
	const char *name;
	const char *arguments; /* for people */
	int least;             /* how many of them there must be */
	int most;
	bool has_json;
	enum cli_exit (*run)(const struct cli *cli);
	const char *summary;
	const char *help;
};

static const struct verb verbs[] = {
	{"status", "", 0, 0, true, cmd_status,
		"what works here, what does not, and what to do about it",
		"Shows the broker, the TPMs, what you may do and why not more, your groups\n"
		"and open sessions, what is recorded as yours, what was refused lately, and what\n"
		"to do next. Ends with 4 where there is no broker or no TPM.\n"},
	{"profiles", "", 0, 0, true, cmd_profiles, "what a session may do, and which you may have",
		"Lists the profiles: whether you may have them, and what each allows.\n"
		"\n"
		"      --check FILE        say what is wrong with a profile's file, or else what "
		"it\n"
		"                          allows; no broker is asked\n"
		"      --explain COMMAND   say which profiles allow a TPM command, under which\n"
		"                          conditions, and why the others do not; with --profile "
		"of\n"
		"                          these only; no broker is asked\n"
		"      --profiles-dir DIR  explain with the profiles in DIR only; may be given\n"
		"                          several times\n"},
	{"devices", "", 0, 0, true, cmd_devices, "the TPMs of this machine",
		"Lists the TPMs that the broker serves.\n"},
	{"sessions", "", 0, 0, true, cmd_sessions, "your open sessions",
		"Lists your open sessions; as root everybody's.\n"
		"\n"
		"      --all               everybody's, for administrators: after a password "
		"prompt\n"
		"                          where one is due\n"},
	{"revoke", "ID", 1, 1, false, cmd_revoke, "end an open session",
		"Ends the session with this number, which `tpmgate sessions` shows. Its\n"
		"program gets errors from then on. Other users' sessions are for administrators\n"
		"to end, after a password prompt where one is due.\n"},
	{"eventlog", "[FILE]", 0, 1, false, cmd_eventlog, "what the firmware measured",
		"Writes the event log, in which the firmware has noted what it measured into the\n"
		"PCRs, to FILE or standard output. It is for whom the profile attest is. To read\n"
		"it:\n"
		"\n"
		"  tpmgate eventlog log && tpm2_eventlog log\n"},
	{"adopt", "HANDLE", 1, 1, false, cmd_adopt, "give a user what the TPM has already",
		"Records the NV index or persistent object at HANDLE as the user's that --for\n"
		"names, whosever it was. For administrators. Its public area is read through a\n"
		"session with the profile admin, or with what --profile says.\n"},
	{"forget", "USER", 1, 1, false, cmd_forget, "nothing in the TPM is this user's any more",
		"Removes what is recorded for USER (a name, or a uid whose user is no more), and\n"
		"says what stays in the TPM. For administrators, when a user is removed: the next\n"
		"one with the same uid must not inherit it.\n"},
	{"stdio", "", 0, 0, false, cmd_stdio, "a session on standard input and output",
		"Opens a session; reads TPM commands from standard input and writes the\n"
		"responses to standard output. For programs that know tpm2-tss's cmd TCTI:\n"
		"\n"
		"  TPM2TOOLS_TCTI=\"cmd:tpmgate stdio --profile keys\" tpm2_getrandom --hex 8\n"
		"\n"
		"and for the TPM of another machine: \"cmd:ssh HOST tpmgate stdio\".\n"},
};

static const char options_help[] =
	"Options:\n"
	"      --profile P[+P...]  what the session may do (default: $TPMGATE_PROFILES,\n"
	"                          then keys)\n"
	"      --device NAME       the TPM (default: the broker's first; see tpmgate devices)\n"
	"      --no-interaction    never ask for a password\n"
	"      --socket PATH       the broker's socket (default: $TPMGATE_SOCKET, then\n"
	"                          /run/tpmgate/broker.sock)\n"
	"      --for USER          with adopt: whose it is to be\n"
	"      --json              print facts as JSON (status, profiles, devices, sessions)\n"
	"  -h, --help              print this\n"
	"      --version           print the version\n"
	"\n"
	"Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 no broker or no TPM.\n";

enum option_id {
	OPTION_PROFILE = 256,
	OPTION_DEVICE,
	OPTION_NO_INTERACTION,
	OPTION_SOCKET,
	OPTION_FOR,
	OPTION_JSON,
	OPTION_ALL,
	OPTION_VERSION,
	OPTION_CHECK,
	OPTION_EXPLAIN,
	OPTION_PROFILES_DIR,
	OPTION_FACTS_ROOT,
};

static const struct option options[] = {
	{"profile", required_argument, NULL, OPTION_PROFILE},
	{"device", required_argument, NULL, OPTION_DEVICE},
	{"no-interaction", no_argument, NULL, OPTION_NO_INTERACTION},
	{"socket", required_argument, NULL, OPTION_SOCKET},
	{"for", required_argument, NULL, OPTION_FOR},
	{"json", no_argument, NULL, OPTION_JSON},
	{"all", no_argument, NULL, OPTION_ALL},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, OPTION_VERSION},
	{"check", required_argument, NULL, OPTION_CHECK},
	{"explain", required_argument, NULL, OPTION_EXPLAIN},
	{"profiles-dir", required_argument, NULL, OPTION_PROFILES_DIR},
	{"facts-root", required_argument, NULL, OPTION_FACTS_ROOT}, /* for tests: not in the help */
	{NULL, 0, NULL, 0},
};

enum cli_exit cli_fail(enum cli_exit code, const char *format, ...)
{
	char text[2 * TPMGATE_MESSAGE_SIZE];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	fprintf(stderr, "tpmgate: %s\n", text);
	return code;
}

static enum cli_exit cli_exit_code(int error)
{
	switch (error) {
	case TPMGATE_E_WOULD_PROMPT:
	case TPMGATE_E_DENIED:
	case TPMGATE_E_LIMIT:
		return CLI_REFUSED;
	case TPMGATE_E_NO_BROKER:
	case TPMGATE_E_NO_DEVICE:
		return CLI_NO_TPM;
	case TPMGATE_E_ARGUMENT:
		return CLI_USAGE;
	default:
		return CLI_FAILED;
	}
}

enum cli_exit cli_fail_call(int error, const struct tpmgate_message *message)
{
	enum cli_exit code = cli_exit_code(error);
	bool more = code == CLI_REFUSED && !strstr(message->text, "tpmgate status");
	size_t length = strlen(message->text);
	const char *stop = length > 0 && message->text[length - 1] == '.' ? "" : ".";

	return cli_fail(code, "%s%s%s", message->text, more ? stop : "",
		more ? " More: tpmgate status" : "");
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

static void print_help(const struct verb *verb)
{
	if (verb) {
		printf("Usage: tpmgate %s [OPTION...]%s%s\n\n%s\n%s", verb->name,
			*verb->arguments ? " " : "", verb->arguments, verb->help, options_help);
		return;
	}
	puts("Usage: tpmgate VERB [OPTION...]\n\n"
	     "The machine's TPM 2.0 without privileges.\n\n"
	     "Verbs:");
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		printf("  %-8s %-6s  %s\n", verbs[i].name, verbs[i].arguments, verbs[i].summary);
	printf("\n%s\n`tpmgate VERB --help` says more. Manual: man tpmgate\n", options_help);
}

static enum cli_exit fail_usage(const struct verb *verb)
{
	fprintf(stderr, "Try: tpmgate %s%s--help\n", verb ? verb->name : "", verb ? " " : "");
	return CLI_USAGE;
}

/*
 * Reads the options in ARGV (before the verb if VERB is NULL). Returns true and where the rest
 * begins, or false and the exit code where the program is done.
 */
static bool read_options(int argc, char **argv, const struct verb *verb, struct cli *cli,
	int *ret_rest, enum cli_exit *ret_code)
{
	int option;

	optind = 0; /* a new argv */
	while ((option = getopt_long(argc, argv, verb ? "h" : "+h", options, NULL)) != -1) {
		switch (option) {
		case OPTION_PROFILE:
			cli->options.profiles = optarg;
			break;
		case OPTION_DEVICE:
			cli->options.device = optarg;
			break;
		case OPTION_NO_INTERACTION:
			cli->options.interactive = 0;
			break;
		case OPTION_SOCKET:
			cli->options.socket = optarg;
			break;
		case OPTION_FOR:
			cli->user = optarg;
			break;
		case OPTION_JSON:
			cli->json = true;
			break;
		case OPTION_ALL:
			cli->all = true;
			break;
		case OPTION_CHECK:
			cli->check = optarg;
			break;
		case OPTION_EXPLAIN:
			cli->explain = optarg;
			break;
		case OPTION_PROFILES_DIR:
			if (cli->profile_dir_count == CLI_PROFILE_DIRS) {
				cli_fail(CLI_USAGE, "more than %d times --profiles-dir",
					CLI_PROFILE_DIRS);
				*ret_code = fail_usage(verb);
				return false;
			}
			cli->profile_dirs[cli->profile_dir_count++] = optarg;
			break;
		case OPTION_FACTS_ROOT:
			cli->facts_root = optarg;
			break;
		case 'h':
			print_help(verb);
			*ret_code = CLI_OK;
			return false;
		case OPTION_VERSION:
			puts("tpmgate " TPMGATE_VERSION);
			*ret_code = CLI_OK;
			return false;
		default: /* getopt_long() has said what is wrong */
			*ret_code = fail_usage(verb);
			return false;
		}
	}
	*ret_rest = optind;
	return true;
}

/* A session's descriptor must not become one of the standard streams. */
static int open_standard_streams(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return -errno;
	return 0;
}

static enum cli_exit run(int argc, char **argv)
{
	static char name[] = "tpmgate";
	struct cli cli = {
		.options = {.size = sizeof cli.options, .interactive = 1}, .facts_root = ""};
	const struct verb *verb;
	enum cli_exit code;
	int rest;

	if (argc < 1 || open_standard_streams() < 0)
		return CLI_FAILED;
	argv[0] = name;
	if (!read_options(argc, argv, NULL, &cli, &rest, &code))
		return code;
	if (rest == argc) {
		cli_fail(CLI_USAGE, "what is to be done? A verb is missing");
		return fail_usage(NULL);
	}
	verb = find_verb(argv[rest]);
	if (!verb) {
		cli_fail(CLI_USAGE, "there is no verb '%s'", argv[rest]);
		return fail_usage(NULL);
	}

	argc -= rest;
	argv += rest;
	argv[0] = name;
	if (!read_options(argc, argv, verb, &cli, &rest, &code))
		return code;
	if (argc - rest < verb->least || argc - rest > verb->most) {
		cli_fail(CLI_USAGE, "'%s' takes %s", verb->name,
			verb->most ? verb->arguments : "no arguments");
		return fail_usage(verb);
	}
	if (cli.json && !verb->has_json) {
		cli_fail(CLI_USAGE, "'%s' prints nothing that --json could change", verb->name);
		return fail_usage(verb);
	}
	if ((cli.check || cli.explain || cli.profile_dir_count > 0) && verb->run != cmd_profiles) {
		cli_fail(CLI_USAGE, "--check, --explain and --profiles-dir are for 'profiles'");
		return fail_usage(verb);
	}
	if ((cli.check && cli.explain) || (cli.profile_dir_count > 0 && !cli.explain)) {
		cli_fail(CLI_USAGE, cli.check && cli.explain
					    ? "--check and --explain are two different questions"
					    : "--profiles-dir is for --explain");
		return fail_usage(verb);
	}
	if (cli.all && verb->run != cmd_sessions) {
		cli_fail(CLI_USAGE, "--all is for 'sessions'");
		return fail_usage(verb);
	}
	if (cli.user && verb->run != cmd_adopt) {
		cli_fail(CLI_USAGE, "'%s' is for nobody else: --for is adopt's", verb->name);
		return fail_usage(verb);
	}
	cli.arguments = argv + rest;
	return verb->run(&cli);
}

int main(int argc, char **argv)
{
	enum cli_exit code = run(argc, argv);

	if (fflush(stdout) != 0 || ferror(stdout))
		code = cli_fail(CLI_FAILED, "cannot write to standard output: %s", strerror(errno));
	return (int)code;
}
