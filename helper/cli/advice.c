#include "cli/advice.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The next line; when there are too many, the last one once more. */
static char *advice_line(struct advice *advice)
{
	if (advice->count < ADVICE_MAX)
		advice->count++;
	return advice->lines[advice->count - 1];
}

static void advice_on_system_broker(struct advice *advice, enum reach reach)
{
	const char *line = NULL;

	switch (reach) {
	case REACH_MISSING:
		line = "start the broker's socket: sudo systemctl enable --now tpmgate.socket (if "
		       "there is no such unit, install the package tpmgate)";
		break;
	case REACH_REFUSED:
		line = "the socket's service is not running: sudo systemctl restart "
		       "tpmgate.socket, "
		       "then see what systemctl status tpmgate.socket tpmgate.service says";
		break;
	case REACH_CLOSED:
		line = "the socket and its directory should be open to everybody (0666 and 0755): "
		       "is this program confined, or in a container? Otherwise: sudo systemctl "
		       "restart tpmgate.socket";
		break;
	case REACH_NO_SOCKET:
		line = "remove that file and start the broker's socket: sudo systemctl restart "
		       "tpmgate.socket";
		break;
	case REACH_SILENT:
		line = "the broker hangs or cannot start: systemctl status tpmgate.service and "
		       "journalctl -x -u tpmgate say why; sudo systemctl restart tpmgate.service "
		       "starts it anew and keeps the sessions";
		break;
	case REACH_BUSY:
		line = "wait until your other programs have their answer, or end those that wait "
		       "for one";
		break;
	case REACH_STRANGE:
		line = "the broker and this program may be of different versions: restart it with "
		       "sudo systemctl restart tpmgate.service, which keeps sessions; the log: "
		       "journalctl -u tpmgate";
		break;
	case REACH_FAILED:
		line = "look at the broker's log: journalctl -u tpmgate";
		break;
	case REACH_ANSWERS:
	default:
		return;
	}
	snprintf(advice_line(advice), ADVICE_SIZE, "%s", line);
}

static void advice_on_broker(struct advice *advice, const struct advice_input *input)
{
	if (strcmp(input->source, "default") == 0)
		advice_on_system_broker(advice, input->reach);
	else if (input->broker == TPMGATE_E_NO_BROKER)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"the socket %s was named by %s: correct it, or leave it out to reach the "
			"system's broker",
			input->socket,
			strcmp(input->source, "given") == 0 ? "--socket" : "$TPMGATE_SOCKET");
	else if (input->broker != 0)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"the broker at %s is not the system's: look at its log", input->socket);
}

static void advice_on_chips(struct advice *advice, const struct advice_input *input)
{
	const struct facts *facts = input->facts;
	bool old = false;
	bool hidden = false;

	if (input->lists->device_count > 0)
		return;
	for (size_t i = 0; i < facts->chip_count; i++) {
		old |= facts->chips[i].version == 1;
		hidden |= facts->chips[i].version != 1 && !facts->chips[i].node.present;
	}
	if (facts->chip_count == 0)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"the kernel shows no TPM: switch it on in the firmware's settings (where "
			"its name may be fTPM, PTT or security device), or give a virtual machine "
			"one");
	else if (old)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"this TPM is a TPM 1.2; tpmgate needs a TPM 2.0. Some can be "
			"updated by their maker");
	else if (hidden)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"the kernel knows the TPM, but its node is missing in /dev: is "
			"this a container?");
	else if (input->broker == 0)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"the kernel shows a TPM that the broker does not serve: "
			"journalctl -u tpmgate says why");
}

/* Whether a file of the rules that are as tpmgate's is in force. */
static bool advice_has_rules(const struct facts *facts)
{
	for (size_t i = 0; i < facts->rule_count; i++)
		if (facts->rules[i].state == UDEV_RULE_APPLIES &&
			strcmp(facts->rules[i].from, "other") != 0)
			return true;
	return false;
}

