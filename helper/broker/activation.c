#include "broker/activation.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <glib.h>
#include <limits.h>

#define ACTIVATION_FIRST 3

static size_t activation_count(void)
{
	const char *pid = g_getenv("LISTEN_PID");
	const char *fds = g_getenv("LISTEN_FDS");
	guint64 number;

	/* for our parent, or for nobody any more */
	if (!pid || !g_ascii_string_to_unsigned(pid, 10, 1, INT_MAX, &number, NULL) ||
		number != (guint64)getpid())
		return 0;
	if (!fds ||
		!g_ascii_string_to_unsigned(fds, 10, 0, INT_MAX - ACTIVATION_FIRST, &number, NULL))
		return 0;
	return (size_t)number;
}

struct activation activation_take(void)
{
	struct activation activation = {.count = 0};
	size_t count = activation_count();
	const char *names = g_getenv("LISTEN_FDNAMES");
	g_auto(GStrv) parts = g_strsplit(names ? names : "", ":", -1);
	size_t named = g_strv_length(parts);

	for (size_t i = 0; i < count; i++) {
		int fd = ACTIVATION_FIRST + (int)i;

		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			break; /* a number that is too large must not make us allocate */
		activation.fds =
			g_renew(struct activation_fd, activation.fds, activation.count + 1);
		activation.fds[activation.count++] = (struct activation_fd){
			.fd = fd,
			.name = g_strdup(i < named ? parts[i] : ""),
		};
	}
	g_unsetenv("LISTEN_PID");
	g_unsetenv("LISTEN_FDS");
	g_unsetenv("LISTEN_FDNAMES");
	return activation;
}

void activation_done(struct activation *activation)
{
	for (size_t i = 0; i < activation->count; i++) {
		cleanup_close(&activation->fds[i].fd);
		g_free(activation->fds[i].name);
	}
	g_free(activation->fds);
	*activation = (struct activation){.count = 0};
}
