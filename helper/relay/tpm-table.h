#pragma once
/*
 * The command table: every command of the TPM 2.0 library specification (Part 3), generated at
 * build time from tpm-commands.csv, where the columns are explained. Commands that are not in it do
 * not exist for tpmgate.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TPM_HANDLES_MAX    3 /* handles of one command */
#define TPM_PARAMETERS_MAX 8

enum tpm_scope {
	TPM_SCOPE_NEVER = 0, /* refused whatever a profile says */
	TPM_SCOPE_LOCAL,     /* answered by the relay, never forwarded */
	TPM_SCOPE_PROFILE,   /* refused unless a profile names it */
};

/* Kinds of handle, as bits (Part 2, sections 7.2 to 7.4). */
enum tpm_kind {
	TPM_KIND_NONE = 0,
	TPM_KIND_PCR = 1 << 0,
	TPM_KIND_NV = 1 << 1,
	TPM_KIND_NV_EXTERNAL = 1 << 2,
	TPM_KIND_NV_PERMANENT = 1 << 3,
	TPM_KIND_HMAC_SESSION = 1 << 4,
	TPM_KIND_POLICY_SESSION = 1 << 5,
	TPM_KIND_TRANSIENT = 1 << 6,
	TPM_KIND_PERSISTENT = 1 << 7,
	TPM_KIND_AC = 1 << 8,
	TPM_KIND_OWNER = 1 << 9,
	TPM_KIND_ENDORSEMENT = 1 << 10,
	TPM_KIND_PLATFORM = 1 << 11,
	TPM_KIND_LOCKOUT = 1 << 12,
	TPM_KIND_NULL = 1 << 13,
	TPM_KIND_ALIAS = 1 << 14, /* FW_* and SVN_*: other names of the base hierarchies */
	TPM_KIND_VENDOR_AUTH = 1 << 15,
	TPM_KIND_ACT = 1 << 16,
	TPM_KIND_PASSWORD = 1 << 17, /* TPM_RS_PW, only ever in the authorization area */
};

/* Authorization roles (Part 1, section 19.2); NONE: the handle needs no authorization. */
enum tpm_role {
	TPM_ROLE_NONE = 0,
	TPM_ROLE_USER,
	TPM_ROLE_ADMIN,
	TPM_ROLE_DUP,
};

/* What the filter demands of a handle; filter.c has the rule of each. */
enum tpm_use {
	TPM_USE_NEVER = 0,
	TPM_USE_KEY,                 /* an object that is authorized and used */
	TPM_USE_KEY_OR_NULL,         /* a signing key, or TPM_RH_NULL for no signature */
	TPM_USE_SECRET,              /* an object whose sensitive area leaves the TPM */
	TPM_USE_PUBLIC,              /* an object of which only the public area is used */
	TPM_USE_PARENT,              /* a storage key */
	TPM_USE_PARENT_OR_NULL,      /* a storage key, or TPM_RH_NULL */
	TPM_USE_PARENT_OR_HIERARCHY, /* a storage key, or a hierarchy that gets a primary */
	TPM_USE_HIERARCHY,           /* a hierarchy that gets a primary */
	TPM_USE_SEQUENCE,            /* a hash, HMAC or signature sequence */
	TPM_USE_OWNER,               /* TPM_RH_OWNER exactly */
	TPM_USE_ENDORSEMENT,         /* TPM_RH_ENDORSEMENT exactly */
	TPM_USE_LOCKOUT,             /* TPM_RH_LOCKOUT exactly */
	TPM_USE_BASE_HIERARCHY,      /* owner or endorsement */
	TPM_USE_ANY_HIERARCHY,       /* owner, endorsement or lockout */
	TPM_USE_PCR,                 /* a PCR that the policy names */
	TPM_USE_PCR_OR_NULL,         /* or TPM_RH_NULL, which changes none */
	TPM_USE_NV_AUTH,      /* what authorizes the NV index beside it: itself or the owner */
	TPM_USE_NV_READ,      /* an NV index whose content is read */
	TPM_USE_NV_WRITE,     /* an NV index that is changed */
	TPM_USE_NV_DEFINE,    /* an NV index that is removed */
	TPM_USE_NV_PUBLIC,    /* an NV index of which only the public area is read */
	TPM_USE_NV_OWN,       /* an NV index of the caller's own, nobody else's */
	TPM_USE_NV_AUTHORIZE, /* an NV index that holds a policy */
	TPM_USE_POLICY_SESSION,
	TPM_USE_HMAC_SESSION,
	TPM_USE_ENTITY,  /* whatever PolicySecret proves knowledge of */
	TPM_USE_TPM_KEY, /* the key that a session's salt is encrypted to, or TPM_RH_NULL */
	TPM_USE_BIND,    /* the entity that a session is bound to, or TPM_RH_NULL */
	TPM_USE_CONTEXT, /* what ContextSave saves */
	TPM_USE_EVICT,   /* an object made persistent, or a persistent one removed */
};

struct tpm_handle_info {
	const char *name;
	uint32_t kinds; /* enum tpm_kind */
	enum tpm_role role;
	enum tpm_use use;
};

struct tpm_command_info {
	uint32_t code; /* TPM_CC */
	const char *name;
	const char *alias;   /* another name of the same command, or NULL */
	uint32_t attributes; /* TPMA_CC, as GetCapability(TPM_CAP_COMMANDS) reports it */
	enum tpm_scope scope;
	bool sessions;          /* may have an authorization area */
	const char *parameters; /* layout: 1 2 4 8 B S L *, see tpm-commands.csv */
	struct tpm_handle_info handles[TPM_HANDLES_MAX];
};

/* TPMA_CC (Part 2, section 8.9). */
static inline unsigned tpm_command_handle_count(const struct tpm_command_info *info)
{
	return info->attributes >> 25 & 7;
}

static inline bool tpm_command_flushes(const struct tpm_command_info *info)
{
	return info->attributes >> 24 & 1; /* a handle of the command is gone after success */
}

static inline bool tpm_command_returns_handle(const struct tpm_command_info *info)
{
	return info->attributes >> 28 & 1;
}

/* How many of the handles need an authorization; those come first (Part 1, section 18.4). */
unsigned tpm_command_authorization_count(const struct tpm_command_info *info);

/* All commands, ascending by code. */
extern const struct tpm_command_info tpm_table[];
extern const size_t tpm_table_size;

/* NULL where there is no such command. */
const struct tpm_command_info *tpm_table_by_code(uint32_t code);
/* NAME without the TPM2_ prefix, in the specification's spelling; aliases too. */
const struct tpm_command_info *tpm_table_by_name(const char *name);
