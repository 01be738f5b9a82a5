#include "relay/log.h"

#include "common/account-protocol.h"
#include "relay/channel.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOG_BURST    20                   /* lines at once */
#define LOG_INTERVAL UINT64_C(1000000000) /* ns until one more is allowed */
#define LOG_LINE_MAX 1024                 /* below PIPE_BUF: a pipe that is ready takes it whole */
#define LOG_WARNING  4                    /* syslog priority */

/* One process is one session, and what it logs is the same from every place. */
static struct {
	const struct policy_image *image;
	bool to_journal;
	unsigned tokens;
	uint64_t refilled; /* when `tokens` was last raised */
	unsigned dropped;
} log_state = {.tokens = LOG_BURST};

void log_init(const struct policy_image *image, bool to_journal)
{
	log_state.image = image;
	log_state.to_journal = to_journal;
}

static bool take_token(void)
{
	uint64_t now = channel_now();
	uint64_t earned = (now - log_state.refilled) / LOG_INTERVAL;

	if (earned > 0) {
		log_state.tokens = earned > LOG_BURST - log_state.tokens
					   ? LOG_BURST
					   : log_state.tokens + (unsigned)earned;
		log_state.refilled = now;
	}
	if (log_state.tokens == 0)
		return false;
	log_state.tokens--;
	return true;
}

static bool write_line(const char *line, size_t size)
{
	struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
	struct timespec now = {0};

	if (log_state.to_journal)
		return sendto(RELAY_FD_LOG, line, size, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0) > 0;
	if (ppoll(&ready, 1, &now, NULL) <= 0 || !(ready.revents & POLLOUT))
		return false;
	return write(STDERR_FILENO, line, size) > 0;
}

/*
 * FIELDS are further journal fields, each ended by a newline. What a client can cause at will is
 * limited.
 */
static void log_line(const char *text, const char *fields, bool limited)
{
	const struct policy_image *image = log_state.image;
	char line[LOG_LINE_MAX];
	char dropped[64] = "";
	int size;

	if (!image || (limited && !take_token())) {
		log_state.dropped++;
		return;
	}
	if (log_state.dropped > 0)
		snprintf(dropped, sizeof dropped, " (%u earlier lines were dropped)",
			log_state.dropped);
	if (log_state.to_journal)
		size = snprintf(line, sizeof line,
			"MESSAGE=%s%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=tpmgate-relay\n"
			"TPMGATE_SESSION=%" PRIu64 "\nTPMGATE_UID=%" PRIu32 "\nTPMGATE_PID=%" PRId32
			"\n%s",
			text, dropped, LOG_WARNING, image->session, image->uid, image->pid, fields);
	else
		size = snprintf(line, sizeof line,
			"tpmgate-relay: session %" PRIu64 " (uid %" PRIu32 ", pid %" PRId32
			"): %s%s\n",
			image->session, image->uid, image->pid, text, dropped);
	if (size > 0 && (size_t)size < sizeof line && write_line(line, (size_t)size))
		log_state.dropped = 0;
	else
		log_state.dropped++;
}

void log_refusal(const char *command, const char *rule, uint32_t code)
{
	char text[256];
	char fields[256];

	snprintf(text, sizeof text, "refused %s by rule %s with 0x%08x", command, rule, code);
	snprintf(fields, sizeof fields,
		"MESSAGE_ID=" EVENT_COMMAND_REFUSED
		"\nTPMGATE_COMMAND=%s\nTPMGATE_RULE=%s\nTPMGATE_CODE=0x%08x\n",
		command, rule, code);
	log_line(text, fields, true);
}

void log_event(const char *event, const char *text)
{
	char fields[64] = "";

	if (event)
		snprintf(fields, sizeof fields, "MESSAGE_ID=%s\n", event);
	log_line(text, fields, false);
}
