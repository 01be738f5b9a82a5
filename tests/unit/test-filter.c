/*
 * The filter is pure: each test makes a command, what the session owns and one policy, and looks at
 * the verdict. Every rule is shown where it allows and where it refuses.
 */
#include "relay/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define OWN_KEY      0x80000001u /* noDA */
#define OWN_DA_KEY   0x80000002u /* subject to dictionary attack protection */
#define OWN_UNKNOWN  0x80000003u /* its public area was not seen yet */
#define FOREIGN_KEY  0x80000004u
#define OWN_HMAC     0x02000001u
#define OWN_POLICY   0x03000001u
#define FOREIGN_HMAC 0x02000002u
#define EK           0x81010001u
#define SOMEBODYS    0x81000005u
#define EK_CERT      0x01c00002u
#define PCRLOCK      0x01d10210u
#define SOMEBODYS_NV 0x01800001u
#define REFUSED      0x000b0120u

/* Every command is named and nothing else is granted; one session of each kind is the caller's. */
static struct policy_image naming_all(void)
{
	struct policy_image image = policy_image_new();

	image.backend = POLICY_BACKEND_DEVICE;
	image.policy_count = 1;
	strcpy(image.policies[0].name, "test");
	memset(image.policies[0].commands, 0xff, sizeof image.policies[0].commands);
	return image;
}

static struct policy_image like_keys(void)
{
	struct policy_image image = naming_all();
	struct policy *policy = &image.policies[0];

	policy->hierarchies = POLICY_OWNER | POLICY_NULL;
	policy->flags = POLICY_STORAGE_ROOT_KEY;
	policy->capabilities = 1 << 0 | 1 << 1 | 1 << 6;
	return image;
}

static struct policy_image like_attest(void)
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

static struct policy_image like_admin(void)
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

static struct account owning(void)
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
		.sessions = {OWN_HMAC, OWN_POLICY},
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

static struct tpm_command make(const char *name, uint32_t h1, uint32_t h2, uint32_t h3)
{
	struct tpm_command command = {.info = tpm_table_by_name(name), .handles = {h1, h2, h3}};

	assert_non_null(command.info);
	command.handle_count = tpm_command_handle_count(command.info);
	/* what a parsed command has: hierarchies and sizes are set by the tests that need them */
	command.parameter_count = (unsigned)strlen(command.info->parameters);
	return command;
}

struct expectation {
	const char *name;
	uint32_t handles[3];
	enum filter_kind kind;
	uint32_t code; /* of a refusal */
};

static void expect_all(
	struct policy_image image, const struct expectation *expectations, size_t count)
{
	struct account account = owning();

	for (size_t i = 0; i < count; i++) {
		const struct expectation *e = &expectations[i];
		struct tpm_command command =
			make(e->name, e->handles[0], e->handles[1], e->handles[2]);

		if (tpm_command_returns_handle(command.info)) /* room for what is made */
			account.objects[2].handle = 0;
		else
			account.objects[2].handle = OWN_UNKNOWN;

		struct filter_verdict verdict = filter_check(&image, &account, &command);

		if (verdict.kind != e->kind ||
			(verdict.kind <= FILTER_ACCOUNT && verdict.code != e->code))
			fail_msg("%s(%08x, %08x, %08x): verdict %d, code %08x, rule %s", e->name,
				e->handles[0], e->handles[1], e->handles[2], verdict.kind,
				verdict.code, verdict.rule ? verdict.rule : "none");
	}
}
#define EXPECT(image, list) expect_all(image, list, sizeof(list) / sizeof((list)[0]))

static void test_filter_commands_must_be_named(void **state)
{
	struct policy_image none = naming_all();
	struct policy_image all = like_keys();
	struct account account = owning();

	(void)state;
	memset(none.policies[0].commands, 0, sizeof none.policies[0].commands);
	for (size_t i = 0; i < tpm_table_size; i++) {
		struct tpm_command command = {.info = &tpm_table[i]};
		struct filter_verdict verdict = filter_check(&none, &account, &command);

		if (tpm_table[i].scope == TPM_SCOPE_LOCAL) {
			assert_int_equal(verdict.kind, FILTER_LOCAL);
			continue;
		}
		assert_int_equal(verdict.kind, FILTER_DENY);
		assert_int_equal(verdict.code, REFUSED);
		assert_non_null(verdict.rule);
		/* and those that go never through do not, whatever is named */
		if (tpm_table[i].scope == TPM_SCOPE_NEVER) {
			verdict = filter_check(&all, &account, &command);
			assert_int_equal(verdict.kind, FILTER_DENY);
			assert_string_equal(verdict.rule, "never");
		}
	}
}

static void test_filter_named_alone_is_allowed_alone(void **state)
{
	struct account account = owning();

	(void)state;
	for (size_t i = 0; i < tpm_table_size; i++) {
		struct policy_image image = naming_all();
		struct tpm_command command = make("GetRandom", 0, 0, 0);

		memset(image.policies[0].commands, 0, sizeof image.policies[0].commands);
		if (policy_allow_command(&image.policies[0], tpm_table[i].code) < 0)
			fail_msg("%s has no bit", tpm_table[i].name);
		assert_int_equal(filter_check(&image, &account, &command).kind,
			strcmp(tpm_table[i].name, "GetRandom") == 0 ? FILTER_ALLOW : FILTER_DENY);
	}
}

