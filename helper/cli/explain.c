#include "cli/explain.h"

#include "broker/profile.h"
#include "relay/tpm.h"

#include <string.h>

const char explain_own[] =
	"own is an object or TPM session that was made or loaded on the same connection, an object "
	"under the same profile; and a persistent key, NV index or sealed datum that is recorded "
	"for the caller's user";

/* What a profile can add to what is allowed in any. */
enum grant {
	GRANT_USE_KEY = 1 << 0,
	GRANT_EVICT = 1 << 1,
	GRANT_NV_READ = 1 << 2,
	GRANT_NV_WRITE = 1 << 3,
	GRANT_NV_DEFINE = 1 << 4,
	GRANT_NV_AUTHORIZE = 1 << 5,
	GRANT_HIERARCHIES = 1 << 6,
	GRANT_SECRETS = 1 << 7,
	GRANT_PCRS = 1 << 8,
	GRANT_STORAGE_ROOT_KEY = 1 << 9,
	GRANT_UNSEAL_FOREIGN = 1 << 10,
	GRANT_REWRAP = 1 << 11,
	GRANT_CAPABILITIES = 1 << 12,
	GRANT_CONTEXTS = 1 << 13,
};

struct words {
	const char *demand; /* whatever the profile */
	const char *rules;  /* that refuse the rest, the most telling one first */
	const char *always; /* what any profile allows; NULL: nothing */
	unsigned grants;    /* enum grant: what else this one may */
};

#define OWN_OBJECT "an own object"
#define NO_KEY     "no key (TPM_RH_NULL)"
#define OWN_INDEX  "an own NV index"

