/*
 * Which TPMs there are, in a /sys and /dev of umockdev's making: to be run by umockdev-wrapper.
 */
#include "broker/device.h"

#include <errno.h>
#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <umockdev.h>

static UMockdevTestbed *testbed;
static char *gone; /* the device that was removed last */

static int setup(void **state)
{
	(void)state;
	testbed = umockdev_testbed_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	g_clear_object(&testbed);
	g_clear_pointer(&gone, g_free);
	return 0;
}

static void on_gone(void *context, const char *name)
{
	assert_ptr_equal(context, &gone);
	g_free(gone);
	gone = g_strdup(name);
}

static struct device_list *list_for(const char *spec)
{
	char *problem = NULL;
	struct device_list *list = device_list_new(spec, on_gone, &gone, &problem);

	if (!list)
		fail_msg("%s", problem);
	return list;
}

/* Adds chip NUMBER; VERSION is what its tpm_version_major says (NULL: nothing). */
static char *add_tpm(unsigned number, const char *version)
{
	g_autofree char *chip_name = g_strdup_printf("tpm%u", number);
	g_autofree char *name = g_strdup_printf("tpmrm%u", number);
	g_autofree char *chip_node = g_strdup_printf("/dev/tpm%u", number);
	g_autofree char *node = g_strdup_printf("/dev/tpmrm%u", number);
	g_autofree char *parent_name = g_strdup_printf("MSFT0101:%02u", number);
	g_autofree char *parent = umockdev_testbed_add_device(
		testbed, "platform", parent_name, NULL, NULL, "DRIVER", "tpm_crb", NULL);
	g_autofree char *chip = umockdev_testbed_add_device(
		testbed, "tpm", chip_name, parent, NULL, "DEVNAME", chip_node, NULL);

	if (version)
		umockdev_testbed_set_attribute(testbed, chip, "tpm_version_major", version);
	if (version && strcmp(version, "1") == 0)
		return g_steal_pointer(&chip); /* the kernel has no tpmrm for these */
	return umockdev_testbed_add_device(
		testbed, "tpmrm", name, parent, NULL, "DEVNAME", node, NULL);
}

static void assert_problem(const struct device_list *list, const char *name, const char *words)
{
	g_autofree char *problem = NULL;

	assert_null(device_list_find(list, name, &problem));
	if (!strstr(problem, words))
		fail_msg("'%s' does not say '%s'", problem, words);
}

static void test_device_list_none(void **state)
{
	struct device_list *list = list_for("");

	(void)state;
	assert_int_equal(device_list_count(list), 0);
	assert_problem(list, "", "no TPM 2.0");
	assert_problem(list, "tpmrm0", "'tpmrm0'");
	device_list_free(list);
}

static void test_device_list_old_chip(void **state)
{
	G_GNUC_UNUSED g_autofree char *chip = add_tpm(0, "1");
	struct device_list *list = list_for("");

	(void)state;
	assert_int_equal(device_list_count(list), 0);
	assert_problem(list, "", "TPM 1.2");
	device_list_free(list);
}

static void test_device_list_lowest_number_is_the_default(void **state)
{
	G_GNUC_UNUSED g_autofree char *tenth = add_tpm(10, "2");
	G_GNUC_UNUSED g_autofree char *second = add_tpm(2, NULL);
	G_GNUC_UNUSED g_autofree char *old = add_tpm(0, "1");
	struct device_list *list = list_for("");
	char *problem;

	(void)state;
	assert_int_equal(device_list_count(list), 2);
	assert_string_equal(device_list_find(list, "", &problem)->name, "tpmrm2");
	assert_string_equal(device_list_find(list, "", &problem)->path, "/dev/tpmrm2");
	assert_string_equal(device_list_find(list, "tpmrm10", &problem)->path, "/dev/tpmrm10");
	assert_int_equal(
		device_list_find(list, "tpmrm10", &problem)->backend, POLICY_BACKEND_DEVICE);
	assert_null(device_list_socket(list));
	/* the raw node is nobody's */
	assert_problem(list, "tpm2", "'tpm2'");
	assert_problem(list, "/dev/tpmrm2", "'/dev/tpmrm2'");
	device_list_free(list);
}

