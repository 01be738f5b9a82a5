#include "broker/advice.h"

#include <glib.h>

enum protocol_status advice_status(enum permit_verdict verdict)
{
	switch (verdict) {
	case PERMIT_YES:
		return PROTOCOL_OK;
	case PERMIT_PROMPT:
	case PERMIT_NO_AGENT:
		return PROTOCOL_WOULD_PROMPT;
	case PERMIT_PENDING:
		return PROTOCOL_LIMIT;
	case PERMIT_NO:
	case PERMIT_DISMISSED:
	case PERMIT_GONE:
	case PERMIT_UNAVAILABLE:
	case PERMIT_FAULT:
	default:
		return PROTOCOL_DENIED;
	}
}

bool advice_names_user(const struct advice *advice)
{
	/* a group opens profiles, not sandboxes */
	if (!advice->group || advice->sandbox)
		return false;
	return advice->verdict == PERMIT_NO || advice->verdict == PERMIT_PROMPT ||
	       advice->verdict == PERMIT_NO_AGENT || advice->verdict == PERMIT_UNAVAILABLE;
}

static char *advice_subject(const struct advice *advice)
{
	if (advice->sandbox)
		return g_strdup_printf(
			"'%s' for the sandboxed program '%s'", advice->name, advice->sandbox);
	return g_strdup_printf("'%s'", advice->name);
}

static char *advice_reason(const struct advice *advice)
{
	g_autofree char *what = advice_subject(advice);

	switch (advice->verdict) {
	case PERMIT_PROMPT:
		return g_strdup_printf("%s needs a password, and this request allows no prompt "
				       "(interactive=yes does)",
			what);
	case PERMIT_NO_AGENT:
		return g_strdup_printf("%s needs a password, and nobody can be asked for one here "
				       "(there is no polkit agent, as over ssh)",
			what);
	case PERMIT_DISMISSED:
		return g_strdup_printf("%s is refused: the password prompt was closed", what);
	case PERMIT_PENDING:
		return g_strdup_printf("%s needs a password, and another prompt of yours waits for "
				       "one: answer that first",
			what);
	case PERMIT_GONE:
		return g_strdup_printf("%s is refused: the program that asked has ended", what);
	case PERMIT_UNAVAILABLE:
		return g_strdup_printf(
			"%s needs polkit's permission, and polkit cannot be asked: %s", what,
			advice->problem ? advice->problem : "it does not answer");
	case PERMIT_FAULT:
		return g_strdup_printf("%s is refused: polkit does not decide on the action %s: %s",
			what, advice->action,
			advice->problem ? advice->problem : "no reason given");
	case PERMIT_NO:
	case PERMIT_YES:
	default:
		return g_strdup_printf("%s is refused: polkit does not allow %s to this program",
			what, advice->action);
	}
}

char *advice_text(const struct advice *advice)
{
	g_autofree char *reason = advice_reason(advice);

	if (!advice_names_user(advice))
		return g_strdup_printf("%s. More: tpmgate status", reason);
	if (!advice->user)
		return g_strdup_printf("%s. To allow it for good, an administrator adds the user "
				       "with uid %u to the group %s. More: tpmgate status",
			reason, advice->uid, advice->group);
	return g_strdup_printf(
		"%s. To allow it for good: sudo gpasswd -a %s %s, then log in again. "
		"More: tpmgate status",
		reason, advice->user, advice->group);
}
