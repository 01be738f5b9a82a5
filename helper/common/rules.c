/*
 * One entry for each rule that a relay or the broker refuses by. docs/profiles.md is made from it
 * too.
 */
#include "common/rules.h"

#include <string.h>

static const struct {
	const char *name;
	const char *reason;
	const char *advice;
} rules[] = {
	/* the command itself */
	{"malformed", "the bytes are no command as the TPM specification has them",
		"the program sends what is no TPM 2.0 command: report it to the program's authors"},
	{"command", "no profile of the session names the command",
		"ask for a profile that names it: tpmgate profiles --explain COMMAND says which"},
	{"never", "the command never goes through tpmgate, whatever a profile says",
		"this needs the TPM itself: root can do it at /dev/tpmrm0, or the firmware's "
		"setup"},
	{"spent", "the profile was good for one success or one failed authorization",
		"open a new session: a profile with Once= does its work once in each"},

	/* who owns what */
	{"not-own", "an object or TPM session that this descriptor has not made or loaded",
		"load the object or session on the same connection as the command that uses it"},
	{"other-profile", "the object was made or loaded under another profile of the session",
		"make or load it with a command that the profile of its use allows too"},
	{"persistent-handle",
		"a persistent handle that is neither the caller's own nor the profile's",
		"use a key of your own, or have an administrator hand this one over: tpmgate "
		"adopt"},
	{"storage-root-key", "what sits at the storage root key's handle is no storage key",
		"have an administrator make a storage root key there, or use a primary of your "
		"own"},
	{"unknown-fact", "a fact on which the answer depends could not be learnt",
		"try again; if it stays so, the handle names nothing or the TPM does not answer"},
	{"changed", "what a handle names was replaced while the command waited for its turn",
		"try again: what is there now is judged anew"},
	{"bind", "a TPM session can be bound to an object only, and to none of another kind",
		"start the session without bind, and authorize the hierarchy or NV index by "
		"itself"},
	{"context", "the saved context is neither an object's nor a TPM session's",
		"use a context that ContextSave has returned"},
	{"tpm-sessions", "the caller has as many TPM sessions as one user may have",
		"flush sessions that are not needed: tpm2_flushcontext --saved-session"},
	{"sequence", "no hash, HMAC or signature sequence of this session",
		"begin the sequence on the same connection, with a command such as "
		"HashSequenceStart"},
	{"registry", "the record of what belongs to whom could not be read or written",
		"an administrator finds the reason in the broker's log: journalctl -u tpmgate"},
	{"broker", "the broker, which keeps the accounts, did not answer",
		"try again; if it stays so, an administrator looks at: systemctl status tpmgate"},

	/* hierarchies, PCRs, capabilities */
	{"hierarchy", "a hierarchy that the profile does not grant for this",
		"use the owner hierarchy with keys, or endorsement with attest; the platform's "
		"never"},
	{"hierarchy-guesses", "too many wrong authorizations of hierarchies by one user",
		"find out the right authorization first; each ten minutes without a guess give one "
		"back"},
	{"entity", "PolicySecret may not prove this hierarchy's authorization",
		"use a profile that has it: attest for endorsement, persist for owner"},
	{"pcr", "a PCR that the profile does not let anybody change",
		"an administrator can name it in PCRs= of tpmgate.conf, for the profile admin"},
	{"capability", "a part of GetCapability that the profile does not show",
		"ask for another capability; a profile of an administrator's own can name this "
		"one"},
	{"capability-session", "handles are listed by tpmgate, which cannot sign for the TPM",
		"ask for handles with GetCapability without an audit or encryption session"},

	/* slots and turns */
	{"object-slots", "all slots for transient objects of this session are taken",
		"flush an object, or save its context: tpm2_flushcontext --transient-object"},
	{"session-slots", "all slots for TPM sessions of this session are taken",
		"flush a TPM session: tpm2_flushcontext --loaded-session"},
	{"turn", "another long command of the same user did not end in time",
		"try again when the user's other key generation or self-test has ended"},

	/* dictionary attack protection */
	{"dictionary-attack",
		"a wrong authorization here raises the counter that locks everybody out",
		"make the key or NV index with the attribute noda, or wait and try again"},
	{"lockout-near",
		"the TPM's failure counter, which is everybody's, is at the limit for tpmgate",
		"wait: each lockout interval takes one failure back; tpm2_getcap "
		"properties-variable"},
	{"own-failures", "the caller's own failures are at the limit for one user",
		"wait: each lockout interval without a failure takes one back"},

	/* NV */
	{"nv-auth", "an NV index is authorized by itself or the owner, as its rule says",
		"give the index itself, or the owner, as the handle that authorizes"},
	{"nv-index", "an NV index that is neither the caller's own nor in a range of the profile",
		"define one of your own with persist, or have this one handed over: tpmgate adopt"},
	{"nv-range", "an NV index of one's own is in the owner's range",
		"choose an index from 0x01800000 to 0x01BFFFFF"},
	{"nv-attributes", "attributes that an NV index of one's own may not have, or lacks",
		"set noda, and leave out platform, policydelete and globallock attributes"},
	{"nv-quota", "the caller, or all callers together, have as much NV storage as they may",
		"undefine an NV index that is not needed any more"},
	{"handle-taken", "this handle is in use, perhaps by another user, or was a few minutes ago",
		"choose another handle, or have this one handed over: tpmgate adopt"},
	{"nv-writes", "the caller's NV writes for this hour are used up: they wear the TPM out",
		"wait: they refill; keep what changes often in a file that a key protects"},

	/* persistent handles */
	{"persistent-range", "a persistent handle outside the range for keys of one's own",
		"choose a handle from 0x81000100 to 0x8100FFFF"},
	{"persistent-quota", "the caller has as many persistent keys as one user may have",
		"remove one that is not needed with tpm2_evictcontrol, or load keys from files"},
	{"persistent-slots", "the TPM has too few places left for persistent keys",
		"load the key from a file; an administrator can remove persistent keys not in use"},

	/* sealed data */
	{"sealed-data", "sealed data that was not sealed by this user through tpmgate",
		"ask for the profile unseal, which is for what others have sealed"},
	{"sealed-quota", "as many sealed data are recorded for the caller as for one user may be",
		"have an administrator forget them (tpmgate forget), then seal those in use again"},
	{"rewrap", "nothing in the command tells whose secret it would print",
		"ask for the profile unseal, or use Duplicate with an object that is loaded"},
};

static size_t rule_find(const char *rule)
{
	size_t i = 0;

	while (rule_name(i) && strcmp(rule_name(i), rule) != 0)
		i++;
	return i;
}

const char *rule_name(size_t i)
{
	return i < sizeof rules / sizeof *rules ? rules[i].name : NULL;
}

const char *rule_reason(const char *rule)
{
	size_t i = rule_find(rule);

	return rule_name(i) ? rules[i].reason : NULL;
}

const char *rule_advice(const char *rule)
{
	size_t i = rule_find(rule);

	return rule_name(i) ? rules[i].advice : NULL;
}