static void test_filter_hierarchies_are_exact(void **state)
{
	static const struct expectation keys[] = {
		{"CreatePrimary", {TPM_RH_OWNER}, FILTER_ALLOW, 0},
		{"CreatePrimary", {TPM_RH_NULL}, FILTER_ALLOW, 0},
		{"CreatePrimary", {TPM_RH_ENDORSEMENT}, FILTER_DENY, REFUSED},
		{"CreatePrimary", {TPM_RH_PLATFORM}, FILTER_DENY, REFUSED},
		{"CreatePrimary", {0x40000140}, FILTER_DENY, REFUSED}, /* FW_OWNER */
		{"CreatePrimary", {0x40010000}, FILTER_DENY, REFUSED}, /* SVN_OWNER */
		{"CreateLoaded", {TPM_RH_OWNER}, FILTER_ALLOW, 0},
		{"CreateLoaded", {TPM_RH_ENDORSEMENT}, FILTER_DENY, REFUSED},
		{"CreateLoaded", {TPM_RH_PLATFORM}, FILTER_DENY, REFUSED},
		{"CreateLoaded", {0x40000143}, FILTER_DENY, REFUSED},
		{"CreateLoaded", {OWN_KEY}, FILTER_ALLOW, 0},
		{"Clear", {TPM_RH_LOCKOUT}, FILTER_ALLOW, 0},
		{"Clear", {TPM_RH_PLATFORM}, FILTER_DENY, REFUSED},
		{"ClearControl", {TPM_RH_PLATFORM}, FILTER_DENY, REFUSED},
		{"ClockSet", {TPM_RH_OWNER}, FILTER_ALLOW, 0},
		{"ClockSet", {TPM_RH_PLATFORM}, FILTER_DENY, REFUSED},
		{"HierarchyChangeAuth", {TPM_RH_OWNER}, FILTER_ALLOW, 0},
		{"HierarchyChangeAuth", {TPM_RH_LOCKOUT}, FILTER_ALLOW, 0},
		{"HierarchyChangeAuth", {TPM_RH_PLATFORM}, FILTER_DENY, REFUSED},
		{"SetPrimaryPolicy", {TPM_RH_ENDORSEMENT}, FILTER_ALLOW, 0},
		{"SetPrimaryPolicy", {TPM_RH_PLATFORM}, FILTER_DENY, REFUSED},
		{"SetPrimaryPolicy", {0x40000110}, FILTER_DENY, REFUSED}, /* ACT_0 */
		{"DictionaryAttackLockReset", {TPM_RH_LOCKOUT}, FILTER_ALLOW, 0},
		{"GetTime", {TPM_RH_ENDORSEMENT, OWN_KEY}, FILTER_ALLOW, 0},
		{"GetTime", {TPM_RH_ENDORSEMENT, TPM_RH_NULL}, FILTER_ALLOW, 0},
		{"GetTime", {TPM_RH_ENDORSEMENT, SOMEBODYS}, FILTER_DENY, REFUSED},
	};
	static const struct expectation attest[] = {
		{"CreatePrimary", {TPM_RH_ENDORSEMENT}, FILTER_ALLOW, 0},
		{"CreatePrimary", {TPM_RH_OWNER}, FILTER_DENY, REFUSED},
	};

	(void)state;
	EXPECT(like_keys(), keys);
	EXPECT(like_attest(), attest);
}

static void test_filter_objects_must_be_own(void **state)
{
	static const struct expectation keys[] = {
		{"Sign", {OWN_KEY}, FILTER_ALLOW, 0},
		{"Sign", {FOREIGN_KEY}, FILTER_DENY, 0x000b0910},
		{"Sign", {SOMEBODYS}, FILTER_DENY, REFUSED},
		{"Sign", {TPM_SRK_RSA}, FILTER_DENY, REFUSED},
		{"Sign", {EK}, FILTER_DENY, REFUSED},
		{"ReadPublic", {OWN_KEY}, FILTER_ALLOW, 0},
		{"ReadPublic", {OWN_UNKNOWN}, FILTER_ALLOW, 0},
		{"ReadPublic", {TPM_SRK_RSA}, FILTER_ALLOW, 0},
		{"ReadPublic", {EK}, FILTER_DENY, REFUSED},
		{"ReadPublic", {SOMEBODYS}, FILTER_DENY, REFUSED},
		{"RSA_Encrypt", {FOREIGN_KEY}, FILTER_DENY, 0x000b0910},
		{"Create", {OWN_KEY}, FILTER_ALLOW, 0},
		{"Create", {TPM_SRK_RSA}, FILTER_ALLOW, 0},
		{"Create", {TPM_SRK_ECC}, FILTER_DENY, REFUSED}, /* a signing key sits there */
		{"Create", {SOMEBODYS}, FILTER_DENY, REFUSED},
		{"Load", {TPM_SRK_RSA}, FILTER_ALLOW, 0},
		{"Load", {EK}, FILTER_DENY, REFUSED},
		{"Import", {FOREIGN_KEY}, FILTER_DENY, 0x000b0910},
		{"Rewrap", {OWN_KEY, FOREIGN_KEY}, FILTER_DENY, 0x000b0911},
		{"Rewrap", {OWN_KEY, TPM_RH_NULL}, FILTER_DENY, REFUSED}, /* would print secrets */
		{"Rewrap", {OWN_KEY, OWN_KEY}, FILTER_DENY, REFUSED},
		{"Rewrap", {OWN_KEY, SOMEBODYS}, FILTER_DENY, REFUSED},
		{"Certify", {OWN_KEY, OWN_KEY}, FILTER_ALLOW, 0},
		{"Certify", {OWN_KEY, SOMEBODYS}, FILTER_DENY, REFUSED}, /* second authorization */
		{"ActivateCredential", {OWN_KEY, EK}, FILTER_DENY, REFUSED},
		{"Quote", {SOMEBODYS}, FILTER_DENY, REFUSED},
		{"ContextSave", {OWN_KEY}, FILTER_ALLOW, 0},
		{"ContextSave", {FOREIGN_KEY}, FILTER_DENY, 0x000b0910},
		{"ContextSave", {OWN_HMAC}, FILTER_ACCOUNT, REFUSED},
		{"ContextSave", {FOREIGN_HMAC}, FILTER_DENY, 0x000b0910},
		{"PolicyGetDigest", {OWN_POLICY}, FILTER_ALLOW, 0},
		{"PolicyGetDigest", {0x03000009}, FILTER_DENY, 0x000b0910},
	};
	static const struct expectation attest[] = {
		{"Sign", {EK}, FILTER_ALLOW, 0},
		{"ReadPublic", {EK}, FILTER_ALLOW, 0},
		{"ReadPublic", {TPM_SRK_RSA}, FILTER_DENY, REFUSED},
		{"Create", {EK}, FILTER_ALLOW, 0},
		{"ActivateCredential", {OWN_KEY, EK}, FILTER_ALLOW, 0},
	};

	(void)state;
	EXPECT(like_keys(), keys);
	EXPECT(like_attest(), attest);
}

