/*
 * What the filter makes of what is recorded for the session's uid, and what an allowed command owes
 * to the accounts.
 */
#include "filter-cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct account_entity *object(struct account *account, unsigned i, uint16_t type)
{
	account->objects[i].known = true;
	account->objects[i].type = type;
	account->objects[i].attributes = TPMA_OBJECT_NO_DA;
	return &account->objects[i];
}

/* What COMMAND owes under a policy like keys, in a session with RSA keys. */
static uint32_t dues_of(struct tpm_command command)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct filter_verdict verdict;

	object(&account, 0, TPM_ALG_RSA);
	account.objects[2].handle = 0;
	image.policies[0].hierarchies |= POLICY_ENDORSEMENT;
	verdict = judge(&image, &account, &command);
	if (verdict.kind != FILTER_ALLOW)
		fail_msg("%s: verdict %d, rule %s", command.info->name, verdict.kind,
			verdict.rule ? verdict.rule : "none");
	return verdict.dues;
}

static void test_due_session(void **state)
{
	struct tpm_command load = make("ContextLoad", 0, 0, 0);

	(void)state;
	assert_int_equal(
		dues_of(make("StartAuthSession", TPM_RH_NULL, TPM_RH_NULL, 0)), FILTER_DUE_SESSION);
	load.parameters[1].number = 0x02000009;
	assert_int_equal(dues_of(load), FILTER_DUE_SESSION);
	load.parameters[1].number = 0x80000000;
	load.parameters[2].number = TPM_RH_OWNER;
	assert_int_equal(dues_of(load), 0);
	assert_int_equal(dues_of(make("Load", OWN_KEY, 0, 0)), 0);
	assert_int_equal(dues_of(make("ContextSave", OWN_HMAC, 0, 0)), 0);
}

static void test_due_turn(void **state)
{
	struct tpm_command test = make("SelfTest", 0, 0, 0);
	uint32_t record = FILTER_DUE_RECORD; /* the template is empty here */

	(void)state;
	assert_int_equal(dues_of(make("CreatePrimary", TPM_RH_OWNER, 0, 0)), FILTER_DUE_TURN);
	assert_int_equal(dues_of(make("Create", OWN_KEY, 0, 0)), FILTER_DUE_TURN | record);
	assert_int_equal(dues_of(make("CreateLoaded", OWN_KEY, 0, 0)), FILTER_DUE_TURN | record);
	assert_int_equal(dues_of(make("IncrementalSelfTest", 0, 0, 0)), FILTER_DUE_TURN);
	assert_int_equal(dues_of(test), 0);
	test.parameters[0].number = 1; /* fullTest */
	assert_int_equal(dues_of(test), FILTER_DUE_TURN);
	/* RSA: the private part is slow, the public part is not */
	assert_int_equal(dues_of(make("Sign", OWN_KEY, 0, 0)), FILTER_DUE_TURN);
	assert_int_equal(dues_of(make("Quote", OWN_KEY, 0, 0)), FILTER_DUE_TURN);
	assert_int_equal(dues_of(make("Quote", TPM_RH_NULL, 0, 0)), 0);
	assert_int_equal(dues_of(make("Import", OWN_KEY, 0, 0)), FILTER_DUE_TURN);
	assert_int_equal(dues_of(make("Load", OWN_KEY, 0, 0)), 0);
	assert_int_equal(dues_of(make("VerifySignature", OWN_KEY, 0, 0)), 0);
	assert_int_equal(dues_of(make("StartAuthSession", OWN_KEY, TPM_RH_NULL, 0)),
		FILTER_DUE_TURN | FILTER_DUE_SESSION);
	assert_int_equal(dues_of(make("GetRandom", 0, 0, 0)), 0);
}

static void test_due_turn_by_kind_of_key(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command sign = make("Sign", OWN_KEY, 0, 0);
	struct account_entity *key = object(&account, 0, TPM_ALG_ECC);

	(void)state;
	assert_int_equal(filter_check(&image, &account, &sign).dues, 0);
	key->type = TPM_ALG_RSA;
	assert_int_equal(filter_check(&image, &account, &sign).dues, FILTER_DUE_TURN);
	key->sequence = true;
	assert_int_equal(filter_check(&image, &account, &sign).dues & FILTER_DUE_TURN, 0);
	*key = (struct account_entity){
		.handle = OWN_KEY, .policies = 1, .unreadable = true}; /* perhaps RSA */
	assert_int_equal(
		filter_check(&image, &account, &sign).dues, FILTER_DUE_TURN | FILTER_DUE_DA);
}

