/*
 * EVENTLOG: the firmware's event log of a TPM, for whom the profile `attest` is: the log says what
 * the PCRs of a quote are made of, and names the machine as well as these do.
 *
 * The client gets the kernel's file, open for reading; the broker reads none of it.
 */
#include "broker/client.h"

#include "broker/advice.h"
#include "broker/name.h"
#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define EVENTLOG_PROFILE "attest"
#define EVENTLOG_DIR     "/sys/kernel/security"

struct eventlog_work {
	struct client *client;
	struct profile_set *set; /* keeps the profile */
	struct permit_item item;
	const char *group; /* of the profile */
	char device[sizeof((struct device *)0)->name];
	struct name_lookup *lookup;
	/* the refusal that waits for the user's name */
	struct advice advice;
	char *problem;
};

static void eventlog_free(struct client *client)
{
	struct eventlog_work *work = client->work;

	name_cancel(work->lookup);
	profile_set_unref(work->set);
	g_free(work->problem);
	g_free(work);
}

/* The log of /dev/tpmrmN is that of tpmN. The caller frees it. */
static char *eventlog_path(const struct eventlog_work *work)
{
	const char *directory = work->client->broker->options.eventlog_dir;
	const char *number = g_str_has_prefix(work->device, "tpmrm") ? work->device + 5 : NULL;

	return g_strdup_printf("%s/%s%s/binary_bios_measurements",
		directory ? directory : EVENTLOG_DIR, number ? "tpm" : "",
		number ? number : work->device);
}

static void eventlog_refuse_file(struct client *client, const char *path, int error)
{
	if (error == ENOENT || error == ENOTDIR)
		client_refuse(client, PROTOCOL_FAILED,
			"there is no event log of this TPM: the kernel has no %s. Software TPMs "
			"have none, and not every firmware hands one over",
			path);
	else if (error == EACCES || error == EPERM)
		client_refuse(client, PROTOCOL_FAILED,
			"the broker may not read %s: group tss has to, as tmpfiles.d of "
			"tpmgate-udev sees to at boot (systemd-tmpfiles --create)",
			path);
	else
		client_refuse(client, PROTOCOL_FAILED, "cannot open the event log %s: %s", path,
			g_strerror(error));
}

static void eventlog_send(struct eventlog_work *work)
{
	struct client *client = work->client;
	g_autofree char *path = eventlog_path(work);
	/* not blocking: it may be no file, where an administrator chose the directory */
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
	struct stat status;

	if (fd < 0)
		eventlog_refuse_file(client, path, errno);
	else if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		client_refuse(client, PROTOCOL_FAILED, "the event log %s is no file", path);
	else
		client_reply_session(client, 0, fd);
}

static void eventlog_refuse(struct eventlog_work *work)
{
	g_autofree char *text = advice_text(&work->advice);

	client_refuse(work->client, advice_status(work->advice.verdict), "%s", text);
}

static void eventlog_on_name(void *context, const char *name)
{
	struct eventlog_work *work = context;

	work->lookup = NULL;
	work->advice.user = name;
	eventlog_refuse(work);
}

static void eventlog_on_permitted(struct client *client, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem)
{
	struct eventlog_work *work = client->work;

	if (verdict == PERMIT_YES) {
		eventlog_send(work);
		return;
	}
	work->problem = g_strdup(problem);
	work->advice = (struct advice){
		.verdict = verdict,
		.name = item->name,
		.action = item->action,
		.sandbox = client->identity.sandbox[0] ? client->identity.sandbox : NULL,
		.problem = work->problem,
		.group = item->action == work->item.action ? work->group : NULL,
		.uid = client->identity.peer.uid,
	};
	if (advice_names_user(&work->advice))
		work->lookup = name_find(client->identity.peer.uid, eventlog_on_name, work);
	else
		eventlog_refuse(work);
}

void eventlog_start(struct client *client)
{
	struct eventlog_work *work = g_new0(struct eventlog_work, 1);
	g_autofree char *problem = NULL;
	const struct profile *profiles[POLICY_MAX];
	const struct device *device;
	bool unknown;

	work->client = client;
	work->set = profile_set_ref(client->broker->profiles);
	client->work = work;
	client->abort = eventlog_free;
	if (profile_set_resolve(work->set, EVENTLOG_PROFILE, profiles, &unknown, &problem) == 0) {
		client_refuse(client, PROTOCOL_NO_PROFILE,
			"event logs are for whom the profile '" EVENTLOG_PROFILE "' is: %s",
			problem);
		return;
	}
	device = device_list_find(client->broker->devices, client->request.device, &problem);
	if (!device) {
		client_refuse(client, PROTOCOL_NO_DEVICE, "%s", problem);
		return;
	}
	g_strlcpy(work->device, device->name, sizeof work->device);
	work->group = profiles[0]->group_name;
	work->item = (struct permit_item){
		.name = profiles[0]->name,
		.action = profiles[0]->action,
		.groups = profiles[0]->groups,
		.group_count = profiles[0]->group_count,
	};
	client_authorize(client,
		&(struct permit_request){
			.items = &work->item,
			.item_count = 1,
			.names = work->item.name,
			.device = work->device,
			.interactive = client->request.flags & PROTOCOL_INTERACTIVE,
		},
		eventlog_on_permitted);
}
