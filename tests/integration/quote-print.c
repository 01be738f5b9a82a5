/*
 * quote-print NONCE: what docs/examples/quote gets of the TPM, without its window.
 *
 * NONCE is 64 hexadecimal digits. Prints the digest and the signature as such, or what went wrong.
 */
#include "attestation.h"

#include <stdio.h>

static void print(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		printf("%02x", bytes[i]);
	putchar('\n');
}

int main(int argc, char **argv)
{
	uint8_t nonce[QUOTE_DIGEST_SIZE];
	char error[QUOTE_ERROR_SIZE];
	struct quote quote;

	if (argc != 2)
		return 2;
	for (size_t i = 0; i < sizeof nonce; i++)
		if (sscanf(argv[1] + 2 * i, "%2hhx", &nonce[i]) != 1)
			return 2;
	if (attestation_quote(nonce, &quote, error) < 0) {
		puts(error);
		return 1;
	}
	print(quote.digest, sizeof quote.digest);
	print(quote.signature, quote.signature_size);
	return 0;
}
