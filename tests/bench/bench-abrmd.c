/*
 * The same two measurements over a real software TPM, beside those of tpm2-abrmd, the resource
 * manager in user space: what does each add to talking to the software TPM directly? Each way gets
 * an swtpm of its own, since one serves a single client. tpm2-abrmd reaches its own by the TCTI
 * for swtpm, so that is what it is compared with; both clients' TCTIs stay loaded throughout.
 */
#include "bench.h"
#include "measure.h"
#include "process.h"
#include "random.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#ifndef BENCH_TSS

int bench_abrmd(const struct bench *bench)
{
	(void)bench;
	puts("comparison with tpm2-abrmd: left out, built without the headers of tpm2-tss");
	return 0;
}

#else

#include <dlfcn.h>
#include <tss2/tss2_tcti.h>

#define BENCH_ABRMD_COUNT        200
#define BENCH_ABRMD_SESSIONS     10
#define BENCH_ABRMD_TIMEOUT_MS   10000
#define BENCH_ABRMD_TCTI_SIZE    (BENCH_PATH_SIZE + 64)
#define BENCH_ABRMD_PROGRAM_SIZE 256

enum { SWTPM_DIRECT, SWTPM_TPMGATE, SWTPM_TCTI, SWTPM_ABRMD, SWTPM_COUNT };

/* Everything that is open or runs; half-built ones can be ended. */
struct abrmd {
	const struct bench *bench;
	pid_t swtpm[SWTPM_COUNT];
	pid_t broker;
	pid_t bus;
	char program[BENCH_ABRMD_PROGRAM_SIZE]; /* of tpm2-abrmd */
};

struct tcti {
	TSS2_RC (*open)(const char *conf, TSS2_TCTI_CONTEXT **ret_context);
	void (*close)(TSS2_TCTI_CONTEXT **context);
	TSS2_TCTI_CONTEXT *context;
	char conf[BENCH_ABRMD_TCTI_SIZE];
};

/* Loads what a TCTI needs, for as long as this program runs: loading is not what is measured. */
static int tcti_load(struct tcti *tcti)
{
	static const char *const names[] = {
		"libtss2-tctildr.so.0", "libtss2-tcti-swtpm.so.0", "libtss2-tcti-tabrmd.so.0"};
	static void *libraries[sizeof names / sizeof names[0]];

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		libraries[i] = dlopen(names[i], RTLD_NOW);
		if (!libraries[i]) {
			printf("comparison with tpm2-abrmd: left out, %s\n", dlerror());
			return 1;
		}
	}
	*(void **)&tcti->open = dlsym(libraries[0], "Tss2_TctiLdr_Initialize");
	*(void **)&tcti->close = dlsym(libraries[0], "Tss2_TctiLdr_Finalize");
	return tcti->open && tcti->close ? 0 : -ENOSYS;
}

static int tcti_start(struct tcti *tcti)
{
	TSS2_RC rc = tcti->open(tcti->conf, &tcti->context);

	if (rc == TSS2_RC_SUCCESS)
		return 0;
	fprintf(stderr, "bench-tpmgate: TCTI %s: 0x%08x\n", tcti->conf, rc);
	return -EIO;
}

/* For measure.h. */
static int tcti_run(void *context, unsigned int count)
{
	struct tcti *tcti = context;

	for (unsigned int i = 0; i < count; i++) {
		uint8_t response[RANDOM_RESPONSE_SIZE];
		size_t size = sizeof response;

		if (Tss2_Tcti_Transmit(tcti->context, sizeof random_command, random_command) !=
				TSS2_RC_SUCCESS ||
			Tss2_Tcti_Receive(tcti->context, &size, response, BENCH_ABRMD_TIMEOUT_MS) !=
				TSS2_RC_SUCCESS ||
			!random_response_check(response, size))
			return -EIO;
	}
	return 0;
}

static int tcti_session_run(void *context, unsigned int count)
{
	struct tcti *tcti = context;

	for (unsigned int i = 0; i < count; i++) {
		int r = tcti_start(tcti);

		if (r < 0)
			return r;
		r = tcti_run(tcti, 1);
		tcti->close(&tcti->context);
		if (r < 0)
			return r;
	}
	return 0;
}

static int direct_session_run(void *context, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		CLEANUP_FD int fd = process_connect(context);
		int r = fd < 0 ? fd : random_get(fd, 1);

		if (r < 0)
			return r;
	}
	return 0;
}

static const char *abrmd_swtpm_path(
	const struct abrmd *abrmd, size_t which, char ret_path[BENCH_PATH_SIZE])
{
	char name[32];

	snprintf(name, sizeof name, "swtpm%zu", which);
	return bench_path(abrmd->bench, name, ret_path);
}

