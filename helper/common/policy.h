#pragma once
/*
 * The policy image: what a session may do, as the broker compiles it from profiles and the relay
 * enforces it. It travels in a sealed memfd and holds everything that a relay is told at birth.
 *
 * A session may do what one of its policies allows by itself. Policies are never merged: two
 * profiles together allow no combination of command and handle that neither allows alone.
 *
 * Zero in every field means "nothing is allowed".
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_MAGIC        0x59504d54u
#define POLICY_VERSION      3
#define POLICY_MAX          8      /* profiles that one session joins */
#define POLICY_RANGES       16     /* handle ranges of one profile */
#define POLICY_FIRST_CODE   0x11fu /* command codes from here ... */
#define POLICY_CODES        192    /* ... this many, have a bit (TPM 2.0 Part 2, section 6.5) */
#define POLICY_CAPABILITIES 32     /* values of TPM_CAP that have a bit */
#define POLICY_SLOTS        3      /* transient objects, and sessions, in the kernel and in a TPM */
#define POLICY_SLOTS_MAX    64     /* of either, with a resource manager that has more */

enum policy_backend {
	POLICY_BACKEND_INVALID = 0,
	POLICY_BACKEND_DEVICE = 1,  /* a kernel node: one read gives one response */
	POLICY_BACKEND_STREAM = 2,  /* a byte stream that nobody manages: leftovers are flushed */
	POLICY_BACKEND_MANAGER = 3, /* tpmgate-rm: one packet gives one response, 0 is the end */
};

/* Hierarchies, as bits. Only these four exist for a profile; aliases and platform never do. */
enum policy_hierarchy {
	POLICY_OWNER = 1,
	POLICY_ENDORSEMENT = 2,
	POLICY_NULL = 4,
	POLICY_LOCKOUT = 8,
	POLICY_HIERARCHY_ALL = 15,
};

enum policy_flag {
	/* 0x81000001 and 0x81000002, where they are storage keys: as parent, tpmKey and bind */
	POLICY_STORAGE_ROOT_KEY = 1,
	/* sealed data that was not made in this session may be unsealed and duplicated */
	POLICY_UNSEAL_FOREIGN = 2,
	/* the profile is spent after one success, or one failed authorization, of a command that
	 * authorizes with a hierarchy */
	POLICY_ONCE = 4,
	POLICY_FLAG_ALL = 7,
};

/* What a handle range is for, as bits. */
enum policy_use {
	POLICY_USE_KEY = 1,      /* persistent: read its public area, authorize and use it */
	POLICY_USE_EVICT = 2,    /* persistent: EvictControl, both ways */
	POLICY_USE_NV_READ = 4,  /* NV: NV_Read and NV_Certify, by its own or owner authorization */
	POLICY_USE_NV_WRITE = 8, /* NV: write, increment, extend, set bits, lock, change auth */
	POLICY_USE_NV_DEFINE = 16,    /* NV: NV_DefineSpace and NV_UndefineSpace by the owner */
	POLICY_USE_NV_AUTHORIZE = 32, /* NV: PolicyAuthorizeNV by owner authorization only */
	POLICY_USE_ALL = 63,
};

struct policy_range {
	uint32_t first;
	uint32_t last; /* inclusive, same most significant byte */
	uint32_t use;  /* enum policy_use */
};

struct policy {
	char name[32];
	uint64_t commands[POLICY_CODES / 64];
	uint32_t capabilities; /* TPM_CAP values of GetCapability, bit by value */
	uint32_t hierarchies;  /* enum policy_hierarchy: objects may be made and loaded there */
	uint32_t secrets; /* enum policy_hierarchy: PolicySecret may prove their authorization */
	uint32_t pcrs;    /* PCRs that may be extended and reset, bit by number */
	uint32_t flags;   /* enum policy_flag */
	uint32_t range_count;
	struct policy_range ranges[POLICY_RANGES];
};

struct policy_image {
	uint32_t magic;
	uint32_t version;
	uint32_t size;         /* bytes of this structure */
	uint32_t backend;      /* enum policy_backend */
	uint64_t session;      /* number, for the log */
	uint32_t uid;          /* the caller's, for the log */
	int32_t pid;           /* the caller's, for the log */
	uint32_t idle_seconds; /* the TPM is released after so long without a command; 0: never */
	uint32_t lifetime_seconds; /* the TPM is released after so long; 0: never */
	uint32_t policy_count;
	uint32_t object_slots;  /* transient objects that fit, at most POLICY_SLOTS_MAX */
	uint32_t session_slots; /* TPM sessions that fit, at most POLICY_SLOTS_MAX */
	uint32_t reserved;      /* 0 */
	struct policy policies[POLICY_MAX];
};

_Static_assert(sizeof(struct policy) == 272, "no padding that differs");
_Static_assert(sizeof(struct policy_image) == 56 + POLICY_MAX * 272, "no padding that differs");
_Static_assert(POLICY_CODES % 64 == 0, "whole words");

/* Whether POLICY names the command CODE. */
bool policy_allows_command(const struct policy *policy, uint32_t code);

/* Lets POLICY allow CODE. Returns 0, or -ERANGE for a code that no policy can name. */
int policy_allow_command(struct policy *policy, uint32_t code);

/* Whether one range of POLICY covers HANDLE for every use in USE. */
bool policy_allows_handle(const struct policy *policy, uint32_t handle, uint32_t use);

/* An image without policies, for what the kernel's resource manager has room for. */
struct policy_image policy_image_new(void);

/* Returns 0 if IMAGE is one that this version can enforce in every field, -EBADMSG otherwise. */
int policy_image_check(const struct policy_image *image);

/* Returns a sealed memfd (O_CLOEXEC) that holds IMAGE, or a negative errno. */
int policy_image_to_memfd(const struct policy_image *image);

/* Reads and checks an image from FD, which must be sealed. Returns 0, -EBADMSG or another errno. */
int policy_image_from_memfd(int fd, struct policy_image *ret_image);