static void advice_on_node(
	struct advice *advice, const struct facts *facts, const struct chip_node *node)
{
	if (!node->present || node->as_rules)
		return;
	if (node->mode & 2u)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"%s is open to everybody (mode %04o): whoever can open it can erase the "
			"TPM",
			node->path, node->mode);
	if (!advice_has_rules(facts))
		snprintf(advice_line(advice), ADVICE_SIZE,
			"no rules of udev give %s to tss: install tpmgate-udev, or tpm-udev of "
			"tpm2-tss",
			node->path);
	else
		snprintf(advice_line(advice), ADVICE_SIZE,
			"%s is not as the rules give it: sudo udevadm control --reload && sudo "
			"udevadm trigger --subsystem-match=tpm --subsystem-match=tpmrm. If that "
			"changes nothing, other rules come later, or the user and group tss are "
			"missing: getent passwd tss; getent group tss",
			node->path);
}

static void advice_on_groups(struct advice *advice, const struct facts *facts)
{
	if (facts->uid == 0) {
		snprintf(advice_line(advice), ADVICE_SIZE,
			"you are root, whom tpmgate refuses nothing that a profile "
			"allows: look again as the user who has the problem");
		return;
	}
	if (facts->direct.listed || facts->direct.effective)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"you are in group tss: your programs can open the TPM itself and bypass "
			"tpmgate, up to erasing it. To leave: sudo gpasswd -d %s tss",
			facts->user);
	if (facts->users.listed && !facts->users.effective)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"you are in group tpmgate-users, but this login began before that: log in "
			"again (all of it; a user's services keep the old groups until then)");
}

/*
 * The group whose members may have PROFILE: what the broker says, or where it knows none what the
 * shipped files say, since the group may have to be made first. NULL: none.
 */
static const char *advice_group(const struct tpmgate_profile *profile)
{
	static const char *const opened[] = {"basic", "keys", "attest", "persist"};

	if (profile->group && profile->group[0])
		return profile->group;
	for (size_t i = 0; i < sizeof opened / sizeof *opened; i++)
		if (strcmp(opened[i], profile->name) == 0)
			return "tpmgate-users";
	return NULL;
}

static void advice_on_membership(struct advice *advice, const struct advice_input *input,
	const struct tpmgate_profile *profile)
{
	const struct facts *facts = input->facts;
	const char *group = advice_group(profile);
	bool usual = group && strcmp(group, facts->users.name) == 0;

	if (!group || facts->uid == 0 || (usual && facts->users.listed))
		return;
	if (!usual || facts->users.exists)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"to allow '%s' for good: sudo gpasswd -a %s %s, then log in again",
			profile->name, facts->user, group);
	else
		snprintf(advice_line(advice), ADVICE_SIZE,
			"to allow '%s' for good there has to be a group %s, which this machine "
			"does not have: sudo groupadd --system %s",
			profile->name, group, group);
}

static void advice_on_refusal(struct advice *advice, const struct advice_input *input,
	const struct tpmgate_profile *profile)
{
	const struct facts *facts = input->facts;

	if (profile->verdict == TPMGATE_PROMPT)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"'%s' asks for a password when it is used%s. Programs that use the tpmgate "
			"TCTI ask only with interactive=yes in its configuration",
			profile->name,
			facts->over_ssh ? ", over ssh only where an agent such as pkttyagent runs"
					: "");
	else if (profile->reason == TPMGATE_REASON_NO_POLKIT)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"'%s' is refused to you: no group of yours allows it, and polkit cannot be "
			"asked. Does it run? systemctl status polkit",
			profile->name);
	else
		snprintf(advice_line(advice), ADVICE_SIZE,
			"'%s' is refused to you%s: neither a group of yours nor polkit allows it",
			profile->name, facts->over_ssh ? " in a login over ssh" : "");
	advice_on_membership(advice, input, profile);
}

/* Returns whether PROFILE would be granted without more ado. */
static bool advice_on_profile(
	struct advice *advice, const struct advice_input *input, const char *name)
{
	for (size_t i = 0; i < input->lists->profile_count; i++) {
		const struct tpmgate_profile *profile = input->lists->profiles[i];

		if (strcmp(profile->name, name) != 0)
			continue;
		if (profile->verdict == TPMGATE_FAULTY)
			snprintf(advice_line(advice), ADVICE_SIZE,
				"an administrator has to mend the profile '%s': %s", name,
				profile->summary);
		else if (profile->verdict != TPMGATE_YES)
			advice_on_refusal(advice, input, profile);
		return profile->verdict == TPMGATE_YES;
	}
	snprintf(advice_line(advice), ADVICE_SIZE,
		"there is no profile '%s': see --profile and $TPMGATE_PROFILES", name);
	return false;
}

