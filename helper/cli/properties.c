/*
 * Trusts: no byte of the TPM's.
 */
#include "cli/properties.h"

#include "cli/cli.h"
#include "cli/exchange.h"
#include "client/text.h"
#include "common/cleanup.h"
#include "common/cursor.h"
#include "common/lockout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PROFILE "basic"

#define TPM_ST_NO_SESSIONS     0x8001
#define TPM_CC_GET_CAPABILITY  0x0000017a
#define TPM_CAP_TPM_PROPERTIES 6

/* TPM_PT (Part 2, section 6.13): the first of both groups, and what is of interest. */
#define TPM_PT_FIXED              0x100
#define TPM_PT_MANUFACTURER       0x105
#define TPM_PT_VENDOR_STRING_1    0x106
#define TPM_PT_VENDOR_STRING_4    0x109
#define TPM_PT_FIRMWARE_VERSION_1 0x10b
#define TPM_PT_FIRMWARE_VERSION_2 0x10c
#define TPM_PT_VAR                0x200
#define TPM_PT_PERMANENT          0x200
#define TPM_PT_LOCKOUT_COUNTER    0x20e
#define TPM_PT_MAX_AUTH_FAIL      0x20f
#define TPM_PT_LOCKOUT_INTERVAL   0x210
#define TPMA_PERMANENT_IN_LOCKOUT (UINT32_C(1) << 9) /* section 8.6 */
#define GROUP                     64                 /* more than either group has */

#define COMMAND_SIZE 22

/* What was read, as the TPM has it. */
struct words {
	char maker[4];
	char model[16];
	uint32_t firmware[2];
	uint32_t permanent;
	uint32_t counter;
	uint32_t maximum;
	uint32_t interval;
	bool has_lockout;
};

static void make_command(uint32_t first, uint8_t ret_command[COMMAND_SIZE])
{
	struct writer writer = writer_new(ret_command, COMMAND_SIZE);

	writer_u16(&writer, TPM_ST_NO_SESSIONS);
	writer_u32(&writer, COMMAND_SIZE);
	writer_u32(&writer, TPM_CC_GET_CAPABILITY);
	writer_u32(&writer, TPM_CAP_TPM_PROPERTIES);
	writer_u32(&writer, first);
	writer_u32(&writer, GROUP);
}

static void put_text(uint32_t value, char *text)
{
	struct writer writer = writer_new(text, sizeof value);

	writer_u32(&writer, value);
}

static void keep(struct words *words, uint32_t property, uint32_t value)
{
	switch (property) {
	case TPM_PT_MANUFACTURER:
		put_text(value, words->maker);
		break;
	case TPM_PT_FIRMWARE_VERSION_1:
	case TPM_PT_FIRMWARE_VERSION_2:
		words->firmware[property - TPM_PT_FIRMWARE_VERSION_1] = value;
		break;
	case TPM_PT_PERMANENT:
		words->permanent = value;
		break;
	case TPM_PT_LOCKOUT_COUNTER:
		words->counter = value;
		break;
	case TPM_PT_MAX_AUTH_FAIL:
		words->maximum = value;
		words->has_lockout = true;
		break;
	case TPM_PT_LOCKOUT_INTERVAL:
		words->interval = value;
		break;
	default:
		if (property >= TPM_PT_VENDOR_STRING_1 && property <= TPM_PT_VENDOR_STRING_4)
			put_text(value,
				words->model + (property - TPM_PT_VENDOR_STRING_1) * sizeof value);
		break;
	}
}

/* Returns 0; the TPM's response code where it is an error; or -EBADMSG. */
static int64_t parse(const uint8_t *response, size_t size, struct words *words)
{
	struct cursor cursor = cursor_new(response, size);
	uint16_t tag;
	uint8_t more;
	uint32_t length;
	uint32_t code;
	uint32_t capability;
	uint32_t count;

	if (cursor_u16(&cursor, &tag) < 0 || cursor_u32(&cursor, &length) < 0 ||
		cursor_u32(&cursor, &code) < 0)
		return -EBADMSG;
	if (code != 0)
		return code;
	if (cursor_u8(&cursor, &more) < 0 || cursor_u32(&cursor, &capability) < 0 ||
		cursor_u32(&cursor, &count) < 0 || capability != TPM_CAP_TPM_PROPERTIES)
		return -EBADMSG;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t property;
		uint32_t value;

		if (cursor_u32(&cursor, &property) < 0 || cursor_u32(&cursor, &value) < 0)
			return -EBADMSG;
		keep(words, property, value);
	}
	return 0;
}

