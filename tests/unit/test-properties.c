/*
 * What a TPM says of itself, and what is made of answers that are none.
 */
#include "cli/properties.h"
#include "common/cursor.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define COMMAND_SIZE 22

static int ours = -1;
static int theirs = -1;
static struct tpmgate_options asked;

int __wrap_tpmgate_open(const struct tpmgate_options *options, struct tpmgate_message *message);

/* The session, whose responses are there before the commands. */
int __wrap_tpmgate_open(const struct tpmgate_options *options, struct tpmgate_message *message)
{
	asked = *options;
	message->text[0] = '\0';
	if (theirs >= 0)
		return dup(theirs);
	snprintf(message->text, sizeof message->text, "'basic' is refused");
	return TPMGATE_E_DENIED;
}

static int setup(void **state)
{
	int pair[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(ours);
	if (theirs >= 0)
		close(theirs);
	return 0;
}

struct property {
	uint32_t property;
	uint32_t value;
};

/* A response with COUNT properties, which says that there are TOLD and that it has LENGTH bytes. */
static void answer(
	const struct property *properties, uint32_t count, uint32_t told, uint32_t length)
{
	uint8_t bytes[1024];
	struct writer writer = writer_new(bytes, sizeof bytes);

	writer_u16(&writer, 0x8001);
	writer_u32(&writer, length ? length : 19 + 8 * count);
	writer_u32(&writer, 0);
	writer_u8(&writer, 0);
	writer_u32(&writer, 6);
	writer_u32(&writer, told);
	for (uint32_t i = 0; i < count; i++) {
		writer_u32(&writer, properties[i].property);
		writer_u32(&writer, properties[i].value);
	}
	assert_false(writer.overflowed);
	assert_int_equal(write(ours, bytes, writer.used), writer.used);
}

static const struct property fixed[] = {
	{0x100, 0x322e3000},
	{0x105, 0x49424d00}, /* IBM */
	{0x106, 0x53572020}, /* "SW  " */
	{0x107, 0x2054504d}, /* " TPM" */
	{0x108, 0x1b5b316d}, /* what a terminal would obey */
	{0x109, 0},
	{0x10b, 0x20191023},
	{0x10c, 0x00163636},
	{0x10d, 4096},
};

static void answer_fixed(void)
{
	answer(fixed, sizeof fixed / sizeof *fixed, sizeof fixed / sizeof *fixed, 0);
}

static struct properties read_properties(void)
{
	const struct tpmgate_options options = {
		.size = sizeof options, .profiles = "owner", .device = "tpmrm1", .interactive = 1};
	struct properties properties;

	properties_read(&options, &properties);
	return properties;
}

/* Answers the question for the lockout, and returns what is made of it. */
static enum lockout judge(uint32_t permanent, uint32_t counter, uint32_t maximum, uint32_t interval)
{
	const struct property variable[] = {
		{0x200, permanent}, {0x20e, counter}, {0x20f, maximum}, {0x210, interval}};
	struct properties properties;

	answer_fixed();
	answer(variable, 4, 4, 0);
	properties = read_properties();
	assert_true(properties.known);
	assert_int_equal(properties.counter, counter);
	assert_int_equal(properties.maximum, maximum);
	assert_int_equal(properties.interval, interval);
	return properties.lockout;
}

static void test_what_is_told(void **state)
{
	const uint8_t commands[2 * COMMAND_SIZE] = {0x80, 0x01, 0, 0, 0, 22, 0, 0, 0x01, 0x7a, 0, 0,
		0, 6, 0, 0, 0x01, 0, 0, 0, 0, 64, 0x80, 0x01, 0, 0, 0, 22, 0, 0, 0x01, 0x7a, 0, 0,
		0, 6, 0, 0, 0x02, 0, 0, 0, 0, 64};
	uint8_t sent[sizeof commands + 1];
	struct properties properties;

	(void)state;
	answer_fixed();
	answer(NULL, 0, 0, 0);
	properties = read_properties();
	assert_true(properties.known);
	assert_string_equal(properties.problem.text, "");
	assert_string_equal(properties.maker, "IBM");
	assert_string_equal(properties.model, "SW   TPM [1m");
	assert_string_equal(properties.firmware, "8217.4131.22.13878");
	assert_int_equal(properties.lockout, LOCKOUT_UNKNOWN);
	assert_int_equal(read(ours, sent, sizeof sent), sizeof commands);
	assert_memory_equal(sent, commands, sizeof commands);
	/* the least that will do, of the TPM that was meant, and no prompt */
	assert_string_equal(asked.profiles, "basic");
	assert_string_equal(asked.device, "tpmrm1");
	assert_int_equal(asked.interactive, 0);
}

static void test_lockout(void **state)
{
	(void)state;
	assert_int_equal(judge(0, 0, 32, 600), LOCKOUT_NO);
	assert_int_equal(judge(0, 15, 32, 600), LOCKOUT_NO);
	assert_int_equal(judge(0, 16, 32, 600), LOCKOUT_NEAR);
	assert_int_equal(judge(0, 1, 3, 600), LOCKOUT_NEAR);
	assert_int_equal(judge(0, 32, 32, 0), LOCKOUT_NO); /* it counts nothing */
	assert_int_equal(judge(0x200, 32, 32, 600), LOCKOUT_YES);
	assert_int_equal(judge(~0x200u, 0, 32, 600), LOCKOUT_NO);
}

static void assert_unknown(const char *why)
{
	struct properties properties = read_properties();

	assert_false(properties.known);
	assert_int_equal(properties.lockout, LOCKOUT_UNKNOWN);
	assert_string_equal(properties.maker, "");
	if (!strstr(properties.problem.text, why))
		fail_msg("\"%s\" is not in \"%s\"", why, properties.problem.text);
}

static void test_answers_that_are_none(void **state)
{
	static const uint8_t refused[] = {0x80, 0x01, 0, 0, 0, 10, 0, 0x0b, 0x01, 0x20};
	const struct property one = {0x105, 0x49424d00};

	(void)state;
	answer(&one, 1, 2, 0); /* fewer than it says */
	assert_unknown("no list of properties");
	assert_int_equal(write(ours, refused, sizeof refused), sizeof refused);
	assert_unknown("error 0x000b0120");
	answer_fixed();
	assert_int_equal(write(ours, refused, sizeof refused), sizeof refused);
	assert_unknown("error 0x000b0120"); /* the second question */
	answer(&one, 1, 1, 4097);
	assert_unknown("does not answer");
}

static void test_no_answer(void **state)
{
	(void)state;
	assert_int_equal(shutdown(ours, SHUT_WR), 0);
	assert_unknown("does not answer");
	close(theirs);
	theirs = -1;
	assert_unknown("'basic' is refused");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_told),
		TEST(test_lockout),
		TEST(test_answers_that_are_none),
		TEST(test_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
