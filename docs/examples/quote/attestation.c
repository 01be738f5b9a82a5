/*
 * With the descriptor of libtpmgate and two commands: CreatePrimary and Quote (TPM 2.0 Library
 * Specification, Part 3, sections 24.1 and 18.4). The key is a primary one of the endorsement
 * hierarchy, so the same at every run until the TPM is cleared.
 */
#include "attestation.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <tpmgate.h>
#include <unistd.h>

#define HEADER_SIZE  10   /* bytes: tag, size, command or response code */
#define RESPONSE_MAX 4096 /* bytes */

/* CreatePrimary of an ECC key on P-256 that signs with ECDSA what only the TPM itself has made. */
static const uint8_t create_primary[] = {
	0x80, 0x02, 0x00, 0x00, 0x00, 0x41, 0x00, 0x00, 0x01, 0x31,    /* header */
	0x40, 0x00, 0x00, 0x0b,                                        /* TPM_RH_ENDORSEMENT */
	0x00, 0x00, 0x00, 0x09, 0x40, 0x00, 0x00, 0x09, 0, 0, 0, 0, 0, /* the empty password */
	0x00, 0x04, 0x00, 0x00, 0x00, 0x00,                            /* no password, no data */
	0x00, 0x18,                                                    /* TPMT_PUBLIC: */
	0x00, 0x23, 0x00, 0x0b, /* ECC, SHA-256 for its name */
	0x00, 0x05, 0x04, 0x72, /* restricted, signs, no dictionary attack, user with password */
	0x00, 0x00,             /* no policy */
	0x00, 0x10,             /* encrypts nothing */
	0x00, 0x18, 0x00, 0x0b, /* ECDSA with SHA-256 */
	0x00, 0x03, 0x00, 0x10, /* NIST P-256, no key derivation */
	0x00, 0x00, 0x00, 0x00, /* the usual value for `unique` */
	0x00, 0x00,             /* no outsideInfo */
	0x00, 0x00, 0x00, 0x00, /* no PCRs */
};

/* Quote, but for the handle at byte 10 and the nonce at byte 29. */
static const uint8_t quote_pcrs[] = {
	0x80, 0x02, 0x00, 0x00, 0x00, 0x49, 0x00, 0x00, 0x01, 0x58,    /* header */
	0x00, 0x00, 0x00, 0x00,                                        /* the key */
	0x00, 0x00, 0x00, 0x09, 0x40, 0x00, 0x00, 0x09, 0, 0, 0, 0, 0, /* the empty password */
	0x00, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    /* the nonce */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x10,    /* the key's own scheme */
	0x00, 0x00, 0x00, 0x01, 0x00, 0x0b, 0x03, 0xff, 0x00, 0x00,    /* SHA-256, PCRs 0 to 7 */
};
#define QUOTE_KEY_AT   10
#define QUOTE_NONCE_AT 29

/* What a response has left to read. Reading past its end gives zeros and is remembered. */
struct reader {
	const uint8_t *next;
	size_t left;
	int failed;
};

static const uint8_t *take(struct reader *reader, size_t size)
{
	static const uint8_t zeros[64];
	const uint8_t *bytes = reader->next;

	if (size > reader->left) {
		reader->failed = 1;
		return zeros;
	}
	reader->next += size;
	reader->left -= size;
	return bytes;
}

static uint64_t take_number(struct reader *reader, size_t size)
{
	const uint8_t *bytes = take(reader, size);
	uint64_t number = 0;

	for (size_t i = 0; i < size; i++)
		number = number << 8 | bytes[i];
	return number;
}

/* A structure with its size before it. */
static struct reader take_sized(struct reader *reader)
{
	size_t size = (size_t)take_number(reader, 2);

	if (size > reader->left) {
		reader->failed = 1;
		size = 0;
	}
	return (struct reader){.next = take(reader, size), .left = size};
}

__attribute__((format(printf, 2, 3))) static int fail(
	char error[QUOTE_ERROR_SIZE], const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(error, QUOTE_ERROR_SIZE, format, arguments);
	va_end(arguments);
	return -1;
}

static int receive(int tpm, uint8_t *bytes, size_t size)
{
	ssize_t got = recv(tpm, bytes, size, MSG_WAITALL);

	return got == (ssize_t)size ? 0 : -1;
}

