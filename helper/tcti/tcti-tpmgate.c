/*
 * The TSS2 TCTI: a session's descriptor behind the calls of the TCG TSS 2.0 TPM Command
 *Transmission Interface specification. It is loaded and unloaded at run time: no thread, no atexit,
 *no state outside the context, which its caller allocates.
 *
 * Owns: the session's descriptor, from init to finalize. Trusts: its caller's pointers once magic
 * and version are right. Does not trust the response's size, which comes from the other end.
 *
 *	state     | transmit            | receive                        | after finalize
 *	----------+---------------------+--------------------------------+---------------
 *	TRANSMIT  | -> RECEIVE          | BAD_SEQUENCE                   | DONE
 *	RECEIVE   | BAD_SEQUENCE        | whole response -> TRANSMIT     | DONE
 *	          |                     | NULL, too small, timeout: stay |
 *	BROKEN    | NO_CONNECTION       | NO_CONNECTION                  | DONE
 *	DONE      | BAD_SEQUENCE        | BAD_SEQUENCE                   | DONE
 *
 * BROKEN comes after an error that leaves the stream at an unknown place.
 */
#include "tcti/tcti-config.h"

#include "client/deadline.h"
#include "common/cursor.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <tss2/tss2_tcti.h>
#include <unistd.h>

#define TCTI_MAGIC       UINT64_C(0x3a657461676d7074)
#define TCTI_VERSION     2
#define TCTI_HEADER_SIZE 10   /* tag, size, code: TPM 2.0 Part 1, "Command/Response Structure" */
#define TCTI_MAX_SIZE    4096 /* bytes of a command or a response, as /dev/tpmrm0 has it */

enum tcti_state {
	TCTI_DONE = 0,
	TCTI_TRANSMIT,
	TCTI_RECEIVE,
	TCTI_BROKEN,
};

struct tcti {
	TSS2_TCTI_CONTEXT_COMMON_V2 common;
	enum tcti_state state;
	int fd;
	size_t got;                      /* bytes of the response that have arrived */
	uint8_t response[TCTI_MAX_SIZE]; /* a response may arrive over several calls */
};

TSS2_RC Tss2_Tcti_Tpmgate_Init(TSS2_TCTI_CONTEXT *context, size_t *size, const char *config)
	__attribute__((visibility("default")));
const TSS2_TCTI_INFO *Tss2_Tcti_Info(void) __attribute__((visibility("default")));

static TSS2_RC tcti_cast(TSS2_TCTI_CONTEXT *context, struct tcti **ret_tcti)
{
	if (!context)
		return TSS2_TCTI_RC_BAD_REFERENCE;
	if (TSS2_TCTI_MAGIC(context) != TCTI_MAGIC || TSS2_TCTI_VERSION(context) != TCTI_VERSION)
		return TSS2_TCTI_RC_BAD_CONTEXT;
	*ret_tcti = (struct tcti *)context;
	return TSS2_RC_SUCCESS;
}

static TSS2_RC tcti_break(struct tcti *tcti, TSS2_RC rc)
{
	tcti->state = TCTI_BROKEN;
	return rc;
}

/* The size field of a command or a response of which at least a header is there. */
static uint32_t tcti_size_field(const uint8_t *bytes)
{
	struct cursor cursor = cursor_new(bytes, TCTI_HEADER_SIZE);
	uint16_t tag;
	uint32_t size = 0;

	if (cursor_u16(&cursor, &tag) < 0 || cursor_u32(&cursor, &size) < 0)
		return 0;
	return size;
}

static TSS2_RC tcti_transmit(TSS2_TCTI_CONTEXT *context, size_t size, const uint8_t *command)
{
	struct tcti *tcti;
	TSS2_RC rc = tcti_cast(context, &tcti);

	if (rc != TSS2_RC_SUCCESS)
		return rc;
	if (!command)
		return TSS2_TCTI_RC_BAD_REFERENCE;
	if (tcti->state == TCTI_BROKEN)
		return TSS2_TCTI_RC_NO_CONNECTION;
	if (tcti->state != TCTI_TRANSMIT)
		return TSS2_TCTI_RC_BAD_SEQUENCE;
	if (size < TCTI_HEADER_SIZE || size > TCTI_MAX_SIZE || size != tcti_size_field(command))
		return TSS2_TCTI_RC_BAD_VALUE;

	for (size_t done = 0; done < size;) {
		ssize_t sent = send(tcti->fd, command + done, size - done, MSG_NOSIGNAL);

		if (sent >= 0) {
			done += (size_t)sent;
			continue;
		}
		/* somebody may have made the descriptor non-blocking */
		if (errno == EINTR || (errno == EAGAIN && deadline_poll(deadline_new(-1), tcti->fd,
								  POLLOUT) == 0))
			continue;
		return tcti_break(tcti, errno == EPIPE || errno == ECONNRESET
						? TSS2_TCTI_RC_NO_CONNECTION
						: TSS2_TCTI_RC_IO_ERROR);
	}
	tcti->got = 0;
	tcti->state = TCTI_RECEIVE;
	return TSS2_RC_SUCCESS;
}

