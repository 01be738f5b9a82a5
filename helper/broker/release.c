/*
 * A socket that lingers sleeps until a signal comes. While we close, a timer sends this thread one
 * each millisecond; once one is pending, every further descriptor in the queue is let go at once.
 */
#include "broker/release.h"

#include <errno.h>
#include <gio/gio.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define RELEASE_INTERVAL_NS 1000000

static void release_on_signal(int number)
{
	(void)number; /* to have been interrupted is all */
}

/* The timer of this thread, made at first need; false where there is none to be had. */
static bool release_timer(timer_t *ret_timer)
{
	static timer_t timer;
	static bool made;
	struct sigaction action = {.sa_handler = release_on_signal}; /* no SA_RESTART */
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};

	if (!made) {
		event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
		made = sigaction(SIGALRM, &action, NULL) == 0 &&
		       timer_create(CLOCK_MONOTONIC, &event, &timer) == 0;
	}
	*ret_timer = timer;
	return made;
}

void release_close(int fd)
{
	static const struct itimerspec stop;
	static const struct itimerspec tick = {.it_value.tv_nsec = RELEASE_INTERVAL_NS,
		.it_interval.tv_nsec = RELEASE_INTERVAL_NS};
	int error = errno;
	timer_t timer;
	bool interrupted;

	if (fd < 0)
		return;
	interrupted = release_timer(&timer) && timer_settime(timer, 0, &tick, NULL) == 0;
	close(fd);
	if (interrupted)
		timer_settime(timer, 0, &stop, NULL);
	errno = error;
}

static void release_in_thread(
	GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	(void)task;
	(void)source;
	(void)cancellable;
	close(GPOINTER_TO_INT(data));
}

void release_slowly(int fd)
{
	g_autoptr(GTask) task = NULL;

	if (fd < 0)
		return;
	task = g_task_new(NULL, NULL, NULL, NULL);
	g_task_set_task_data(task, GINT_TO_POINTER(fd), NULL);
	g_task_run_in_thread(task, release_in_thread);
}
