#include "filter-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

#define NAME_SIZE      34          /* bytes of a Name with SHA-256 */
#define NV_READ_WRITE  0x00040004u /* AUTHREAD, AUTHWRITE */
#define ALG_SHA256     0x000bu
#define ALG_AES        0x0006u
#define ALG_CFB        0x0043u
#define ECC_NIST_P256  0x0003u
#define NO_SUCH_HANDLE (TPM_RC_HANDLE | 0x100u)

/* ---- public areas ---------------------------------------------------------------------------- */

static void write_2b(struct writer *writer, size_t size)
{
	writer_u16(writer, (uint16_t)size);
	for (size_t i = 0; i < size; i++)
		writer_u8(writer, 0x5a);
}

/* What ReadPublic answers for an ECC storage key with noDA: outPublic, name, qualifiedName. */
static size_t write_object(uint8_t *bytes, size_t size)
{
	struct writer writer = writer_new(bytes, size);

	writer_u16(&writer, 0); /* size, below */
	writer_u16(&writer, TPM_ALG_ECC);
	writer_u16(&writer, ALG_SHA256);
	writer_u32(&writer, TPMA_OBJECT_NO_DA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT);
	write_2b(&writer, 0);         /* authPolicy */
	writer_u16(&writer, ALG_AES); /* symmetric */
	writer_u16(&writer, 128);
	writer_u16(&writer, ALG_CFB);
	writer_u16(&writer, TPM_ALG_NULL); /* scheme */
	writer_u16(&writer, ECC_NIST_P256);
	writer_u16(&writer, TPM_ALG_NULL); /* kdf */
	write_2b(&writer, 32);             /* x */
	write_2b(&writer, 32);             /* y */
	bytes[1] = (uint8_t)(writer.used - 2);
	write_2b(&writer, NAME_SIZE);
	write_2b(&writer, NAME_SIZE);
	return writer.used;
}

/* TPMS_NV_PUBLIC of an index with NO_DA. */
static void write_nv(struct writer *writer, uint32_t index)
{
	writer_u32(writer, index);
	writer_u16(writer, ALG_SHA256);
	writer_u32(writer, TPMA_NV_NO_DA | NV_READ_WRITE);
	write_2b(writer, 0);   /* authPolicy */
	writer_u16(writer, 8); /* dataSize */
}

/* What NV_ReadPublic answers: nvPublic, nvName. */
static size_t write_index(uint8_t *bytes, size_t size, uint32_t index)
{
	struct writer writer = writer_new(bytes, size);

	writer_u16(&writer, 14);
	write_nv(&writer, index);
	write_2b(&writer, NAME_SIZE);
	return writer.used;
}

void filter_scene_learn(struct account *account, const struct tpm_command *command, uint32_t handle)
{
	uint8_t bytes[256];
	bool made = command && (command->info->code == TPM_CC_NV_DEFINE_SPACE ||
				       command->info->code == TPM_CC_NV_DEFINE_SPACE_2 ||
				       (command->info->code == TPM_CC_EVICT_CONTROL &&
					       handle != command->handles[1]));
	size_t size = handle >> 24 == TPM_HT_NV_INDEX ? write_index(bytes, sizeof bytes, handle)
						      : write_object(bytes, sizeof bytes);

	account_learn_public(account, handle, made ? NO_SUCH_HANDLE : TPM_RC_SUCCESS,
		made ? cursor_new(NULL, 0) : cursor_new(bytes, size));
}

/* ---- commands -------------------------------------------------------------------------------- */

uint32_t filter_scene_first(const struct policy *policy, uint32_t use, uint32_t otherwise)
{
	for (uint32_t i = 0; i < policy->range_count; i++)
		if (policy->ranges[i].use & use)
			return policy->ranges[i].first;
	return otherwise;
}

static uint32_t hierarchy_of(const struct policy *policy)
{
	return policy->hierarchies & POLICY_ENDORSEMENT ? TPM_RH_ENDORSEMENT
	       : policy->hierarchies & POLICY_OWNER     ? TPM_RH_OWNER
							: TPM_RH_NULL;
}

