#include "standin.h"

#include "random.h"

#include "common/cursor.h"
#include "relay/tpm.h"

#include <sys/socket.h>
#include <unistd.h>

/* Answers the command in COMMAND. Returns the bytes of the answer. */
static size_t standin_answer(struct cursor command, uint8_t *answer, size_t size)
{
	struct writer writer = writer_new(answer, size);
	struct cursor header;
	uint32_t code, capability, rc = 0;
	uint16_t count;

	if (cursor_bytes(&command, TPM_HEADER_SIZE - sizeof code, &header) < 0 ||
		cursor_u32(&command, &code) < 0)
		return 0;
	writer_u16(&writer, TPM_ST_NO_SESSIONS);
	writer_u32(&writer, 0); /* the size, below */
	writer_u32(&writer, rc);
	if (code == RANDOM_COMMAND_CODE && cursor_u16(&command, &count) == 0) {
		writer_u16(&writer, count);
		for (uint16_t i = 0; i < count; i++)
			writer_u8(&writer, (uint8_t)i);
	} else if (code == TPM_CC_GET_CAPABILITY && cursor_u32(&command, &capability) == 0) {
		writer_u8(&writer, 0); /* moreData */
		writer_u32(&writer, capability);
		writer_u32(&writer, 0); /* how many */
	} else {
		rc = TPM_RC_FAILURE;
	}
	writer_patch_u32(&writer, 2, (uint32_t)writer.used);
	writer_patch_u32(&writer, 6, rc);
	return writer.overflowed ? 0 : writer.used;
}

/* Returns the size that the header in BYTES announces, or the header's own while it is short. */
static size_t standin_size(const uint8_t *bytes, size_t got)
{
	struct cursor cursor = cursor_new(bytes, got);
	uint16_t tag;
	uint32_t size;

	if (cursor_u16(&cursor, &tag) < 0 || cursor_u32(&cursor, &size) < 0)
		return TPM_HEADER_SIZE;
	return size < TPM_HEADER_SIZE ? TPM_HEADER_SIZE : size;
}

void standin_serve(int fd)
{
	uint8_t command[TPM_MESSAGE_MAX], answer[TPM_MESSAGE_MAX];
	size_t got = 0;

	for (;;) {
		ssize_t r = recv(fd, command + got, sizeof command - got, 0);

		if (r <= 0)
			return;
		got += (size_t)r;
		if (got < standin_size(command, got))
			continue;

		size_t size = standin_answer(cursor_new(command, got), answer, sizeof answer);

		if (send(fd, answer, size, MSG_NOSIGNAL) != (ssize_t)size)
			return;
		got = 0;
	}
}

void standin_listen(int fd)
{
	for (;;) {
		int connection = accept(fd, NULL, NULL);

		if (connection < 0)
			return;
		standin_serve(connection);
		close(connection);
	}
}
