/*
 * The filter is pure: each test makes a command, what the session owns and one policy, and looks at
 * the verdict. Every rule is shown where it allows and where it refuses. Here: commands, handles,
 * and policies beside each other.
 */
#include "filter-cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
		{"ContextSave", {OWN_HMAC}, FILTER_ALLOW, 0},
		{"ContextSave", {FOREIGN_HMAC}, FILTER_DENY, 0x000b0910},
		{"PolicyGetDigest", {OWN_POLICY}, FILTER_ALLOW, 0},
		{"PolicyGetDigest", {0x03000009}, FILTER_DENY, 0x000b0910},
	};
	static const struct expectation attest[] = {
		/* a persistent object may be another one by the time it is used */
		{"Sign", {EK}, FILTER_ALLOW, FILTER_DUE_DA},
		{"ReadPublic", {EK}, FILTER_ALLOW, 0},
		{"ReadPublic", {TPM_SRK_RSA}, FILTER_DENY, REFUSED},
		{"Create", {EK}, FILTER_ALLOW, FILTER_DUE_DA},
		{"ActivateCredential", {OWN_KEY, EK}, FILTER_ALLOW, FILTER_DUE_DA},
	};
	static const struct expectation admin[] = {
		{"ReadPublic", {SOMEBODYS}, FILTER_ALLOW, 0}, /* to know what is removed */
		{"Sign", {SOMEBODYS}, FILTER_DENY, REFUSED},
	};

	(void)state;
	EXPECT(like_keys(), keys);
	EXPECT(like_attest(), attest);
	EXPECT(like_admin(), admin);
}

static void test_filter_dictionary_attack(void **state)
{
	static const struct expectation keys[] = {
		{"Sign", {OWN_DA_KEY}, FILTER_ALLOW, FILTER_DUE_DA},
		{"Sign", {OWN_UNKNOWN}, FILTER_QUERY, 0},
		{"Create", {OWN_DA_KEY}, FILTER_ALLOW, FILTER_DUE_DA},
		{"VerifySignature", {OWN_DA_KEY}, FILTER_ALLOW, 0}, /* authorizes nothing */
		{"SequenceUpdate", {OWN_DA_KEY}, FILTER_ALLOW, FILTER_DUE_DA},
		{"PolicySecret", {OWN_DA_KEY, OWN_POLICY}, FILTER_ALLOW, FILTER_DUE_DA},
		{"Certify", {OWN_KEY, OWN_DA_KEY}, FILTER_ALLOW, FILTER_DUE_DA},
		{"StartAuthSession", {TPM_RH_NULL, OWN_DA_KEY}, FILTER_ALLOW,
			0}, /* its uses will */
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
		{"PolicySecret", {SOMEBODYS_NV, OWN_POLICY}, FILTER_DENY, REFUSED},
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
		{"NV_Read", {SOMEBODYS_NV, SOMEBODYS_NV}, FILTER_DENY, REFUSED},
		{"NV_Read", {TPM_RH_OWNER, EK_CERT}, FILTER_DENY, REFUSED},
		{"NV_ReadPublic", {SOMEBODYS_NV}, FILTER_ALLOW, 0},
		{"NV_ReadPublic", {0x11000001}, FILTER_DENY, REFUSED},
		{"NV_Write", {TPM_RH_OWNER, SOMEBODYS_NV}, FILTER_DENY, REFUSED},
		{"NV_UndefineSpace", {TPM_RH_OWNER, SOMEBODYS_NV}, FILTER_DENY, REFUSED},
		{"PolicyNV", {TPM_RH_OWNER, EK_CERT, OWN_POLICY}, FILTER_DENY, REFUSED},
		{"PolicyAuthorizeNV", {TPM_RH_OWNER, PCRLOCK, OWN_POLICY}, FILTER_DENY, REFUSED},
	};
	static const struct expectation attest[] = {
		{"NV_Read", {TPM_RH_OWNER, EK_CERT}, FILTER_ALLOW, 0},
		{"NV_Read", {EK_CERT, EK_CERT}, FILTER_ALLOW, 0},
		{"NV_Read", {0x01c00003, 0x01c00003}, FILTER_ALLOW, 0},
		{"NV_Read", {SOMEBODYS_NV, EK_CERT}, FILTER_DENY, REFUSED},
		{"NV_Read", {TPM_RH_PLATFORM, EK_CERT}, FILTER_DENY, REFUSED},
		{"NV_Read", {TPM_RH_OWNER, SOMEBODYS_NV}, FILTER_DENY, REFUSED},
		{"NV_Write", {TPM_RH_OWNER, EK_CERT}, FILTER_DENY, REFUSED},
		{"PolicyAuthorizeNV", {TPM_RH_OWNER, PCRLOCK, OWN_POLICY}, FILTER_ALLOW, 0},
		{"PolicyAuthorizeNV", {PCRLOCK, PCRLOCK, OWN_POLICY}, FILTER_DENY, REFUSED},
		{"PolicyAuthorizeNV", {TPM_RH_OWNER, 0x01d10225, OWN_POLICY}, FILTER_DENY, REFUSED},
		{"NV_Certify", {OWN_KEY, TPM_RH_OWNER, EK_CERT}, FILTER_ALLOW, 0},
		{"NV_Certify", {OWN_KEY, TPM_RH_OWNER, SOMEBODYS_NV}, FILTER_DENY, REFUSED},
	};
	static const struct expectation admin[] = {
		{"NV_Write", {TPM_RH_OWNER, SOMEBODYS_NV}, FILTER_ALLOW, 0},
		{"NV_Write", {SOMEBODYS_NV, SOMEBODYS_NV}, FILTER_ALLOW, 0},
		{"NV_Extend", {TPM_RH_OWNER, 0x01d10200}, FILTER_DENY, REFUSED},
		{"NV_UndefineSpace", {TPM_RH_OWNER, SOMEBODYS_NV}, FILTER_ALLOW, 0},
		{"NV_UndefineSpace", {TPM_RH_PLATFORM, SOMEBODYS_NV}, FILTER_DENY, REFUSED},
		{"NV_UndefineSpace", {TPM_RH_OWNER, EK_CERT}, FILTER_DENY, REFUSED},
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

static void test_filter_slots_are_the_kernels(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command primary = make("CreatePrimary", TPM_RH_OWNER, 0, 0);
	struct tpm_command session = make("StartAuthSession", TPM_RH_NULL, TPM_RH_NULL, 0);

	(void)state;
	assert_int_equal(filter_check(&image, &account, &primary).code, 0x000b0902);
	assert_int_equal(filter_check(&image, &account, &session).kind, FILTER_ALLOW);
	account.sessions[2].handle = 0x02000007;
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
		cmocka_unit_test(test_filter_sessions_in_the_authorization_area_must_be_own),
		cmocka_unit_test(test_filter_slots_are_the_kernels),
		cmocka_unit_test(test_filter_policies_are_not_merged),
		cmocka_unit_test(test_filter_objects_stay_with_their_policy),
		cmocka_unit_test(test_filter_rewrap_needs_unseal),
		cmocka_unit_test(test_filter_once_is_spent),
		cmocka_unit_test(test_filter_shows_only_what_may_be_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
