#pragma once
/*
 * What a program that was taken over would try. Linked into a test-only build of it, which calls
 * attempt() once it is confined and READY; the environment variable TPMGATE_ATTEMPT names the try,
 * and with the value "list" the names are printed instead.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ATTEMPT_CAME_BACK 99 /* status where the system call was made, whatever came of it */
#define ATTEMPT_REFUSED   41 /* status where it failed with EPERM, as a filter may have it */

struct attempt {
	const char *name;
	long arguments[7]; /* number, then arguments */
};

void attempt(void);

/* Makes the try of LIST that the environment names, and does not come back if there is one. */
static inline void attempt_run(const struct attempt *list, size_t count)
{
	const char *wanted = getenv("TPMGATE_ATTEMPT");

	if (!wanted)
		return;
	for (size_t i = 0; i < count; i++) {
		const long *a = list[i].arguments;

		if (strcmp(wanted, list[i].name) == 0) {
			errno = 0;
			if (syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]) < 0 && errno == EPERM)
				_exit(ATTEMPT_REFUSED);
			_exit(ATTEMPT_CAME_BACK);
		}
		/* dprintf() would seek first, and die of it */
		if (strcmp(wanted, "list") == 0 &&
			(write(STDERR_FILENO, list[i].name, strlen(list[i].name)) < 0 ||
				write(STDERR_FILENO, "\n", 1) < 0))
			_exit(97);
	}
	_exit(strcmp(wanted, "list") == 0 ? 0 : 98);
}