static void test_device_list_arrival_and_removal(void **state)
{
	g_autofree char *first = add_tpm(0, "2");
	struct device_list *list = list_for("");

	(void)state;
	g_free(add_tpm(1, "2")); /* sends its uevent */
	while (device_list_count(list) < 2)
		g_main_context_iteration(NULL, TRUE);
	assert_null(gone);
	umockdev_testbed_uevent(testbed, first, "remove");
	while (!gone)
		g_main_context_iteration(NULL, TRUE);
	assert_string_equal(gone, "tpmrm0");
	assert_int_equal(device_list_count(list), 1);
	assert_string_equal(device_list_get(list, 0)->name, "tpmrm1");
	device_list_free(list);
}

static void test_device_list_one_node_only(void **state)
{
	G_GNUC_UNUSED g_autofree char *first = add_tpm(0, "2");
	G_GNUC_UNUSED g_autofree char *second = add_tpm(1, "2");
	struct device_list *list = list_for("/dev/tpmrm1");
	struct device_list *missing = list_for("/dev/tpmrm7");
	char *problem;

	(void)state;
	assert_int_equal(device_list_count(list), 1);
	assert_string_equal(device_list_find(list, "", &problem)->name, "tpmrm1");
	assert_problem(list, "tpmrm0", "'tpmrm0'");
	assert_problem(missing, "", "/dev/tpmrm7");
	device_list_free(list);
	device_list_free(missing);
}

static void test_device_list_socket(void **state)
{
	struct device_list *list = list_for("unix:/run/swtpm/socket");
	char *problem;

	(void)state;
	assert_string_equal(device_list_socket(list), "/run/swtpm/socket");
	assert_string_equal(device_list_find(list, "", &problem)->name, "unix");
	assert_int_equal(device_list_find(list, "unix", &problem)->backend, POLICY_BACKEND_STREAM);
	device_list_free(list);
}

static void test_device_list_managed(void **state)
{
	struct device_list *list = list_for("rm:unix:/run/swtpm/socket");
	struct device_list *tcti = list_for("rm:tcti:mssim:port=2321");
	char *problem;

	(void)state;
	assert_string_equal(device_list_managed(list), "unix:/run/swtpm/socket");
	assert_null(device_list_socket(list));
	assert_string_equal(device_list_find(list, "", &problem)->name, "rm");
	assert_string_equal(device_list_find(list, "", &problem)->path, "/run/swtpm/socket");
	assert_int_equal(device_list_find(list, "rm", &problem)->backend, POLICY_BACKEND_MANAGER);
	assert_string_equal(device_list_managed(tcti), "tcti:mssim:port=2321");
	device_list_free(list);
	device_list_free(tcti);
}

static void test_device_list_bad_specs(void **state)
{
	g_autofree char *long_name = g_strnfill(200, 'x');
	g_autofree char *long_socket = g_strconcat("unix:/", long_name, NULL);
	const char *const specs[] = {"unix:", "unix:relative", "tpmrm0", "device:/dev/tpmrm0",
		"/etc/passwd", "/dev", "rm:unix:x", "rm:", "rm:/dev/tpm0", "tcti:mssim",
		long_socket};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(specs); i++) {
		g_autofree char *problem = NULL;

		assert_null(device_list_new(specs[i], on_gone, &gone, &problem));
		assert_non_null(strstr(problem, "--tpm"));
	}
}

static void test_device_open_explains(void **state)
{
	struct device device = {.path = "/dev/tpmrm99"};
	struct device wrong = {.path = "/proc/self/status"};
	g_autofree char *problem = NULL;
	g_autofree char *other = NULL;

	(void)state;
	assert_int_equal(device_open(&device, &problem), -ENOENT);
	assert_non_null(strstr(problem, "/dev/tpmrm99"));
	assert_true(device_open(&wrong, &other) < 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_device_list_none),
		TEST(test_device_list_old_chip),
		TEST(test_device_list_lowest_number_is_the_default),
		TEST(test_device_list_arrival_and_removal),
		TEST(test_device_list_one_node_only),
		TEST(test_device_list_socket),
		TEST(test_device_list_managed),
		TEST(test_device_list_bad_specs),
		TEST(test_device_open_explains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
