#include "broker-scene.h"

#include "broker/config.h"
#include "broker/file.h"
#include "broker/keyfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static int setup(void **state)
{
	(void)state;
	scene_begin();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	scene_end();
	return 0;
}

/* file_read() of PATH, which must find it faulty and say all WORDS. */
static void assert_file_faulty(const char *path, const char *words)
{
	g_autofree char *bytes = NULL;
	g_autofree char *problem = NULL;
	gsize size;

	assert_int_equal(file_read(path, &bytes, &size, &problem), FILE_E_FAULTY);
	assert_null(bytes);
	assert_non_null(strstr(problem, path));
	assert_non_null(strstr(problem, words));
}

static void test_file_read_returns_what_is_there(void **state)
{
	g_autofree char *path = scene_write("file", "text", 0644);
	g_autofree char *bytes = NULL;
	char *problem;
	gsize size;

	(void)state;
	assert_int_equal(file_read(path, &bytes, &size, &problem), 0);
	assert_int_equal(size, 4);
	assert_string_equal(bytes, "text");
}

static void test_file_read_refuses_what_others_can_write(void **state)
{
	g_autofree char *group = scene_write("group", "text", 0664);
	g_autofree char *others = scene_write("others", "text", 0646);

	(void)state;
	assert_file_faulty(group, "write");
	assert_file_faulty(others, "write");
}

static void test_file_read_refuses_other_owners(void **state)
{
	g_autofree char *path = scene_write("file", "text", 0644);
	g_autofree char *link = scene_path("link");

	(void)state;
	if (geteuid() != 0)
		skip(); /* only root can give files away */
	assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
	assert_file_faulty(path, "another user");
	assert_int_equal(symlink(path, link), 0);
	assert_file_faulty(link, "another user");
}

static void test_file_read_refuses_what_is_no_file(void **state)
{
	g_autofree char *directory = scene_path(".");
	g_autofree char *fifo = scene_path("fifo");

	(void)state;
	assert_file_faulty(directory, "regular file");
	assert_int_equal(mkfifo(fifo, 0644), 0);
	assert_file_faulty(fifo, "regular file"); /* and nobody waits for a writer */
	assert_file_faulty("/dev/zero", "regular file");
}

static void test_file_read_masked_and_missing(void **state)
{
	g_autofree char *empty = scene_write("empty", "", 0644);
	g_autofree char *link = scene_path("link");
	g_autofree char *missing = scene_path("missing");
	char *bytes;
	char *problem;
	gsize size;

	(void)state;
	assert_int_equal(symlink("/dev/null", link), 0);
	assert_int_equal(file_read(empty, &bytes, &size, &problem), FILE_E_MASKED);
	assert_int_equal(file_read(link, &bytes, &size, &problem), FILE_E_MASKED);
	assert_int_equal(file_read(missing, &bytes, &size, &problem), FILE_E_MISSING);
}

static void test_file_search_hides_and_sorts(void **state)
{
	g_autofree char *first = scene_write("one/20.conf", "", 0644);
	g_autofree char *second = scene_write("two/10.conf", "", 0644);
	g_autofree char *one = scene_path("one");
	g_autofree char *two = scene_path("two");
	g_autofree char *three = scene_path("three");
	const char *const directories[] = {three, one, two, NULL};
	g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) paths = NULL;

	(void)state;
	g_free(scene_write("two/20.conf", "", 0644)); /* hidden by the first */
	g_free(scene_write("two/30.txt", "", 0644));
	paths = file_search(directories, ".conf", problems);
	assert_int_equal(problems->len, 0); /* a directory that is not there is no problem */
	assert_int_equal(paths->len, 2);
	assert_string_equal(g_ptr_array_index(paths, 0), second);
	assert_string_equal(g_ptr_array_index(paths, 1), first);
}

static struct config load(const char *text)
{
	g_autofree char *path = scene_write("tpmgate.conf", text, 0644);
	struct config_paths paths = {.file = path};
	struct config config;
	char *problem = NULL;

	if (!config_load(&paths, &config, &problem))
		fail_msg("%s", problem);
	return config;
}

static void test_config_load_defaults(void **state)
{
	struct config config = load("# nothing\n");

	(void)state;
	assert_int_equal(config.max_sessions, 256);
	assert_int_equal(config.max_sessions_per_user, 16);
	assert_int_equal(config.max_undecided, 64);
	assert_int_equal(config.max_undecided_per_user, 4);
	assert_int_equal(config.request_timeout, 5);
	assert_false(config.allow_subordinate);
	assert_string_equal(config.subuid_file, "/etc/subuid");
	assert_int_equal(config.idle_timeout, 0);
	assert_int_equal(config.max_lifetime, 0);
	assert_int_equal(config.pcrs, 0);
	config_done(&config);
}

