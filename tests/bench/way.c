#include "way.h"

#include <errno.h>
#include <sys/socket.h>

/* Reads the header of a response; its size is 0 where there is less than a header. */
static struct cursor way_header(
	const uint8_t *response, size_t got, uint32_t *ret_size, uint32_t *ret_code)
{
	struct cursor cursor = cursor_new(response, got);
	uint16_t tag;
	uint32_t size, code;

	*ret_size = 0;
	if (cursor_u16(&cursor, &tag) == 0 && cursor_u32(&cursor, &size) == 0 &&
		cursor_u32(&cursor, &code) == 0) {
		*ret_size = size;
		*ret_code = code;
	}
	return cursor;
}

static int way_transact_fd(void *context, const uint8_t *command, size_t size,
	uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size)
{
	int fd = *(const int *)context;
	uint32_t announced = 0, code;
	size_t got = 0;

	if (send(fd, command, size, MSG_NOSIGNAL) < 0)
		return -errno;
	while (announced == 0 || got < announced) {
		ssize_t r = recv(fd, response + got, TPM_MESSAGE_MAX - got, 0);

		if (r < 0)
			return -errno;
		if (r == 0)
			return -ECONNRESET; /* or an answer that is too long */
		got += (size_t)r;
		way_header(response, got, &announced, &code);
	}
	*ret_size = got;
	return 0;
}

struct way way_over_fd(int *fd)
{
	return (struct way){.transact = way_transact_fd, .context = fd};
}

int way_execute(const struct way *way, const uint8_t *command, size_t size,
	uint8_t response[TPM_MESSAGE_MAX], struct cursor *ret_body)
{
	struct cursor body;
	uint32_t announced, code = TPM_RC_FAILURE;
	size_t got;
	int r = way->transact(way->context, command, size, response, &got);

	if (r < 0)
		return r;
	body = way_header(response, got, &announced, &code);
	if (announced != got || code != TPM_RC_SUCCESS)
		return -EBADMSG;
	*ret_body = body;
	return 0;
}
