#include "relay/channel.h"

#include "common/account-protocol.h"
#include "relay/log.h"
#include "relay/tpm-command.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif

#define SECOND UINT64_C(1000000000)
#ifndef TPMGATE_SIGN_OF_LIFE_MS
#define TPMGATE_SIGN_OF_LIFE_MS 5000 /* tests wait for less */
#endif

#define SIGN_OF_LIFE_NS (TPMGATE_SIGN_OF_LIFE_MS * UINT64_C(1000000))
#define ANSWER_NS       (300 * SECOND) /* others may be served first, or a disk be slow */
#define TPM_TIMEOUT_MS  330000         /* the kernel itself gives up after 300 s at the latest */
#define DROP_MAX        64 /* reads; a client that writes for ever must not keep us here */

static uint64_t time_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

uint64_t channel_now(void)
{
	return time_of(CLOCK_BOOTTIME); /* the time asleep counts */
}

/* NS from now; 0, which is never, where NS is 0. */
static uint64_t deadline_after(uint64_t ns)
{
	return ns > 0 ? channel_now() + ns : 0;
}

struct channel channel_new(const struct policy_image *image)
{
	static const int off = 0;

	return (struct channel){
		.client = RELAY_FD_CLIENT,
		.tpm = RELAY_FD_TPM,
		.link = link_new(RELAY_FD_ACCOUNT),
		.backend = (enum policy_backend)image->backend,
		.idle_ns = image->idle_seconds * SECOND,
		.idle_deadline = deadline_after(image->idle_seconds * SECOND),
		.deadline = deadline_after(image->lifetime_seconds * SECOND),
		.peek = setsockopt(RELAY_FD_CLIENT, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof off) <
			0,
	};
}

static int tell_simply(struct channel *channel, enum account_type type)
{
	struct account_message message = account_message_new(type, 0);

	return link_tell(&channel->link, &message);
}

void channel_release(struct channel *channel, uint32_t code)
{
	if (channel->tpm < 0)
		return;
	channel->released_code = code;
	if (channel->releasing)
		channel->releasing(channel->context);
	/* Said first: closing the device may wait for a command that runs for minutes. The broker
	 * hears of every release: it may have the TPM for somebody else. */
	tell_simply(channel, ACCOUNT_REVOKED);
	close(channel->tpm);
	channel->tpm = -1;
	tell_simply(channel, ACCOUNT_CLOSED); /* by now no command of ours is on its way */
}

int channel_ready(struct channel *channel)
{
	return tell_simply(channel, ACCOUNT_READY);
}

/* The broker has something to say. */
static void channel_hear(struct channel *channel)
{
	uint32_t code = TPM_RC_LAYER | TPM_RC_DISABLED;

	if (link_receive(&channel->link) != LINK_REVOKED)
		return;
	if (channel->link.reason == ACCOUNT_REASON_DEVICE_GONE)
		code = TPM_RC_LAYER | TPM_RC_FAILURE;
	if (channel->tpm < 0)
		tell_simply(channel, ACCOUNT_REVOKED); /* said before, unasked */
	channel_release(channel, code);
	channel->link.fd = -1;
}

void channel_tell(struct channel *channel, const struct account_message *message)
{
	if (channel->tpm >= 0 && link_tell(&channel->link, message) < 0)
		channel_release(channel, TPM_RC_LAYER | TPM_RC_DISABLED);
}

void channel_tell_session(struct channel *channel, enum account_type type, uint32_t handle)
{
	if (channel->tpm >= 0 && link_tell_session(&channel->link, type, handle) < 0)
		channel_release(channel, TPM_RC_LAYER | TPM_RC_DISABLED);
}

/*
 * Waits until FD, the client's or the TPM's, is ready for EVENTS, or TIMEOUT_MS (-1: never) is
 * over. Returns what it is ready for; 0 at the timeout, or when the broker had something to say:
 * it may have released the channel.
 */
static short channel_wait(struct channel *channel, int fd, short events, int timeout_ms)
{
	struct pollfd fds[] = {
		{.fd = fd, .events = events},
		{.fd = channel->link.fd, .events = POLLIN},
	};
	struct timespec timeout = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = (long)(timeout_ms % 1000) * 1000000,
	};
	int r;

	do
		r = ppoll(fds, 2, timeout_ms < 0 ? NULL : &timeout, NULL);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return 0;
	if (fds[1].revents)
		channel_hear(channel);
	return fds[0].revents;
}

