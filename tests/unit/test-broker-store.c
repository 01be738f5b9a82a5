#include "broker-scene.h"

#include "broker/activation.h"
#include "broker/fdstore.h"
#include "broker/notify.h"
#include "common/cleanup.h"
#include "common/policy.h"

#include <fcntl.h>
#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static struct protocol_session longest_session(void)
{
	struct protocol_session session = {
		.session = UINT64_MAX, .started = -1, .uid = UINT32_MAX, .pid = -1};

	memset(session.profiles, 'p', sizeof session.profiles - 1);
	memset(session.device, 'd', sizeof session.device - 1);
	return session;
}

static void test_fdstore_names_carry_everything(void **state)
{
	struct protocol_session sessions[] = {
		{.session = 1795476123456,
			.started = 1795476123,
			.uid = 1000,
			.pid = 4711,
			.profiles = "keys+attest",
			.device = "tpmrm0"},
		{.session = 1, .uid = 0, .pid = 0, .profiles = "a", .device = "unix"},
		longest_session(),
	};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(sessions); i++) {
		struct protocol_session decoded;
		char name[FDSTORE_NAME_SIZE];

		assert_int_equal(fdstore_encode(FDSTORE_ACCOUNT, &sessions[i], name), 0);
		assert_true(strlen(name) <= 255);
		assert_null(strchr(name, ':'));
		assert_int_equal(fdstore_decode(name, &decoded), FDSTORE_ACCOUNT);
		assert_memory_equal(&decoded, &sessions[i], sizeof decoded);
		assert_int_equal(fdstore_encode(FDSTORE_PIDFD, &sessions[i], name), 0);
		assert_int_equal(fdstore_decode(name, &decoded), FDSTORE_PIDFD);
		assert_memory_equal(&decoded, &sessions[i], sizeof decoded);
	}
}

static void test_fdstore_encode_refuses_what_names_cannot_carry(void **state)
{
	static const char *const bad[] = {"", "a b", "a:b", "a,b", "a\n", "\xc3\xbc"};
	char name[FDSTORE_NAME_SIZE];

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct protocol_session session = {.session = 1, .profiles = "keys"};

		g_strlcpy(session.device, bad[i], sizeof session.device);
		assert_true(fdstore_encode(FDSTORE_ACCOUNT, &session, name) < 0);
	}
}

static void test_fdstore_decode_takes_nothing_else(void **state)
{
	static const char *const names[] = {"", "stored", "tpmgate.socket", "tpmgate-a",
		"tpmgate-a,1,1,1,1,unix", "tpmgate-x,1,1,1,1,unix,keys",
		"tpmgate-a,0,1,1,1,unix,keys", "tpmgate-a,01,1,1,1,unix,keys",
		"tpmgate-a,A,1,1,1,unix,keys", "tpmgate-a,1,1,1,1,unix,keys,x",
		"tpmgate-a,1,1,1,1,,keys", "tpmgate-a,1,1,1,1,unix,",
		"tpmgate-a,1,1,100000000,1,unix,keys", "tpmgate-a,1,1,-1,1,unix,keys",
		"tpmgate-a,11111111111111111,1,1,1,unix,keys", "tpmgate-a,1,1,1,1,u nix,keys",
		" tpmgate-a,1,1,1,1,unix,keys"};
	struct protocol_session session;
	g_autofree char *much = g_strdup_printf("tpmgate-a,1,1,1,1,unix,%0*d", 200, 0);

	(void)state;
	assert_int_equal(fdstore_decode("tpmgate-a,1,1,1,1,unix,keys", &session), FDSTORE_ACCOUNT);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		assert_int_equal(fdstore_decode(names[i], &session), FDSTORE_NONE);
	assert_int_equal(fdstore_decode(much, &session), FDSTORE_NONE);
}

