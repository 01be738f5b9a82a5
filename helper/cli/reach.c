/*
 * Only looks at the file: a broker counts connections, and one that is in trouble has enough.
 */
#include "cli/reach.h"

#include "client/tpmgate.h"

#include <errno.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
	const char *name;
	const char *text;
} reaches[] = {
	[REACH_FAILED] = {"failed", "cannot be asked"},
	[REACH_ANSWERS] = {"answers", "answers"},
	[REACH_MISSING] = {"missing", "none: there is no socket"},
	[REACH_REFUSED] = {"refused", "none: nobody listens"},
	[REACH_CLOSED] = {"closed", "out of reach: the socket is not open to you"},
	[REACH_NO_SOCKET] = {"no-socket", "none: there is a file that is no socket"},
	[REACH_SILENT] = {"silent", "does not answer"},
	[REACH_STRANGE] = {"strange", "does not answer as it should"},
	[REACH_BUSY] = {"busy", "answers that you have too many connections"},
};

static enum reach judge_file(const char *path)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return errno == EACCES ? REACH_CLOSED : REACH_MISSING;
	if (!S_ISSOCK(status.st_mode))
		return REACH_NO_SOCKET;
	return access(path, W_OK) == 0 ? REACH_REFUSED : REACH_CLOSED;
}

enum reach reach_judge(const char *path, int error)
{
	switch (error) {
	case 0:
		return REACH_ANSWERS;
	case TPMGATE_E_NO_BROKER:
		return judge_file(path);
	case TPMGATE_E_TIMEOUT:
		return REACH_SILENT;
	case TPMGATE_E_PROTOCOL:
		return REACH_STRANGE;
	case TPMGATE_E_LIMIT:
		return REACH_BUSY;
	default:
		return REACH_FAILED;
	}
}

const char *reach_name(enum reach reach)
{
	return reaches[reach].name;
}

const char *reach_text(enum reach reach)
{
	return reaches[reach].text;
}
