#pragma once
/*
 * Names of stored descriptors. Two descriptors of each session, and of a resource manager, wait in
 * the service manager's store, and their names carry all that the next broker has to know:
 *
 *	tpmgate-a,SESSION,STARTED,UID,PID,DEVICE,PROFILES	the account socket
 *	tpmgate-p,...						the relay's pidfd
 *	tpmgate-m,OBJECTS,SESSIONS				the manager's control socket
 *	tpmgate-q,...						the manager's pidfd
 *
 * SESSION to PID, OBJECTS and SESSIONS in hexadecimal. At most 255 characters, none of them ':'
 *(sd_pid_notify_with_fds).
 */
#include "broker/rm.h"
#include "common/protocol.h"

enum fdstore_kind {
	FDSTORE_NONE = 0, /* not one of ours */
	FDSTORE_ACCOUNT,
	FDSTORE_PIDFD,
	FDSTORE_RM_CONTROL,
	FDSTORE_RM_PIDFD,
};

#define FDSTORE_NAME_SIZE 256

/* Returns 0, or -EINVAL where the session's texts do not fit a name. */
int fdstore_encode(enum fdstore_kind kind, const struct protocol_session *session,
	char ret_name[FDSTORE_NAME_SIZE]);

/* FDSTORE_NONE where NAME is not exactly what fdstore_encode() makes. */
enum fdstore_kind fdstore_decode(const char *name, struct protocol_session *ret_session);

/* The same for the manager. */
void fdstore_encode_rm(
	enum fdstore_kind kind, const struct rm_lease *lease, char ret_name[FDSTORE_NAME_SIZE]);
enum fdstore_kind fdstore_decode_rm(const char *name, struct rm_lease *ret_lease);
