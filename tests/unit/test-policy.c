#include "common/cleanup.h"
#include "common/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

static struct policy_image good_image(void)
{
	struct policy_image image = policy_image_new();

	image.backend = POLICY_BACKEND_DEVICE;
	image.policy_count = 1;
	strcpy(image.policies[0].name, "keys");
	return image;
}

static void test_policy_commands_only_what_was_allowed(void **state)
{
	struct policy policy = {0};

	(void)state;
	assert_int_equal(policy_allow_command(&policy, 0x17b), 0);
	for (uint32_t code = 0; code < 0x400; code++)
		assert_int_equal(policy_allows_command(&policy, code), code == 0x17b);
	assert_false(policy_allows_command(&policy, 0x2000017b));
	assert_int_equal(policy_allow_command(&policy, POLICY_FIRST_CODE - 1), -ERANGE);
	assert_int_equal(policy_allow_command(&policy, POLICY_FIRST_CODE + POLICY_CODES), -ERANGE);
}

static void test_policy_handles_need_every_use(void **state)
{
	struct policy policy = {
		.range_count = 2,
		.ranges = {{0x81010000, 0x810100ff, POLICY_USE_KEY},
			{0x01c00000, 0x01c0ffff, POLICY_USE_NV_READ | POLICY_USE_NV_WRITE}},
	};

	(void)state;
	assert_true(policy_allows_handle(&policy, 0x81010000, POLICY_USE_KEY));
	assert_true(policy_allows_handle(&policy, 0x810100ff, POLICY_USE_KEY));
	assert_false(policy_allows_handle(&policy, 0x8100ffff, POLICY_USE_KEY));
	assert_false(policy_allows_handle(&policy, 0x81010100, POLICY_USE_KEY));
	assert_false(policy_allows_handle(&policy, 0x81010000, POLICY_USE_EVICT));
	assert_true(policy_allows_handle(
		&policy, 0x01c00002, POLICY_USE_NV_READ | POLICY_USE_NV_WRITE));
	assert_false(policy_allows_handle(
		&policy, 0x01c00002, POLICY_USE_NV_READ | POLICY_USE_NV_DEFINE));
	assert_false(policy_allows_handle(&policy, 0x01c00002, 0));
}

static void test_image_check_refuses_what_it_cannot_enforce(void **state)
{
	struct policy_image image = good_image();

	(void)state;
	assert_int_equal(policy_image_check(&image), 0);
	image.version++;
	assert_int_equal(policy_image_check(&image), -EBADMSG);
	image = good_image();
	image.size--;
	assert_int_equal(policy_image_check(&image), -EBADMSG);
	image = good_image();
	image.backend = 0;
	assert_int_equal(policy_image_check(&image), -EBADMSG);
	image = good_image();
	image.reserved = 1;
	assert_int_equal(policy_image_check(&image), -EBADMSG);
	image = good_image();
	image.policy_count = 0;
	assert_int_equal(policy_image_check(&image), -EBADMSG);
	image.policy_count = POLICY_MAX + 1;
	assert_int_equal(policy_image_check(&image), -EBADMSG);
	image = good_image();
	image.policies[0].flags = POLICY_FLAG_ALL + 1;
	assert_int_equal(policy_image_check(&image), -EBADMSG);
	image = good_image();
	image.policies[0].hierarchies = POLICY_HIERARCHY_ALL + 1;
	assert_int_equal(policy_image_check(&image), -EBADMSG);
	image = good_image();
	image.policies[0].range_count = POLICY_RANGES + 1;
	assert_int_equal(policy_image_check(&image), -EBADMSG);
	image = good_image();
	image.policies[0].range_count = 1;
	image.policies[0].ranges[0] = (struct policy_range){0x80ffffff, 0x81000000, POLICY_USE_KEY};
	assert_int_equal(policy_image_check(&image), -EBADMSG); /* over two kinds of handle */
	image = good_image();
	image.policy_count = 2;
	image.policies[1] = image.policies[0]; /* the same profile twice */
	assert_int_equal(policy_image_check(&image), -EBADMSG);
	image = good_image();
	memset(image.policies[0].name, 'x', sizeof image.policies[0].name);
	assert_int_equal(policy_image_check(&image), -EBADMSG);
}

static void test_memfd_keeps_the_image_and_is_sealed(void **state)
{
	struct policy_image image = good_image();
	struct policy_image read;
	CLEANUP_FD int fd = policy_image_to_memfd(&image);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(policy_image_from_memfd(fd, &read), 0);
	assert_memory_equal(&image, &read, sizeof image);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void test_memfd_unsealed_is_refused(void **state)
{
	struct policy_image image = good_image();
	struct policy_image read;
	CLEANUP_FD int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	assert_int_equal(pwrite(fd, &image, sizeof image, 0), sizeof image);
	assert_int_equal(policy_image_from_memfd(fd, &read), -EBADMSG);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy_commands_only_what_was_allowed),
		cmocka_unit_test(test_policy_handles_need_every_use),
		cmocka_unit_test(test_image_check_refuses_what_it_cannot_enforce),
		cmocka_unit_test(test_memfd_keeps_the_image_and_is_sealed),
		cmocka_unit_test(test_memfd_unsealed_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
