#include "common/cleanup.h"
#include "common/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <cmocka.h>

static void make_pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
}

static void test_peer_read_of_ourselves(void **state)
{
	struct peer peer;
	int fds[2];

	(void)state;
	make_pair(fds);
	assert_int_equal(peer_read(fds[0], &peer), 0);
	assert_int_equal(peer.pid, getpid());
	assert_int_equal(peer.uid, getuid());
	assert_int_equal(peer.gid, getgid());
	assert_true(peer.pidfd >= 0);
	assert_true(peer_is_alive(&peer));
	assert_true(peer_has_group(&peer, getgid()));
	assert_false(peer_has_group(&peer, (gid_t)4242424));
	peer_done(&peer);
	peer_done(&peer); /* twice is harmless */
	close(fds[0]);
	close(fds[1]);
}

/* Connects from a child to LISTENER; the child ends at once where STAY is false. */
static int connect_from_child(
	int listener, const struct sockaddr_un *address, bool stay, pid_t *ret_child, int *ret_stop)
{
	int stop[2];
	int connected[2];
	char byte;

	assert_int_equal(pipe(stop), 0);
	assert_int_equal(pipe(connected), 0);
	*ret_child = fork();
	if (*ret_child == 0) {
		int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

		close(stop[1]);
		if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
			_exit(1);
		if (write(connected[1], "c", 1) != 1)
			_exit(2);
		if (stay && read(stop[0], &byte, 1) < 0)
			_exit(3);
		_exit(0);
	}
	close(stop[0]);
	close(connected[1]);
	assert_int_equal(read(connected[0], &byte, 1), 1);
	close(connected[0]);
	*ret_stop = stop[1];
	if (!stay)
		assert_int_equal(waitpid(*ret_child, NULL, 0), *ret_child);
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

static int make_listener(struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "tpmgate-test-%d", getpid());
	assert_int_equal(bind(fd, (struct sockaddr *)address, sizeof *address), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static void test_peer_read_of_a_reaped_process_is_gone(void **state)
{
	struct sockaddr_un address;
	CLEANUP_FD int listener = make_listener(&address);
	struct peer peer;
	pid_t child;
	CLEANUP_FD int stop = -1;
	CLEANUP_FD int fd = connect_from_child(listener, &address, false, &child, &stop);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(peer_read(fd, &peer), PEER_E_GONE);
}

static void test_peer_is_alive_until_the_process_ends(void **state)
{
	struct sockaddr_un address;
	CLEANUP_FD int listener = make_listener(&address);
	struct peer peer;
	pid_t child;
	int stop;
	CLEANUP_FD int fd = connect_from_child(listener, &address, true, &child, &stop);

	(void)state;
	assert_int_equal(peer_read(fd, &peer), 0);
	assert_int_equal(peer.pid, child);
	assert_true(peer_is_alive(&peer));
	close(stop);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	assert_false(peer_is_alive(&peer)); /* a zombie */
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_false(peer_is_alive(&peer)); /* reaped */
	peer_done(&peer);
}

static void test_peer_receive_stamps_the_sender(void **state)
{
	uint8_t packet[8];
	pid_t pid;
	uid_t uid;
	int fds[2];

	(void)state;
	make_pair(fds);
	assert_int_equal(send(fds[1], "abc", 3, 0), 3);
	assert_int_equal(peer_receive(fds[0], packet, sizeof packet, &pid, &uid), 3);
	assert_int_equal(pid, -1); /* nobody asked */
	assert_int_equal(peer_expect_credentials(fds[0]), 0);
	assert_int_equal(send(fds[1], "0123456789", 10, 0), 10);
	assert_int_equal(
		peer_receive(fds[0], packet, sizeof packet, &pid, &uid), 10); /* too long */
	assert_int_equal(pid, getpid());
	assert_int_equal(uid, getuid());
	assert_int_equal(peer_receive(fds[0], packet, sizeof packet, &pid, &uid), -EAGAIN);
	close(fds[1]);
	assert_int_equal(peer_receive(fds[0], packet, sizeof packet, &pid, &uid), 0);
	close(fds[0]);
}

static int lowest_free_descriptor(void)
{
	CLEANUP_FD int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int number = fd;

	return number;
}

static void test_peer_receive_refuses_and_closes_descriptors(void **state)
{
	int many[253];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof many)];
	} control = {0};
	struct iovec data = {.iov_base = (char[]){"x"}, .iov_len = 1};
	struct msghdr message = {.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	uint8_t packet[8];
	pid_t pid;
	uid_t uid;
	int fds[2];

	(void)state;
	make_pair(fds);
	for (size_t i = 0; i < sizeof many / sizeof many[0]; i++)
		many[i] = fds[1];
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof many);
	memcpy(CMSG_DATA(header), many, sizeof many);
	assert_int_equal(peer_expect_credentials(fds[0]), 0);

	int before = lowest_free_descriptor();

	assert_int_equal(sendmsg(fds[1], &message, 0), 1);
	assert_int_equal(peer_receive(fds[0], packet, sizeof packet, &pid, &uid), -EBADMSG);
	assert_int_equal(lowest_free_descriptor(), before);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_peer_read_of_ourselves),
		cmocka_unit_test(test_peer_read_of_a_reaped_process_is_gone),
		cmocka_unit_test(test_peer_is_alive_until_the_process_ends),
		cmocka_unit_test(test_peer_receive_stamps_the_sender),
		cmocka_unit_test(test_peer_receive_refuses_and_closes_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
