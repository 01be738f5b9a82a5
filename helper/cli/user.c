#include "cli/user.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

bool user_find(const char *text, uint32_t *ret_uid)
{
	const struct passwd *user;
	unsigned long long number;
	char *end;

	/* A number is a uid, even where the database has nobody of it: that is who is forgotten. */
	if (*text >= '0' && *text <= '9') {
		errno = 0;
		number = strtoull(text, &end, 10);
		if (*end == '\0') {
			if (errno != 0 || number >= UINT32_MAX)
				return false;
			*ret_uid = (uint32_t)number;
			return true;
		}
	}
	user = getpwnam(text);
	if (!user)
		return false;
	*ret_uid = user->pw_uid;
	return true;
}

bool user_name(uint32_t uid, char *ret_name, size_t size)
{
	const struct passwd *user = getpwuid(uid);

	if (user)
		snprintf(ret_name, size, "%s", user->pw_name);
	else
		snprintf(ret_name, size, "%" PRIu32, uid);
	return user != NULL;
}

bool user_is_gone(uint32_t uid)
{
	errno = 0;
	return getpwuid(uid) == NULL && (errno == 0 || errno == ENOENT || errno == ESRCH);
}
