/*
 * Owns: the list of TPMs and its upkeep from udev's events. Trusts: udev and the kernel.
 *
 * Only resource-managed nodes (subsystem tpmrm) are used: the raw node gives whoever opens it the
 * TPM alone, others' sessions included. The kernel makes them for TPM 2.0 only.
 */
#include "broker/device.h"

#include "broker/log.h"
#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <grp.h>
#include <libudev.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DEVICE_SUBSYSTEM "tpmrm"

struct device_list {
	char *node;    /* --tpm /dev/X: this one only */
	char *socket;  /* --tpm unix:PATH */
	char *managed; /* --tpm rm:... */
	GPtrArray *devices;
	device_gone gone;
	void *context;
	struct udev *udev;
	struct udev_monitor *monitor;
	guint watch;
	bool old_chip; /* there is a TPM, and it is a 1.2 */
};

static struct device *device_new(const char *name, const char *path, const char *description)
{
	struct device *device = g_new0(struct device, 1);

	g_strlcpy(device->name, name, sizeof device->name);
	g_strlcpy(device->path, path, sizeof device->path);
	g_strlcpy(device->description, description, sizeof device->description);
	device->backend = POLICY_BACKEND_DEVICE;
	return device;
}

static gint device_compare(gconstpointer a, gconstpointer b)
{
	const struct device *const *first = a;
	const struct device *const *second = b;

	return ((*first)->number > (*second)->number) - ((*first)->number < (*second)->number);
}

static bool device_list_position(const struct device_list *list, const char *name, guint *ret_i)
{
	for (guint i = 0; i < list->devices->len; i++) {
		const struct device *device = g_ptr_array_index(list->devices, i);

		if (strcmp(device->name, name) == 0) {
			*ret_i = i;
			return true;
		}
	}
	return false;
}

/* Names travel in fields and in names of stored descriptors: nothing but what kernel names have. */
static bool device_name_is_usable(const char *name)
{
	for (const char *p = name; *p; p++)
		if (!g_ascii_isalnum(*p) && *p != '_' && *p != '-' && *p != '.')
			return false;
	return name[0] != '\0' && strlen(name) < sizeof((struct device *)0)->name;
}

/* Newer kernels say which version a chip has; where they do not, tpmrm alone means 2.0. */
static bool device_is_version_2(struct udev *udev, const char *number)
{
	char name[32];
	struct udev_device *chip;
	const char *version;
	bool is;

	snprintf(name, sizeof name, "tpm%s", number);
	chip = udev_device_new_from_subsystem_sysname(udev, "tpm", name);
	version = chip ? udev_device_get_sysattr_value(chip, "tpm_version_major") : NULL;
	is = !version || strcmp(version, "2") == 0;
	udev_device_unref(chip);
	return is;
}

static const char *device_describe(struct udev_device *udev_device)
{
	struct udev_device *parent = udev_device_get_parent(udev_device);
	const char *driver = parent ? udev_device_get_driver(parent) : NULL;

	return driver ? driver : "TPM 2.0";
}

static void device_list_add(struct device_list *list, struct udev_device *udev_device)
{
	const char *node = udev_device_get_devnode(udev_device);
	const char *name = udev_device_get_sysname(udev_device);
	const char *number = udev_device_get_sysnum(udev_device);
	struct device *device;
	guint i;

	if (!node || !name || !device_name_is_usable(name) || strlen(node) >= sizeof device->path ||
		device_list_position(list, name, &i))
		return;
	if (list->node && strcmp(list->node, node) != 0)
		return;
	if (!device_is_version_2(list->udev, number ? number : ""))
		return;
	device = device_new(name, node, device_describe(udev_device));
	device->number = number ? (unsigned)g_ascii_strtoull(number, NULL, 10) : G_MAXUINT;
	g_ptr_array_add(list->devices, device);
	g_ptr_array_sort(list->devices, device_compare);
	log_event(LOG_DEVICE, G_LOG_LEVEL_MESSAGE,
		&(struct log_about){.device = device->name, .event = EVENT_TPM_FOUND}, "TPM at %s",
		device->path);
}

static void device_list_remove(struct device_list *list, const char *name)
{
	g_autofree char *copy = g_strdup(name);
	guint i;

	if (!device_list_position(list, name, &i))
		return;
	g_ptr_array_remove_index(list->devices, i);
	log_event(LOG_DEVICE, G_LOG_LEVEL_MESSAGE,
		&(struct log_about){.device = copy, .event = EVENT_TPM_REMOVED}, "TPM removed");
	list->gone(list->context, copy);
}

