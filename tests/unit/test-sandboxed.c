#include "broker/sandboxed.h"

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

typedef bool (*finder)(const char *text, char *ret_name, size_t size);

struct row {
	const char *text;
	const char *name; /* NULL: none */
};

static void check(finder find, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char name[65] = "untouched";

		assert_int_equal(find(rows[i].text, name, sizeof name), rows[i].name != NULL);
		assert_string_equal(name, rows[i].name ? rows[i].name : "untouched");
	}
}

static void test_sandboxed_by_label(void **state)
{
	static const struct row rows[] = {
		{"snap.thing.app (enforce)", "thing"},
		{"snap.thing.app", "thing"},
		{"snap.thing_2.app (complain)", "thing_2"},
		{"snap.thing.hook.configure (enforce)", "thing"},
		/* what it executes has a profile below its own */
		{"snap.thing.app//null-/usr/bin/x (complain)", "thing"},
		{"snap.thing.app//&unconfined (enforce)", "thing"},
		{"lxd-box_</var/lib/lxd>//&:lxd-box_<var-lib-lxd>:snap.thing.app (enforce)",
			"thing"},
		{":lxd-box://snap.thing.app (enforce)", "thing"},
		{"snap.\x1b[2J.app (enforce)", "?[2J"},
		{"snap..app", "?"},
		{"unconfined", NULL},
		{"/usr/lib/snapd/snap-confine (enforce)", NULL},
		{"firefox (enforce)", NULL},
		{"a//snap.thing.app (enforce)", NULL}, /* a child profile of something else */
		{"system_u:system_r:unconfined_t:s0", NULL},
		{":", NULL},
		{"", NULL},
		{NULL, NULL},
	};

	(void)state;
	check(sandboxed_by_label, rows, G_N_ELEMENTS(rows));
}

static void test_sandboxed_by_cgroups(void **state)
{
	static const struct row rows[] = {
		{"0::/user.slice/user-1000.slice/user@1000.service/app.slice/"
		 "app-flatpak-org.example.App-1234.scope\n",
			"org.example.App"},
		{"0::/user.slice/app-flatpak-org.example.with\\x2ddash-99.scope\n",
			"org.example.with-dash"},
		{"0::/user.slice/user@1000.service/flatpak-org.example.Old-7.scope\n",
			"org.example.Old"},
		/* a unit of its own below it, as a browser makes one for each window */
		{"0::/user.slice/app-flatpak-org.example.App-1.scope/tab\n", "org.example.App"},
		{"0::/user.slice/user@1000.service/app.slice/snap.firefox.firefox-0a-1b.scope\n",
			"firefox"},
		{"0::/system.slice/snap.lxd.daemon.service\n", "lxd"},
		{"12:pids:/x\n1:name=systemd:/user.slice/snap.a.b.scope\n", "a"},
		{"0::/user.slice/app-flatpak-x\"y-1.scope\n", "x?y"},
		{"0::/user.slice/app-flatpak-\\x1b\\x1b-1.scope\n", "??"},
		{"0::/user.slice/app-flatpak-a\\x-1.scope\n", "a\\x"},
		{"0::/user.slice/app-flatpak--1.scope\n", "?"},
		{"0::/user.slice\n", NULL},
		{"0::/user.slice/user-1000.slice/session-2.scope\n", NULL},
		{"0::/user.slice/app-gnome-org.flatpak.App-1.scope\n", NULL},
		{"0::/user.slice/user@1000.service/flatpak-portal.service\n", NULL},
		{"0::/user.slice/user@1000.service/flatpak-session-helper.service\n", NULL},
		{"0::/system.slice/snapd.service\n", NULL},
		{"", NULL},
	};

	(void)state;
	check(sandboxed_by_cgroups, rows, G_N_ELEMENTS(rows));
}

static void test_sandboxed_by_mounts(void **state)
{
#define ROOT "700 600 0:50 /newroot / rw,nosuid - tmpfs tmpfs rw\n"
#define INFO "712 700 0:50 /.flatpak-info /.flatpak-info ro,nosuid - tmpfs tmpfs rw\n"
	static const struct row rows[] = {
		{ROOT INFO, "Flatpak"},
		{ROOT INFO
			"713 700 8:1 /var/lib/flatpak/app/org.example.App/x86_64/stable/0f/files "
			"/app ro - ext4 /dev/sda1 rw\n",
			"org.example.App"},
		{ROOT "713 700 8:1 /alice/.local/share/flatpak/app/org.a\\040b/x86_64/files /app "
		      "ro - ext4 /dev/sda1 rw\n" INFO,
			"org.a\\040b"},
		{ROOT INFO "713 700 8:1 /elsewhere /app ro - ext4 /dev/sda1 rw\n", "Flatpak"},
		{ROOT INFO "broken\n", "Flatpak"},
		{ROOT, NULL},
		/* an application's files without the sandbox, as for whoever looks at them */
		{ROOT "713 700 8:1 /var/lib/flatpak/app/org.example.App/files /app ro - ext4 x y\n",
			NULL},
		{ROOT "714 700 0:50 /.flatpak-info /home/.flatpak-info ro - tmpfs tmpfs rw\n",
			NULL},
		/* what is mounted is called so, but not where */
		{ROOT "714 700 0:50 /x /y ro - tmpfs /.flatpak-info rw\n", NULL},
		{"", NULL},
	};

	(void)state;
	check(sandboxed_by_mounts, rows, G_N_ELEMENTS(rows));
}

static void test_sandboxed_may_have_mounts(void **state)
{
	(void)state;
	assert_false(sandboxed_may_have_mounts("Name:\tx\nNSpid:\t1234\nNSpgid:\t1\t2\n"));
	assert_true(sandboxed_may_have_mounts("Name:\tx\nNSpid:\t1234\t2\nNSpgid:\t1\n"));
	assert_true(sandboxed_may_have_mounts("Name:\tx\nNSpid:\t1234\t20\t3\n"));
	/* a name cannot make a line of its own: the kernel escapes it */
	assert_true(sandboxed_may_have_mounts("Name:\tNSpid:\t1\\nNSpid:\t2\nState:\tS\n"));
	assert_true(sandboxed_may_have_mounts("NSpid:\t1\n"));
	assert_true(sandboxed_may_have_mounts(""));
	assert_true(sandboxed_may_have_mounts("Name:\tx\nNSpid:"));
}

static void test_sandboxed_is_over(void **state)
{
	(void)state;
	assert_false(sandboxed_is_over("Name:\tx\nUmask:\t0022\nState:\tS (sleeping)\n"));
	assert_false(sandboxed_is_over("Name:\tx\nState:\tR (running)\n"));
	assert_true(sandboxed_is_over("Name:\tx\nState:\tZ (zombie)\n"));
	assert_true(sandboxed_is_over("Name:\tx\nState:\tX (dead)\n"));
	assert_true(sandboxed_is_over("Name:\tx\n"));
	assert_true(sandboxed_is_over(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sandboxed_by_label),
		cmocka_unit_test(test_sandboxed_by_cgroups),
		cmocka_unit_test(test_sandboxed_by_mounts),
		cmocka_unit_test(test_sandboxed_may_have_mounts),
		cmocka_unit_test(test_sandboxed_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
