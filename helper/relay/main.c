/*
 * tpmgate-relay: one session. Started by the broker with the descriptors of enum relay_fd; see
 * docs/architecture.md. Not one byte from client or TPM is read before confinement.
 */
#include "common/account-protocol.h"
#include "relay/confine.h"
#include "relay/log.h"
#include "relay/pump.h"
#include "relay/query.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifdef TPMGATE_ATTEMPT
/* The test-only build's: tries what confinement must stop, and does not come back. */
void attempt(void);
#endif

static struct policy_image image;
static struct pump pump;

static int fail(const char *what, int error)
{
	fprintf(stderr, "tpmgate-relay: %s: %s\n", what, strerror(-error));
	return 1;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static int start(bool *ret_journal)
{
	bool journal = is_open(RELAY_FD_LOG);
	int r;

	for (int fd = RELAY_FD_CLIENT; fd < RELAY_FD_LOG; fd++)
		if (!is_open(fd))
			return fail("not started by tpmgate-broker", -EBADF);
	r = confine_descriptors();
	if (r < 0)
		return fail("cannot close descriptors", r);
	r = policy_image_from_memfd(RELAY_FD_IMAGE, &image);
	if (r < 0)
		return fail("cannot read the policy image", r);
	close(RELAY_FD_IMAGE);
	r = set_nonblocking(RELAY_FD_TPM);
	if (r < 0)
		return fail("cannot set up the TPM's descriptor", r);
	*ret_journal = journal;
	return 0;
}

int main(void)
{
	bool journal = false;
	int r = start(&journal);

	if (r != 0)
		return r;
	pump_init(&pump, &image);
	log_init(&image, journal);
	r = confine(journal);
	if (r < 0)
		return fail("cannot confine itself", r);

	if (image.backend == POLICY_BACKEND_STREAM)
		r = query_flush_all(&pump.channel);
	if (r < 0)
		log_event(EVENT_TPM_FAILED, "the TPM does not answer");
	if (r == 0)
		r = channel_ready(&pump.channel);
	if (r < 0)
		_exit(1);
#ifdef TPMGATE_ATTEMPT
	attempt();
#endif
	pump_run(&pump);
	if (image.backend == POLICY_BACKEND_STREAM)
		query_flush_all(&pump.channel);
	_exit(0); /* exit() would do more than the confined process may */
}
