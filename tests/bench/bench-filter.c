/*
 * What the filter itself costs a command that needs no account: parsing, the verdict, and learning
 * from the response, in this process and without any I/O. The whole round trip through the relay is
 * bench-relay.c's.
 */
#include "bench.h"
#include "measure.h"

#include "relay/filter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FILTER_COUNT 20000

struct subject {
	const char *name;
	struct policy_image image;
	struct account account;
	struct tpm_response response;
	uint8_t bytes[128];
	size_t size;
};

static void put_header(struct writer *writer, uint16_t tag, uint32_t code)
{
	writer_u16(writer, tag);
	writer_u32(writer, 0);
	writer_u32(writer, code);
}

/* One entry of an authorization area: the TPM session HANDLE, with an HMAC of 32 bytes. */
static void put_session(struct writer *writer, uint32_t handle)
{
	static const uint8_t bytes[32];

	writer_u32(writer, 4 + 2 + sizeof bytes + 1 + 2 + sizeof bytes);
	writer_u32(writer, handle);
	writer_u16(writer, sizeof bytes);
	writer_bytes(writer, bytes, sizeof bytes);
	writer_u8(writer, TPMA_SESSION_CONTINUE);
	writer_u16(writer, sizeof bytes);
	writer_bytes(writer, bytes, sizeof bytes);
}

static void finish(struct subject *subject, struct writer *writer)
{
	writer_patch_u32(writer, 2, (uint32_t)writer->used);
	subject->size = writer->used;
}

static void make_random(struct subject *subject)
{
	struct writer writer = writer_new(subject->bytes, sizeof subject->bytes);

	put_header(&writer, TPM_ST_NO_SESSIONS, 0x17b);
	writer_u16(&writer, 32);
	finish(subject, &writer);
}

/* Sign with an ECC key that is noDA, authorized by an HMAC session. */
static void make_sign(struct subject *subject)
{
	static const uint8_t digest[20];
	struct writer writer = writer_new(subject->bytes, sizeof subject->bytes);

	put_header(&writer, TPM_ST_SESSIONS, 0x15d);
	writer_u32(&writer, 0x80ffffff);
	put_session(&writer, 0x02000000);
	writer_u16(&writer, sizeof digest);
	writer_bytes(&writer, digest, sizeof digest);
	writer_u16(&writer, TPM_ALG_NULL);
	writer_u16(&writer, 0x8024); /* an empty hash check ticket */
	writer_u32(&writer, TPM_RH_NULL);
	writer_u16(&writer, 0);
	finish(subject, &writer);
}

static void make_policy_digest(struct subject *subject)
{
	struct writer writer = writer_new(subject->bytes, sizeof subject->bytes);

	put_header(&writer, TPM_ST_NO_SESSIONS, 0x189);
	writer_u32(&writer, 0x03000001);
	finish(subject, &writer);
}

/* Three policies, the last of which allows: what `basic+attest+keys` is to a signature. */
static void prepare(struct subject *subject)
{
	subject->image = policy_image_new();
	subject->image.policy_count = 3;
	for (size_t i = 0; i < 3; i++) {
		struct policy *policy = &subject->image.policies[i];

		snprintf(policy->name, sizeof policy->name, "bench%zu", i);
		memset(policy->commands, 0xff, sizeof policy->commands);
		policy->hierarchies = POLICY_OWNER | POLICY_NULL;
	}
	subject->account = account_new(32, 16);
	for (unsigned i = 0; i < 31; i++) /* the key is the last of many */
		subject->account.objects[i].handle = 0x80ffff00 + i;
	subject->account.objects[31] = (struct account_entity){.handle = 0x80ffffff,
		.known = true,
		.type = TPM_ALG_ECC,
		.attributes = TPMA_OBJECT_NO_DA | TPMA_OBJECT_SIGN,
		.policies = 4};
	subject->account.sessions[14].handle = 0x02000000;
	subject->account.sessions[15].handle = 0x03000001;
}

static int filter_run(void *context, unsigned int count)
{
	struct subject *subject = context;

	for (unsigned int i = 0; i < count; i++) {
		struct tpm_command command;
		struct filter_verdict verdict;

		account_forget_entities(&subject->account);
		if (tpm_command_parse(subject->bytes, subject->size, &command) != TPM_RC_SUCCESS)
			return -EBADMSG;
		verdict = filter_check(&subject->image, &subject->account, &command);
		if (verdict.kind != FILTER_ALLOW || verdict.dues != 0)
			return -EPERM;
		if (account_learn(
			    &subject->account, &command, verdict.policies, &subject->response) < 0)
			return -EBADMSG;
	}
	return 0;
}

static double random_microseconds;

double bench_filter_random(void)
{
	return random_microseconds;
}

int bench_filter(const struct bench *bench)
{
	static struct subject subjects[] = {
		{.name = "GetRandom"}, {.name = "PolicyGetDigest"}, {.name = "Sign"}};
	struct measure measures[3];
	int r;

	(void)bench;
	for (size_t i = 0; i < 3; i++) {
		prepare(&subjects[i]);
		measures[i] = (struct measure){
			.run = filter_run, .context = &subjects[i], .count = FILTER_COUNT};
	}
	make_random(&subjects[0]);
	make_policy_digest(&subjects[1]);
	make_sign(&subjects[2]);
	r = measure_interleaved(measures, 3);
	if (r < 0)
		return r;
	random_microseconds = measure_median(&measures[0]);
	printf("filter alone: parsing, verdict, learning\n");
	for (size_t i = 0; i < 3; i++)
		printf("  %-24s %8.2f us     aim: below 3\n", subjects[i].name,
			measure_median(&measures[i]));
	return 0;
}