/* Reads the group of properties that begins with FIRST. Returns whether it worked. */
static bool read_group(
	int session, uint32_t first, struct words *words, struct tpmgate_message *problem)
{
	uint8_t command[COMMAND_SIZE];
	uint8_t response[EXCHANGE_MAX];
	ssize_t size;
	int64_t r;

	make_command(first, command);
	size = exchange(session, command, sizeof command, CLI_FACTS_TIMEOUT_MS, response);
	if (size == -ETIMEDOUT)
		snprintf(problem->text, sizeof problem->text,
			"the TPM did not answer within %d seconds; it may be making a key for "
			"somebody",
			CLI_FACTS_TIMEOUT_MS / 1000);
	else if (size < 0)
		snprintf(problem->text, sizeof problem->text, "the TPM does not answer: %s",
			strerror((int)-size));
	if (size < 0)
		return false;
	r = parse(response, (size_t)size, words);
	if (r > 0)
		snprintf(problem->text, sizeof problem->text,
			"the TPM does not tell its properties: error 0x%08" PRIx32, (uint32_t)r);
	else if (r < 0)
		snprintf(problem->text, sizeof problem->text,
			"the TPM's answer is no list of properties");
	return r == 0;
}

static enum lockout judge(const struct words *words)
{
	if (!words->has_lockout)
		return LOCKOUT_UNKNOWN;
	if (words->permanent & TPMA_PERMANENT_IN_LOCKOUT)
		return LOCKOUT_YES;
	if (words->interval > 0 && words->counter >= lockout_counter_limit(words->maximum))
		return LOCKOUT_NEAR;
	return LOCKOUT_NO;
}

/* Cleans TEXT, and leaves out the blanks around it. */
static void copy_text(const char *text, size_t size, char *ret_text, size_t ret_size)
{
	size_t length;

	while (size > 0 && *text == ' ') {
		text++;
		size--;
	}
	text_clean(text, size, ret_text, ret_size);
	length = strlen(ret_text);
	while (length > 0 && ret_text[length - 1] == ' ')
		ret_text[--length] = '\0';
}

void properties_read(const struct tpmgate_options *options, struct properties *ret_properties)
{
	struct tpmgate_options basic = *options;
	struct properties properties = {.known = false};
	struct words words = {.permanent = 0};
	CLEANUP_FD int session = -1;

	basic.profiles = PROFILE;
	basic.interactive = 0;
	session = tpmgate_open(&basic, &properties.problem);
	if (session >= 0 && read_group(session, TPM_PT_FIXED, &words, &properties.problem) &&
		read_group(session, TPM_PT_VAR, &words, &properties.problem)) {
		properties.known = true;
		copy_text(
			words.maker, sizeof words.maker, properties.maker, sizeof properties.maker);
		copy_text(
			words.model, sizeof words.model, properties.model, sizeof properties.model);
		snprintf(properties.firmware, sizeof properties.firmware,
			"%" PRIu32 ".%" PRIu32 ".%" PRIu32 ".%" PRIu32, words.firmware[0] >> 16,
			words.firmware[0] & 0xffff, words.firmware[1] >> 16,
			words.firmware[1] & 0xffff);
		properties.counter = words.counter;
		properties.maximum = words.maximum;
		properties.interval = words.interval;
		properties.lockout = judge(&words);
	}
	*ret_properties = properties;
}

const char *properties_lockout(enum lockout lockout)
{
	static const char *const names[] = {[LOCKOUT_UNKNOWN] = "unknown",
		[LOCKOUT_NO] = "no",
		[LOCKOUT_NEAR] = "near",
		[LOCKOUT_YES] = "yes"};

	return names[lockout];
}