static void test_due_dictionary_attack_by_session(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command random = make("GetRandom", 0, 0, 0);

	(void)state;
	random.authorization_count = 1;
	random.authorizations[0].handle = OWN_HMAC;
	assert_int_equal(filter_check(&image, &account, &random).dues, 0);
	account.sessions[0].dictionary_attack = true; /* bound to something that counts */
	assert_int_equal(filter_check(&image, &account, &random).dues, FILTER_DUE_DA);
	random.authorizations[0].handle = OWN_POLICY;
	assert_int_equal(filter_check(&image, &account, &random).dues, 0);
	random.authorizations[0].handle = TPM_RS_PW;
	assert_int_equal(filter_check(&image, &account, &random).dues, 0);
}

static void test_due_dictionary_attack_by_handle(void **state)
{
	struct policy_image image = like_admin();
	struct account account = owning();
	struct tpm_command read = make("NV_Read", SOMEBODYS_NV, SOMEBODYS_NV, 0);
	struct tpm_command extend = make("PCR_Extend", 16, 0, 0);
	struct tpm_command verify = make("VerifySignature", OWN_UNKNOWN, 0, 0);
	struct tpm_command sign = make("Sign", OWN_UNKNOWN, 0, 0);

	(void)state;
	assert_int_equal(filter_check(&image, &account, &read).dues, 0);
	account_learn_public(&account, SOMEBODYS_NV, TPM_RC_HANDLE, cursor_new(NULL, 0));
	assert_int_equal(filter_check(&image, &account, &read).dues, FILTER_DUE_DA);
	read.handles[0] = TPM_RH_OWNER; /* whose authorization does not count */
	assert_int_equal(filter_check(&image, &account, &read).dues, 0);
	assert_int_equal(filter_check(&image, &account, &extend).dues, 0);
	assert_int_equal(filter_check(&image, &account, &verify).kind, FILTER_ALLOW);
	assert_int_equal(filter_check(&image, &account, &sign).kind, FILTER_QUERY);
	assert_int_equal(filter_check(&image, &account, &sign).query, OWN_UNKNOWN);
	account.objects[2].unreadable = true;
	assert_int_equal(filter_check(&image, &account, &sign).dues & FILTER_DUE_DA, FILTER_DUE_DA);
}

static void test_due_record_of_sealed_data(void **state)
{
	/* type, nameAlg, attributes, authPolicy, and more that does not matter here */
	static const uint8_t sealed[] = {
		0x00, 0x08, 0x00, 0x0b, 0x00, 0x00, 0x00, 0x52, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00};
	static const uint8_t signing[] = {
		0x00, 0x08, 0x00, 0x0b, 0x00, 0x04, 0x00, 0x52, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00};
	struct tpm_command create = make("Create", OWN_KEY, 0, 0);
	struct tpm_command loaded = make("CreateLoaded", OWN_KEY, 0, 0);
	struct tpm_command import = make("Import", OWN_KEY, 0, 0);

	(void)state;
	create.parameters[1].bytes = loaded.parameters[1].bytes = import.parameters[1].bytes =
		cursor_new(sealed, sizeof sealed);
	assert_true(dues_of(create) & FILTER_DUE_RECORD);
	assert_true(dues_of(loaded) & FILTER_DUE_RECORD);
	assert_false(dues_of(import) & FILTER_DUE_RECORD);
	create.parameters[1].bytes = cursor_new(signing, sizeof signing);
	assert_false(dues_of(create) & FILTER_DUE_RECORD);
	create.parameters[1].bytes = cursor_new(signing, 3); /* nobody knows */
	assert_true(dues_of(create) & FILTER_DUE_RECORD);
}