static void test_filter_dictionary_attack(void **state)
{
	static const struct expectation keys[] = {
		{"Sign", {OWN_DA_KEY}, FILTER_ACCOUNT, 0x000b0921},
		{"Sign", {OWN_UNKNOWN}, FILTER_QUERY, 0},
		{"Create", {OWN_DA_KEY}, FILTER_ACCOUNT, 0x000b0921},
		{"VerifySignature", {OWN_DA_KEY}, FILTER_ALLOW, 0}, /* authorizes nothing */
		{"SequenceUpdate", {OWN_DA_KEY}, FILTER_ACCOUNT, 0x000b0921},
		{"PolicySecret", {OWN_DA_KEY, OWN_POLICY}, FILTER_ACCOUNT, 0x000b0921},
		{"Certify", {OWN_KEY, OWN_DA_KEY}, FILTER_ACCOUNT, 0x000b0921},
		{"StartAuthSession", {TPM_RH_NULL, OWN_DA_KEY}, FILTER_ACCOUNT, 0x000b0921},
		{"StartAuthSession", {OWN_DA_KEY, TPM_RH_NULL}, FILTER_ALLOW, 0}, /* salt only */
	};

	(void)state;
	EXPECT(like_keys(), keys);
}

static void test_filter_session_start_binds_to_own_only(void **state)
{
	static const struct expectation keys[] = {
		{"StartAuthSession", {TPM_RH_NULL, TPM_RH_NULL}, FILTER_ALLOW, 0},
		{"StartAuthSession", {OWN_KEY, OWN_KEY}, FILTER_ALLOW, 0},
		{"StartAuthSession", {TPM_SRK_RSA, TPM_SRK_RSA}, FILTER_ALLOW, 0},
		{"StartAuthSession", {TPM_RH_NULL, TPM_RH_LOCKOUT}, FILTER_DENY, REFUSED},
		{"StartAuthSession", {TPM_RH_NULL, TPM_RH_OWNER}, FILTER_DENY, REFUSED},
		{"StartAuthSession", {TPM_RH_NULL, TPM_RH_ENDORSEMENT}, FILTER_DENY, REFUSED},
		{"StartAuthSession", {TPM_RH_NULL, TPM_RH_PLATFORM}, FILTER_DENY, REFUSED},
		{"StartAuthSession", {TPM_RH_NULL, SOMEBODYS_NV}, FILTER_DENY, REFUSED},
		{"StartAuthSession", {TPM_RH_NULL, SOMEBODYS}, FILTER_DENY, REFUSED},
		{"StartAuthSession", {TPM_RH_NULL, 0}, FILTER_DENY, REFUSED}, /* a PCR */
		{"StartAuthSession", {TPM_RH_NULL, 0x40000010}, FILTER_DENY, REFUSED},
		{"StartAuthSession", {SOMEBODYS, TPM_RH_NULL}, FILTER_DENY, REFUSED},
		{"StartAuthSession", {EK, TPM_RH_NULL}, FILTER_DENY, REFUSED},
	};
	static const struct expectation attest[] = {
		{"StartAuthSession", {EK, TPM_RH_NULL}, FILTER_ALLOW, 0},
		{"StartAuthSession", {TPM_RH_NULL, TPM_RH_LOCKOUT}, FILTER_DENY, REFUSED},
	};

	(void)state;
	EXPECT(like_keys(), keys);
	EXPECT(like_attest(), attest);
}

static void test_filter_policy_secret_entities(void **state)
{
	static const struct expectation keys[] = {
		{"PolicySecret", {OWN_KEY, OWN_POLICY}, FILTER_ALLOW, 0},
		{"PolicySecret", {TPM_RH_OWNER, OWN_POLICY}, FILTER_DENY, REFUSED},
		{"PolicySecret", {TPM_RH_ENDORSEMENT, OWN_POLICY}, FILTER_DENY, REFUSED},
		{"PolicySecret", {TPM_RH_LOCKOUT, OWN_POLICY}, FILTER_DENY, REFUSED},
		{"PolicySecret", {TPM_RH_PLATFORM, OWN_POLICY}, FILTER_DENY, REFUSED},
		{"PolicySecret", {SOMEBODYS, OWN_POLICY}, FILTER_DENY, REFUSED},
		{"PolicySecret", {TPM_SRK_RSA, OWN_POLICY}, FILTER_DENY, REFUSED},
		{"PolicySecret", {SOMEBODYS_NV, OWN_POLICY}, FILTER_ACCOUNT, REFUSED},
		{"PolicySecret", {0, OWN_POLICY}, FILTER_DENY, REFUSED},
		{"PolicySecret", {0x40000010, OWN_POLICY}, FILTER_DENY, REFUSED},
	};
	static const struct expectation attest[] = {
		{"PolicySecret", {TPM_RH_ENDORSEMENT, OWN_POLICY}, FILTER_ALLOW, 0},
		{"PolicySecret", {TPM_RH_OWNER, OWN_POLICY}, FILTER_DENY, REFUSED},
		{"PolicySecret", {TPM_RH_LOCKOUT, OWN_POLICY}, FILTER_DENY, REFUSED},
	};
	static const struct expectation admin[] = {
		{"PolicySecret", {TPM_RH_OWNER, OWN_POLICY}, FILTER_ALLOW, 0},
	};

	(void)state;
	EXPECT(like_keys(), keys);
	EXPECT(like_attest(), attest);
	EXPECT(like_admin(), admin);
}