/* One entry for each enum tpm_use. */
static const struct words uses[] = {
	[TPM_USE_NEVER] = {"nothing: refused always", "never", NULL, 0},
	[TPM_USE_KEY] = {"an own object, or a persistent one in UseKey=",
		"other-profile not-own persistent-handle", OWN_OBJECT, GRANT_USE_KEY},
	[TPM_USE_KEY_OR_NULL] = {"an own object, a persistent one in UseKey=, or TPM_RH_NULL",
		"other-profile not-own persistent-handle", NO_KEY ", " OWN_OBJECT, GRANT_USE_KEY},
	[TPM_USE_SECRET] = {"an own object, or a persistent one in UseKey=; sealed data only if "
			    "the caller's user sealed it, or with UnsealForeign=",
		"sealed-data other-profile not-own persistent-handle unknown-fact",
		"an own object, of sealed data what the own user sealed",
		GRANT_USE_KEY | GRANT_UNSEAL_FOREIGN},
	[TPM_USE_PUBLIC] =
		{"an own object, a persistent one in UseKey= or Evict=, or a storage root "
		 "key with StorageRootKey=; nothing is authorized",
			"other-profile not-own persistent-handle", OWN_OBJECT,
			GRANT_USE_KEY | GRANT_EVICT | GRANT_STORAGE_ROOT_KEY},
	[TPM_USE_PARENT] = {"an own object, a persistent one in UseKey=, or with StorageRootKey= a "
			    "storage root key that is a restricted decryption key",
		"other-profile not-own persistent-handle storage-root-key unknown-fact", OWN_OBJECT,
		GRANT_USE_KEY | GRANT_STORAGE_ROOT_KEY},
	[TPM_USE_PARENT_OR_NULL] = {"a parent, or TPM_RH_NULL",
		"other-profile not-own persistent-handle storage-root-key unknown-fact",
		NO_KEY ", " OWN_OBJECT, GRANT_USE_KEY | GRANT_STORAGE_ROOT_KEY},
	[TPM_USE_PARENT_OR_HIERARCHY] = {"a parent, or a hierarchy in Hierarchies=",
		"hierarchy other-profile not-own persistent-handle storage-root-key unknown-fact",
		OWN_OBJECT, GRANT_USE_KEY | GRANT_STORAGE_ROOT_KEY | GRANT_HIERARCHIES},
	[TPM_USE_HIERARCHY] = {"a hierarchy in Hierarchies=", "hierarchy", NULL, GRANT_HIERARCHIES},
	[TPM_USE_SEQUENCE] = {"a sequence that was begun on this connection",
		"not-own sequence other-profile", "an own sequence", 0},
	[TPM_USE_OWNER] = {"exactly TPM_RH_OWNER", "hierarchy", "the hierarchy owner", 0},
	[TPM_USE_ENDORSEMENT] = {"exactly TPM_RH_ENDORSEMENT", "hierarchy",
		"the hierarchy endorsement", 0},
	[TPM_USE_LOCKOUT] = {"exactly TPM_RH_LOCKOUT", "hierarchy", "lockout", 0},
	[TPM_USE_BASE_HIERARCHY] = {"TPM_RH_OWNER or TPM_RH_ENDORSEMENT", "hierarchy",
		"the hierarchy owner or endorsement", 0},
	[TPM_USE_ANY_HIERARCHY] = {"TPM_RH_OWNER, TPM_RH_ENDORSEMENT or TPM_RH_LOCKOUT",
		"hierarchy", "the hierarchy owner or endorsement, lockout", 0},
	[TPM_USE_PCR] = {"a PCR in PCRs=", "pcr", NULL, GRANT_PCRS},
	[TPM_USE_PCR_OR_NULL] = {"a PCR in PCRs=, or TPM_RH_NULL, which changes none", "pcr",
		"no PCR (TPM_RH_NULL)", GRANT_PCRS},
	[TPM_USE_NV_AUTH] = {"the NV index beside it, or TPM_RH_OWNER", "nv-auth",
		"the index itself, the hierarchy owner", 0},
	[TPM_USE_NV_READ] = {"an own NV index, or one in NvRead=", "nv-index", OWN_INDEX,
		GRANT_NV_READ},
	[TPM_USE_NV_WRITE] = {"an own NV index, or one in NvWrite=", "nv-index", OWN_INDEX,
		GRANT_NV_WRITE},
	[TPM_USE_NV_DEFINE] = {"an own NV index, or one in NvDefine=", "nv-index", OWN_INDEX,
		GRANT_NV_DEFINE},
	[TPM_USE_NV_PUBLIC] = {"any NV index: its public area is no secret", "nv-index",
		"any NV index", 0},
	[TPM_USE_NV_OWN] = {"an own NV index, or one in NvRead=: comparing gives no more away than "
			    "reading",
		"nv-index", OWN_INDEX, GRANT_NV_READ},
	[TPM_USE_NV_AUTHORIZE] = {"an own NV index, or one in NvAuthorize= by owner authorization",
		"nv-index nv-auth", OWN_INDEX, GRANT_NV_AUTHORIZE},
	[TPM_USE_POLICY_SESSION] = {"a policy session of this connection", "not-own",
		"an own policy session", 0},
	[TPM_USE_HMAC_SESSION] = {"an HMAC session of this connection", "not-own",
		"an own HMAC session", 0},
	[TPM_USE_ENTITY] = {"an own object or NV index, a persistent object in UseKey=, or a "
			    "hierarchy in PolicySecret=",
		"entity other-profile not-own persistent-handle nv-index",
		OWN_OBJECT ", " OWN_INDEX, GRANT_USE_KEY | GRANT_SECRETS},
	[TPM_USE_TPM_KEY] = {"a parent, or TPM_RH_NULL",
		"other-profile not-own persistent-handle storage-root-key unknown-fact",
		NO_KEY ", " OWN_OBJECT, GRANT_USE_KEY | GRANT_STORAGE_ROOT_KEY},
	[TPM_USE_BIND] = {"a parent or another own object, or TPM_RH_NULL; no hierarchy, PCR or NV "
			  "index",
		"bind other-profile not-own persistent-handle storage-root-key unknown-fact",
		"nothing (TPM_RH_NULL), " OWN_OBJECT, GRANT_USE_KEY | GRANT_STORAGE_ROOT_KEY},
	[TPM_USE_CONTEXT] = {"an own object or TPM session; sessions within their quota",
		"not-own tpm-sessions", "an own object, an own TPM session", 0},
	[TPM_USE_EVICT] =
		{"an own object, an own persistent key, or a persistent one in Evict=; "
		 "sealed data only if the caller's user sealed it, or with UnsealForeign=",
			"sealed-data other-profile persistent-handle not-own unknown-fact",
			"an own object, an own persistent key", GRANT_EVICT},
};