uint32_t filter_scene_index(const struct policy *policy, enum tpm_use use)
{
	switch (use) {
	case TPM_USE_NV_READ:
	case TPM_USE_NV_OWN:
		return filter_scene_first(policy, POLICY_USE_NV_READ, OWN_INDEX);
	case TPM_USE_NV_WRITE:
		return filter_scene_first(policy, POLICY_USE_NV_WRITE, OWN_INDEX);
	case TPM_USE_NV_DEFINE:
		return filter_scene_first(policy, POLICY_USE_NV_DEFINE, OWN_INDEX);
	case TPM_USE_NV_AUTHORIZE:
		return filter_scene_first(policy, POLICY_USE_NV_AUTHORIZE, OWN_INDEX);
	default:
		return OWN_INDEX;
	}
}

uint32_t filter_scene_handle(const struct policy *policy, const struct tpm_handle_info *info)
{
	switch (info->use) {
	case TPM_USE_HIERARCHY:
		return hierarchy_of(policy);
	case TPM_USE_OWNER:
	case TPM_USE_BASE_HIERARCHY:
	case TPM_USE_NV_AUTH:
		return TPM_RH_OWNER;
	case TPM_USE_ENDORSEMENT:
		return TPM_RH_ENDORSEMENT;
	case TPM_USE_LOCKOUT:
	case TPM_USE_ANY_HIERARCHY:
		return TPM_RH_LOCKOUT;
	case TPM_USE_PCR:
	case TPM_USE_PCR_OR_NULL:
		return 16;
	case TPM_USE_POLICY_SESSION:
		return OWN_POLICY;
	case TPM_USE_HMAC_SESSION:
		return OWN_HMAC;
	case TPM_USE_NV_READ:
	case TPM_USE_NV_WRITE:
	case TPM_USE_NV_DEFINE:
	case TPM_USE_NV_PUBLIC:
	case TPM_USE_NV_OWN:
	case TPM_USE_NV_AUTHORIZE:
		return filter_scene_index(policy, info->use);
	case TPM_USE_NEVER: /* what the parser accepts */
		return info->kinds & TPM_KIND_PLATFORM         ? TPM_RH_PLATFORM
		       : info->kinds & TPM_KIND_TRANSIENT      ? OWN_OBJECT
		       : info->kinds & TPM_KIND_NV             ? OWN_INDEX
		       : info->kinds & TPM_KIND_AC             ? TPM_HT_AC << 24
		       : info->kinds & TPM_KIND_ACT            ? 0x40000110
		       : info->kinds & TPM_KIND_POLICY_SESSION ? OWN_POLICY
							       : 0;
	default:
		return OWN_OBJECT;
	}
}

/* Parameter I where it matters; otherwise 0. */
static uint64_t number_for(
	const struct policy *policy, const struct tpm_command_info *info, unsigned i)
{
	switch (info->code) {
	case TPM_CC_SEQUENCE_COMPLETE:
	case TPM_CC_HASH:
	case TPM_CC_LOAD_EXTERNAL:
		return TPM_RH_NULL;
	case TPM_CC_HIERARCHY_CONTROL:
		return i == 0 ? TPM_RH_ENDORSEMENT : 0;
	case TPM_CC_CONTEXT_LOAD:
		return i == 1 ? OWN_OBJECT : hierarchy_of(policy);
	case TPM_CC_FLUSH_CONTEXT:
		return OWN_OBJECT;
	case TPM_CC_EVICT_CONTROL:
		return filter_scene_first(policy, POLICY_USE_EVICT, OWN_PERSISTENT);
	case TPM_CC_GET_CAPABILITY:
		return i == 0 ? 6 : i == 1 ? 0x100 : 1; /* TPM_PROPERTIES */
	default:
		return 0;
	}
}