static void test_filter_nv_indices(void **state)
{
	static const struct expectation keys[] = {
		{"NV_Read", {SOMEBODYS_NV, SOMEBODYS_NV}, FILTER_ACCOUNT, REFUSED},
		{"NV_Read", {TPM_RH_OWNER, EK_CERT}, FILTER_ACCOUNT, REFUSED},
		{"NV_ReadPublic", {SOMEBODYS_NV}, FILTER_ALLOW, 0},
		{"NV_ReadPublic", {0x11000001}, FILTER_DENY, REFUSED},
		{"NV_Write", {TPM_RH_OWNER, SOMEBODYS_NV}, FILTER_ACCOUNT, REFUSED},
		{"NV_UndefineSpace", {TPM_RH_OWNER, SOMEBODYS_NV}, FILTER_ACCOUNT, REFUSED},
		{"PolicyNV", {TPM_RH_OWNER, EK_CERT, OWN_POLICY}, FILTER_ACCOUNT, REFUSED},
		{"PolicyAuthorizeNV", {TPM_RH_OWNER, PCRLOCK, OWN_POLICY}, FILTER_ACCOUNT, REFUSED},
	};
	static const struct expectation attest[] = {
		{"NV_Read", {TPM_RH_OWNER, EK_CERT}, FILTER_ALLOW, 0},
		{"NV_Read", {EK_CERT, EK_CERT}, FILTER_ALLOW, 0},
		{"NV_Read", {0x01c00003, 0x01c00003}, FILTER_QUERY, 0},
		{"NV_Read", {SOMEBODYS_NV, EK_CERT}, FILTER_DENY, REFUSED},
		{"NV_Read", {TPM_RH_PLATFORM, EK_CERT}, FILTER_DENY, REFUSED},
		{"NV_Read", {TPM_RH_OWNER, SOMEBODYS_NV}, FILTER_ACCOUNT, REFUSED},
		{"NV_Write", {TPM_RH_OWNER, EK_CERT}, FILTER_ACCOUNT, REFUSED},
		{"PolicyAuthorizeNV", {TPM_RH_OWNER, PCRLOCK, OWN_POLICY}, FILTER_ALLOW, 0},
		{"PolicyAuthorizeNV", {PCRLOCK, PCRLOCK, OWN_POLICY}, FILTER_DENY, REFUSED},
		{"PolicyAuthorizeNV", {TPM_RH_OWNER, 0x01d10225, OWN_POLICY}, FILTER_ACCOUNT,
			REFUSED},
		{"NV_Certify", {OWN_KEY, TPM_RH_OWNER, EK_CERT}, FILTER_ALLOW, 0},
		{"NV_Certify", {OWN_KEY, TPM_RH_OWNER, SOMEBODYS_NV}, FILTER_ACCOUNT, REFUSED},
	};
	static const struct expectation admin[] = {
		{"NV_Write", {TPM_RH_OWNER, SOMEBODYS_NV}, FILTER_ALLOW, 0},
		{"NV_Write", {SOMEBODYS_NV, SOMEBODYS_NV}, FILTER_ALLOW, 0},
		{"NV_Extend", {TPM_RH_OWNER, 0x01d10200}, FILTER_ACCOUNT, REFUSED},
		{"NV_UndefineSpace", {TPM_RH_OWNER, SOMEBODYS_NV}, FILTER_ALLOW, 0},
		{"NV_UndefineSpace", {TPM_RH_PLATFORM, SOMEBODYS_NV}, FILTER_DENY, REFUSED},
		{"NV_UndefineSpace", {TPM_RH_OWNER, EK_CERT}, FILTER_ACCOUNT, REFUSED},
	};

	(void)state;
	EXPECT(like_keys(), keys);
	EXPECT(like_attest(), attest);
	EXPECT(like_admin(), admin);
}

static void test_filter_pcrs(void **state)
{
	static const struct expectation keys[] = {
		{"PCR_Extend", {16}, FILTER_DENY, REFUSED},
		{"PCR_Extend", {0}, FILTER_DENY, REFUSED},
		{"PCR_Extend", {TPM_RH_NULL}, FILTER_ALLOW, 0}, /* changes nothing */
		{"PCR_Reset", {16}, FILTER_DENY, REFUSED},
	};
	static const struct expectation admin[] = {
		{"PCR_Extend", {16}, FILTER_ALLOW, 0},
		{"PCR_Extend", {17}, FILTER_DENY, REFUSED},
		{"PCR_Extend", {16 + 32}, FILTER_DENY, REFUSED}, /* a shift that wraps */
		{"PCR_Event", {16}, FILTER_ALLOW, 0},
		{"PCR_Reset", {16}, FILTER_ALLOW, 0},
		{"PCR_Reset", {23}, FILTER_DENY, REFUSED},
		{"EventSequenceComplete", {0, OWN_KEY}, FILTER_DENY, REFUSED},
		{"EventSequenceComplete", {16, OWN_KEY}, FILTER_ALLOW, 0},
	};

	(void)state;
	EXPECT(like_keys(), keys);
	EXPECT(like_admin(), admin);
}

