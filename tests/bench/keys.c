#include "keys.h"

#include "relay/tpm.h"

#include <errno.h>

#define KEYS_TPM_CC_SIGN 0x0000015du
#define KEYS_DIGEST_SIZE 32 /* SHA-256 */
#define KEYS_NONCE_SIZE  16

/* Part 3, section 24.1: what follows the authorization area. */
static const uint8_t keys_primary_parameters[] = {
	0x00, 0x04,             /* inSensitive */
	0x00, 0x00,             /*   no password */
	0x00, 0x00,             /*   no data */
	0x00, 0x18,             /* inPublic */
	0x00, 0x23,             /*   ECC */
	0x00, 0x0b,             /*   Name by SHA-256 */
	0x00, 0x04, 0x04, 0x72, /*   sign, noDA, userWithAuth, made and fixed here */
	0x00, 0x00,             /*   no policy */
	0x00, 0x10,             /*   no symmetric cipher */
	0x00, 0x18, 0x00, 0x0b, /*   ECDSA with SHA-256 */
	0x00, 0x03,             /*   NIST P-256 */
	0x00, 0x10,             /*   no KDF */
	0x00, 0x00, 0x00, 0x00, /*   unique: x, y */
	0x00, 0x00,             /* outsideInfo */
	0x00, 0x00, 0x00, 0x00, /* creationPCR */
};

/* Part 3, section 11.1: after the nonce. */
static const uint8_t keys_session_parameters[] = {
	0x00, 0x00, /* no salt */
	0x00,       /* HMAC session */
	0x00, 0x10, /* no symmetric cipher */
	0x00, 0x0b, /* SHA-256 */
};

/* Part 3, section 20.2: after the digest. */
static const uint8_t keys_sign_parameters[] = {
	0x00, 0x10,             /* the key's own scheme */
	0x80, 0x24,             /* validation: none, TPM_ST_HASHCHECK */
	0x40, 0x00, 0x00, 0x07, /*   TPM_RH_NULL */
	0x00, 0x00,             /*   no digest */
};

static const uint8_t keys_empty_password[] = {
	0x00, 0x00, 0x00, 0x09, /* size of the authorization area */
	0x40, 0x00, 0x00, 0x09, /* TPM_RS_PW */
	0x00, 0x00,             /* nonce */
	0x00,                   /* attributes */
	0x00, 0x00,             /* password */
};

static struct writer keys_begin(uint8_t command[TPM_MESSAGE_MAX], uint16_t tag, uint32_t code)
{
	struct writer writer = writer_new(command, TPM_MESSAGE_MAX);

	writer_u16(&writer, tag);
	writer_u32(&writer, 0); /* the size, below */
	writer_u32(&writer, code);
	return writer;
}

/* Where RET_HANDLE is not NULL, the response begins with one. */
static int keys_execute(const struct way *way, struct writer *command, uint32_t *ret_handle)
{
	uint8_t response[TPM_MESSAGE_MAX];
	struct cursor body;
	int r;

	writer_patch_u32(command, 2, (uint32_t)command->used);
	if (command->overflowed)
		return -EMSGSIZE;
	r = way_execute(way, command->start, command->used, response, &body);
	if (r < 0 || !ret_handle)
		return r;
	return cursor_u32(&body, ret_handle);
}

int keys_make(const struct way *way, uint32_t *ret_handle)
{
	uint8_t bytes[TPM_MESSAGE_MAX];
	struct writer command = keys_begin(bytes, TPM_ST_SESSIONS, TPM_CC_CREATE_PRIMARY);

	writer_u32(&command, TPM_RH_OWNER);
	writer_bytes(&command, keys_empty_password, sizeof keys_empty_password);
	writer_bytes(&command, keys_primary_parameters, sizeof keys_primary_parameters);
	return keys_execute(way, &command, ret_handle);
}

int keys_start_session(const struct way *way, uint32_t *ret_handle)
{
	static const uint8_t nonce[KEYS_NONCE_SIZE] = {1};
	uint8_t bytes[TPM_MESSAGE_MAX];
	struct writer command = keys_begin(bytes, TPM_ST_NO_SESSIONS, TPM_CC_START_AUTH_SESSION);

	writer_u32(&command, TPM_RH_NULL); /* tpmKey */
	writer_u32(&command, TPM_RH_NULL); /* bind */
	writer_u16(&command, sizeof nonce);
	writer_bytes(&command, nonce, sizeof nonce);
	writer_bytes(&command, keys_session_parameters, sizeof keys_session_parameters);
	return keys_execute(way, &command, ret_handle);
}

static int keys_sign(const struct way *way, uint32_t handle)
{
	static const uint8_t digest[KEYS_DIGEST_SIZE] = {1};
	uint8_t bytes[TPM_MESSAGE_MAX];
	struct writer command = keys_begin(bytes, TPM_ST_SESSIONS, KEYS_TPM_CC_SIGN);

	writer_u32(&command, handle);
	writer_bytes(&command, keys_empty_password, sizeof keys_empty_password);
	writer_u16(&command, sizeof digest);
	writer_bytes(&command, digest, sizeof digest);
	writer_bytes(&command, keys_sign_parameters, sizeof keys_sign_parameters);
	return keys_execute(way, &command, NULL);
}

int keys_fill(struct keys *keys, unsigned int count)
{
	int r = 0;

	while (r == 0 && keys->count < count) {
		r = keys_make(keys->way, &keys->handles[keys->count]);
		if (r == 0)
			keys->count++;
	}
	return r;
}

int keys_sign_run(void *context, unsigned int count)
{
	struct keys *keys = context;

	for (unsigned int i = 0; i < count; i++) {
		int r = keys_sign(keys->way, keys->handles[keys->next]);

		if (r < 0)
			return r;
		keys->next = (keys->next + 1) % keys->count;
	}
	return 0;
}
