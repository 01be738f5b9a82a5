/*
 * Persistent keys and sealed data: what the broker is asked to record of them.
 */
#include "pump-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define KEY    0x80000001u
#define MADE   0x80000002u
#define PLACE  0x81000101u /* for a persistent key */
#define UNSEAL 0x15eu

#define STORAGE (TPMA_OBJECT_NO_DA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)

static const struct bytes nothing;

static struct bytes evict(uint32_t object, uint32_t handle)
{
	const uint32_t handles[] = {TPM_RH_OWNER, object};
	const uint8_t parameter[] = {(uint8_t)(handle >> 24), (uint8_t)(handle >> 16),
		(uint8_t)(handle >> 8), (uint8_t)handle};

	return command_with_password(
		TPM_CC_EVICT_CONTROL, handles, 2, bytes_of(parameter, sizeof parameter));
}

/* As response_of_public() has it. */
static struct bytes name(void)
{
	static const uint8_t bytes[34] = {0, 0x0b, 0xaa};

	return bytes_of(bytes, sizeof bytes);
}

static struct step free_slots(uint32_t count)
{
	return tpm(TPM_CC_GET_CAPABILITY,
		response_of_properties(TPM_PT_HR_PERSISTENT_AVAIL, &count, 1));
}

static struct step reads_key(void)
{
	return tpm(TPM_CC_READ_PUBLIC, response_of_public(TPM_ALG_ECC, TPMA_OBJECT_NO_DA));
}

static void test_pump_persistent_key_is_claimed_by_its_name(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(TPM_CC_READ_PUBLIC, response_of(0x18b)), /* the place is free */
		told_absent(ACCOUNT_KIND_PERSISTENT, PLACE),
		free_slots(2),
		reads_key(),
		asked_claim(ACCOUNT_KIND_PERSISTENT, PLACE, 0, name(), ACCOUNT_YES),
		tpm(TPM_CC_EVICT_CONTROL, response_with_session(0, nothing)),
		asked_confirm(ACCOUNT_KIND_PERSISTENT, PLACE, true),
	};

	scene_own_object(s, KEY, TPM_ALG_ECC, TPMA_OBJECT_NO_DA);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, evict(KEY, PLACE)), 0);
	scene_played(s);
}

static void test_pump_persistent_slots_are_left_to_others(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		tpm(TPM_CC_READ_PUBLIC, response_of(0x18b)),
		told_absent(ACCOUNT_KIND_PERSISTENT, PLACE),
		free_slots(1),
		told_refused(0x000b014b, "persistent-slots"),
		/* a place that is taken is not even asked about */
		reads_key(),
		told_refused(0x000b014c, "handle-taken"),
	};

	scene_own_object(s, KEY, TPM_ALG_ECC, TPMA_OBJECT_NO_DA);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, evict(KEY, PLACE)), 0x000b014b);
	assert_int_equal(scene_answer(s, evict(KEY, PLACE)), 0x000b014c);
	scene_played(s);
}

static void test_pump_persistent_key_is_dropped(void **state)
{
	struct scene *s = *state;
	const struct step look =
		asked_about(ACCOUNT_LOOKUP, ACCOUNT_KIND_PERSISTENT, PLACE, name(), ACCOUNT_YES);
	const struct step steps[] = {
		reads_key(),
		look,
		asked_about(ACCOUNT_DROP, ACCOUNT_KIND_PERSISTENT, PLACE, nothing, ACCOUNT_YES),
		tpm(TPM_CC_EVICT_CONTROL, response_of(0x9a2)),
		asked_confirm(ACCOUNT_KIND_PERSISTENT, PLACE, false),
		told(ACCOUNT_FAILED, ACCOUNT_FAILURE_HIERARCHY, 0),
		reads_key(),
		look,
		asked_about(ACCOUNT_DROP, ACCOUNT_KIND_PERSISTENT, PLACE, nothing, ACCOUNT_NO),
		told_refused(0x000b0120, "registry"),
	};

	PLAY(s, steps);
	assert_int_equal(scene_answer(s, evict(PLACE, PLACE)), 0x9a2);
	assert_int_equal(scene_answer(s, evict(PLACE, PLACE)), 0x000b0120);
	scene_played(s);
}

/* ---- sealed data ---- */

/* TPM2B_PUBLIC of sealed data with this `unique`. */
static struct bytes sealed_public(struct bytes unique)
{
	struct bytes all;
	struct writer writer = writer_new(all.bytes, sizeof all.bytes);

	writer_u16(&writer, (uint16_t)(14 + unique.size));
	writer_u16(&writer, TPM_ALG_KEYEDHASH);
	writer_u16(&writer, 0x000b); /* nameAlg: TPM_ALG_SHA256 */
	writer_u32(&writer, TPMA_OBJECT_NO_DA);
	writer_u16(&writer, 0); /* authPolicy */
	writer_u16(&writer, TPM_ALG_NULL);
	writer_u16(&writer, (uint16_t)unique.size);
	writer_bytes(&writer, unique.bytes, unique.size);
	all.size = writer.used;
	return all;
}

static struct bytes unique(void)
{
	static const uint8_t bytes[32] = {0x5e, 0xa1};

	return bytes_of(bytes, sizeof bytes);
}

static struct bytes join(struct bytes a, struct bytes b)
{
	assert_true(a.size + b.size <= sizeof a.bytes);
	memcpy(a.bytes + a.size, b.bytes, b.size);
	a.size += b.size;
	return a;
}

