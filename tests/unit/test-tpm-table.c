/*
 * The command table against itself, and against what a software TPM (swtpm) says of its commands.
 */
#include "relay/tpm-command.h"
#include "relay/tpm-table.h"

#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define COMMANDS         134    /* in revisions 1.16 to 1.85 of the specification */
#define PROVISIONAL_FROM 0x1a3u /* not in a published revision */

static void test_table_is_whole_and_consistent(void **state)
{
	(void)state;
	assert_int_equal(tpm_table_size, COMMANDS);
	for (size_t i = 0; i < tpm_table_size; i++) {
		const struct tpm_command_info *info = &tpm_table[i];
		unsigned handles = tpm_command_handle_count(info);

		assert_int_equal(info->attributes & 0xffff, info->code);
		assert_ptr_equal(tpm_table_by_code(info->code), info);
		assert_ptr_equal(tpm_table_by_name(info->name), info);
		assert_true(handles <= TPM_HANDLES_MAX);
		assert_true(strlen(info->parameters) <= TPM_PARAMETERS_MAX);
		for (unsigned h = 0; h < TPM_HANDLES_MAX; h++) {
			assert_int_equal(info->handles[h].kinds != 0, h < handles);
			if (h < handles && info->scope == TPM_SCOPE_PROFILE)
				assert_int_not_equal(info->handles[h].use, TPM_USE_NEVER);
			/* handles that need authorization come first */
			if (h > 0 && info->handles[h].role != TPM_ROLE_NONE)
				assert_int_not_equal(info->handles[h - 1].role, TPM_ROLE_NONE);
		}
		if (i > 0)
			assert_true(info->code > tpm_table[i - 1].code);
	}
}

static void test_table_holes_and_vendor_codes_are_not_in_it(void **state)
{
	static const uint32_t none[] = {
		0, 0x11e, 0x123, 0x15a, 0x15f, 0x166, 0x175, 0x1a2, 0x1ab, 0x2000017b, 0x8000017b};

	(void)state;
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		assert_null(tpm_table_by_code(none[i]));
	assert_null(tpm_table_by_name("TPM2_Clear"));
	assert_ptr_equal(tpm_table_by_name("MAC"), tpm_table_by_name("HMAC"));
}

/* Starts swtpm as a child with one connected socket for commands; returns our end. */
static int start_swtpm(const char *directory, pid_t *ret_child)
{
	char state_argument[128];
	char fd_argument[16];
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	snprintf(state_argument, sizeof state_argument, "dir=%s", directory);
	snprintf(fd_argument, sizeof fd_argument, "%d", fds[1]);
	*ret_child = fork();
	if (*ret_child == 0) {
		close(fds[0]);
		execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state_argument, "--fd",
			fd_argument, "--flags", "not-need-init,startup-clear", (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	return fds[0];
}

static size_t get_commands(int fd, uint8_t response[TPM_MESSAGE_MAX])
{
	static const uint8_t request[] = {
		0x80,
		0x01,
		0,
		0,
		0,
		22,
		0,
		0,
		0x01,
		0x7a, /* GetCapability */
		0,
		0,
		0,
		2, /* TPM_CAP_COMMANDS */
		0,
		0,
		0,
		0, /* from the first */
		0,
		0,
		0,
		0xff,
	};
	struct tpm_header header;

	assert_int_equal(send(fd, request, sizeof request, MSG_NOSIGNAL), sizeof request);
	assert_int_equal(recv(fd, response, TPM_HEADER_SIZE, MSG_WAITALL), TPM_HEADER_SIZE);
	assert_int_equal(tpm_header_parse(response, TPM_HEADER_SIZE, &header), 0);
	assert_int_equal(header.code, TPM_RC_SUCCESS);
	assert_true(header.size <= TPM_MESSAGE_MAX);
	assert_int_equal(
		recv(fd, response + TPM_HEADER_SIZE, header.size - TPM_HEADER_SIZE, MSG_WAITALL),
		header.size - TPM_HEADER_SIZE);
	return header.size;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_directory(const char *path)
{
	assert_int_equal(nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void test_table_agrees_with_a_live_tpm(void **state)
{
	char directory[] = "/tmp/tpmgate-test-XXXXXX";
	uint8_t response[TPM_MESSAGE_MAX];
	struct cursor cursor;
	struct cursor skipped;
	uint32_t count;
	uint32_t attributes;
	pid_t child;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(directory));
	fd = start_swtpm(directory, &child);
	cursor = cursor_new(response, get_commands(fd, response));
	assert_int_equal(cursor_bytes(&cursor, TPM_HEADER_SIZE + 1 + 4, &skipped), 0);
	assert_int_equal(cursor_u32(&cursor, &count), 0);
	assert_true(count >= 100);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(cursor_u32(&cursor, &attributes), 0);

		const struct tpm_command_info *info = tpm_table_by_code(attributes & 0xffff);

		if (!info)
			fail_msg(
				"the TPM has command %04x, the table has not", attributes & 0xffff);
		if (info->attributes != attributes && info->code < PROVISIONAL_FROM)
			fail_msg("%s: table %08x, TPM %08x", info->name, info->attributes,
				attributes);
	}
	print_message("%u commands of a live TPM agree\n", count);
	close(fd);
	kill(child, SIGTERM);
	assert_int_equal(waitpid(child, NULL, 0), child);
	remove_directory(directory);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_is_whole_and_consistent),
		cmocka_unit_test(test_table_holes_and_vendor_codes_are_not_in_it),
		cmocka_unit_test(test_table_agrees_with_a_live_tpm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
