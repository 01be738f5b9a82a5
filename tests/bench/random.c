#include "random.h"

#include <errno.h>

#define RANDOM_BYTES 8

static const uint8_t random_command[] = {
	0x80, 0x01,             /* no sessions */
	0x00, 0x00, 0x00, 0x0c, /* size */
	0x00, 0x00, 0x01, 0x7b, /* GetRandom */
	0x00, RANDOM_BYTES,     /* bytes */
};

int random_get(const struct way *way, unsigned int count)
{
	uint8_t response[TPM_MESSAGE_MAX];

	for (unsigned int i = 0; i < count; i++) {
		struct cursor body, bytes;
		int r = way_execute(way, random_command, sizeof random_command, response, &body);

		if (r < 0)
			return r;
		if (cursor_tpm2b(&body, &bytes) < 0 || bytes.left != RANDOM_BYTES)
			return -EBADMSG;
	}
	return 0;
}

int random_run(void *context, unsigned int count)
{
	return random_get(context, count);
}