static void test_config_load_every_key(void **state)
{
	struct config config = load("[Broker]\nMaxSessions=1\nMaxSessionsPerUser = 2\n"
				    "MaxUndecided=3\nMaxUndecidedPerUser=4\nRequestTimeoutSec=6\n"
				    "AllowSubordinate=yes\nSubuidFile=/somewhere/else\n"
				    "[Session]\nIdleTimeoutSec=7\nMaxLifetimeSec=8\n"
				    "PCRs=0;16-18;31\n");

	(void)state;
	assert_int_equal(config.max_sessions, 1);
	assert_int_equal(config.max_sessions_per_user, 2);
	assert_int_equal(config.max_undecided, 3);
	assert_int_equal(config.max_undecided_per_user, 4);
	assert_int_equal(config.request_timeout, 6);
	assert_true(config.allow_subordinate);
	assert_string_equal(config.subuid_file, "/somewhere/else");
	assert_int_equal(config.idle_timeout, 7);
	assert_int_equal(config.max_lifetime, 8);
	assert_int_equal(config.pcrs, 0x80070001u);
	config_done(&config);
}

static void test_config_load_faults_say_where(void **state)
{
	static const struct {
		const char *text;
		const char *where;
		const char *what;
	} table[] = {
		{"[Broker]\n\nMaxSessions=0\n", "tpmgate.conf:3:", "MaxSessions"},
		{"[Broker]\nMaxSessions=-1\n", "tpmgate.conf:2:", "'-1'"},
		{"[Broker]\nMaxSessions=\n", "tpmgate.conf:2:", "''"},
		{"[Broker]\nMaxSessions=16 sessions\n", "tpmgate.conf:2:", "16 sessions"},
		{"[Broker]\nMaxSessions=4294967297\n", "tpmgate.conf:2:", "4294967297"},
		{"[Broker]\nRequestTimeoutSec=0\n", "tpmgate.conf:2:", "RequestTimeoutSec"},
		{"[Broker]\nAllowSubordinate=maybe\n", "tpmgate.conf:2:", "maybe"},
		{"[Broker]\nSubuidFile=etc/subuid\n", "tpmgate.conf:2:", "absolute"},
		{"[Broker]\nMaxFun=1\n", "tpmgate.conf:2:", "MaxFun="},
		{"[Broker]\nIdleTimeoutSec=1\n", "tpmgate.conf:2:", "IdleTimeoutSec="},
		{"# x\n[Brokr]\n", "tpmgate.conf:2:", "Brokr"},
		{"[Broker]\nMaxSessions=1\nMaxSessions=2\n", "tpmgate.conf:3:", "twice"},
		{"[Broker]\n[Session]\n[Broker]\n", "tpmgate.conf:3:", "twice"},
		{"MaxSessions=1\n", "tpmgate.conf:1:", "[Section]"},
		{"[Broker]\nMaxSessions\n", "tpmgate.conf:2:", "Key=value"},
		{"[Session]\nPCRs=32\n", "tpmgate.conf:2:", "'32'"},
		{"[Session]\nPCRs=9-3\n", "tpmgate.conf:2:", "'9-3'"},
		{"[Session]\nPCRs=1-2-3\n", "tpmgate.conf:2:", "'1-2-3'"},
		{"[Session]\nPCRs=1;;2\n", "tpmgate.conf:2:", "empty"},
		{"[Session]\nPCRs=all\n", "tpmgate.conf:2:", "'all'"},
		{"[Broker]\nMaxSessions=1\xff\n", "tpmgate.conf:", "UTF-8"},
	};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		g_autofree char *path = scene_write("tpmgate.conf", table[i].text, 0644);
		g_autofree char *problem = NULL;
		struct config_paths paths = {.file = path};
		struct config config;

		assert_false(config_load(&paths, &config, &problem));
		if (!strstr(problem, table[i].where) || !strstr(problem, table[i].what))
			fail_msg("'%s' does not say %s ... %s", problem, table[i].where,
				table[i].what);
	}
}

static void test_config_load_named_file_must_be_there(void **state)
{
	g_autofree char *path = scene_path("none.conf");
	g_autofree char *problem = NULL;
	struct config_paths paths = {.file = path};
	struct config config;

	(void)state;
	assert_false(config_load(&paths, &config, &problem));
	assert_non_null(strstr(problem, path));
}

static void test_keyfile_values_with_a_nul_are_refused(void **state)
{
	char *problem = NULL;

	(void)state;
	assert_null(keyfile_new("x", "[A]\nB=1\0C=2\n", 12, &problem));
	assert_non_null(problem);
	g_free(problem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_file_read_returns_what_is_there, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_file_read_refuses_what_others_can_write, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_file_read_refuses_other_owners, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_file_read_refuses_what_is_no_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_read_masked_and_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_search_hides_and_sorts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_config_load_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_config_load_every_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_config_load_faults_say_where, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_config_load_named_file_must_be_there, setup, teardown),
		cmocka_unit_test(test_keyfile_values_with_a_nul_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
