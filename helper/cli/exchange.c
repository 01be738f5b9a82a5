#include "cli/exchange.h"

#include "client/deadline.h"
#include "common/cursor.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define EXCHANGE_HEADER 10 /* bytes of a response's header */

ssize_t exchange(int session, const uint8_t *command, size_t size, int timeout_ms,
	uint8_t ret_response[EXCHANGE_MAX])
{
	const struct deadline deadline = deadline_new(timeout_ms);
	size_t wanted = EXCHANGE_HEADER;
	size_t done = 0;
	ssize_t sent = send(session, command, size, MSG_NOSIGNAL);

	if (sent < 0 || (size_t)sent != size)
		return sent < 0 ? -errno : -EPIPE;
	while (done < wanted) {
		ssize_t got;
		int r = deadline_poll(deadline, session, POLLIN);

		if (r < 0)
			return r;
		got = recv(session, ret_response + done, wanted - done, 0);
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got == 0)
			return -ECONNRESET;
		if (got > 0)
			done += (size_t)got;
		if (done == EXCHANGE_HEADER && wanted == EXCHANGE_HEADER) {
			struct cursor header = cursor_new(ret_response, done);
			uint16_t tag;
			uint32_t length = 0;

			if (cursor_u16(&header, &tag) < 0 || cursor_u32(&header, &length) < 0 ||
				length < EXCHANGE_HEADER || length > EXCHANGE_MAX)
				return -EBADMSG;
			wanted = length;
		}
	}
	return (ssize_t)done;
}
