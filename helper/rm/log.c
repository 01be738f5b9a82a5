#include "rm/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define LOG_LINE_MAX 512 /* bytes; below PIPE_BUF, so that a pipe that is ready takes it whole */

void log_line(const char *format, ...)
{
	static const char prefix[] = "tpmgate-rm: ";
	char line[LOG_LINE_MAX];
	struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
	struct timespec now = {0};
	size_t size = sizeof prefix - 1;
	va_list arguments;

	snprintf(line, sizeof line, "%s", prefix);
	va_start(arguments, format);
	int r = vsnprintf(line + size, sizeof line - size - 1, format, arguments);
	va_end(arguments);
	if (r < 0)
		return;
	size += (size_t)r < sizeof line - size - 1 ? (size_t)r : sizeof line - size - 2;
	line[size++] = '\n';
	if (ppoll(&ready, 1, &now, NULL) > 0 && ready.revents & POLLOUT &&
		write(STDERR_FILENO, line, size) < 0)
		return; /* there is nobody to tell */
}
