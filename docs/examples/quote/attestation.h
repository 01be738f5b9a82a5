#pragma once
/*
 * A quote: what a TPM says, signed, about its platform configuration registers.
 */
#include <stddef.h>
#include <stdint.h>

#define QUOTE_DIGEST_SIZE    32  /* bytes: SHA-256 */
#define QUOTE_SIGNATURE_SIZE 132 /* bytes: TPMT_SIGNATURE with two values of up to 64 */

struct quote {
	uint8_t digest[QUOTE_DIGEST_SIZE]; /* of PCRs 0 to 7, bank SHA-256 */
	uint64_t clock;  /* ms that the TPM has been powered, since it was cleared */
	uint32_t resets; /* how often it was started since then */
	uint8_t signature[QUOTE_SIGNATURE_SIZE];
	size_t signature_size;
};

#define QUOTE_ERROR_SIZE 512

/*
 * Asks tpmgate for the profile attest, which may show a password prompt and take minutes, makes an
 * attestation key and has it sign a quote with the caller's NONCE. Returns 0; or -1 and why, for
 * people.
 */
int attestation_quote(const uint8_t nonce[QUOTE_DIGEST_SIZE], struct quote *ret_quote,
	char ret_error[QUOTE_ERROR_SIZE]);