/* Writing own NV memory is charged, what a policy's range allows is not. */
static void test_due_charge(void **state)
{
	static const struct {
		const char *name;
		uint32_t dues;
	} rows[] = {{"NV_Write", FILTER_DUE_CHARGE}, {"NV_Increment", FILTER_DUE_CHARGE},
		{"NV_Extend", FILTER_DUE_CHARGE}, {"NV_SetBits", FILTER_DUE_CHARGE},
		{"NV_WriteLock", FILTER_DUE_CHARGE}, {"NV_ReadLock", FILTER_DUE_CHARGE},
		{"NV_Read", 0}, {"NV_UndefineSpace", FILTER_DUE_DROP}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct tpm_command command = make(rows[i].name, TPM_RH_OWNER, SOMEBODYS_NV, 0);
		struct policy_image keys = like_keys();
		struct policy_image admin = like_admin();
		struct account account = owning();

		account_learn_ownership(&account, SOMEBODYS_NV, ACCOUNT_KIND_NV, true);
		assert_int_equal(filter_check(&keys, &account, &command).kind, FILTER_ALLOW);
		assert_int_equal(filter_check(&keys, &account, &command).dues, rows[i].dues);
		assert_int_equal(filter_check(&admin, &account, &command).dues, 0);
	}
}

/* What a policy allows by itself owes less than what another allows because it is own. */
static void test_due_is_the_lesser_of_two_policies(void **state)
{
	struct tpm_command write = make("NV_Write", TPM_RH_OWNER, SOMEBODYS_NV, 0);
	struct policy_image image = like_keys();
	struct account account = owning();

	(void)state;
	account_learn_ownership(&account, SOMEBODYS_NV, ACCOUNT_KIND_NV, true);
	image.policy_count = 2;
	for (int order = 0; order < 2; order++) {
		struct filter_verdict verdict;

		image.policies[order] = like_keys().policies[0];
		image.policies[1 - order] = like_admin().policies[0];
		verdict = filter_check(&image, &account, &write);
		assert_int_equal(verdict.kind, FILTER_ALLOW);
		assert_int_equal(verdict.policies, 3);
		assert_false(verdict.own);
		assert_int_equal(verdict.dues, 0);
	}
	/* and what one refuses does not matter where the other allows it */
	account_learn_ownership(&account, SOMEBODYS_NV, ACCOUNT_KIND_NV, false);
	assert_int_equal(filter_check(&image, &account, &write).kind, FILTER_ALLOW);
}

/* What is allowed because it is own stays allowed where another policy refuses it. */
static void test_own_is_better_than_refused(void **state)
{
	struct tpm_command certify = make("NV_Certify", OWN_KEY, TPM_RH_OWNER, SOMEBODYS_NV);
	struct tpm_command write = make("NV_Write", TPM_RH_OWNER, SOMEBODYS_NV, 0);
	struct policy_image image = like_keys();
	struct account account = owning();

	(void)state;
	account_learn_ownership(&account, SOMEBODYS_NV, ACCOUNT_KIND_NV, true);
	image.policy_count = 2;
	image.policies[1] = like_keys().policies[0];
	for (uint32_t policies = 1; policies <= 2; policies++) {
		account.objects[0].policies = policies; /* the other has no such key */
		assert_int_equal(filter_check(&image, &account, &certify).kind, FILTER_ALLOW);
		assert_int_equal(filter_check(&image, &account, &certify).policies, policies);
		assert_true(filter_check(&image, &account, &certify).own);
	}
	for (account.spent = 1; account.spent <= 2; account.spent++) {
		assert_int_equal(filter_check(&image, &account, &write).kind, FILTER_ALLOW);
		assert_int_equal(
			filter_check(&image, &account, &write).policies, 3 - account.spent);
	}
}