/* Reads until WANTED bytes of the response are there, and not one more. */
static TSS2_RC tcti_fill(struct tcti *tcti, size_t wanted, struct deadline deadline)
{
	while (tcti->got < wanted) {
		int r = deadline_poll(deadline, tcti->fd, POLLIN);
		ssize_t got;

		if (r == -ETIMEDOUT)
			return TSS2_TCTI_RC_TRY_AGAIN;
		if (r < 0)
			return tcti_break(tcti, TSS2_TCTI_RC_IO_ERROR);
		got = recv(tcti->fd, tcti->response + tcti->got, wanted - tcti->got, MSG_DONTWAIT);
		if (got > 0)
			tcti->got += (size_t)got;
		else if (got == 0)
			return tcti_break(tcti, TSS2_TCTI_RC_NO_CONNECTION);
		else if (errno != EAGAIN && errno != EINTR)
			return tcti_break(tcti, TSS2_TCTI_RC_IO_ERROR);
	}
	return TSS2_RC_SUCCESS;
}

static TSS2_RC tcti_receive(
	TSS2_TCTI_CONTEXT *context, size_t *size, uint8_t *response, int32_t timeout)
{
	struct tcti *tcti;
	TSS2_RC rc = tcti_cast(context, &tcti);

	if (rc != TSS2_RC_SUCCESS)
		return rc;
	if (!size)
		return TSS2_TCTI_RC_BAD_REFERENCE;
	if (tcti->state == TCTI_BROKEN)
		return TSS2_TCTI_RC_NO_CONNECTION;
	if (tcti->state != TCTI_RECEIVE)
		return TSS2_TCTI_RC_BAD_SEQUENCE;
	if (timeout < TSS2_TCTI_TIMEOUT_BLOCK)
		return TSS2_TCTI_RC_BAD_VALUE;

	struct deadline deadline = deadline_new(timeout);

	rc = tcti_fill(tcti, TCTI_HEADER_SIZE, deadline);
	if (rc != TSS2_RC_SUCCESS)
		return rc;

	size_t expected = tcti_size_field(tcti->response);

	if (expected < TCTI_HEADER_SIZE || expected > TCTI_MAX_SIZE)
		return tcti_break(tcti, TSS2_TCTI_RC_MALFORMED_RESPONSE);
	if (!response || *size < expected) {
		*size = expected;
		return response ? TSS2_TCTI_RC_INSUFFICIENT_BUFFER : TSS2_RC_SUCCESS;
	}
	rc = tcti_fill(tcti, expected, deadline);
	if (rc != TSS2_RC_SUCCESS)
		return rc;
	memcpy(response, tcti->response, expected);
	*size = expected;
	tcti->state = TCTI_TRANSMIT;
	return TSS2_RC_SUCCESS;
}

static void tcti_finalize(TSS2_TCTI_CONTEXT *context)
{
	struct tcti *tcti;

	if (tcti_cast(context, &tcti) != TSS2_RC_SUCCESS || tcti->state == TCTI_DONE)
		return;
	close(tcti->fd);
	tcti->fd = -1;
	tcti->state = TCTI_DONE;
	/* what the TPM answered last may have been a secret */
	explicit_bzero(tcti->response, sizeof tcti->response);
}