/* The sooner of the session's limits; 0: there is none. */
static uint64_t limit(const struct channel *channel)
{
	if (channel->tpm < 0)
		return 0;
	if (channel->deadline == 0 || channel->idle_deadline == 0)
		return channel->deadline | channel->idle_deadline;
	return channel->deadline < channel->idle_deadline ? channel->deadline
							  : channel->idle_deadline;
}

/* Releases the TPM where the session's time is over. Returns whether it is. */
static bool end_of_time(struct channel *channel)
{
	if (limit(channel) == 0 || channel_now() < limit(channel))
		return false;
	log_event(EVENT_SESSION_ENDED, "session ended: its time limit is over");
	channel_release(channel, TPM_RC_LAYER | TPM_RC_DISABLED);
	return true;
}

/* The sooner of TIMEOUT_MS (-1: never) and the session's limits, in ms from now. */
static int limited_timeout(const struct channel *channel, int timeout_ms)
{
	uint64_t end = limit(channel);
	uint64_t now;
	uint64_t left_ms;

	if (end == 0)
		return timeout_ms;
	now = channel_now();
	left_ms = end > now ? (end - now) / 1000000 + 1 : 0;
	if (left_ms > INT32_MAX)
		left_ms = INT32_MAX;
	return timeout_ms < 0 || left_ms < (uint64_t)timeout_ms ? (int)left_ms : timeout_ms;
}

/*
 * Before Linux 6.16 a client cannot be kept from passing descriptors, and receiving drops them: the
 * last close of one that lingers would put this process to sleep, with the TPM in its hand. Looking
 * at the data first does not drop them. Whoever passes one has no use for a TPM.
 *
 * Returns how many bytes may be received: those that were looked at, and no others that have come
 * since. 0 at the end, or a negative errno.
 */
static ssize_t look(struct channel *channel, void *bytes, size_t size)
{
	struct iovec data = {.iov_base = bytes, .iov_len = size};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	ssize_t seen;

	if (!channel->peek || channel->tpm < 0)
		return (ssize_t)size;
	seen = recvmsg(channel->client, &message, MSG_PEEK | MSG_DONTWAIT);
	if (seen < 0)
		return -errno;
	if (message.msg_flags & MSG_CTRUNC) {
		log_event(EVENT_SESSION_FAILED, "session ended: the client sent a descriptor");
		channel_release(channel, TPM_RC_LAYER | TPM_RC_DISABLED);
	}
	return seen;
}

static ssize_t receive_now(struct channel *channel, void *bytes, size_t size)
{
	ssize_t got = look(channel, bytes, size);

	if (got > 0)
		got = recvfrom(channel->client, bytes, (size_t)got, MSG_DONTWAIT, NULL, NULL);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (got <= 0)
		channel->client_gone = true; /* the end, or a reset */
	return got > 0 ? got : 0;
}

ssize_t channel_receive(struct channel *channel, void *bytes, size_t size, int timeout_ms)
{
	int wait_ms = limited_timeout(channel, timeout_ms);
	uint64_t end = timeout_ms >= 0 ? channel_now() + (uint64_t)timeout_ms * 1000000 : 0;

	if (channel->client_gone)
		return 0;
	if (channel_wait(channel, channel->client, POLLIN, wait_ms))
		return receive_now(channel, bytes, size);
	if (end_of_time(channel) || timeout_ms < 0 || channel_now() < end)
		return -EAGAIN;
	return -ETIME;
}

void channel_drop(struct channel *channel)
{
	uint8_t bytes[TPM_MESSAGE_MAX];

	for (int i = 0; i < DROP_MAX && !channel->client_gone; i++)
		if (receive_now(channel, bytes, sizeof bytes) < 0)
			break;
}

static void hear_orders(struct channel *channel)
{
	if (channel->link.order_count > 0 && channel->ordered)
		channel->ordered(channel->context);
}

int channel_send(struct channel *channel, const void *bytes, size_t size, size_t *sent)
{
	while (*sent < size) {
		ssize_t r = sendto(channel->client, (const uint8_t *)bytes + *sent, size - *sent,
			MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);

		if (r >= 0) {
			*sent += (size_t)r;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR) {
			channel->client_gone = true;
			return -EPIPE;
		}
		/* also where it came before this, with the TPM's response; but not while the broker
		 * cannot be asked about it */
		hear_orders(channel);
		if (channel->link.order_count > 0 && channel->tpm >= 0 &&
			channel->link.question.type == ACCOUNT_INVALID)
			return -EAGAIN;
		/* A client that never reads is a client that does nothing: the limits hold. */
		channel_wait(channel, channel->client, POLLOUT, limited_timeout(channel, -1));
		end_of_time(channel);
	}
	channel->idle_deadline = deadline_after(channel->idle_ns);
	return 0;
}