static void test_own_nv_indices(void **state)
{
	struct tpm_command read = make("NV_Read", 0x01800002, 0x01800002, 0);
	struct tpm_command secret = make("PolicySecret", 0x01800002, OWN_POLICY, 0);
	struct tpm_command authorize =
		make("PolicyAuthorizeNV", 0x01800002, 0x01800002, OWN_POLICY);
	struct policy_image image = like_keys();
	struct account account = owning();
	struct filter_verdict verdict = filter_check(&image, &account, &read);

	(void)state;
	assert_int_equal(verdict.fact, FILTER_FACT_PUBLIC);
	assert_int_equal(verdict.query, 0x01800002);
	filter_scene_learn(&account, NULL, 0x01800002);
	assert_int_equal(filter_check(&image, &account, &read).fact, FILTER_FACT_HANDLE_OWN);
	account_learn_ownership(&account, 0x01800002, ACCOUNT_KIND_NV, false);
	assert_string_equal(filter_check(&image, &account, &read).rule, "nv-index");
	assert_string_equal(filter_check(&image, &account, &secret).rule, "nv-index");
	assert_string_equal(filter_check(&image, &account, &authorize).rule, "nv-index");
	account_learn_ownership(&account, 0x01800002, ACCOUNT_KIND_NV, true);
	assert_true(filter_check(&image, &account, &read).own);
	assert_int_equal(filter_check(&image, &account, &secret).kind, FILTER_ALLOW);
	assert_int_equal(filter_check(&image, &account, &authorize).kind, FILTER_ALLOW);
	account_learn_public(&account, 0x01800002, TPM_RC_HANDLE, cursor_new(NULL, 0));
	assert_int_equal(filter_check(&image, &account, &read).kind, FILTER_DENY);
	assert_int_equal(filter_check(&image, &account, &read).code, 0x000b028b);
}

static void test_own_persistent_keys(void **state)
{
	struct tpm_command sign = make("Sign", 0x81000100, 0, 0);
	struct policy_image image = like_keys();
	struct account account = owning();
	struct filter_verdict verdict = filter_check(&image, &account, &sign);

	(void)state;
	assert_int_equal(verdict.fact, FILTER_FACT_PUBLIC);
	filter_scene_learn(&account, NULL, 0x81000100);
	assert_int_equal(filter_check(&image, &account, &sign).fact, FILTER_FACT_HANDLE_OWN);
	account_learn_ownership(&account, 0x81000100, ACCOUNT_KIND_PERSISTENT, false);
	assert_string_equal(filter_check(&image, &account, &sign).rule, "persistent-handle");
	account_learn_ownership(&account, 0x81000100, ACCOUNT_KIND_PERSISTENT, true);
	assert_int_equal(filter_check(&image, &account, &sign).kind, FILTER_ALLOW);
	assert_true(filter_check(&image, &account, &sign).own);
	account_learn_public(&account, 0x81000100, TPM_RC_HANDLE, cursor_new(NULL, 0));
	assert_string_equal(filter_check(&image, &account, &sign).rule, "persistent-handle");
}

/* Who owns a persistent key can replace it, by one that counts, after it was judged. */
static void test_due_dictionary_attack_by_persistent_handle(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command sign = make("Sign", SOMEBODYS, 0, 0);
	struct tpm_command load = make("Load", TPM_SRK_RSA, 0, 0);
	struct tpm_command start = make("StartAuthSession", TPM_RH_NULL, SOMEBODYS, 0);
	struct tpm_response started = {.handle = 0x02000002};

	(void)state;
	account.objects[2].handle = 0;
	account.entities[0] = (struct account_entity){.handle = SOMEBODYS,
		.known = true,
		.type = TPM_ALG_ECC,
		.attributes = TPMA_OBJECT_NO_DA,
		.handle_own = ACCOUNT_OWN};
	assert_int_equal(filter_check(&image, &account, &sign).dues, FILTER_DUE_DA);
	assert_int_equal(filter_check(&image, &account, &start).kind, FILTER_ALLOW);
	assert_int_equal(account_learn(&account, &start, 1, &started), 0);
	assert_true(account_session(&account, 0x02000002)->dictionary_attack);
	/* the storage root key is nobody's to replace */
	assert_int_equal(judge(&image, &account, &load).dues & FILTER_DUE_DA, 0);
}

