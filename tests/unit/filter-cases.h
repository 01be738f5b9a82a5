#pragma once
/*
 * What the tests of the filter begin with: policies, what a session owns, and commands.
 */
#include "filter-scene.h"

#define OWN_KEY      0x80000001u /* noDA */
#define OWN_DA_KEY   0x80000002u /* subject to dictionary attack protection */
#define OWN_UNKNOWN  0x80000003u /* its public area was not seen yet */
#define FOREIGN_KEY  0x80000004u
#define FOREIGN_HMAC 0x02000002u
#define EK           0x81010001u
#define SOMEBODYS    0x81000005u
#define EK_CERT      0x01c00002u
#define PCRLOCK      0x01d10210u
#define SOMEBODYS_NV 0x01800001u
#define REFUSED      0x000b0120u

/* Every command is named and nothing else is granted. */
struct policy_image naming_all(void);
/* The same with what the shipped profiles of these names grant, in the main. */
struct policy_image like_keys(void);
struct policy_image like_attest(void);
struct policy_image like_admin(void);

/* The objects of the session above, and one session of each kind. */
struct account owning(void);

/* A command as the parser gives it, with parameters that are all 0. */
struct tpm_command make(const char *name, uint32_t h1, uint32_t h2, uint32_t h3);

/*
 * The verdict when the TPM has told what is at a handle, and the broker that it is somebody else's.
 * Transient objects stay unknown where the test says nothing of them.
 */
struct filter_verdict judge(const struct policy_image *image, struct account *account,
	const struct tpm_command *command);
/* The same in a session that owns what it does, with room for one more object. */
struct filter_verdict check_with(struct policy_image image, struct tpm_command command);

struct expectation {
	const char *name;
	uint32_t handles[3];
	enum filter_kind kind;
	uint32_t code; /* of a refusal; if it is allowed: whether it owes FILTER_DUE_DA */
};

void expect_all(struct policy_image image, const struct expectation *expectations, size_t count);
#define EXPECT(image, list) expect_all(image, list, sizeof(list) / sizeof((list)[0]))