/* What is left of the time from NOW until END, in ms. */
static int left_of(uint64_t end, uint64_t now)
{
	return end > now ? (int)((end - now) / 1000000) + 1 : 0;
}

static int left_ms(uint64_t end)
{
	return left_of(end, channel_now());
}

/* By when the broker must have answered what it was asked at START. */
static uint64_t answer_deadline(const struct link *link, uint64_t start)
{
	return start + (link->deferred ? ANSWER_NS : SIGN_OF_LIFE_NS);
}

int channel_ask(struct channel *channel, const struct account_message *question,
	struct account_message *ret_answer)
{
	struct link *link = &channel->link;
	uint64_t start = channel_now();
	int r = 0;

	hear_orders(channel);
	if (channel->tpm < 0)
		return -ECANCELED;
	r = link_ask(link, question);
	if (r < 0)
		return r;
	while (r == 0 && link->question.type != ACCOUNT_INVALID) {
		/* of the client nothing but its end is of interest */
		short client = channel_wait(
			channel, channel->client, 0, left_ms(answer_deadline(link, start)));

		hear_orders(channel);
		if (channel->tpm < 0)
			r = -ECANCELED;
		else if (link->question.type == ACCOUNT_INVALID)
			break;
		else if (client)
			r = -EPIPE;
		else if (left_ms(answer_deadline(link, start)) == 0)
			r = -ETIME;
	}
	if (r < 0) {
		link_abandon(link);
		return r;
	}
	*ret_answer = link->answer;
	return 0;
}

static int tpm_write(struct channel *channel, const uint8_t *command, size_t size)
{
	ssize_t written = write(channel->tpm, command, size);

	if (written < 0)
		return -errno;
	/* The kernel takes a command whole. A stream has room for one: it has none outstanding. */
	return (size_t)written == size ? 0 : -EIO;
}

/* Reads what is there of a response; 1 when it is complete, 0 when more must come. */
static int tpm_read(struct channel *channel, uint8_t *response, size_t *have)
{
	ssize_t got = read(channel->tpm, response + *have, TPM_MESSAGE_MAX - *have);
	struct tpm_header header;

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (got == 0)
		return channel->backend == POLICY_BACKEND_DEVICE ? -EIO : -EPIPE;
	*have += (size_t)got;
	if (tpm_header_parse(response, *have, &header) < 0)
		return channel->backend == POLICY_BACKEND_STREAM ? 0 : -EBADMSG;
	if (header.size < TPM_HEADER_SIZE || header.size > TPM_MESSAGE_MAX || *have > header.size)
		return -EBADMSG;
	if (*have == header.size)
		return 1;
	return channel->backend == POLICY_BACKEND_STREAM ? 0 : -EBADMSG;
}

/*
 * Waits for the response. A client that leaves meanwhile is noticed afterwards: its command cannot
 * be recalled.
 */
static int tpm_await(struct channel *channel, uint8_t *response, size_t *ret_size)
{
	uint64_t end = time_of(CLOCK_MONOTONIC) + TPM_TIMEOUT_MS * UINT64_C(1000000);
	size_t have = 0;
	int r = 0;

	while (r == 0) {
		int left = left_of(end, time_of(CLOCK_MONOTONIC)); /* it sleeps as we do */
		short ready = channel_wait(channel, channel->tpm, POLLIN, left);

		if (channel->tpm < 0)
			return -ECANCELED; /* revoked meanwhile */
		if (ready)
			r = tpm_read(channel, response, &have);
		else if (left_of(end, time_of(CLOCK_MONOTONIC)) == 0)
			return -ETIME;
	}
	if (r < 0)
		return r;
	*ret_size = have;
	return 0;
}

/* After which errors a kernel node is still good for the next command. */
static bool tpm_survives(const struct channel *channel, int error)
{
	return channel->backend == POLICY_BACKEND_DEVICE && error != -EPIPE && error != -ENODEV &&
	       error != -ETIME && error != -EBADMSG;
}

int channel_transact(struct channel *channel, const void *command, size_t size,
	uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size)
{
	int r;

	/* looked at here too, for a client that never lets us wait */
	if (channel->tpm < 0 || end_of_time(channel))
		return -ECANCELED;
	channel->transacted++;
	r = tpm_write(channel, command, size);
	if (r == 0)
		r = tpm_await(channel, response, ret_size);
	if (r < 0 && channel->tpm >= 0 && !tpm_survives(channel, r)) {
		log_event(EVENT_TPM_FAILED, "the TPM gave no proper answer: it is released");
		channel_release(channel, TPM_RC_LAYER | TPM_RC_FAILURE);
	}
	return r;
}