static void device_list_enumerate(struct device_list *list)
{
	struct udev_enumerate *enumerate = udev_enumerate_new(list->udev);
	struct udev_list_entry *entry;

	udev_enumerate_add_match_subsystem(enumerate, DEVICE_SUBSYSTEM);
	udev_enumerate_scan_devices(enumerate);
	udev_list_entry_foreach(entry, udev_enumerate_get_list_entry(enumerate))
	{
		struct udev_device *udev_device =
			udev_device_new_from_syspath(list->udev, udev_list_entry_get_name(entry));

		if (udev_device)
			device_list_add(list, udev_device);
		udev_device_unref(udev_device);
	}
	udev_enumerate_unref(enumerate);

	enumerate = udev_enumerate_new(list->udev);
	udev_enumerate_add_match_subsystem(enumerate, "tpm");
	udev_enumerate_scan_devices(enumerate);
	list->old_chip =
		list->devices->len == 0 && udev_enumerate_get_list_entry(enumerate) != NULL;
	udev_enumerate_unref(enumerate);
}

/* Events were lost: what is there now is compared with what was. */
static void device_list_compare(struct device_list *list)
{
	for (guint i = list->devices->len; i-- > 0;) {
		const struct device *device = g_ptr_array_index(list->devices, i);

		if (access(device->path, F_OK) < 0)
			device_list_remove(list, device->name);
	}
	device_list_enumerate(list);
}

static gboolean device_list_on_event(gint fd, GIOCondition condition, gpointer data)
{
	struct device_list *list = data;
	struct udev_device *udev_device;
	const char *action;

	(void)fd;
	(void)condition;
	errno = 0;
	udev_device = udev_monitor_receive_device(list->monitor);
	if (!udev_device) {
		if (errno == ENOBUFS)
			device_list_compare(list);
		return G_SOURCE_CONTINUE;
	}
	action = udev_device_get_action(udev_device);
	if (action && strcmp(action, "remove") == 0)
		device_list_remove(list, udev_device_get_sysname(udev_device));
	else
		device_list_add(list, udev_device);
	udev_device_unref(udev_device);
	return G_SOURCE_CONTINUE;
}

/* Without udev there is no hotplug, and --tpm /dev/X still works. */
static void device_list_watch(struct device_list *list)
{
	list->monitor = udev_monitor_new_from_netlink(list->udev, "udev");
	if (!list->monitor ||
		udev_monitor_filter_add_match_subsystem_devtype(
			list->monitor, DEVICE_SUBSYSTEM, NULL) < 0 ||
		udev_monitor_enable_receiving(list->monitor) < 0) {
		log_event(LOG_BROKER, G_LOG_LEVEL_WARNING, NULL,
			"cannot watch for TPMs that come and go: udev's events are not to be had");
		return;
	}
	list->watch = g_unix_fd_add(
		udev_monitor_get_fd(list->monitor), G_IO_IN, device_list_on_event, list);
}

/* --tpm /dev/X, where udev does not know X. */
static bool device_list_add_node(struct device_list *list, char **ret_problem)
{
	g_autofree char *name = g_path_get_basename(list->node);
	struct stat status;

	if (list->devices->len > 0)
		return true;
	if (strlen(list->node) >= sizeof((struct device *)0)->path ||
		!device_name_is_usable(name)) {
		*ret_problem = g_strdup_printf("--tpm %s: no such name", list->node);
		return false;
	}
	if (stat(list->node, &status) < 0)
		return true; /* it may still come */
	if (!S_ISCHR(status.st_mode)) {
		*ret_problem = g_strdup_printf("--tpm %s is no device node", list->node);
		return false;
	}
	g_ptr_array_add(list->devices, device_new(name, list->node, "TPM 2.0"));
	return true;
}

static void device_list_add_socket(struct device_list *list, const char *path)
{
	struct device *device = device_new(DEVICE_UNIX, path, "TPM behind a Unix socket");

	device->backend = POLICY_BACKEND_STREAM;
	list->socket = g_strdup(path);
	g_ptr_array_add(list->devices, device);
}

/* SPEC is for tpmgate-rm. */
static void device_list_add_managed(struct device_list *list, const char *spec)
{
	const char *path = g_str_has_prefix(spec, "unix:") ? spec + strlen("unix:") : spec;
	struct device *device = device_new(DEVICE_RM, path, "TPM behind tpmgate-rm");

	device->backend = POLICY_BACKEND_MANAGER;
	list->managed = g_strdup(spec);
	g_ptr_array_add(list->devices, device);
}

