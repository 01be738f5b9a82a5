#pragma once
/*
 * Which sandboxed application a process belongs to, by what the kernel shows of it.
 *
 * Each of these finds or does not find one; RET_NAME, of SIZE bytes, is then its name, fit for a
 * prompt, and otherwise untouched. All of it can be had by a process that is in no sandbox, whose
 * user then is asked more than needed; what is in a sandbox does not get rid of it by itself.
 */
#include <stdbool.h>
#include <stddef.h>

/*
 * A security LABEL as SO_PEERSEC gives it (NULL: none): that of AppArmor for Snap's programs.
 */
bool sandboxed_by_label(const char *label, char *ret_name, size_t size);

/*
 * CGROUPS is the content of /proc/PID/cgroup. Flatpak and Snap have their applications in systemd
 * units that are named after them.
 */
bool sandboxed_by_cgroups(const char *cgroups, char *ret_name, size_t size);

/*
 * Whether STATUS, the content of /proc/PID/status, is that of a process whose first thread has
 * ended: others may go on, and it is shown in no control group. What cannot be read is taken for
 * one.
 */
bool sandboxed_is_over(const char *status);

/*
 * Whether STATUS, the content of /proc/PID/status, is that of a process in a pid namespace below
 * ours, as all of Flatpak's are. What cannot be read is taken for one.
 */
bool sandboxed_may_have_mounts(const char *status);

/*
 * MOUNTS is the content of /proc/PID/mountinfo, which does not depend on a systemd. Flatpak mounts
 * /.flatpak-info into each sandbox.
 */
bool sandboxed_by_mounts(const char *mounts, char *ret_name, size_t size);
