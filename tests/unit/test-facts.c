/*
 * What can be seen without a broker, in trees of files that are made for it.
 */
#include "cli/chips.h"
#include "cli/reach.h"
#include "cli/udev-rules.h"
#include "client/tpmgate.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char root[32];
static const char *file_owner;
static const char *file_group;

/* Whose the files of the tree are. */
struct passwd *__wrap_getpwuid(uid_t uid);
struct group *__wrap_getgrgid(gid_t gid);

struct passwd *__wrap_getpwuid(uid_t uid)
{
	static struct passwd user;
	static char name[16];

	(void)uid;
	snprintf(name, sizeof name, "%s", file_owner ? file_owner : "");
	user.pw_name = name;
	return file_owner ? &user : NULL;
}

struct group *__wrap_getgrgid(gid_t gid)
{
	static struct group group;
	static char name[16];

	(void)gid;
	snprintf(name, sizeof name, "%s", file_group ? file_group : "");
	group.gr_name = name;
	return file_group ? &group : NULL;
}

static int setup(void **state)
{
	(void)state;
	snprintf(root, sizeof root, "/tmp/test-facts-XXXXXX");
	file_owner = "root";
	file_group = "tss";
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof command, "rm -rf %s", root);
	return system(command); /* NOLINT(cert-env33-c): a name of mkdtemp's */
}

/* Writes TEXT to ROOT/PATH; directories are made. */
static void put(const char *path, const char *text, mode_t mode)
{
	char full[256];
	size_t length = strlen(text);
	int fd;

	snprintf(full, sizeof full, "%s%s", root, path);
	for (char *slash = strchr(full + strlen(root) + 1, '/'); slash;
		slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, length), length);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void put_link(const char *path, const char *target)
{
	char full[256];

	put(path, "", 0644);
	snprintf(full, sizeof full, "%s%s", root, path);
	assert_int_equal(unlink(full), 0);
	assert_int_equal(symlink(target, full), 0);
}

/* ---- chips ---- */

static void test_no_chip(void **state)
{
	struct chip chips[CHIPS_MAX];

	(void)state;
	assert_int_equal(chips_read(root, chips), 0);
	put("/sys/class/tpm/other/tpm_version_major", "2\n", 0644);
	assert_int_equal(chips_read(root, chips), 0);
}

static void test_chip_2(void **state)
{
	struct chip chips[CHIPS_MAX];

	(void)state;
	put("/sys/class/tpm/tpm0/tpm_version_major", "2\n", 0644);
	put("/sys/class/tpm/tpm0/device/description", "TPM 2.0 \033[1mDevice\n", 0644);
	put_link("/sys/class/tpm/tpm0/device/driver", "../../../bus/acpi/drivers/tpm_crb");
	assert_int_equal(chips_read(root, chips), 1);
	assert_string_equal(chips[0].name, "tpm0");
	assert_int_equal(chips[0].version, 2);
	assert_string_equal(chips[0].driver, "tpm_crb");
	assert_string_equal(chips[0].description, "TPM 2.0  [1mDevice");
	assert_string_equal(chips[0].maker, "");
	assert_string_equal(chips[0].node.path, "/dev/tpmrm0");
	assert_false(chips[0].node.present);
	assert_false(chips[0].raw.present);

	put("/dev/tpmrm0", "", 0660);
	put("/dev/tpm0", "", 0660);
	assert_int_equal(chips_read(root, chips), 1);
	assert_true(chips[0].node.present);
	assert_true(chips[0].node.usable);
	assert_string_equal(chips[0].node.owner, "root");
	assert_string_equal(chips[0].node.group, "tss");
	assert_int_equal(chips[0].node.mode, 0660);
	assert_true(chips[0].node.as_rules);
	assert_true(chips[0].raw.present);
	assert_false(chips[0].raw.as_rules); /* it is the user's */
	file_owner = "tss";
	file_group = NULL;
	assert_int_equal(chips_read(root, chips), 1);
	assert_true(chips[0].raw.as_rules);
	assert_false(chips[0].node.as_rules);
	assert_true(strspn(chips[0].node.group, "0123456789") > 0);
}

