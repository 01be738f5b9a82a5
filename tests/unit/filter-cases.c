#include "filter-cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct policy_image naming_all(void)
{
	struct policy_image image = policy_image_new();

	image.backend = POLICY_BACKEND_DEVICE;
	image.policy_count = 1;
	strcpy(image.policies[0].name, "test");
	memset(image.policies[0].commands, 0xff, sizeof image.policies[0].commands);
	return image;
}

struct policy_image like_keys(void)
{
	struct policy_image image = naming_all();
	struct policy *policy = &image.policies[0];

	policy->hierarchies = POLICY_OWNER | POLICY_NULL;
	policy->flags = POLICY_STORAGE_ROOT_KEY;
	policy->capabilities = 1 << 0 | 1 << 1 | 1 << 6;
	return image;
}

struct policy_image like_attest(void)
{
	struct policy_image image = naming_all();
	struct policy *policy = &image.policies[0];

	policy->hierarchies = POLICY_ENDORSEMENT | POLICY_NULL;
	policy->secrets = POLICY_ENDORSEMENT;
	policy->range_count = 3;
	policy->ranges[0] = (struct policy_range){0x81010000, 0x810100ff, POLICY_USE_KEY};
	policy->ranges[1] = (struct policy_range){0x01c00000, 0x01c0ffff, POLICY_USE_NV_READ};
	policy->ranges[2] = (struct policy_range){0x01d1020d, 0x01d10224, POLICY_USE_NV_AUTHORIZE};
	return image;
}

struct policy_image like_admin(void)
{
	struct policy_image image = naming_all();
	struct policy *policy = &image.policies[0];

	policy->secrets = POLICY_OWNER;
	policy->pcrs = 1 << 16;
	policy->range_count = 2;
	policy->ranges[0] = (struct policy_range){0x81000000, 0x817fffff, POLICY_USE_EVICT};
	policy->ranges[1] = (struct policy_range){0x01800000, 0x01bfffff,
		POLICY_USE_NV_READ | POLICY_USE_NV_WRITE | POLICY_USE_NV_DEFINE};
	return image;
}

struct account owning(void)
{
	struct account account = {
		.object_slots = POLICY_SLOTS,
		.session_slots = POLICY_SLOTS,
		.objects = {{.handle = OWN_KEY,
				    .known = true,
				    .type = TPM_ALG_ECC,
				    .attributes = TPMA_OBJECT_NO_DA | TPMA_OBJECT_SIGN},
			{.handle = OWN_DA_KEY, .known = true, .type = TPM_ALG_ECC},
			{.handle = OWN_UNKNOWN}},
		.sessions = {{.handle = OWN_HMAC}, {.handle = OWN_POLICY}},
		.entities = {{.handle = TPM_SRK_RSA,
				     .known = true,
				     .type = TPM_ALG_RSA,
				     .attributes = TPMA_OBJECT_NO_DA | TPMA_OBJECT_RESTRICTED |
						   TPMA_OBJECT_DECRYPT},
			{.handle = TPM_SRK_ECC,
				.known = true,
				.type = TPM_ALG_ECC,
				.attributes = TPMA_OBJECT_NO_DA | TPMA_OBJECT_SIGN},
			{.handle = EK, .known = true, .attributes = TPMA_OBJECT_NO_DA},
			{.handle = EK_CERT, .known = true, .attributes = TPMA_NV_NO_DA},
			{.handle = SOMEBODYS_NV, .known = true, .attributes = TPMA_NV_NO_DA}},
	};

	for (unsigned i = 0; i < account.object_slots; i++)
		account.objects[i].policies = 1; /* the first policy let them be made */
	return account;
}

struct tpm_command make(const char *name, uint32_t h1, uint32_t h2, uint32_t h3)
{
	struct tpm_command command = {.info = tpm_table_by_name(name), .handles = {h1, h2, h3}};

	assert_non_null(command.info);
	command.handle_count = tpm_command_handle_count(command.info);
	/* what a parsed command has: hierarchies and sizes are set by the tests that need them */
	command.parameter_count = (unsigned)strlen(command.info->parameters);
	return command;
}

struct filter_verdict judge(const struct policy_image *image, struct account *account,
	const struct tpm_command *command)
{
	struct filter_verdict verdict = filter_check(image, account, command);

	for (int i = 0; i < 8 && verdict.kind == FILTER_QUERY; i++) {
		uint32_t type = verdict.query >> 24;

		if (verdict.fact == FILTER_FACT_HANDLE_OWN)
			account_learn_ownership(account, verdict.query,
				type == TPM_HT_NV_INDEX ? ACCOUNT_KIND_NV : ACCOUNT_KIND_PERSISTENT,
				false);
		else if (verdict.fact == FILTER_FACT_SEALED_OWN)
			account_learn_ownership(account, verdict.query, ACCOUNT_KIND_SEALED, false);
		else if (type == TPM_HT_TRANSIENT)
			break; /* the tests say themselves what is known of those */
		else
			filter_scene_learn(account, NULL, verdict.query);
		verdict = filter_check(image, account, command);
	}
	return verdict;
}

void expect_all(struct policy_image image, const struct expectation *expectations, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct expectation *e = &expectations[i];
		struct account account = owning();
		struct tpm_command command =
			make(e->name, e->handles[0], e->handles[1], e->handles[2]);

		if (tpm_command_returns_handle(command.info)) /* room for what is made */
			account.objects[2].handle = 0;

		struct filter_verdict verdict = judge(&image, &account, &command);
		uint32_t code =
			verdict.kind == FILTER_DENY ? verdict.code : verdict.dues & FILTER_DUE_DA;

		if (verdict.kind != e->kind || code != e->code)
			fail_msg("%s(%08x, %08x, %08x): verdict %d, code %08x, rule %s", e->name,
				e->handles[0], e->handles[1], e->handles[2], verdict.kind,
				verdict.code, verdict.rule ? verdict.rule : "none");
	}
}

struct filter_verdict check_with(struct policy_image image, struct tpm_command command)
{
	struct account account = owning();

	account.objects[2].handle = 0; /* room for one more */
	return judge(&image, &account, &command);
}
