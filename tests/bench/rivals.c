#include "rivals.h"

#include "manager.h"
#include "process.h"
#include "tcti.h"

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

#define RIVALS_READY_MS     10000
#define RIVALS_TRIES        20  /* to reach tpm2-abrmd ... */
#define RIVALS_PAUSE_MS     100 /* ... after so long each */
#define RIVALS_CONF_SIZE    (BENCH_PATH_SIZE + 64)
#define RIVALS_PROGRAM_SIZE 256

const char *rivals_path(
	const struct rivals *rivals, enum rivals_tpm tpm, char ret_path[BENCH_PATH_SIZE])
{
	char name[32];

	snprintf(name, sizeof name, "swtpm%d", (int)tpm);
	return bench_path(rivals->bench, name, ret_path);
}

static int rivals_start_swtpm(struct rivals *rivals, enum rivals_tpm tpm)
{
	char path[BENCH_PATH_SIZE], control[BENCH_PATH_SIZE + 8], state[BENCH_PATH_SIZE + 16];

	rivals_path(rivals, tpm, path);
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
		r = rivals->swtpms[tpm] = process_start(argv, fds, 2, PROCESS_QUIET);
	for (size_t i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return r < 0 ? r : 0;
}

static int rivals_write_bus(const struct rivals *rivals, const char *program, const char *config)
{
	char swtpm[BENCH_PATH_SIZE], service[BENCH_PATH_SIZE];
	char text[3 * RIVALS_PROGRAM_SIZE];
	int r;

	snprintf(text, sizeof text,
		"<busconfig><type>session</type><listen>unix:path=%s/bus</listen>"
		"<servicedir>%s</servicedir><policy context=\"default\">"
		"<allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/>"
		"</policy></busconfig>\n",
		rivals->bench->directory, rivals->bench->directory);
	r = bench_write(config, text);
	if (r < 0)
		return r;
	snprintf(text, sizeof text,
		"[D-BUS Service]\nName=com.intel.tss2.Tabrmd\n"
		"Exec=%s --session --allow-root --max-connections=%d --tcti=swtpm:path=%s\n",
		program, RIVALS_CLIENTS_MAX, rivals_path(rivals, RIVALS_TPM_ABRMD, swtpm));
	return bench_write(bench_path(rivals->bench, "abrmd.service", service), text);
}

/* A private bus that starts PROGRAM, tpm2-abrmd, when it is first asked for. */
static int rivals_start_bus(struct rivals *rivals, const char *program)
{
	char config[BENCH_PATH_SIZE], bus[BENCH_PATH_SIZE], address[BENCH_PATH_SIZE + 16];
	int ready[2];
	int r = rivals_write_bus(rivals, program, bench_path(rivals->bench, "bus.conf", config));

	if (r < 0)
		return r;
	if (pipe2(ready, O_CLOEXEC) < 0)
		return -errno;

	const char *const argv[] = {"dbus-daemon", "--config-file", config, "--nofork",
		"--nopidfile", "--print-address=3", NULL};
	struct pollfd poll_ready = {.fd = ready[0], .events = POLLIN};

	r = rivals->bus = process_start(argv, &ready[1], 1, PROCESS_QUIET);
	close(ready[1]);
	if (r > 0)
		r = poll(&poll_ready, 1, RIVALS_READY_MS) == 1 && poll_ready.revents & POLLIN
			    ? 0
			    : -ETIMEDOUT;
	close(ready[0]);
	snprintf(address, sizeof address, "unix:path=%s", bench_path(rivals->bench, "bus", bus));
	setenv("DBUS_SESSION_BUS_ADDRESS", address, 1);
	return r;
}

/* tpm2-abrmd has its name on the bus before it has its object there: who asks in between fails. */
static int rivals_wait_abrmd(void)
{
	void *tcti = NULL;
	int r = rivals_open_abrmd(&tcti);

	for (int i = 1; r == -EIO && i < RIVALS_TRIES; i++) {
		(void)fputs("bench-tpmgate: tpm2-abrmd may not be ready yet: once more\n", stderr);
		poll(NULL, 0, RIVALS_PAUSE_MS);
		r = rivals_open_abrmd(&tcti);
	}
	tcti_close(tcti);
	return r;
}

/* Looks NAME up where daemons are. Returns whether it is there. */
static bool rivals_find(const char *name, char ret_path[RIVALS_PROGRAM_SIZE])
{
	static const char *const directories[] = {
		"/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"};

	for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
		snprintf(ret_path, RIVALS_PROGRAM_SIZE, "%s/%s", directories[i], name);
		if (access(ret_path, X_OK) == 0)
			return true;
	}
	printf("comparison with tpm2-abrmd: left out, %s is not installed\n", name);
	return false;
}