static struct filter_verdict check_with(struct policy_image image, struct tpm_command command)
{
	struct account account = owning();

	account.objects[2].handle = 0; /* room for one more */
	return filter_check(&image, &account, &command);
}

static void test_filter_ticket_hierarchies(void **state)
{
	static const struct {
		const char *name;
		uint32_t handle;
		unsigned parameter;
	} commands[] = {{"Hash", 0, 2}, {"SequenceComplete", OWN_KEY, 1}, {"LoadExternal", 0, 2}};
	static const struct {
		uint32_t hierarchy;
		enum filter_kind kind;
	} hierarchies[] = {{TPM_RH_OWNER, FILTER_ALLOW}, {TPM_RH_ENDORSEMENT, FILTER_ALLOW},
		{TPM_RH_NULL, FILTER_ALLOW}, {TPM_RH_PLATFORM, FILTER_DENY},
		{TPM_RH_PLATFORM_NV, FILTER_DENY}, {TPM_RH_LOCKOUT, FILTER_DENY},
		{0x40000142, FILTER_DENY}, {0x40020000, FILTER_DENY}, {0, FILTER_DENY}};

	(void)state;
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		for (size_t j = 0; j < sizeof hierarchies / sizeof hierarchies[0]; j++) {
			struct tpm_command command =
				make(commands[i].name, commands[i].handle, 0, 0);

			command.parameters[commands[i].parameter].number = hierarchies[j].hierarchy;
			assert_int_equal(
				check_with(like_keys(), command).kind, hierarchies[j].kind);
		}
}

static void test_filter_hierarchy_control_names_the_hierarchy_twice(void **state)
{
	struct tpm_command command = make("HierarchyControl", TPM_RH_OWNER, 0, 0);

	(void)state;
	command.parameters[0].number = TPM_RH_OWNER;
	assert_int_equal(check_with(like_keys(), command).kind, FILTER_ALLOW);
	command.parameters[0].number = TPM_RH_PLATFORM;
	assert_int_equal(check_with(like_keys(), command).kind, FILTER_DENY);
	command.parameters[0].number = TPM_RH_PLATFORM_NV;
	assert_int_equal(check_with(like_keys(), command).kind, FILTER_DENY);
	command.handles[0] = TPM_RH_PLATFORM;
	command.parameters[0].number = TPM_RH_OWNER;
	assert_int_equal(check_with(like_keys(), command).kind, FILTER_DENY);
}

static enum filter_kind load_context(uint32_t saved, uint32_t hierarchy, struct policy_image image)
{
	struct tpm_command command = make("ContextLoad", 0, 0, 0);

	command.parameters[1].number = saved;
	command.parameters[2].number = hierarchy;
	return check_with(image, command).kind;
}

static void test_filter_context_load(void **state)
{
	(void)state;
	assert_int_equal(load_context(0x80000000, TPM_RH_OWNER, like_keys()), FILTER_ALLOW);
	assert_int_equal(load_context(0x80000000, TPM_RH_NULL, like_keys()), FILTER_ALLOW);
	assert_int_equal(load_context(0x80000000, TPM_RH_ENDORSEMENT, like_keys()), FILTER_DENY);
	assert_int_equal(load_context(0x80000000, TPM_RH_PLATFORM, like_keys()), FILTER_DENY);
	assert_int_equal(load_context(0x80000000, 0x40000140, like_keys()), FILTER_DENY);
	assert_int_equal(load_context(0x80000000, TPM_RH_ENDORSEMENT, like_attest()), FILTER_ALLOW);
	assert_int_equal(load_context(0x02000000, TPM_RH_NULL, like_keys()), FILTER_ACCOUNT);
	assert_int_equal(load_context(0x03000000, TPM_RH_NULL, like_keys()), FILTER_ACCOUNT);
	assert_int_equal(load_context(0x81000000, TPM_RH_OWNER, like_keys()), FILTER_DENY);
	assert_int_equal(load_context(0x40000001, TPM_RH_OWNER, like_keys()), FILTER_DENY);
}

static void test_filter_flush_own_only(void **state)
{
	static const struct {
		uint32_t handle;
		enum filter_kind kind;
	} flushes[] = {{OWN_KEY, FILTER_ALLOW}, {OWN_HMAC, FILTER_ALLOW},
		{FOREIGN_KEY, FILTER_DENY}, {FOREIGN_HMAC, FILTER_DENY}, {0, FILTER_DENY},
		{SOMEBODYS, FILTER_DENY}};

	(void)state;
	for (size_t i = 0; i < sizeof flushes / sizeof flushes[0]; i++) {
		struct tpm_command command = make("FlushContext", 0, 0, 0);

		command.parameters[0].number = flushes[i].handle;
		assert_int_equal(check_with(like_keys(), command).kind, flushes[i].kind);
	}
}

static void test_filter_sessions_in_the_authorization_area_must_be_own(void **state)
{
	struct tpm_command command = make("GetRandom", 0, 0, 0);

	(void)state;
	command.authorization_count = 2;
	command.authorizations[0].handle = OWN_HMAC;
	command.authorizations[1].handle = OWN_POLICY;
	assert_int_equal(check_with(like_keys(), command).kind, FILTER_ALLOW);
	command.authorizations[1].handle = FOREIGN_HMAC;
	assert_int_equal(check_with(like_keys(), command).kind, FILTER_DENY);
	assert_int_equal(check_with(like_keys(), command).code, 0x000b0919);
}