struct device_list *device_list_new(
	const char *spec, device_gone gone, void *context, char **ret_problem)
{
	struct device_list *list = g_new0(struct device_list, 1);
	bool valid = true;

	list->gone = gone;
	list->context = context;
	list->devices = g_ptr_array_new_with_free_func(g_free);
	if (g_str_has_prefix(spec, "unix:/") &&
		strlen(spec) - 5 < sizeof((struct device *)0)->path) {
		device_list_add_socket(list, spec + 5);
	} else if ((g_str_has_prefix(spec, "rm:unix:/") || g_str_has_prefix(spec, "rm:tcti:")) &&
		   strlen(spec) - 3 < sizeof((struct device *)0)->path) {
		device_list_add_managed(list, spec + 3);
	} else if (spec[0] == '\0' || g_str_has_prefix(spec, "/dev/")) {
		list->node = spec[0] ? g_strdup(spec) : NULL;
		list->udev = udev_new();
		if (list->udev) {
			device_list_watch(list); /* before looking, so that none is missed */
			device_list_enumerate(list);
		}
		valid = !list->node || device_list_add_node(list, ret_problem);
	} else {
		*ret_problem = g_strdup_printf(
			"--tpm %s is neither a device node below /dev nor unix:/PATH, "
			"rm:unix:/PATH or rm:tcti:NAME:CONF with at most %zu bytes",
			spec, sizeof((struct device *)0)->path - 1);
		valid = false;
	}
	if (!valid) {
		device_list_free(list);
		return NULL;
	}
	return list;
}

void device_list_free(struct device_list *list)
{
	if (!list)
		return;
	g_clear_handle_id(&list->watch, g_source_remove);
	udev_monitor_unref(list->monitor);
	udev_unref(list->udev);
	g_ptr_array_unref(list->devices);
	g_free(list->node);
	g_free(list->socket);
	g_free(list->managed);
	g_free(list);
}

const char *device_list_socket(const struct device_list *list)
{
	return list->socket;
}

const char *device_list_managed(const struct device_list *list)
{
	return list->managed;
}

guint device_list_count(const struct device_list *list)
{
	return list->devices->len;
}

const struct device *device_list_get(const struct device_list *list, guint i)
{
	return g_ptr_array_index(list->devices, i);
}

const struct device *device_list_find(
	const struct device_list *list, const char *name, char **ret_problem)
{
	guint i;

	if (name[0] && device_list_position(list, name, &i))
		return device_list_get(list, i);
	if (name[0])
		*ret_problem = g_strdup_printf(
			"there is no TPM '%s'; 'tpmgate devices' lists those that there are", name);
	else if (list->devices->len > 0)
		return device_list_get(list, 0);
	else if (list->node)
		*ret_problem = g_strdup_printf("there is no TPM at %s", list->node);
	else if (list->old_chip)
		*ret_problem =
			g_strdup("this computer has a TPM 1.2 only; tpmgate needs a TPM 2.0");
	else
		*ret_problem =
			g_strdup("this computer shows no TPM 2.0 (/sys/class/tpmrm has none);"
				 " is it switched on in the firmware's settings?");
	return NULL;
}

/*
 * Why NODE cannot be opened, and what would help. The names are those of system accounts, which the
 * local files have: nobody waits for a directory service here.
 */
static char *device_explain(const char *node, int error)
{
	const struct passwd *user = getpwuid(geteuid());
	const struct group *group;
	g_autofree char *user_name = NULL;
	struct stat status;

	if ((error != EACCES && error != EPERM) || stat(node, &status) < 0)
		return g_strdup_printf("cannot open %s: %s", node, g_strerror(error));
	user_name = user ? g_strdup(user->pw_name) : g_strdup_printf("uid %u", geteuid());
	group = getgrgid(status.st_gid);
	if ((status.st_mode & (S_IRGRP | S_IWGRP)) == (S_IRGRP | S_IWGRP))
		return g_strdup_printf("the broker's user %s may not open %s: it has to be in the "
				       "group %s (gid %u)",
			user_name, node, group ? group->gr_name : "without a name",
			(unsigned)status.st_gid);
	return g_strdup_printf(
		"the broker's user %s may not open %s, which has mode %04o; udev rules "
		"such as tpmgate's give it to the group tss with mode 0660",
		user_name, node, (unsigned)(status.st_mode & 07777));
}

int device_open(const struct device *device, char **ret_problem)
{
	CLEANUP_FD int fd = open(device->path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	struct stat status;
	int error;

	if (fd < 0) {
		error = errno;
		*ret_problem = device_explain(device->path, error);
		return -error;
	}
	if (fstat(fd, &status) < 0 || !S_ISCHR(status.st_mode)) {
		*ret_problem = g_strdup_printf("%s is no device node", device->path);
		return -ENODEV;
	}
	return TAKE_FD(fd);
}
