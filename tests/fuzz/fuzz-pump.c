/*
 * A whole session: the input is cut into pairs of a command and the TPM's answer to it, both with
 * a length in front. Checks that each answer to the client is a whole one.
 */
#include "relay/pump.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct policy_image image;

static void prepare_image(void)
{
	image = policy_image_new();
	image.backend = POLICY_BACKEND_STREAM;
	image.policy_count = 1;
	strcpy(image.policies[0].name, "fuzz");
	memset(image.policies[0].commands, 0xff, sizeof image.policies[0].commands);
	image.policies[0].capabilities = 0xffffffff;
	image.policies[0].hierarchies = POLICY_HIERARCHY_ALL;
	image.policies[0].flags = POLICY_STORAGE_ROOT_KEY;
	image.policies[0].range_count = 1;
	image.policies[0].ranges[0] =
		(struct policy_range){0x81000000, 0x81ffffff, POLICY_USE_KEY | POLICY_USE_EVICT};
	signal(SIGPIPE, SIG_IGN);
}

/* A length of two bytes and that many bytes, as far as there are any. */
static struct cursor next_piece(struct cursor *input)
{
	struct cursor piece = cursor_new(NULL, 0);
	uint16_t size;

	if (cursor_u16(input, &size) < 0)
		return piece;
	size %= TPM_MESSAGE_MAX + 1;
	if (cursor_bytes(input, size < input->left ? size : input->left, &piece) < 0)
		abort();
	return piece;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pump pump;
	struct cursor input = cursor_new(data, size);
	int tpm[2];
	int account[2];

	if (image.size == 0)
		prepare_image();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, tpm) < 0 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, account) < 0)
		abort();
	pump_init(&pump, &image);
	pump.channel.client = -1;
	pump.channel.tpm = tpm[0];
	pump.channel.account = account[0];
	while (input.left >= sizeof(uint16_t) && pump.channel.tpm >= 0) {
		struct cursor command = next_piece(&input);
		struct cursor answer = next_piece(&input);
		struct tpm_header header;
		uint8_t drain[2 * TPM_MESSAGE_MAX];
		size_t answered;

		if (command.left > 0)
			memcpy(pump.input, command.next, command.left);
		if (answer.left > 0 && write(tpm[1], answer.next, answer.left) < 0)
			break;
		/* the TPM closes after its answer, so that nobody waits for more of it */
		shutdown(tpm[1], SHUT_WR);
		answered = pump_answer(&pump, command.left);
		if (tpm_header_parse(pump.output, answered, &header) < 0 || header.size != answered)
			abort();
		while (read(tpm[1], drain, sizeof drain) > 0)
			;
		/* a new stream for the next command */
		if (pump.channel.tpm >= 0) {
			close(pump.channel.tpm);
			close(tpm[1]);
			if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, tpm) < 0)
				abort();
			pump.channel.tpm = tpm[0];
		}
	}
	if (pump.channel.tpm >= 0)
		close(pump.channel.tpm);
	close(tpm[1]);
	close(account[0]);
	close(account[1]);
	return 0;
}
