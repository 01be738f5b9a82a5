#include "random.h"

#include "common/cursor.h"
#include "relay/tpm.h"

#include <errno.h>
#include <sys/socket.h>

const uint8_t random_command[RANDOM_COMMAND_SIZE] = {
	0x80, 0x01,             /* no sessions */
	0x00, 0x00, 0x00, 0x0c, /* size */
	0x00, 0x00, 0x01, 0x7b, /* GetRandom */
	0x00, 0x08,             /* bytes */
};

int random_response_check(const uint8_t *response, size_t size)
{
	struct cursor cursor = cursor_new(response, size);
	uint16_t tag;
	uint32_t length, code;

	return cursor_u16(&cursor, &tag) == 0 && cursor_u32(&cursor, &length) == 0 &&
	       cursor_u32(&cursor, &code) == 0 && size == RANDOM_RESPONSE_SIZE && length == size &&
	       code == TPM_RC_SUCCESS;
}

int random_get(int fd, unsigned int count)
{
	uint8_t response[RANDOM_RESPONSE_SIZE];

	for (unsigned int i = 0; i < count; i++) {
		size_t got = 0;

		if (send(fd, random_command, sizeof random_command, MSG_NOSIGNAL) < 0)
			return -errno;
		while (got < sizeof response) {
			ssize_t r = recv(fd, response + got, sizeof response - got, 0);

			if (r < 0)
				return -errno;
			if (r == 0)
				return -ECONNRESET;
			got += (size_t)r;
			/* A refusal is shorter than the answer. */
			if (got >= TPM_HEADER_SIZE && response[5] < sizeof response)
				return -EBADMSG;
		}
		if (!random_response_check(response, got))
			return -EBADMSG;
	}
	return 0;
}

int random_run(void *context, unsigned int count)
{
	return random_get(*(const int *)context, count);
}