static void test_fdstore_rm_names(void **state)
{
	static const enum fdstore_kind kinds[] = {FDSTORE_RM_CONTROL, FDSTORE_RM_PIDFD};
	static const struct rm_lease leases[] = {
		{.object_slots = 1, .session_slots = 1},
		{.object_slots = 10, .session_slots = 3},
		{.object_slots = POLICY_SLOTS_MAX, .session_slots = POLICY_SLOTS_MAX},
	};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(leases); i++)
		for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
			struct rm_lease decoded = {.manager = 77};
			struct protocol_session session;
			char name[FDSTORE_NAME_SIZE];

			fdstore_encode_rm(kinds[k], &leases[i], name);
			assert_null(strchr(name, ':'));
			assert_int_equal(fdstore_decode_rm(name, &decoded), kinds[k]);
			assert_int_equal(decoded.object_slots, leases[i].object_slots);
			assert_int_equal(decoded.session_slots, leases[i].session_slots);
			/* and it is none of a session */
			assert_int_equal(fdstore_decode(name, &session), FDSTORE_NONE);
		}
}

static void test_fdstore_decode_rm_takes_nothing_else(void **state)
{
	static const char *const names[] = {"", "tpmgate-m", "tpmgate-m,a", "tpmgate-m,a,3,",
		"tpmgate-m,a,3,1", "tpmgate-m,0,3", "tpmgate-m,a,0", "tpmgate-m,A,3",
		"tpmgate-m,0a,3", "tpmgate-m,ffffffffff,3", "tpmgate-m,-1,3", "tpmgate-m,a, 3",
		"tpmgate-m,a,3 ", "tpmgate-x,a,3", "tpmgate-a,a,3", "tpmgate-a,1,1,1,1,unix,keys"};
	struct rm_lease lease = {.manager = 77};
	g_autofree char *many = g_strdup_printf("tpmgate-m,%x,3", POLICY_SLOTS_MAX + 1);

	(void)state;
	assert_int_equal(fdstore_decode_rm("tpmgate-m,a,3", &lease), FDSTORE_RM_CONTROL);
	assert_int_equal(fdstore_decode_rm("tpmgate-q,a,3", &lease), FDSTORE_RM_PIDFD);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		assert_int_equal(fdstore_decode_rm(names[i], &lease), FDSTORE_NONE);
	assert_int_equal(fdstore_decode_rm(many, &lease), FDSTORE_NONE);
	assert_int_equal(lease.object_slots, 10);
}

/* The service manager's end at ADDRESS, where a leading '@' stands for an abstract name. */
static int manager_socket(const char *address)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	g_strlcpy(name.sun_path, address, sizeof name.sun_path);
	if (address[0] == '@')
		name.sun_path[0] = '\0';
	assert_int_equal(
		bind(fd, (struct sockaddr *)&name,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address))),
		0);
	return fd;
}

/* One notification; returns the descriptor that came along, or -1. */
static int manager_receive(int fd, char lines[512])
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec data = {.iov_base = lines, .iov_len = 511};
	struct msghdr message = {.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes};
	ssize_t size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *header;
	int got;

	assert_true(size >= 0);
	lines[size] = '\0';
	header = CMSG_FIRSTHDR(&message);
	if (!header)
		return -1;
	memcpy(&got, CMSG_DATA(header), sizeof got);
	return got;
}

static void check_notify(const char *address)
{
	CLEANUP_FD int manager = manager_socket(address);
	struct notify *notify = notify_new(address);
	char lines[512];
	int pipe_ends[2];

	assert_int_equal(pipe(pipe_ends), 0);
	notify_ready(notify);
	assert_int_equal(manager_receive(manager, lines), -1);
	assert_string_equal(lines, "READY=1");
	notify_reloading(notify);
	manager_receive(manager, lines);
	assert_non_null(strstr(lines, "RELOADING=1\nMONOTONIC_USEC="));
	notify_store(notify, "name", pipe_ends[0]);

	CLEANUP_FD int stored = manager_receive(manager, lines);

	assert_string_equal(lines, "FDSTORE=1\nFDNAME=name");
	/* it is the pipe */
	assert_int_equal(write(pipe_ends[1], "x", 1), 1);
	assert_int_equal(read(stored, lines, 1), 1);
	notify_drop(notify, "name");
	assert_int_equal(manager_receive(manager, lines), -1);
	assert_string_equal(lines, "FDSTOREREMOVE=1\nFDNAME=name");
	notify_stopping(notify);
	manager_receive(manager, lines);
	assert_string_equal(lines, "STOPPING=1");
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	notify_free(notify);
}