static void test_node_with_another_mode(void **state)
{
	static const mode_t modes[] = {0600, 0664, 0666};
	struct chip chips[CHIPS_MAX];

	(void)state;
	put("/sys/class/tpm/tpm0/tpm_version_major", "2\n", 0644);
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
		put("/dev/tpmrm0", "", modes[i]);
		assert_int_equal(chips_read(root, chips), 1);
		assert_int_equal(chips[0].node.mode, modes[i]);
		assert_false(chips[0].node.as_rules);
	}
}

static void test_chip_1(void **state)
{
	struct chip chips[CHIPS_MAX];

	(void)state;
	put("/sys/class/tpm/tpm1/tpm_version_major", "1\n", 0644);
	put("/sys/class/tpm/tpm1/device/caps",
		"Manufacturer: 0x49465800\nTCG version: 1.2\nFirmware version: 3.17\n", 0644);
	put("/dev/tpmrm1", "", 0660);
	assert_int_equal(chips_read(root, chips), 1);
	assert_int_equal(chips[0].version, 1);
	assert_string_equal(chips[0].maker, "0x49465800");
	assert_string_equal(chips[0].node.path, "");
	assert_false(chips[0].node.present);
}

static void test_more_chips_than_fit(void **state)
{
	struct chip chips[CHIPS_MAX];
	char path[64];

	(void)state;
	for (unsigned i = 0; i < 2 * CHIPS_MAX; i++) {
		snprintf(path, sizeof path, "/sys/class/tpm/tpm%u/dev", i);
		put(path, "10:224\n", 0644);
	}
	assert_int_equal(chips_read(root, chips), CHIPS_MAX);
	assert_int_equal(chips[0].version, 0); /* an older kernel does not say */
	assert_string_equal(chips[0].node.path, "/dev/tpmrm0");
}

/* ---- rules ---- */

static const char tpm_rules[] = "# TPM nodes\nKERNEL==\"tpmrm[0-9]*\", GROUP=\"tss\"\n";

static void assert_rule(const struct udev_rule *rule, const char *path, const char *from,
	enum udev_rule_state state)
{
	assert_string_equal(rule->path, path);
	assert_string_equal(rule->from, from);
	assert_int_equal(rule->state, state);
}

static void test_rules(void **state)
{
	struct udev_rule rules[UDEV_RULES_MAX];

	(void)state;
	assert_int_equal(udev_rules_read(root, rules), 0);
	put("/usr/lib/udev/rules.d/60-tpmgate.rules", tpm_rules, 0644);
	put("/usr/lib/udev/rules.d/60-tpm-udev.rules", tpm_rules, 0644);
	put("/usr/lib/udev/rules.d/70-mine.rules",
		"ACTION==\"add\", \\\n KERNEL==\"tpm0\", \\\n MODE=\"0600\"", 0644);
	put("/usr/lib/udev/rules.d/README", tpm_rules, 0644);
	/* not about whose the nodes are */
	put("/usr/lib/udev/rules.d/99-systemd.rules", "SUBSYSTEM==\"tpmrm\", TAG+=\"systemd\"\n",
		0644);
	put("/usr/lib/udev/rules.d/80-comment.rules", " # KERNEL==\"tpm0\", MODE=\"0666\"\n", 0644);
	put("/usr/lib/udev/rules.d/80-disk.rules", "KERNEL==\"sda\", GROUP=\"disk\"\n", 0644);
	assert_int_equal(udev_rules_read(root, rules), 3);
	assert_rule(&rules[0], "/usr/lib/udev/rules.d/60-tpm-udev.rules", "tpm2-tss",
		UDEV_RULE_APPLIES);
	assert_rule(
		&rules[1], "/usr/lib/udev/rules.d/60-tpmgate.rules", "tpmgate", UDEV_RULE_APPLIES);
	assert_rule(&rules[2], "/usr/lib/udev/rules.d/70-mine.rules", "other", UDEV_RULE_APPLIES);
}