static void test_filter_capabilities(void **state)
{
	static const struct {
		uint32_t capability;
		uint32_t property;
		enum filter_kind kind;
	} asked[] = {
		{0, 1, FILTER_ALLOW},          /* ALGS */
		{6, 0x100, FILTER_ALLOW},      /* TPM_PROPERTIES */
		{2, 0, FILTER_DENY},           /* COMMANDS: not in this policy */
		{1, 0x00000000, FILTER_ALLOW}, /* PCRs */
		{1, 0x40000000, FILTER_ALLOW}, /* permanent */
		{1, 0x80000000, FILTER_LOCAL}, /* transient */
		{1, 0x02000000, FILTER_LOCAL}, /* loaded sessions */
		{1, 0x03000000, FILTER_LOCAL}, /* saved sessions */
		{1, 0x81000000, FILTER_LOCAL}, /* persistent */
		{1, 0x01000000, FILTER_LOCAL}, /* NV */
		{1, 0x90000000, FILTER_DENY},  /* attached components */
		{0x100, 0, FILTER_DENY},       /* vendor */
		{32, 0, FILTER_DENY},          /* a shift that wraps to ALGS */
		{0x80000000, 0, FILTER_DENY},
	};

	(void)state;
	for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
		struct tpm_command command = make("GetCapability", 0, 0, 0);

		command.parameters[0].number = asked[i].capability;
		command.parameters[1].number = asked[i].property;
		assert_int_equal(check_with(like_keys(), command).kind, asked[i].kind);
		/* what the relay answers it cannot answer with a session's HMAC */
		command.authorization_count = 1;
		command.authorizations[0].handle = OWN_HMAC;
		assert_int_equal(check_with(like_keys(), command).kind,
			asked[i].kind == FILTER_LOCAL ? FILTER_DENY : asked[i].kind);
	}
}

static void test_filter_nv_define_looks_into_the_public_area(void **state)
{
	static const uint8_t owners[] = {0x01, 0x80, 0x00, 0x01};
	static const uint8_t certificate[] = {0x01, 0xc0, 0x00, 0x02};
	static const uint8_t typed[] = {0x01, 0x01, 0x80, 0x00, 0x01};
	static const uint8_t external[] = {0x11, 0x01, 0x80, 0x00, 0x01};
	struct tpm_command command = make("NV_DefineSpace", TPM_RH_OWNER, 0, 0);
	struct tpm_command command2 = make("NV_DefineSpace2", TPM_RH_OWNER, 0, 0);

	(void)state;
	command.parameters[1].bytes = cursor_new(owners, sizeof owners);
	assert_int_equal(check_with(like_admin(), command).kind, FILTER_ALLOW);
	assert_int_equal(check_with(like_keys(), command).kind, FILTER_ACCOUNT);
	command.parameters[1].bytes = cursor_new(certificate, sizeof certificate);
	assert_int_equal(check_with(like_admin(), command).kind, FILTER_ACCOUNT);
	command.parameters[1].bytes = cursor_new(owners, 3);
	assert_int_equal(check_with(like_admin(), command).kind, FILTER_DENY);
	command2.parameters[1].bytes = cursor_new(typed, sizeof typed);
	assert_int_equal(check_with(like_admin(), command2).kind, FILTER_ALLOW);
	command2.parameters[1].bytes = cursor_new(external, sizeof external);
	assert_int_equal(check_with(like_admin(), command2).kind, FILTER_DENY);
}

static void test_filter_evict_control(void **state)
{
	struct tpm_command command = make("EvictControl", TPM_RH_OWNER, OWN_KEY, 0);

	(void)state;
	command.parameters[0].number = 0x81000100;
	assert_int_equal(check_with(like_admin(), command).kind, FILTER_ALLOW);
	assert_int_equal(check_with(like_keys(), command).kind, FILTER_ACCOUNT);
	command.parameters[0].number = 0x81800000; /* the platform's */
	assert_int_equal(check_with(like_admin(), command).kind, FILTER_ACCOUNT);
	command = make("EvictControl", TPM_RH_OWNER, SOMEBODYS, 0);
	command.parameters[0].number = SOMEBODYS;
	assert_int_equal(check_with(like_admin(), command).kind, FILTER_ALLOW);
	assert_int_equal(check_with(like_keys(), command).kind, FILTER_ACCOUNT);
	command = make("EvictControl", TPM_RH_PLATFORM, SOMEBODYS, 0);
	command.parameters[0].number = SOMEBODYS;
	assert_int_equal(check_with(like_admin(), command).kind, FILTER_DENY);
}

static void test_filter_saved_sessions(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command save = make("ContextSave", OWN_HMAC, 0, 0);
	struct tpm_command load = make("ContextLoad", 0, 0, 0);

	(void)state;
	load.parameters[1].number = 0x02000005;
	load.parameters[2].number = TPM_RH_NULL;
	assert_int_equal(filter_check(&image, &account, &save).kind, FILTER_ACCOUNT);
	assert_int_equal(filter_check(&image, &account, &load).kind, FILTER_ACCOUNT);
	image.policies[0].flags |= POLICY_SAVED_SESSIONS;
	assert_int_equal(filter_check(&image, &account, &save).kind, FILTER_ALLOW);
	account.objects[2].handle = 0;
	assert_int_equal(filter_check(&image, &account, &load).kind, FILTER_ALLOW);
	/* somebody else's session is nobody's here, all the same */
	save.handles[0] = 0x02000077;
	assert_int_equal(filter_check(&image, &account, &save).code, 0x000b0910);
}