static struct bytes zeros(size_t size)
{
	return (struct bytes){.size = size};
}

/* inSensitive, inPublic; and for Create outsideInfo, creationPCR. */
static struct bytes seal(uint32_t code)
{
	static const uint32_t parent = KEY;
	struct bytes parameters = join(zeros(2), sealed_public(nothing));

	if (code == TPM_CC_CREATE)
		parameters = join(parameters, zeros(6));
	return command_with_password(code, &parent, 1, parameters);
}

/* outPrivate, outPublic. */
static struct bytes sealed(void)
{
	return join(zeros(2), sealed_public(unique()));
}

static void seal_with(struct scene *s, enum account_answer answer, uint32_t code, const char *rule)
{
	const struct step steps[] = {
		asked(ACCOUNT_TURN_BEGIN, 0, ACCOUNT_YES),
		tpm(TPM_CC_CREATE, response_with_session(0, sealed())),
		told(ACCOUNT_TURN_END, 0, 0),
		asked_claim(ACCOUNT_KIND_SEALED, 0, 0, unique(), answer),
		told_refused(code, rule ? rule : ""),
	};

	scene_play(s, steps, rule ? 5 : 4);
	assert_int_equal(scene_answer(s, seal(TPM_CC_CREATE)), code);
	scene_played(s);
}

static void test_pump_sealed_data_is_recorded_before_it_is_given_out(void **state)
{
	struct scene *s = *state;

	scene_own_object(s, KEY, TPM_ALG_ECC, STORAGE);
	seal_with(s, ACCOUNT_YES, 0, NULL);
	seal_with(s, ACCOUNT_LIMIT, 0x000b014b, "sealed-quota");
	seal_with(s, ACCOUNT_UNAVAILABLE, 0x000b0120, "registry");
}

static void test_pump_sealed_object_that_is_not_recorded_is_flushed(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		asked(ACCOUNT_TURN_BEGIN, 0, ACCOUNT_YES),
		tpm(TPM_CC_CREATE_LOADED, response_with_session(MADE, sealed())),
		told(ACCOUNT_TURN_END, 0, 0),
		asked_claim(ACCOUNT_KIND_SEALED, 0, 0, unique(), ACCOUNT_LIMIT),
		tpm(TPM_CC_FLUSH_CONTEXT, response_of(0)),
		told_refused(0x000b014b, "sealed-quota"),
	};

	scene_own_object(s, KEY, TPM_ALG_ECC, STORAGE);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, seal(TPM_CC_CREATE_LOADED)), 0x000b014b);
	assert_null(account_object(&s->pump.account, MADE));
	scene_played(s);
}

static void test_pump_sealed_data_that_the_tpm_refuses_is_not_recorded(void **state)
{
	struct scene *s = *state;
	const struct step steps[] = {
		asked(ACCOUNT_TURN_BEGIN, 0, ACCOUNT_YES),
		tpm(TPM_CC_CREATE, response_of(0x2c2)),
		told(ACCOUNT_TURN_END, 0, 0),
	};

	scene_own_object(s, KEY, TPM_ALG_ECC, STORAGE);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, seal(TPM_CC_CREATE)), 0x2c2);
	scene_played(s);
}

/* Whose it is says `unique`, and the answer holds as long as the object. */
static void test_pump_unsealing_asks_whose_it_is(void **state)
{
	static const uint32_t object = KEY;
	const struct bytes unseal = command_with_password(UNSEAL, &object, 1, nothing);
	struct scene *s = *state;
	struct account_entity *entity = &s->pump.account.objects[0];
	const struct step steps[] = {
		asked_about(ACCOUNT_LOOKUP, ACCOUNT_KIND_SEALED, 0, unique(), ACCOUNT_YES),
		tpm(UNSEAL, response_with_session(0, zeros(2))),
		tpm(UNSEAL, response_with_session(0, zeros(2))),
		asked_about(ACCOUNT_LOOKUP, ACCOUNT_KIND_SEALED, 0, unique(), ACCOUNT_NO),
		told_refused(0x000b0120, "sealed-data"),
	};

	scene_own_object(s, KEY, TPM_ALG_KEYEDHASH, TPMA_OBJECT_NO_DA);
	entity->sealed_record.size = 32;
	memcpy(entity->sealed_record.bytes, unique().bytes, 32);
	PLAY(s, steps);
	assert_int_equal(scene_answer(s, unseal), 0);
	assert_int_equal(scene_answer(s, unseal), 0);
	entity->sealed_own = ACCOUNT_OWN_UNKNOWN; /* as of another object */
	assert_int_equal(scene_answer(s, unseal), 0x000b0120);
	scene_played(s);
}

#define PUMP_TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		PUMP_TEST(test_pump_persistent_key_is_claimed_by_its_name),
		PUMP_TEST(test_pump_persistent_slots_are_left_to_others),
		PUMP_TEST(test_pump_persistent_key_is_dropped),
		PUMP_TEST(test_pump_sealed_data_is_recorded_before_it_is_given_out),
		PUMP_TEST(test_pump_sealed_object_that_is_not_recorded_is_flushed),
		PUMP_TEST(test_pump_sealed_data_that_the_tpm_refuses_is_not_recorded),
		PUMP_TEST(test_pump_unsealing_asks_whose_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