static void test_rules_that_others_hide(void **state)
{
	struct udev_rule rules[UDEV_RULES_MAX];

	(void)state;
	put("/usr/lib/udev/rules.d/60-tpmgate.rules", tpm_rules, 0644);
	put("/run/udev/rules.d/60-tpmgate.rules", tpm_rules, 0644);
	assert_int_equal(udev_rules_read(root, rules), 2);
	assert_rule(&rules[0], "/run/udev/rules.d/60-tpmgate.rules", "tpmgate", UDEV_RULE_APPLIES);
	assert_rule(
		&rules[1], "/usr/lib/udev/rules.d/60-tpmgate.rules", "tpmgate", UDEV_RULE_HIDDEN);
	put_link("/etc/udev/rules.d/60-tpmgate.rules", "/dev/null");
	assert_int_equal(udev_rules_read(root, rules), 3);
	assert_rule(&rules[0], "/etc/udev/rules.d/60-tpmgate.rules", "tpmgate", UDEV_RULE_MASKED);
	assert_int_equal(rules[1].state, UDEV_RULE_HIDDEN);
	assert_int_equal(rules[2].state, UDEV_RULE_HIDDEN);
	put_link("/etc/udev/rules.d/80-disk.rules", "/dev/null"); /* is not about TPMs */
	assert_int_equal(udev_rules_read(root, rules), 3);
}

static void test_rules_where_usr_is_merged(void **state)
{
	struct udev_rule rules[UDEV_RULES_MAX];

	(void)state;
	put("/usr/lib/udev/rules.d/60-tpmgate.rules", tpm_rules, 0644);
	put_link("/lib", "usr/lib");
	assert_int_equal(udev_rules_read(root, rules), 1);
	assert_int_equal(rules[0].state, UDEV_RULE_APPLIES);
}

static void test_rules_with_long_lines(void **state)
{
	struct udev_rule rules[UDEV_RULES_MAX];
	char *text = malloc(20001);

	(void)state;
	assert_non_null(text);
	memset(text, '\\', 20000);
	text[20000] = '\0';
	for (size_t i = 1; i < 20000; i += 2)
		text[i] = '\n'; /* one rule that never ends */
	put("/usr/lib/udev/rules.d/60-tpmgate.rules", text, 0644);
	memset(text, 'x', 20000);
	put("/usr/lib/udev/rules.d/61-tpmgate.rules", text, 0644);
	free(text);
	assert_int_equal(udev_rules_read(root, rules), 0);
}

/* ---- the socket ---- */

static void test_reach(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)state;
	snprintf(address.sun_path, sizeof address.sun_path, "%s/sock", root);
	assert_int_equal(reach_judge(address.sun_path, 0), REACH_ANSWERS);
	assert_int_equal(reach_judge(address.sun_path, TPMGATE_E_NO_BROKER), REACH_MISSING);
	put("/sock/file", "", 0644);
	assert_int_equal(reach_judge(address.sun_path, TPMGATE_E_NO_BROKER), REACH_NO_SOCKET);
	snprintf(address.sun_path, sizeof address.sun_path, "%s/sock/file/x", root);
	assert_int_equal(reach_judge(address.sun_path, TPMGATE_E_NO_BROKER), REACH_MISSING);
	snprintf(address.sun_path, sizeof address.sun_path, "%s/real", root);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(reach_judge(address.sun_path, TPMGATE_E_NO_BROKER), REACH_REFUSED);
	if (geteuid() != 0) { /* whom nothing is closed to */
		assert_int_equal(chmod(address.sun_path, 0), 0);
		assert_int_equal(reach_judge(address.sun_path, TPMGATE_E_NO_BROKER), REACH_CLOSED);
	}
	close(fd);
	assert_int_equal(reach_judge("", TPMGATE_E_TIMEOUT), REACH_SILENT);
	assert_int_equal(reach_judge("", TPMGATE_E_PROTOCOL), REACH_STRANGE);
	assert_int_equal(reach_judge("", TPMGATE_E_LIMIT), REACH_BUSY);
	assert_int_equal(reach_judge("", TPMGATE_E_FAILED), REACH_FAILED);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_no_chip),
		TEST(test_chip_2),
		TEST(test_node_with_another_mode),
		TEST(test_chip_1),
		TEST(test_more_chips_than_fit),
		TEST(test_rules),
		TEST(test_rules_that_others_hide),
		TEST(test_rules_where_usr_is_merged),
		TEST(test_rules_with_long_lines),
		TEST(test_reach),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