static void test_filter_dictionary_attack_flag(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command sign = make("Sign", OWN_DA_KEY, 0, 0);
	struct tpm_command bind = make("StartAuthSession", TPM_RH_NULL, OWN_DA_KEY, 0);

	(void)state;
	assert_int_equal(filter_check(&image, &account, &sign).code, 0x000b0921);
	assert_int_equal(filter_check(&image, &account, &bind).code, 0x000b0921);
	image.policies[0].flags |= POLICY_DICTIONARY_ATTACK;
	assert_int_equal(filter_check(&image, &account, &sign).kind, FILTER_ALLOW);
	assert_int_equal(filter_check(&image, &account, &bind).kind, FILTER_ALLOW);
	bind.handles[1] = TPM_RH_LOCKOUT;
	assert_int_equal(filter_check(&image, &account, &bind).kind, FILTER_DENY);
}

static void test_filter_slots(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command load = make("Load", OWN_KEY, 0, 0);
	struct tpm_command start = make("StartAuthSession", TPM_RH_NULL, TPM_RH_NULL, 0);

	(void)state;
	assert_int_equal(filter_check(&image, &account, &load).code, 0x000b0902);
	account.object_slots = 4;
	assert_int_equal(filter_check(&image, &account, &load).kind, FILTER_ALLOW);
	account.object_slots = 3;
	load = make("ContextLoad", 0, 0, 0);
	load.parameters[1].number = 0x02000009; /* a session needs no object's slot */
	load.parameters[2].number = TPM_RH_NULL;
	image.policies[0].flags |= POLICY_SAVED_SESSIONS;
	assert_int_equal(filter_check(&image, &account, &load).kind, FILTER_ALLOW);
	account.sessions[2] = 0x02000009;
	assert_int_equal(filter_check(&image, &account, &load).code, 0x000b0903);
	assert_int_equal(filter_check(&image, &account, &start).code, 0x000b0903);
	account.session_slots = 4;
	assert_int_equal(filter_check(&image, &account, &start).kind, FILTER_ALLOW);
	account.object_slots = account.session_slots = 0;
	assert_int_equal(filter_check(&image, &account, &start).code, 0x000b0903);
}

static void test_filter_sealed_data(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command unseal = make("Unseal", OWN_KEY, 0, 0);
	struct tpm_command duplicate = make("Duplicate", OWN_KEY, TPM_RH_NULL, 0);

	(void)state;
	account.objects[0] = (struct account_entity){.handle = OWN_KEY,
		.policies = 1,
		.known = true,
		.type = TPM_ALG_KEYEDHASH,
		.attributes = TPMA_OBJECT_NO_DA};
	assert_int_equal(filter_check(&image, &account, &unseal).kind, FILTER_ACCOUNT);
	assert_int_equal(filter_check(&image, &account, &duplicate).kind, FILTER_ACCOUNT);
	account.objects[0].made_here = true;
	assert_int_equal(filter_check(&image, &account, &unseal).kind, FILTER_ALLOW);
	assert_int_equal(filter_check(&image, &account, &duplicate).kind, FILTER_ALLOW);
	account.objects[0].made_here = false;
	image.policies[0].flags |= POLICY_UNSEAL_FOREIGN;
	assert_int_equal(filter_check(&image, &account, &unseal).kind, FILTER_ALLOW);
	image.policies[0].flags = 0;
	account.objects[0].known = false;
	assert_int_equal(filter_check(&image, &account, &unseal).kind, FILTER_QUERY);
	account.objects[0].unreadable = true;
	assert_int_equal(filter_check(&image, &account, &unseal).kind, FILTER_ACCOUNT);
}

static void test_filter_slots_are_the_kernels(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command primary = make("CreatePrimary", TPM_RH_OWNER, 0, 0);
	struct tpm_command session = make("StartAuthSession", TPM_RH_NULL, TPM_RH_NULL, 0);

	(void)state;
	assert_int_equal(filter_check(&image, &account, &primary).code, 0x000b0902);
	assert_int_equal(filter_check(&image, &account, &session).kind, FILTER_ALLOW);
	account.sessions[2] = 0x02000007;
	assert_int_equal(filter_check(&image, &account, &session).code, 0x000b0903);
	account.objects[1].handle = 0;
	assert_int_equal(filter_check(&image, &account, &primary).kind, FILTER_ALLOW);
}

/* Two profiles allow what either allows, and no combination that neither allows. */
static void test_filter_policies_are_not_merged(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command primary = make("CreatePrimary", TPM_RH_ENDORSEMENT, 0, 0);
	struct tpm_command create = make("CreatePrimary", TPM_RH_OWNER, 0, 0);

	(void)state;
	account.objects[2].handle = 0;
	image.policy_count = 2;
	image.policies[1] = like_attest().policies[0];
	memset(image.policies[1].commands, 0, sizeof image.policies[1].commands);
	assert_int_equal(filter_check(&image, &account, &create).kind, FILTER_ALLOW);
	assert_int_equal(filter_check(&image, &account, &create).policies, 1);
	assert_int_equal(filter_check(&image, &account, &primary).kind, FILTER_DENY);
	assert_int_equal(policy_allow_command(&image.policies[1], primary.info->code), 0);
	assert_int_equal(filter_check(&image, &account, &primary).kind, FILTER_ALLOW);
	assert_int_equal(filter_check(&image, &account, &primary).policies, 2);
}

