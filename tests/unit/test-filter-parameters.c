/*
 * The filter's rules of parameters: those that carry handles, or change what a command does.
 */
#include "filter-cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
	assert_int_equal(load_context(0x02000000, TPM_RH_NULL, like_keys()), FILTER_ALLOW);
	assert_int_equal(load_context(0x03000000, TPM_RH_NULL, like_keys()), FILTER_ALLOW);
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

#define NV_ATTRIBUTES                                                                              \
	(TPMA_NV_NO_DA | 0x00060006u) /* AUTHREAD, AUTHWRITE, OWNERREAD, OWNERWRITE                \
				       */

/* NV_DefineSpace for an index, or NV_DefineSpace2 with a handle type before it. */
struct definition {
	uint8_t type; /* 0: NV_DefineSpace */
	uint32_t index;
	uint32_t attributes;
	size_t trailing; /* bytes too many */
	uint8_t bytes[64];
};

static struct tpm_command define(struct definition *definition)
{
	struct tpm_command command =
		make(definition->type ? "NV_DefineSpace2" : "NV_DefineSpace", TPM_RH_OWNER, 0, 0);
	struct writer writer = writer_new(definition->bytes, sizeof definition->bytes);

	if (definition->type)
		writer_u8(&writer, definition->type);
	writer_u32(&writer, definition->index);
	writer_u16(&writer, 0x000b); /* SHA-256 */
	writer_u32(&writer, definition->attributes);
	writer_u16(&writer, 0); /* authPolicy */
	writer_u16(&writer, 8); /* dataSize */
	command.parameters[1].bytes =
		cursor_new(definition->bytes, writer.used + definition->trailing);
	return command;
}

static void expect_definition(struct policy_image image, struct definition definition,
	enum filter_kind kind, const char *rule)
{
	struct account account = owning();
	struct tpm_command command = define(&definition);
	struct filter_verdict verdict = filter_check(&image, &account, &command);

	if (verdict.kind != kind || (rule && strcmp(verdict.rule, rule) != 0))
		fail_msg("index 0x%08x, attributes 0x%08x: verdict %d, rule %s", definition.index,
			definition.attributes, verdict.kind, verdict.rule ? verdict.rule : "none");
	if (kind == FILTER_QUERY) {
		assert_int_equal(verdict.fact, FILTER_FACT_PUBLIC);
		assert_int_equal(verdict.query, definition.index);
	}
}

static void test_filter_nv_define_in_the_policys_range(void **state)
{
	(void)state;
	expect_definition(
		like_admin(), (struct definition){0, 0x01bfffff, 0, 0, {0}}, FILTER_ALLOW, NULL);
	expect_definition(
		like_admin(), (struct definition){1, 0x01800000, 0, 0, {0}}, FILTER_ALLOW, NULL);
	expect_definition(like_admin(), (struct definition){0, 0x01c00002, NV_ATTRIBUTES, 0, {0}},
		FILTER_DENY, "nv-range");
	expect_definition(like_admin(), (struct definition){0, 0x01800000, 0, 1, {0}}, FILTER_DENY,
		"nv-attributes");
	expect_definition(like_admin(), (struct definition){0x11, 0x01800000, 0, 0, {0}},
		FILTER_DENY, "nv-attributes");
}

static void test_filter_nv_define_of_own_indices(void **state)
{
	/* PPWRITE, POLICY_DELETE, GLOBALLOCK, PPREAD, PLATFORMCREATE, PIN_FAIL, PIN_PASS */
	static const uint32_t forbidden[] = {
		1 << 0, 1 << 10, 1 << 15, 1 << 16, 1 << 30, 8 << 4, 9 << 4};

	(void)state;
	expect_definition(like_keys(), (struct definition){0, 0x01800002, NV_ATTRIBUTES, 0, {0}},
		FILTER_QUERY, NULL);
	expect_definition(like_keys(), (struct definition){1, 0x01bfffff, NV_ATTRIBUTES, 0, {0}},
		FILTER_QUERY, NULL);
	expect_definition(like_keys(), (struct definition){0, 0x017fffff, NV_ATTRIBUTES, 0, {0}},
		FILTER_DENY, "nv-range");
	expect_definition(like_keys(), (struct definition){0, 0x01c00000, NV_ATTRIBUTES, 0, {0}},
		FILTER_DENY, "nv-range");
	expect_definition(like_keys(),
		(struct definition){0, 0x01800002, NV_ATTRIBUTES & ~TPMA_NV_NO_DA, 0, {0}},
		FILTER_DENY, "nv-attributes");
	for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
		expect_definition(like_keys(),
			(struct definition){0, 0x01800002, NV_ATTRIBUTES | forbidden[i], 0, {0}},
			FILTER_DENY, "nv-attributes");
}

static void test_filter_nv_define_needs_a_free_index(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct definition definition = {0, 0x01800002, NV_ATTRIBUTES, 0, {0}};
	struct tpm_command command = define(&definition);
	struct filter_verdict verdict;
	enum account_kind kind;

	(void)state;
	account.entities[0] = (struct account_entity){.handle = 0x01800002}; /* not asked yet */
	assert_int_equal(filter_check(&image, &account, &command).kind, FILTER_QUERY);
	/* a TPM that is testing itself says nothing about what is there */
	account_learn_public(&account, 0x01800002, TPM_RC_TESTING, cursor_new(NULL, 0));
	assert_string_equal(filter_check(&image, &account, &command).rule, "unknown-fact");
	filter_scene_learn(&account, &command, 0x01800002); /* there is none */
	verdict = filter_check(&image, &account, &command);
	assert_int_equal(verdict.kind, FILTER_ALLOW);
	assert_true(verdict.own);
	assert_int_equal(verdict.dues, FILTER_DUE_CLAIM);
	assert_int_equal(filter_claimed_handle(&command, &kind), 0x01800002);
	assert_int_equal(kind, ACCOUNT_KIND_NV);
	filter_scene_learn(&account, NULL, 0x01800002); /* there is one */
	verdict = filter_check(&image, &account, &command);
	assert_int_equal(verdict.kind, FILTER_DENY);
	assert_string_equal(verdict.rule, "handle-taken");
	assert_int_equal(verdict.code, 0x000b014c);
}