static void write_2b_parameter(struct writer *writer, const struct policy *policy,
	const struct tpm_command_info *info, unsigned i)
{
	bool typed = info->code == TPM_CC_NV_DEFINE_SPACE_2;

	if (i != 1 || (info->code != TPM_CC_NV_DEFINE_SPACE && !typed)) {
		writer_u16(writer, 0);
		return;
	}
	writer_u16(writer, typed ? 15 : 14);
	if (typed)
		writer_u8(writer, TPM_HT_NV_INDEX);
	write_nv(writer, filter_scene_first(policy, POLICY_USE_NV_DEFINE, OWN_INDEX));
}

static void write_parameter(struct writer *writer, const struct policy *policy,
	const struct tpm_command_info *info, unsigned i)
{
	char layout = info->parameters[i];
	uint64_t number = number_for(policy, info, i);

	switch (layout) {
	case 'B':
		write_2b_parameter(writer, policy, info, i);
		break;
	case 'S':
	case 'L':
		writer_u32(writer, 0);
		break;
	case '*':
		break;
	default:
		for (int byte = layout - '0' - 1; byte >= 0; byte--)
			writer_u8(writer, (uint8_t)(number >> (8 * byte)));
	}
}

size_t filter_scene_write(const struct policy *policy, const struct tpm_command_info *info,
	const uint32_t handles[TPM_HANDLES_MAX], uint8_t bytes[TPM_MESSAGE_MAX])
{
	struct writer writer = writer_new(bytes, TPM_MESSAGE_MAX);
	unsigned authorizations = tpm_command_authorization_count(info);

	writer_u16(&writer, authorizations > 0 ? TPM_ST_SESSIONS : TPM_ST_NO_SESSIONS);
	writer_u32(&writer, 0); /* size, below */
	writer_u32(&writer, info->code);
	for (unsigned i = 0; i < TPM_HANDLES_MAX && i < tpm_command_handle_count(info); i++)
		writer_u32(&writer, handles[i]);
	if (authorizations > 0)
		writer_u32(&writer, 9 * authorizations);
	for (unsigned i = 0; i < authorizations; i++) {
		writer_u32(&writer, TPM_RS_PW);
		writer_u16(&writer, 0); /* nonce */
		writer_u8(&writer, 0);
		writer_u16(&writer, 0); /* password */
	}
	for (unsigned i = 0; info->parameters[i]; i++)
		write_parameter(&writer, policy, info, i);
	writer_patch_u32(&writer, sizeof(uint16_t), (uint32_t)writer.used);
	return writer.used;
}

struct account filter_scene_account(const struct policy *policy)
{
	static const struct {
		const char *name;
		uint32_t handle;
	} made[] = {{"CreatePrimary", OWN_OBJECT}, {"StartAuthSession", OWN_HMAC},
		{"StartAuthSession", OWN_POLICY}};
	struct account account = account_new(3, 3);

	for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
		const struct tpm_command_info *info = tpm_table_by_name(made[i].name);
		const uint32_t handles[] = {TPM_RH_NULL, TPM_RH_NULL, 0};
		const struct tpm_response response = {.handle = made[i].handle};
		struct tpm_command command;
		uint8_t bytes[TPM_MESSAGE_MAX];
		size_t size = filter_scene_write(policy, info, handles, bytes);

		assert_int_equal(tpm_command_parse(bytes, size, &command), TPM_RC_SUCCESS);
		assert_int_equal(account_learn(&account, &command, 1, &response), 0);
	}
	filter_scene_learn(&account, NULL, OWN_OBJECT);
	return account;
}

void filter_scene_handles(const struct policy *policy, const struct tpm_command_info *info,
	uint32_t ret_handles[TPM_HANDLES_MAX])
{
	for (unsigned i = 0; i < TPM_HANDLES_MAX; i++)
		ret_handles[i] = i < tpm_command_handle_count(info)
					 ? filter_scene_handle(policy, &info->handles[i])
					 : 0;
}
