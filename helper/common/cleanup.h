#pragma once
/*
 * Owning variables that release themselves at the end of their scope, and the macro that hands
 * what they own to somebody else.
 */
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_free(void *pointer)
{
	free(*(void **)pointer);
}

/* A descriptor that is closed when it goes out of scope; -1 is "none". */
#define CLEANUP_FD __attribute__((cleanup(cleanup_close)))
/* Heap memory that is freed when it goes out of scope. */
#define CLEANUP_FREE __attribute__((cleanup(cleanup_free)))

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Hands over the descriptor in VARIABLE, which is -1 afterwards. */
#define TAKE_FD(variable) take_fd(&(variable))