static void test_filter_nv_define_typed_claims_the_index(void **state)
{
	struct definition definition = {1, 0x01800002, NV_ATTRIBUTES, 0, {0}};
	struct tpm_command command = define(&definition);
	enum account_kind kind;

	(void)state;
	assert_int_equal(filter_claimed_handle(&command, &kind), 0x01800002);
	assert_int_equal(kind, ACCOUNT_KIND_NV);
	command = make("NV_UndefineSpace", TPM_RH_OWNER, 0x01800003, 0);
	assert_int_equal(filter_claimed_handle(&command, &kind), 0x01800003);
	command = make("Sign", OWN_KEY, 0, 0);
	assert_int_equal(filter_claimed_handle(&command, &kind), 0);
}

static struct tpm_command evict(uint32_t object, uint32_t handle)
{
	struct tpm_command command = make("EvictControl", TPM_RH_OWNER, object, 0);

	command.parameters[0].number = handle;
	return command;
}

static void test_filter_evict_control_in_the_policys_range(void **state)
{
	struct tpm_command command = evict(OWN_KEY, 0x81000100);

	(void)state;
	assert_int_equal(check_with(like_admin(), command).kind, FILTER_ALLOW);
	assert_int_equal(check_with(like_admin(), command).dues, 0);
	command = evict(SOMEBODYS, SOMEBODYS);
	assert_int_equal(check_with(like_admin(), command).kind, FILTER_ALLOW);
	command = evict(OWN_KEY, 0x81800000); /* the platform's */
	assert_string_equal(check_with(like_admin(), command).rule, "persistent-range");
	command.handles[0] = TPM_RH_PLATFORM;
	command.parameters[0].number = 0x81000100;
	assert_string_equal(check_with(like_admin(), command).rule, "hierarchy");
}

static void test_filter_evict_control_makes_own_keys(void **state)
{
	static const struct {
		uint32_t handle;
		enum filter_kind kind;
	} rows[] = {{0x810000ff, FILTER_DENY}, {0x81000100, FILTER_ALLOW},
		{0x8100ffff, FILTER_ALLOW}, {0x81010000, FILTER_DENY}, {0x80000001, FILTER_DENY}};
	struct policy_image image = like_keys();

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct account account = owning();
		struct tpm_command command = evict(OWN_KEY, rows[i].handle);
		struct filter_verdict verdict;
		enum account_kind kind;

		if (rows[i].kind == FILTER_ALLOW) {
			verdict = filter_check(&image, &account, &command);
			assert_int_equal(verdict.fact, FILTER_FACT_PUBLIC);
			filter_scene_learn(&account, &command, rows[i].handle);
		}
		verdict = filter_check(&image, &account, &command);
		assert_int_equal(verdict.kind, rows[i].kind);
		if (verdict.kind == FILTER_DENY) {
			assert_string_equal(verdict.rule, "persistent-range");
			continue;
		}
		assert_int_equal(verdict.dues, FILTER_DUE_CLAIM);
		assert_int_equal(filter_claimed_handle(&command, &kind), rows[i].handle);
		assert_int_equal(kind, ACCOUNT_KIND_PERSISTENT);
		filter_scene_learn(&account, NULL, rows[i].handle); /* something is there */
		assert_string_equal(filter_check(&image, &account, &command).rule, "handle-taken");
	}
}

static void test_filter_evict_control_removes_own_keys(void **state)
{
	struct policy_image image = like_keys();
	struct account account = owning();
	struct tpm_command command = evict(SOMEBODYS, SOMEBODYS);
	struct filter_verdict verdict;

	(void)state;
	assert_string_equal(judge(&image, &account, &command).rule, "persistent-handle");
	account_learn_ownership(&account, SOMEBODYS, ACCOUNT_KIND_PERSISTENT, true);
	verdict = filter_check(&image, &account, &command);
	assert_int_equal(verdict.kind, FILTER_ALLOW);
	assert_int_equal(verdict.dues, FILTER_DUE_DROP);
	command = evict(SOMEBODYS, 0x81000100); /* what is removed must be what was judged */
	assert_string_equal(filter_check(&image, &account, &command).rule, "persistent-range");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filter_ticket_hierarchies),
		cmocka_unit_test(test_filter_hierarchy_control_names_the_hierarchy_twice),
		cmocka_unit_test(test_filter_context_load),
		cmocka_unit_test(test_filter_flush_own_only),
		cmocka_unit_test(test_filter_capabilities),
		cmocka_unit_test(test_filter_nv_define_in_the_policys_range),
		cmocka_unit_test(test_filter_nv_define_of_own_indices),
		cmocka_unit_test(test_filter_nv_define_needs_a_free_index),
		cmocka_unit_test(test_filter_nv_define_typed_claims_the_index),
		cmocka_unit_test(test_filter_evict_control_in_the_policys_range),
		cmocka_unit_test(test_filter_evict_control_makes_own_keys),
		cmocka_unit_test(test_filter_evict_control_removes_own_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