/* An endorsement key that one profile made is not another profile's to sign with. */
static void test_filter_objects_stay_with_their_policy(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command sign = make("Sign", OWN_KEY, 0, 0);
	struct tpm_command flush = make("FlushContext", 0, 0, 0);

	(void)state;
	flush.parameters[0].number = OWN_KEY;
	image.policy_count = 2;
	image.policies[1] = like_attest().policies[0];
	memset(image.policies[1].commands, 0, sizeof image.policies[1].commands);
	account.objects[0].policies = 2;
	assert_int_equal(filter_check(&image, &account, &sign).kind, FILTER_DENY);
	assert_string_equal(filter_check(&image, &account, &sign).rule, "other-profile");
	assert_int_equal(filter_check(&image, &account, &flush).kind, FILTER_ALLOW);
	account.objects[0].policies = 3;
	assert_int_equal(filter_check(&image, &account, &sign).kind, FILTER_ALLOW);
	assert_int_equal(filter_check(&image, &account, &sign).policies, 1);
}

static void test_filter_hierarchy_guesses_end(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command primary = make("CreatePrimary", TPM_RH_OWNER, 0, 0);
	struct tpm_command null = make("CreatePrimary", TPM_RH_NULL, 0, 0);
	struct tpm_response wrong = {.code = 0x9a2}; /* BAD_AUTH, session 1 */

	(void)state;
	account.objects[2].handle = 0;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(filter_check(&image, &account, &primary).kind, FILTER_ALLOW);
		assert_int_equal(account_learn(&account, &primary, 1, &wrong), 0);
	}
	assert_int_equal(filter_check(&image, &account, &primary).code, 0x000b0921);
	assert_int_equal(filter_check(&image, &account, &null).kind, FILTER_ALLOW);
}

static void test_filter_rewrap_needs_unseal(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command rewrap = make("Rewrap", OWN_KEY, TPM_RH_NULL, 0);

	(void)state;
	assert_string_equal(filter_check(&image, &account, &rewrap).rule, "rewrap");
	image.policies[0].flags |= POLICY_UNSEAL_FOREIGN;
	assert_int_equal(filter_check(&image, &account, &rewrap).kind, FILTER_ALLOW);
}

static void test_filter_once_is_spent(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command clear = make("Clear", TPM_RH_LOCKOUT, 0, 0);
	struct tpm_command random = make("GetRandom", 0, 0, 0);

	(void)state;
	assert_false(filter_spends(&image, 0, &clear, TPM_RC_SUCCESS));
	image.policies[0].flags |= POLICY_ONCE;
	assert_true(filter_spends(&image, 0, &clear, TPM_RC_SUCCESS));
	assert_true(filter_spends(&image, 0, &clear, 0x98e));  /* AUTH_FAIL, session 1 */
	assert_true(filter_spends(&image, 0, &clear, 0x9a2));  /* BAD_AUTH, session 1 */
	assert_true(filter_spends(&image, 0, &clear, 0x921));  /* LOCKOUT */
	assert_false(filter_spends(&image, 0, &clear, 0x922)); /* RETRY */
	assert_false(filter_spends(&image, 0, &clear, 0x095)); /* SIZE */
	assert_false(filter_spends(&image, 0, &random, TPM_RC_SUCCESS));
	assert_int_equal(filter_check(&image, &account, &clear).kind, FILTER_ALLOW);
	account.spent = 1;
	assert_int_equal(filter_check(&image, &account, &clear).kind, FILTER_DENY);
	assert_string_equal(filter_check(&image, &account, &clear).rule, "spent");
	assert_int_equal(filter_check(&image, &account, &random).kind, FILTER_ALLOW);
}

static void test_filter_shows_only_what_may_be_used(void **state)
{
	struct policy_image keys = like_keys();
	struct policy_image attest = like_attest();

	(void)state;
	assert_true(filter_shows_handle(&keys, TPM_SRK_RSA));
	assert_false(filter_shows_handle(&keys, EK));
	assert_false(filter_shows_handle(&keys, SOMEBODYS));
	assert_false(filter_shows_handle(&keys, SOMEBODYS_NV));
	assert_true(filter_shows_handle(&attest, EK));
	assert_true(filter_shows_handle(&attest, EK_CERT));
	assert_false(filter_shows_handle(&attest, TPM_SRK_RSA));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filter_commands_must_be_named),
		cmocka_unit_test(test_filter_named_alone_is_allowed_alone),
		cmocka_unit_test(test_filter_hierarchies_are_exact),
		cmocka_unit_test(test_filter_objects_must_be_own),
		cmocka_unit_test(test_filter_dictionary_attack),
		cmocka_unit_test(test_filter_session_start_binds_to_own_only),
		cmocka_unit_test(test_filter_policy_secret_entities),
		cmocka_unit_test(test_filter_nv_indices),
		cmocka_unit_test(test_filter_pcrs),
		cmocka_unit_test(test_filter_ticket_hierarchies),
		cmocka_unit_test(test_filter_hierarchy_control_names_the_hierarchy_twice),
		cmocka_unit_test(test_filter_context_load),
		cmocka_unit_test(test_filter_flush_own_only),
		cmocka_unit_test(test_filter_sessions_in_the_authorization_area_must_be_own),
		cmocka_unit_test(test_filter_capabilities),
		cmocka_unit_test(test_filter_nv_define_looks_into_the_public_area),
		cmocka_unit_test(test_filter_evict_control),
		cmocka_unit_test(test_filter_saved_sessions),
		cmocka_unit_test(test_filter_dictionary_attack_flag),
		cmocka_unit_test(test_filter_slots),
		cmocka_unit_test(test_filter_sealed_data),
		cmocka_unit_test(test_filter_slots_are_the_kernels),
		cmocka_unit_test(test_filter_policies_are_not_merged),
		cmocka_unit_test(test_filter_objects_stay_with_their_policy),
		cmocka_unit_test(test_filter_hierarchy_guesses_end),
		cmocka_unit_test(test_filter_rewrap_needs_unseal),
		cmocka_unit_test(test_filter_once_is_spent),
		cmocka_unit_test(test_filter_shows_only_what_may_be_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