/* Commands whose parameters carry a handle, or change what they do. */
static const struct {
	uint32_t code;
	struct words words;
} parameters[] = {
	{TPM_CC_EVICT_CONTROL,
		{"persistentHandle: from 0x81000100 to 0x8100FFFF for own keys, or in Evict=",
			"persistent-range handle-taken persistent-quota persistent-slots",
			"persistentHandle: one for own keys, from 0x81000100 to 0x8100FFFF",
			GRANT_EVICT}},
	{TPM_CC_HIERARCHY_CONTROL, {"enable: TPM_RH_OWNER or TPM_RH_ENDORSEMENT", "hierarchy",
					   "enable: owner, endorsement", 0}},
	{TPM_CC_NV_DEFINE_SPACE,
		{"publicInfo: an index from 0x01800000 to 0x01BFFFFF with attributes, size and "
		 "quota of an own one, or one in NvDefine=",
			"nv-attributes nv-range handle-taken nv-quota nv-writes",
			"publicInfo: an own NV index, from 0x01800000 to 0x01BFFFFF, within quotas",
			GRANT_NV_DEFINE}},
	{TPM_CC_NV_DEFINE_SPACE_2,
		{"publicInfo: an NV index of handle type 0x01, as for NV_DefineSpace",
			"nv-attributes nv-range handle-taken nv-quota nv-writes",
			"publicInfo: an own NV index, from 0x01800000 to 0x01BFFFFF, within quotas",
			GRANT_NV_DEFINE}},
	{TPM_CC_SEQUENCE_COMPLETE,
		{"hierarchy: TPM_RH_OWNER, TPM_RH_ENDORSEMENT or TPM_RH_NULL", "hierarchy",
			"hierarchy (of the ticket): owner, endorsement, null", 0}},
	{TPM_CC_HASH, {"hierarchy: TPM_RH_OWNER, TPM_RH_ENDORSEMENT or TPM_RH_NULL", "hierarchy",
			      "hierarchy (of the ticket): owner, endorsement, null", 0}},
	{TPM_CC_LOAD_EXTERNAL,
		{"hierarchy: TPM_RH_OWNER, TPM_RH_ENDORSEMENT or TPM_RH_NULL", "hierarchy",
			"hierarchy (of its tickets): owner, endorsement, null", 0}},
	{TPM_CC_REWRAP,
		{"refused without UnsealForeign=: nothing in it tells whose secret it would print",
			"rewrap", NULL, GRANT_REWRAP}},
	{TPM_CC_CONTEXT_LOAD,
		{"context: an object's whose hierarchy is in Hierarchies=, or a TPM session's, "
		 "which belongs to whoever holds it",
			"context hierarchy tpm-sessions",
			"context: a TPM session's, within the quota", GRANT_CONTEXTS}},
	{TPM_CC_FLUSH_CONTEXT, {"flushHandle: an own object or TPM session", "not-own",
				       "flushHandle: an own object, an own TPM session", 0}},
	{TPM_CC_GET_CAPABILITY,
		{"capability: one in Capabilities=; of handles those that the session may see, "
		 "without sessions",
			"capability capability-session", NULL, GRANT_CAPABILITIES}},
};

/* Commands that take long whatever their keys, and those that wear NV memory out beside writes. */
static const char *const slow[] = {
	"CreatePrimary", "Create", "CreateLoaded", "SelfTest", "IncrementalSelfTest"};
static const char *const wearing[] = {
	"NV_DefineSpace", "NV_DefineSpace2", "NV_UndefineSpace", "EvictControl"};

/* ---- lists ---------------------------------------------------------------------------------- */

static void list_add(GString *list, const char *separator, const char *text)
{
	if (list->len > 0)
		g_string_append(list, separator);
	g_string_append(list, text);
}