/* Who may remove persistent keys may see which they are, but not the machine's identity. */
static void test_public_areas_of_what_may_be_evicted(void **state)
{
	static const struct {
		uint32_t handle;
		enum filter_kind kind;
	} rows[] = {{0x81000005, FILTER_ALLOW}, {0x8100ffff, FILTER_ALLOW},
		{0x81010000, FILTER_QUERY}, {0x81010001, FILTER_QUERY}, {0x8102ffff, FILTER_QUERY},
		{0x81030000, FILTER_ALLOW}, {0x81800000, FILTER_QUERY}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct policy_image image = like_admin();
		struct account account = owning();
		struct tpm_command read = make("ReadPublic", rows[i].handle, 0, 0);

		account_forget_entities(&account);
		assert_int_equal(filter_check(&image, &account, &read).kind, rows[i].kind);
		if (rows[i].kind == FILTER_QUERY)
			assert_string_equal(
				judge(&image, &account, &read).rule, "persistent-handle");
	}
}

/* An authorization by a PIN index is written to it: that of an adopted one is charged. */
static void test_due_charge_of_pin_indices(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command read = make("NV_Read", SOMEBODYS_NV, SOMEBODYS_NV, 0);
	struct tpm_command secret = make("PolicySecret", SOMEBODYS_NV, OWN_POLICY, 0);
	struct tpm_command sign = make("Sign", OWN_KEY, 0, 0);
	struct account_entity *index = NULL;

	(void)state;
	account_learn_ownership(&account, SOMEBODYS_NV, ACCOUNT_KIND_NV, true);
	for (unsigned i = 0; i < ACCOUNT_ENTITIES; i++)
		if (account.entities[i].handle == SOMEBODYS_NV)
			index = &account.entities[i];
	assert_non_null(index);
	assert_int_equal(filter_check(&image, &account, &read).dues, 0);
	/* the same bits of an object are something else */
	account.objects[0].attributes = TPMA_OBJECT_NO_DA | TPMA_OBJECT_SIGN | 8 << 4;
	assert_int_equal(filter_check(&image, &account, &sign).dues, 0);
	for (uint32_t type = 8; type <= 9; type++) { /* PIN_FAIL, PIN_PASS */
		index->attributes = TPMA_NV_NO_DA | type << 4;
		assert_int_equal(filter_check(&image, &account, &read).dues, FILTER_DUE_CHARGE);
		assert_int_equal(filter_check(&image, &account, &secret).dues, FILTER_DUE_CHARGE);
		read.handles[0] = TPM_RH_OWNER;
		assert_int_equal(filter_check(&image, &account, &read).dues, 0);
		read.handles[0] = SOMEBODYS_NV;
	}
}

/* The owner's authorization is guessed at by whatever handle it is asked for. */
static void test_hierarchies_are_authorized_by_any_handle(void **state)
{
	struct tpm_command certify = make("NV_Certify", TPM_RH_NULL, TPM_RH_OWNER, SOMEBODYS_NV);
	struct tpm_command random = make("GetRandom", 0, 0, 0);

	(void)state;
	assert_true(tpm_command_authorizes_hierarchy(&certify));
	assert_false(tpm_command_guesses_hierarchy(&certify));
	certify.authorizations[0].value = true; /* of the key */
	assert_false(tpm_command_guesses_hierarchy(&certify));
	certify.authorizations[1].value = true;
	assert_true(tpm_command_guesses_hierarchy(&certify));
	certify.handles[1] = SOMEBODYS_NV;
	assert_false(tpm_command_authorizes_hierarchy(&certify));
	assert_false(tpm_command_guesses_hierarchy(&certify));
	assert_false(tpm_command_authorizes_hierarchy(&random));
	random.authorizations[0].value = true; /* of an audit session */
	assert_false(tpm_command_guesses_hierarchy(&random));
}

/* One after the other, counted by the broker. An empty value is no guess: the TPM says who has one.
 */
static void test_guesses_at_hierarchies_owe_the_turn(void **state)
{
	struct tpm_command read = make("NV_Read", TPM_RH_OWNER, SOMEBODYS_NV, 0);
	struct policy_image image = like_admin();
	struct account account = owning();

	(void)state;
	assert_int_equal(filter_check(&image, &account, &read).kind, FILTER_ALLOW);
	assert_int_equal(filter_check(&image, &account, &read).dues, 0);
	read.authorizations[0].value = true;
	assert_int_equal(filter_check(&image, &account, &read).dues, FILTER_DUE_TURN);
	read.handles[0] = SOMEBODYS_NV;
	assert_int_equal(filter_check(&image, &account, &read).dues, 0);
}