static TSS2_RC tcti_get_poll_handles(
	TSS2_TCTI_CONTEXT *context, TSS2_TCTI_POLL_HANDLE *handles, size_t *num_handles)
{
	struct tcti *tcti;
	TSS2_RC rc = tcti_cast(context, &tcti);

	if (rc != TSS2_RC_SUCCESS)
		return rc;
	if (!num_handles)
		return TSS2_TCTI_RC_BAD_REFERENCE;
	if (tcti->state == TCTI_DONE)
		return TSS2_TCTI_RC_BAD_SEQUENCE;
	if (handles && *num_handles < 1) {
		*num_handles = 1;
		return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
	}
	*num_handles = 1;
	if (handles)
		handles[0] = (struct pollfd){.fd = tcti->fd, .events = POLLIN};
	return TSS2_RC_SUCCESS;
}

/* Neither does /dev/tpmrm0 offer a way to cancel, and locality belongs to the machine's owner. */
static TSS2_RC tcti_cancel(TSS2_TCTI_CONTEXT *context)
{
	struct tcti *tcti;
	TSS2_RC rc = tcti_cast(context, &tcti);

	return rc == TSS2_RC_SUCCESS ? TSS2_TCTI_RC_NOT_IMPLEMENTED : rc;
}

static TSS2_RC tcti_set_locality(TSS2_TCTI_CONTEXT *context, uint8_t locality)
{
	(void)locality;
	return tcti_cancel(context);
}

static TSS2_RC tcti_make_sticky(TSS2_TCTI_CONTEXT *context, TPM2_HANDLE *handle, uint8_t sticky)
{
	(void)handle;
	(void)sticky;
	return tcti_cancel(context);
}

static TSS2_RC tcti_rc(int error)
{
	switch (error) {
	case TPMGATE_E_WOULD_PROMPT:
	case TPMGATE_E_DENIED:
	case TPMGATE_E_LIMIT:
		return TSS2_TCTI_RC_NOT_PERMITTED;
	case TPMGATE_E_NO_BROKER:
	case TPMGATE_E_NO_DEVICE:
		return TSS2_TCTI_RC_NO_CONNECTION;
	case TPMGATE_E_BUSY:
	case TPMGATE_E_TIMEOUT:
		return TSS2_TCTI_RC_TRY_AGAIN;
	case TPMGATE_E_NO_PROFILE:
	case TPMGATE_E_ARGUMENT:
		return TSS2_TCTI_RC_BAD_VALUE;
	case TPMGATE_E_MEMORY:
		return TSS2_TCTI_RC_MEMORY;
	default:
		return TSS2_TCTI_RC_IO_ERROR;
	}
}

TSS2_RC Tss2_Tcti_Tpmgate_Init(TSS2_TCTI_CONTEXT *context, size_t *size, const char *config)
{
	struct tpmgate_message message = {.text = ""};
	struct tcti_config options;
	struct tcti *tcti = (struct tcti *)context;
	int fd;

	if (!size)
		return TSS2_TCTI_RC_BAD_REFERENCE;
	if (!context) {
		*size = sizeof *tcti;
		return TSS2_RC_SUCCESS;
	}
	if (*size != sizeof *tcti)
		return TSS2_TCTI_RC_BAD_VALUE;

	fd = tcti_config_read(config, &message, &options);
	if (fd == 0)
		fd = tpmgate_open(&options.options, &message);
	if (fd < 0) {
		/* TSS return codes say nothing to people; its programs print what a TCTI logs. */
		if (tcti_config_may_log(getenv("TSS2_LOG")))
			fprintf(stderr, "tpmgate: %s\n", message.text);
		return tcti_rc(fd);
	}

	*tcti = (struct tcti){
		.common =
			{
				.v1 =
					{
						.magic = TCTI_MAGIC,
						.version = TCTI_VERSION,
						.transmit = tcti_transmit,
						.receive = tcti_receive,
						.finalize = tcti_finalize,
						.cancel = tcti_cancel,
						.getPollHandles = tcti_get_poll_handles,
						.setLocality = tcti_set_locality,
					},
				.makeSticky = tcti_make_sticky,
			},
		.state = TCTI_TRANSMIT,
		.fd = fd,
	};
	return TSS2_RC_SUCCESS;
}

const TSS2_TCTI_INFO *Tss2_Tcti_Info(void)
{
	static const TSS2_TCTI_INFO info = {
		.version = TCTI_VERSION,
		.name = "tcti-tpmgate",
		.description = "A session with the TPM from the tpmgate broker.",
		.config_help = TCTI_CONFIG_HELP,
		.init = Tss2_Tcti_Tpmgate_Init,
	};

	return &info;
}