static void test_notify_at_both_kinds_of_address(void **state)
{
	g_autofree char *path = NULL;
	g_autofree char *abstract = NULL;

	(void)state;
	scene_begin();
	path = scene_path("notify");
	abstract = g_strdup_printf("@tpmgate-test-%d", (int)getpid());
	check_notify(path);
	check_notify(abstract);
	scene_end();
}

static void test_notify_to_nobody(void **state)
{
	static const char *const addresses[] = {NULL, "", "@", "relative", "/no/such/socket"};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(addresses); i++) {
		struct notify *notify = notify_new(addresses[i]);

		notify_ready(notify);
		notify_store(notify, "name", STDERR_FILENO);
		notify_free(notify);
	}
}

/* A manager that does not read for a while loses nothing, and nobody waits for it. */
static void test_notify_waits_its_turn(void **state)
{
	g_autofree char *address = g_strdup_printf("@tpmgate-queue-%d", (int)getpid());
	CLEANUP_FD int manager = manager_socket(address);
	struct notify *notify = notify_new(address);
	char lines[512];

	(void)state;
	for (int i = 0; i < 2000; i++) {
		g_autofree char *number = g_strdup_printf("STATUS=%d", i);

		notify_send(notify, number);
	}
	for (int i = 0; i < 2000; i++) {
		g_autofree char *number = g_strdup_printf("STATUS=%d", i);

		while (g_main_context_iteration(NULL, FALSE))
			;
		manager_receive(manager, lines);
		assert_string_equal(lines, number);
	}
	notify_free(notify);
}

static void set_environment(const char *pid, const char *fds, const char *names)
{
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", fds, 1);
	setenv("LISTEN_FDNAMES", names, 1);
}

static void test_activation_take(void **state)
{
	g_autofree char *pid = g_strdup_printf("%d", (int)getpid());
	struct activation activation;
	int saved[2] = {fcntl(3, F_DUPFD_CLOEXEC, 100), fcntl(4, F_DUPFD_CLOEXEC, 100)};

	(void)state;
	assert_int_equal(dup2(STDERR_FILENO, 3), 3);
	assert_int_equal(dup2(STDERR_FILENO, 4), 4);
	set_environment("1", "2", "a:b"); /* for somebody else */
	activation = activation_take();
	assert_int_equal(activation.count, 0);
	assert_null(getenv("LISTEN_FDS"));
	set_environment(pid, "-1", "");
	assert_int_equal(activation_take().count, 0);
	set_environment(pid, "2x", "");
	assert_int_equal(activation_take().count, 0);

	set_environment(pid, "2", "tpmgate.socket");
	activation = activation_take();
	assert_int_equal(activation.count, 2);
	assert_int_equal(activation.fds[0].fd, 3);
	assert_string_equal(activation.fds[0].name, "tpmgate.socket");
	assert_string_equal(activation.fds[1].name, "");
	assert_int_equal(fcntl(4, F_GETFD), FD_CLOEXEC);
	assert_null(getenv("LISTEN_PID"));
	assert_null(getenv("LISTEN_FDNAMES"));
	activation_done(&activation);
	assert_int_equal(fcntl(3, F_GETFD), -1);
	for (int i = 0; i < 2; i++)
		if (saved[i] >= 0) {
			dup2(saved[i], 3 + i);
			close(saved[i]);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fdstore_names_carry_everything),
		cmocka_unit_test(test_fdstore_encode_refuses_what_names_cannot_carry),
		cmocka_unit_test(test_fdstore_decode_takes_nothing_else),
		cmocka_unit_test(test_fdstore_rm_names),
		cmocka_unit_test(test_fdstore_decode_rm_takes_nothing_else),
		cmocka_unit_test(test_notify_at_both_kinds_of_address),
		cmocka_unit_test(test_notify_to_nobody),
		cmocka_unit_test(test_notify_waits_its_turn),
		cmocka_unit_test(test_activation_take),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