static int abrmd_start_swtpm(struct abrmd *abrmd, size_t which)
{
	char path[BENCH_PATH_SIZE], control[BENCH_PATH_SIZE + 8], state[BENCH_PATH_SIZE + 16];

	abrmd_swtpm_path(abrmd, which, path);
	snprintf(control, sizeof control, "%s.ctrl", path);
	snprintf(state, sizeof state, "dir=%s.state", path);
	if (mkdir(state + strlen("dir="), 0700) < 0)
		return -errno;

	/* It inherits sockets that listen already, so there is nothing to wait for. */
	const int fds[] = {process_listen(SOCK_STREAM, path), process_listen(SOCK_STREAM, control)};
	const char *const argv[] = {"swtpm", "socket", "--tpm2", "--tpmstate", state, "--server",
		"type=unixio,fd=3", "--ctrl", "type=unixio,fd=4", "--flags",
		"not-need-init,startup-clear", NULL};
	int r = fds[0] < 0 ? fds[0] : fds[1] < 0 ? fds[1] : 0;

	if (r == 0)
		r = abrmd->swtpm[which] = process_start(argv, fds, 2, PROCESS_QUIET);
	for (size_t i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return r < 0 ? r : 0;
}

/* A private bus that starts tpm2-abrmd when it is first asked for. */
static int abrmd_start_bus(struct abrmd *abrmd)
{
	char config[BENCH_PATH_SIZE], swtpm[BENCH_PATH_SIZE], bus[BENCH_PATH_SIZE];
	char address[BENCH_PATH_SIZE + 16];
	char text[3 * BENCH_ABRMD_PROGRAM_SIZE];
	int ready[2];
	int r;

	snprintf(text, sizeof text,
		"<busconfig><type>session</type><listen>unix:path=%s/bus</listen>"
		"<servicedir>%s</servicedir><policy context=\"default\">"
		"<allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/>"
		"</policy></busconfig>\n",
		abrmd->bench->directory, abrmd->bench->directory);
	r = bench_write(bench_path(abrmd->bench, "bus.conf", config), text);
	if (r < 0)
		return r;
	snprintf(text, sizeof text,
		"[D-BUS Service]\nName=com.intel.tss2.Tabrmd\n"
		"Exec=%s --session --allow-root --tcti=swtpm:path=%s\n",
		abrmd->program, abrmd_swtpm_path(abrmd, SWTPM_ABRMD, swtpm));
	r = bench_write(bench_path(abrmd->bench, "abrmd.service", bus), text);
	if (r < 0)
		return r;
	if (pipe2(ready, O_CLOEXEC) < 0)
		return -errno;

	const char *const argv[] = {"dbus-daemon", "--config-file", config, "--nofork",
		"--nopidfile", "--print-address=3", NULL};
	struct pollfd poll_ready = {.fd = ready[0], .events = POLLIN};

	r = abrmd->bus = process_start(argv, &ready[1], 1, PROCESS_QUIET);
	close(ready[1]);
	if (r > 0)
		r = poll(&poll_ready, 1, BENCH_ABRMD_TIMEOUT_MS) == 1 && poll_ready.revents & POLLIN
			    ? 0
			    : -ETIMEDOUT;
	close(ready[0]);
	snprintf(address, sizeof address, "unix:path=%s", bench_path(abrmd->bench, "bus", bus));
	setenv("DBUS_SESSION_BUS_ADDRESS", address, 1);
	return r;
}

static void abrmd_print(const char *title, const struct measure measures[4])
{
	double tpmgate = measure_median(&measures[1]) - measure_median(&measures[0]);
	double abrmd = measure_median(&measures[3]) - measure_median(&measures[2]);

	printf("%s, software TPM\n"
	       "  direct, socket           %8.0f us\n"
	       "  through tpmgate          %8.0f us     adds %.0f us\n"
	       "  direct, TCTI for swtpm   %8.0f us\n"
	       "  through tpm2-abrmd       %8.0f us     adds %.0f us\n"
	       "  ratio of what they add   %8.2f     aim: at most 0.5\n",
		title, measure_median(&measures[0]), measure_median(&measures[1]), tpmgate,
		measure_median(&measures[2]), measure_median(&measures[3]), abrmd, tpmgate / abrmd);
}

static int abrmd_measure_commands(struct abrmd *abrmd, struct tcti *swtpm, struct tcti *tabrmd)
{
	char path[BENCH_PATH_SIZE];
	CLEANUP_FD int direct = process_connect(abrmd_swtpm_path(abrmd, SWTPM_DIRECT, path));
	CLEANUP_FD int session = bench_open(abrmd->bench);
	int r = direct < 0 ? direct : session < 0 ? session : 0;

	if (r == 0)
		r = tcti_start(swtpm);
	if (r < 0)
		return r;
	r = tcti_start(tabrmd);
	if (r == 0) {
		struct measure measures[] = {
			{.run = random_run, .context = &direct, .count = BENCH_ABRMD_COUNT},
			{.run = random_run, .context = &session, .count = BENCH_ABRMD_COUNT},
			{.run = tcti_run, .context = swtpm, .count = BENCH_ABRMD_COUNT},
			{.run = tcti_run, .context = tabrmd, .count = BENCH_ABRMD_COUNT},
		};

		r = measure_interleaved(measures, 4);
		if (r == 0)
			abrmd_print("command round trip", measures);
		tabrmd->close(&tabrmd->context);
	}
	swtpm->close(&swtpm->context);
	return r;
}

static int abrmd_measure_sessions(struct abrmd *abrmd, struct tcti *swtpm, struct tcti *tabrmd)
{
	char path[BENCH_PATH_SIZE];
	struct bench bench = *abrmd->bench;

	abrmd_swtpm_path(abrmd, SWTPM_DIRECT, path);

	struct measure measures[] = {
		{.run = direct_session_run, .context = path, .count = BENCH_ABRMD_SESSIONS},
		{.run = bench_session_run, .context = &bench, .count = BENCH_ABRMD_SESSIONS},
		{.run = tcti_session_run, .context = swtpm, .count = BENCH_ABRMD_SESSIONS},
		{.run = tcti_session_run, .context = tabrmd, .count = BENCH_ABRMD_SESSIONS},
	};
	int r = measure_interleaved(measures, 4);

	if (r == 0)
		abrmd_print("open, GetRandom and close", measures);
	return r;
}

static int abrmd_measure(struct abrmd *abrmd, struct tcti *swtpm, struct tcti *tabrmd)
{
	char path[BENCH_PATH_SIZE], tpm[BENCH_PATH_SIZE + 8];
	int r = 0;

	for (size_t i = 0; i < SWTPM_COUNT && r == 0; i++)
		r = abrmd_start_swtpm(abrmd, i);
	if (r < 0)
		return r;
	snprintf(tpm, sizeof tpm, "unix:%s", abrmd_swtpm_path(abrmd, SWTPM_TPMGATE, path));
	r = abrmd->broker = bench_start_broker(abrmd->bench, tpm);
	if (r > 0)
		r = abrmd_start_bus(abrmd);
	if (r < 0)
		return r;

	snprintf(swtpm->conf, sizeof swtpm->conf, "swtpm:path=%s",
		abrmd_swtpm_path(abrmd, SWTPM_TCTI, path));
	snprintf(tabrmd->conf, sizeof tabrmd->conf, "tabrmd:bus_type=session");
	r = abrmd_measure_commands(abrmd, swtpm, tabrmd);
	return r < 0 ? r : abrmd_measure_sessions(abrmd, swtpm, tabrmd);
}

/* Looks NAME up where daemons are. Returns whether it is there. */
static int abrmd_find(const char *name, char ret_path[BENCH_ABRMD_PROGRAM_SIZE])
{
	static const char *const directories[] = {
		"/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"};

	for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
		snprintf(ret_path, BENCH_ABRMD_PROGRAM_SIZE, "%s/%s", directories[i], name);
		if (access(ret_path, X_OK) == 0)
			return 1;
	}
	printf("comparison with tpm2-abrmd: left out, %s is not installed\n", name);
	return 0;
}

int bench_abrmd(const struct bench *bench)
{
	struct abrmd abrmd = {.bench = bench};

	if (!abrmd_find("swtpm", abrmd.program) || !abrmd_find("dbus-daemon", abrmd.program) ||
		!abrmd_find("tpm2-abrmd", abrmd.program))
		return 0;

	struct tcti swtpm = {0};
	int r = tcti_load(&swtpm);

	if (r != 0)
		return r < 0 ? r : 0;

	struct tcti tabrmd = swtpm;

	/* tpm2-abrmd is the bus's child, ends with the bus and is then ours to wait for. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	r = abrmd_measure(&abrmd, &swtpm, &tabrmd);
	process_end(abrmd.bus);
	process_end(abrmd.broker);
	for (size_t i = 0; i < SWTPM_COUNT; i++)
		process_end(abrmd.swtpm[i]);
	while (wait(NULL) > 0)
		;
	return r;
}

#endif