/* Has the TPM execute COMMAND; *RET_BODY is what follows the header of a successful response. */
static int execute(int tpm, const uint8_t *command, size_t size, uint8_t response[RESPONSE_MAX],
	struct reader *ret_body, char error[QUOTE_ERROR_SIZE])
{
	struct reader header = {.next = response, .left = HEADER_SIZE};
	uint64_t response_size;
	uint64_t code;

	if (send(tpm, command, size, MSG_NOSIGNAL) != (ssize_t)size ||
		receive(tpm, response, HEADER_SIZE) < 0)
		return fail(error, "The session with the TPM has ended.");
	take_number(&header, 2);
	response_size = take_number(&header, 4);
	code = take_number(&header, 4);
	if (response_size < HEADER_SIZE || response_size > RESPONSE_MAX ||
		receive(tpm, response + HEADER_SIZE, (size_t)response_size - HEADER_SIZE) < 0)
		return fail(error, "The TPM's response makes no sense.");
	if (code != 0)
		return fail(error, "The TPM refused with the response code 0x%08llx.",
			(unsigned long long)code);
	*ret_body = (struct reader){
		.next = response + HEADER_SIZE, .left = (size_t)response_size - HEADER_SIZE};
	return 0;
}

/* TPMS_ATTEST (Part 2, section 10.12.8), of which the signer's name and the nonce are left out. */
static void read_attest(struct reader attest, struct quote *quote, int *failed)
{
	struct reader digest;

	take_number(&attest, 6); /* magic, type */
	take_sized(&attest);     /* qualifiedSigner */
	take_sized(&attest);     /* extraData: the nonce */
	quote->clock = take_number(&attest, 8);
	quote->resets = (uint32_t)take_number(&attest, 4);
	take(&attest, 4 + 1 + 8);     /* restartCount, safe, firmwareVersion */
	take(&attest, 4 + 2 + 1 + 3); /* the selection of PCRs, as it was asked for */
	digest = take_sized(&attest);
	memcpy(quote->digest, take(&digest, sizeof quote->digest), sizeof quote->digest);
	*failed |= attest.failed || digest.failed;
}

static int read_quote(struct reader body, struct quote *ret_quote, char error[QUOTE_ERROR_SIZE])
{
	struct quote quote = {0};
	uint64_t parameters = take_number(&body, 4);
	struct reader attest;

	if (parameters <= body.left)
		body.left = (size_t)parameters; /* what follows is the authorization area */
	attest = take_sized(&body);
	read_attest(attest, &quote, &body.failed);
	quote.signature_size = body.left;
	if (body.failed || quote.signature_size > sizeof quote.signature)
		return fail(error, "The TPM's quote makes no sense.");
	memcpy(quote.signature, take(&body, body.left), quote.signature_size);
	*ret_quote = quote;
	return 0;
}

static int quote_with(int tpm, const uint8_t nonce[QUOTE_DIGEST_SIZE], struct quote *ret_quote,
	char error[QUOTE_ERROR_SIZE])
{
	uint8_t response[RESPONSE_MAX];
	uint8_t command[sizeof quote_pcrs];
	struct reader body;

	if (execute(tpm, create_primary, sizeof create_primary, response, &body, error) < 0)
		return -1;
	memcpy(command, quote_pcrs, sizeof command);
	memcpy(command + QUOTE_KEY_AT, take(&body, 4), 4);
	memcpy(command + QUOTE_NONCE_AT, nonce, QUOTE_DIGEST_SIZE);
	if (execute(tpm, command, sizeof command, response, &body, error) < 0)
		return -1;
	return read_quote(body, ret_quote, error);
}

int attestation_quote(const uint8_t nonce[QUOTE_DIGEST_SIZE], struct quote *ret_quote,
	char ret_error[QUOTE_ERROR_SIZE])
{
	struct tpmgate_options options = {
		.size = sizeof options, .profiles = "attest", .interactive = 1};
	struct tpmgate_message message;
	int tpm = tpmgate_open(&options, &message);
	int r;

	if (tpm < 0)
		return fail(ret_error, "%s", message.text);
	r = quote_with(tpm, nonce, ret_quote, ret_error);
	close(tpm); /* which flushes the key */
	return r;
}