int rivals_start(const struct bench *bench, struct rivals *ret_rivals)
{
	struct rivals rivals = {.bench = bench};
	char program[RIVALS_PROGRAM_SIZE];
	int r;

	if (!rivals_find("swtpm", program) || !rivals_find("dbus-daemon", program) ||
		!rivals_find("tpm2-abrmd", program))
		return 1;
	r = tcti_load();
	if (r != 0)
		return r;

	/* tpm2-abrmd is the bus's child, a manager the broker's: both are ours when those end. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (int i = 0; i < RIVALS_TPM_COUNT && r == 0; i++)
		r = rivals_start_swtpm(&rivals, (enum rivals_tpm)i);
	if (r == 0)
		r = rivals_start_bus(&rivals, program);
	if (r == 0)
		r = rivals_wait_abrmd();
	if (r < 0)
		rivals_end(&rivals);
	else
		*ret_rivals = rivals;
	return r;
}

void rivals_end(struct rivals *rivals)
{
	process_end(rivals->bus);
	process_end(rivals->broker);
	process_end(rivals->manager);
	for (size_t i = 0; i < RIVALS_TPM_COUNT; i++)
		process_end(rivals->swtpms[i]);
	while (wait(NULL) > 0)
		;
	*rivals = (struct rivals){.bench = rivals->bench};
}

int rivals_start_broker(struct rivals *rivals, const char *prefix, enum rivals_tpm tpm)
{
	char path[BENCH_PATH_SIZE], spec[BENCH_PATH_SIZE + 16];
	int r;

	process_end(rivals->broker);
	snprintf(spec, sizeof spec, "%s%s", prefix, rivals_path(rivals, tpm, path));
	r = rivals->broker = bench_start_broker(rivals->bench, spec);
	return r < 0 ? r : 0;
}

int rivals_open_swtpm(const struct rivals *rivals, void **ret_tcti)
{
	char path[BENCH_PATH_SIZE], conf[RIVALS_CONF_SIZE];

	snprintf(conf, sizeof conf, "swtpm:path=%s", rivals_path(rivals, RIVALS_TPM_TCTI, path));
	return tcti_open(conf, ret_tcti);
}

int rivals_open_abrmd(void **ret_tcti)
{
	return tcti_open("tabrmd:bus_type=session", ret_tcti);
}

int rivals_open(struct rivals *rivals, bool alone, struct rivals_open *ret_open)
{
	char path[BENCH_PATH_SIZE];
	struct rivals_open *open = ret_open;
	int r;

	*open = (struct rivals_open){.session = -1, .alone = -1, .control = -1};
	r = open->direct = process_connect(rivals_path(rivals, RIVALS_TPM_DIRECT, path));
	if (r >= 0)
		r = open->session = bench_open(rivals->bench);
	if (r >= 0)
		r = rivals_open_swtpm(rivals, &open->swtpm);
	if (r >= 0)
		r = rivals_open_abrmd(&open->abrmd);
	if (r >= 0 && alone)
		r = manager_start(rivals->bench, rivals_path(rivals, RIVALS_TPM_ALONE, path),
			&rivals->manager, &open->control, &open->alone);
	if (r < 0) {
		rivals_close(open);
		return r;
	}
	open->ways[RIVALS_DIRECT] = way_over_fd(&open->direct);
	open->ways[RIVALS_TPMGATE] = way_over_fd(&open->session);
	open->ways[RIVALS_SWTPM] = way_over_tcti(open->swtpm);
	open->ways[RIVALS_ABRMD] = way_over_tcti(open->abrmd);
	open->ways[RIVALS_ALONE] = way_over_fd(&open->alone);
	open->count = alone ? RIVALS_WAYS : RIVALS_ALONE;
	return 0;
}

void rivals_close(struct rivals_open *open)
{
	cleanup_close(&open->direct);
	cleanup_close(&open->session);
	cleanup_close(&open->alone);
	cleanup_close(&open->control);
	tcti_close(open->abrmd);
	tcti_close(open->swtpm);
}

static double rivals_print_way(
	const char *name, const struct measure *measure, const struct measure *direct)
{
	double median = measure_median(measure);

	if (!direct) {
		printf("  %-24s %8.0f us\n", name, median);
		return 0;
	}
	printf("  %-24s %8.0f us     adds %.0f us\n", name, median,
		median - measure_median(direct));
	return median - measure_median(direct);
}

void rivals_print(const char *title, const struct measure *measures, size_t count, double aim)
{
	const struct measure *direct = &measures[RIVALS_DIRECT], *swtpm = &measures[RIVALS_SWTPM];
	double alone = 0, tpmgate, abrmd;

	printf("%s\n", title);
	rivals_print_way("direct, socket", direct, NULL);
	if (count > RIVALS_ALONE)
		alone = rivals_print_way("tpmgate-rm, no relay", &measures[RIVALS_ALONE], direct);
	tpmgate = rivals_print_way("through tpmgate", &measures[RIVALS_TPMGATE], direct);
	rivals_print_way("direct, TCTI for swtpm", swtpm, NULL);
	abrmd = rivals_print_way("through tpm2-abrmd", &measures[RIVALS_ABRMD], swtpm);
	printf("  %-24s %8.2f     aim: at most %g\n", "ratio of what they add", tpmgate / abrmd,
		aim);
	if (count > RIVALS_ALONE)
		printf("  %-24s %8.2f     the same\n", "of tpmgate-rm alone", alone / abrmd);
}