/* What a session is bound to must be known, since each use of the session depends on it. */
static void test_bind_is_known(void **state)
{
	struct tpm_command start = make("StartAuthSession", TPM_RH_NULL, OWN_UNKNOWN, 0);
	struct policy_image image = like_keys();
	struct account account = owning();

	(void)state;
	assert_int_equal(filter_check(&image, &account, &start).fact, FILTER_FACT_PUBLIC);
	assert_int_equal(filter_check(&image, &account, &start).query, OWN_UNKNOWN);
	account.objects[2].unreadable = true;
	assert_int_equal(filter_check(&image, &account, &start).kind, FILTER_ALLOW);
	account.objects[2].policies = 2;
	assert_string_equal(filter_check(&image, &account, &start).rule, "other-profile");
}

static void test_sealed_data_is_for_whoever_sealed_it(void **state)
{
	static const char *const names[] = {"Unseal", "Duplicate"};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct tpm_command command = make(names[i], OWN_KEY, TPM_RH_NULL, 0);
		struct policy_image image = like_keys();
		struct account account = owning();
		struct account_entity *sealed = object(&account, 0, TPM_ALG_KEYEDHASH);

		assert_int_equal(
			filter_check(&image, &account, &command).fact, FILTER_FACT_SEALED_OWN);
		assert_int_equal(filter_check(&image, &account, &command).query, OWN_KEY);
		sealed->sealed_own = ACCOUNT_OWN;
		assert_int_equal(filter_check(&image, &account, &command).kind, FILTER_ALLOW);
		sealed->sealed_own = ACCOUNT_FOREIGN;
		assert_string_equal(filter_check(&image, &account, &command).rule, "sealed-data");
		image.policies[0].flags = POLICY_UNSEAL_FOREIGN;
		assert_int_equal(filter_check(&image, &account, &command).kind, FILTER_ALLOW);
		image.policies[0].flags = 0;
		sealed->attributes |= TPMA_OBJECT_SIGN; /* a key, and no sealed data */
		assert_int_equal(filter_check(&image, &account, &command).kind, FILTER_ALLOW);
		sealed->known = false;
		assert_int_equal(filter_check(&image, &account, &command).fact, FILTER_FACT_PUBLIC);
		sealed->unreadable = true;
		assert_string_equal(filter_check(&image, &account, &command).rule, "sealed-data");
	}
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
	assert_int_equal(filter_check(&image, &account, &load).kind, FILTER_ALLOW);
	account.sessions[2].handle = 0x02000009;
	assert_int_equal(filter_check(&image, &account, &load).code, 0x000b0903);
	assert_int_equal(filter_check(&image, &account, &start).code, 0x000b0903);
	account.session_slots = 4;
	assert_int_equal(filter_check(&image, &account, &start).kind, FILTER_ALLOW);
	account.object_slots = account.session_slots = 0;
	assert_int_equal(filter_check(&image, &account, &start).code, 0x000b0903);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_due_session),
		cmocka_unit_test(test_due_turn),
		cmocka_unit_test(test_due_turn_by_kind_of_key),
		cmocka_unit_test(test_due_dictionary_attack_by_session),
		cmocka_unit_test(test_due_dictionary_attack_by_handle),
		cmocka_unit_test(test_due_dictionary_attack_by_persistent_handle),
		cmocka_unit_test(test_due_charge_of_pin_indices),
		cmocka_unit_test(test_public_areas_of_what_may_be_evicted),
		cmocka_unit_test(test_hierarchies_are_authorized_by_any_handle),
		cmocka_unit_test(test_guesses_at_hierarchies_owe_the_turn),
		cmocka_unit_test(test_due_record_of_sealed_data),
		cmocka_unit_test(test_due_charge),
		cmocka_unit_test(test_due_is_the_lesser_of_two_policies),
		cmocka_unit_test(test_own_is_better_than_refused),
		cmocka_unit_test(test_own_nv_indices),
		cmocka_unit_test(test_own_persistent_keys),
		cmocka_unit_test(test_bind_is_known),
		cmocka_unit_test(test_sealed_data_is_for_whoever_sealed_it),
		cmocka_unit_test(test_filter_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
