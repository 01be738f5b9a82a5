#pragma once
/*
 * The TCTI's configuration text:
 * [socket=PATH][,profile=P[+P...]][,device=NAME][,interactive=yes|no]
 */
#include "client/tpmgate.h"

struct tcti_config {
	struct tpmgate_options options; /* its strings are in `text` */
	char text[512];
};

#define TCTI_CONFIG_HELP                                                                           \
	"[socket=PATH][,profile=NAME[+NAME...]][,device=NAME][,interactive=yes|no], or nothing "   \
	"for the environment's and the usual values"

/*
 * Reads TEXT, which may be NULL. Returns 0, with *ret_config at its place for good since it points
 * into itself; or TPMGATE_E_ARGUMENT, with MESSAGE set and *ret_config undefined.
 */
int tcti_config_read(
	const char *text, struct tpmgate_message *message, struct tcti_config *ret_config);

/* Whether TSS2_LOG leaves errors of a TCTI visible, as TSS2's own TCTIs read it. */
int tcti_config_may_log(const char *tss2_log);