char *explain_hierarchies(uint32_t hierarchies)
{
	static const char *const names[] = {"owner", "endorsement", "null", "lockout"};
	GString *list = g_string_new(NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if (hierarchies >> i & 1)
			list_add(list, ", ", names[i]);
	return g_string_free(list, FALSE);
}

char *explain_pcrs(uint32_t pcrs)
{
	GString *list = g_string_new(NULL);

	for (unsigned first = 0; first < 32; first++) {
		unsigned last = first;
		char text[32];

		if (!(pcrs >> first & 1))
			continue;
		while (last < 31 && pcrs >> (last + 1) & 1)
			last++;
		g_snprintf(text, sizeof text, first == last ? "%u" : "%u to %u", first, last);
		list_add(list, ", ", text);
		first = last;
	}
	return g_string_free(list, FALSE);
}

char *explain_capabilities(uint32_t capabilities)
{
	GString *list = g_string_new(NULL);

	for (unsigned i = 0; i < POLICY_CAPABILITIES; i++) {
		g_autofree char *number = g_strdup_printf("%u", i);
		const char *name = profile_capability_name(i);

		if (capabilities >> i & 1)
			list_add(list, ", ", name ? name : number);
	}
	return g_string_free(list, FALSE);
}

char *explain_ranges(const struct policy *policy, uint32_t use)
{
	GString *list = g_string_new(NULL);

	for (uint32_t i = 0; i < policy->range_count; i++) {
		const struct policy_range *range = &policy->ranges[i];
		char text[64];

		if (!(range->use & use))
			continue;
		if (range->first == range->last)
			g_snprintf(text, sizeof text, "0x%08X", range->first);
		else
			g_snprintf(
				text, sizeof text, "0x%08X to 0x%08X", range->first, range->last);
		list_add(list, ", ", text);
	}
	return g_string_free(list, FALSE);
}

/* ---- one command under one policy ----------------------------------------------------------- */

/* Adds "PREFIX" and the list, which it frees, if there is something in the list. */
static void grant_add(GString *text, const char *prefix, char *list)
{
	g_auto(GStrv) elements = g_strsplit(list, ", ", -1);
	g_autofree char *joined = g_strjoinv(" or ", elements);
	g_autofree char *grant = g_strconcat(prefix, joined, NULL);

	if (list[0])
		list_add(text, ", ", grant);
	g_free(list);
}

static void grant_ranges(GString *text, const struct policy *policy, unsigned grants)
{
	static const struct {
		enum grant grant;
		uint32_t use;
		const char *prefix;
	} ranges[] = {
		{GRANT_USE_KEY, POLICY_USE_KEY, "persistent keys "},
		{GRANT_EVICT, POLICY_USE_EVICT, "persistent handles "},
		{GRANT_NV_READ, POLICY_USE_NV_READ, "NV indices "},
		{GRANT_NV_WRITE, POLICY_USE_NV_WRITE, "NV indices "},
		{GRANT_NV_DEFINE, POLICY_USE_NV_DEFINE, "NV indices "},
		{GRANT_NV_AUTHORIZE, POLICY_USE_NV_AUTHORIZE, "by the owner NV indices "},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++)
		if (grants & ranges[i].grant)
			grant_add(text, ranges[i].prefix, explain_ranges(policy, ranges[i].use));
}

/* What WORDS come to under POLICY; empty where nothing is allowed. The caller frees it. */
static char *words_apply(const struct words *words, const struct policy *policy)
{
	GString *text = g_string_new(words->always);
	unsigned grants = words->grants;

	if (grants & GRANT_HIERARCHIES)
		grant_add(text, "the hierarchy ", explain_hierarchies(policy->hierarchies));
	if (grants & GRANT_CONTEXTS)
		grant_add(text, "an object's of the hierarchy ",
			explain_hierarchies(policy->hierarchies));
	if (grants & GRANT_SECRETS)
		grant_add(text, "the hierarchy ", explain_hierarchies(policy->secrets));
	if (grants & GRANT_PCRS)
		grant_add(text, "PCR ", explain_pcrs(policy->pcrs));
	if (grants & GRANT_CAPABILITIES)
		grant_add(text, "capability: ", explain_capabilities(policy->capabilities));
	if (grants & GRANT_STORAGE_ROOT_KEY && policy->flags & POLICY_STORAGE_ROOT_KEY)
		list_add(text, ", ", "a storage root key (0x81000001, 0x81000002)");
	if (grants & GRANT_UNSEAL_FOREIGN && policy->flags & POLICY_UNSEAL_FOREIGN)
		list_add(text, ", ", "sealed data of others");
	if (grants & GRANT_REWRAP && policy->flags & POLICY_UNSEAL_FOREIGN)
		list_add(text, ", ", "inDuplicate: secrets of whomever");
	grant_ranges(text, policy, grants);
	return g_string_free(text, FALSE);
}

static const struct words *words_of_use(enum tpm_use use)
{
	return (size_t)use < G_N_ELEMENTS(uses) && uses[use].demand ? &uses[use] : NULL;
}

static const struct words *words_of_parameters(uint32_t code)
{
	for (size_t i = 0; i < G_N_ELEMENTS(parameters); i++)
		if (parameters[i].code == code)
			return &parameters[i].words;
	return NULL;
}

const char *explain_use(enum tpm_use use)
{
	return words_of_use(use) ? uses[use].demand : NULL;
}

const char *explain_use_rules(enum tpm_use use)
{
	return words_of_use(use) ? uses[use].rules : NULL;
}

const char *explain_parameters(uint32_t code)
{
	const struct words *words = words_of_parameters(code);

	return words ? words->demand : NULL;
}

/* The first of the RULES, which are separated by blanks, as a string that is never freed. */
static const char *first_rule(const char *rules)
{
	g_autofree char *first = g_strndup(rules, strcspn(rules, " "));

	return g_intern_string(first);
}

static bool is_among(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* Whether the command may authorize something that the dictionary attack protection knows. */
static bool may_raise_counter(const struct tpm_command_info *info)
{
	const uint32_t kinds = TPM_KIND_TRANSIENT | TPM_KIND_PERSISTENT | TPM_KIND_NV;

	for (unsigned i = 0; i < tpm_command_handle_count(info); i++)
		if (info->handles[i].kinds & kinds && (info->handles[i].role != TPM_ROLE_NONE ||
							      info->handles[i].use == TPM_USE_BIND))
			return true;
	return false;
}

static bool has_use(const struct tpm_command_info *info, enum tpm_use use)
{
	for (unsigned i = 0; i < tpm_command_handle_count(info); i++)
		if (info->handles[i].use == use)
			return true;
	return false;
}

static void add_accounts(
	const struct policy *policy, const struct tpm_command_info *info, GPtrArray *conditions)
{
	const uint32_t hierarchies = TPM_KIND_OWNER | TPM_KIND_ENDORSEMENT | TPM_KIND_LOCKOUT;

	if (may_raise_counter(info))
		g_ptr_array_add(conditions,
			g_strdup("what is authorized without the attribute noda: one command at a "
				 "time for the whole TPM, while its failure counter is low"));
	if (is_among(slow, G_N_ELEMENTS(slow), info->name))
		g_ptr_array_add(conditions,
			g_strdup("takes long: one at a time for each user, others wait"));
	else if (has_use(info, TPM_USE_KEY) || has_use(info, TPM_USE_KEY_OR_NULL))
		g_ptr_array_add(conditions,
			g_strdup("takes long with an RSA key: one at a time for each user"));
	if (is_among(wearing, G_N_ELEMENTS(wearing), info->name) || has_use(info, TPM_USE_NV_WRITE))
		g_ptr_array_add(
			conditions, g_strdup("what is own: within the NV writes of an hour"));
	if (policy->flags & POLICY_ONCE && info->handles[0].role != TPM_ROLE_NONE &&
		info->handles[0].kinds & hierarchies)
		g_ptr_array_add(conditions,
			g_strdup("one success, or one failed authorization, ends the profile"));
}

const char *explain_command(
	const struct policy *policy, const struct tpm_command_info *info, GPtrArray *conditions)
{
	const struct words *words = words_of_parameters(info->code);

	if (info->scope == TPM_SCOPE_LOCAL) {
		g_ptr_array_add(conditions,
			g_strdup("answered by tpmgate: the TPM is initialized already"));
		return NULL;
	}
	if (info->scope != TPM_SCOPE_PROFILE)
		return "never";
	if (!policy_allows_command(policy, info->code))
		return "command";

	g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);

	for (unsigned i = 0; i < tpm_command_handle_count(info); i++) {
		const struct words *use = words_of_use(info->handles[i].use);
		g_autofree char *text = use ? words_apply(use, policy) : g_strdup("");

		if (text[0] == '\0')
			return use ? first_rule(use->rules) : "never";
		g_ptr_array_add(lines, g_strdup_printf("%s: %s", info->handles[i].name, text));
	}
	if (words) {
		char *text = words_apply(words, policy);

		g_ptr_array_add(lines, text);
		if (text[0] == '\0')
			return first_rule(words->rules);
	}
	add_accounts(policy, info, lines);
	g_ptr_array_extend_and_steal(conditions, g_steal_pointer(&lines));
	return NULL;
}

const struct tpm_command_info *explain_find(const char *name)
{
	static const char *const prefixes[] = {"TPM2_CC_", "TPM_CC_", "TPM2_"};
	guint64 code;

	if (g_ascii_strncasecmp(name, "0x", 2) == 0)
		return g_ascii_string_to_unsigned(name + 2, 16, 0, UINT32_MAX, &code, NULL)
			       ? tpm_table_by_code((uint32_t)code)
			       : NULL;
	for (size_t i = 0; i < G_N_ELEMENTS(prefixes); i++)
		if (g_ascii_strncasecmp(name, prefixes[i], strlen(prefixes[i])) == 0) {
			name += strlen(prefixes[i]);
			break;
		}
	for (size_t i = 0; i < tpm_table_size; i++)
		if (g_ascii_strcasecmp(name, tpm_table[i].name) == 0 ||
			(tpm_table[i].alias && g_ascii_strcasecmp(name, tpm_table[i].alias) == 0))
			return &tpm_table[i];
	return NULL;
}