/* Who may not even try, because a wrong authorization could lock the TPM for everybody. */
static void advice_on_lockout(struct advice *advice, const struct advice_input *input)
{
	const struct properties *properties = input->properties;
	const struct protocol_account *account = &input->standing->account;

	if (properties->lockout == LOCKOUT_YES)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"the TPM has locked everybody out, after %" PRIu32
			" wrong authorizations: keys and NV indices without noda are refused until "
			"it takes one back, every %" PRIu32 " s, or an administrator resets it: "
			"TPM2TOOLS_TCTI=tpmgate:profile=admin,interactive=yes "
			"tpm2_dictionarylockout --clear-lockout",
			properties->counter, properties->interval);
	else if (properties->lockout == LOCKOUT_NEAR)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"the TPM has counted %" PRIu32
			" wrong authorizations, so those of keys and NV indices without noda are "
			"refused until it takes one back, every %" PRIu32 " s",
			properties->counter, properties->interval);
	else if (properties->known && properties->interval == 0)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"the TPM counts no wrong authorization (its recovery time is 0), so that "
			"passwords can be guessed: an administrator sets one with "
			"tpm2_dictionarylockout");
	else if (input->standing->has_account && account->interval > 0 &&
		 account->charge >= account->charge_limit)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"%" PRIu32 " wrong authorizations were yours, so more of keys and NV "
			"indices without noda are refused to you for %" PRIu32 " s",
			account->charge, account->charge_falls);
}

static void advice_on_records(struct advice *advice, const struct standing *standing)
{
	size_t doubtful = 0;
	uint32_t handle = 0;

	for (size_t i = 0; i < standing->record_count; i++) {
		if (standing->records[i].state != PROTOCOL_STATE_DOUBTFUL)
			continue;
		if (doubtful++ == 0)
			handle = standing->records[i].handle;
	}
	if (doubtful > 0)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"nobody saw what became of 0x%08" PRIx32 "%s, so it is nobody's until an "
			"administrator says whose it is: sudo tpmgate adopt 0x%08" PRIx32
			" --for USER",
			handle, doubtful > 1 ? " and others above that are in doubt" : "", handle);
	for (size_t i = 0; i < standing->gone_count; i++)
		snprintf(advice_line(advice), ADVICE_SIZE,
			"uid %" PRIu32
			" has something in the TPM, and the user database has nobody "
			"of it: the next user of this uid would inherit that. If the user is gone: "
			"sudo tpmgate forget %" PRIu32,
			standing->gone[i], standing->gone[i]);
}

void advice_read(const struct advice_input *input, struct advice *ret_advice)
{
	char wanted[128];
	char *rest = wanted;
	char *name;

	*ret_advice =
		(struct advice){.works = input->broker == 0 && input->lists->device_count > 0};
	advice_on_broker(ret_advice, input);
	advice_on_chips(ret_advice, input);
	if (input->broker == 0) {
		snprintf(wanted, sizeof wanted, "%s", input->wanted);
		while ((name = strsep(&rest, "+")) != NULL)
			if (!advice_on_profile(ret_advice, input, name))
				ret_advice->works = false;
		advice_on_lockout(ret_advice, input);
		advice_on_records(ret_advice, input->standing);
	}
	advice_on_groups(ret_advice, input->facts);
	for (size_t i = 0; i < input->facts->chip_count; i++)
		advice_on_node(ret_advice, input->facts, &input->facts->chips[i].node);
	if (ret_advice->works)
		snprintf(advice_line(ret_advice), ADVICE_SIZE,
			"'%s' works. Try: TPM2TOOLS_TCTI=tpmgate: tpm2_getrandom --hex 8",
			input->wanted);
}
