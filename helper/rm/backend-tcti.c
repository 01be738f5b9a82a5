/*
 * A TPM behind a TCTI of tpm2-tss, whose loader is a library that is looked for when it is needed.
 * A TCTI may wait for ever and cannot be told to stop: SIGALRM ends the process then.
 */
#include "rm/backend.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_tcti.h>
#include <unistd.h>

#define LOADER "libtss2-tctildr.so.0"

struct backend_tcti {
	TSS2_TCTI_CONTEXT *context;
	TSS2_RC (*finalize)(TSS2_TCTI_CONTEXT **context);
};

static int use_loader(
	const char *conf, struct backend_tcti *tcti, char problem[BACKEND_PROBLEM_SIZE])
{
	TSS2_RC (*initialize)(const char *conf, TSS2_TCTI_CONTEXT **ret_context);
	void *library = dlopen(LOADER, RTLD_NOW | RTLD_LOCAL);
	TSS2_RC rc;

	if (!library) {
		snprintf(problem, BACKEND_PROBLEM_SIZE,
			"tcti:%s needs " LOADER " of tpm2-tss, which is not installed", conf);
		return -ENOENT;
	}
	*(void **)&initialize = dlsym(library, "Tss2_TctiLdr_Initialize");
	*(void **)&tcti->finalize = dlsym(library, "Tss2_TctiLdr_Finalize");
	if (!initialize || !tcti->finalize) {
		snprintf(problem, BACKEND_PROBLEM_SIZE, LOADER " is too old: %s", dlerror());
		return -ENOSYS;
	}
	rc = initialize(conf, &tcti->context);
	if (rc != TSS2_RC_SUCCESS) {
		snprintf(problem, BACKEND_PROBLEM_SIZE,
			"the TCTI %s does not start (TSS2_RC 0x%08x); is it installed, and does "
			"what it connects to run?",
			conf, rc);
		return -ENODEV;
	}
	return 0;
}

int backend_tcti_open(
	const char *conf, struct backend_tcti **ret_tcti, char problem[BACKEND_PROBLEM_SIZE])
{
	struct backend_tcti *tcti = calloc(1, sizeof *tcti);
	int r;

	if (!tcti) {
		snprintf(problem, BACKEND_PROBLEM_SIZE, "out of memory");
		return -ENOMEM;
	}
	setenv("TSS2_LOG", "all+none", 0); /* one line says what failed */
	r = use_loader(conf, tcti, problem);
	if (r < 0) {
		free(tcti);
		return r;
	}
	*ret_tcti = tcti;
	return 0;
}

void backend_tcti_close(struct backend_tcti *tcti)
{
	if (!tcti)
		return;
	tcti->finalize(&tcti->context);
	free(tcti);
}

int backend_tcti_transact(struct backend_tcti *tcti, const uint8_t *command, size_t size,
	unsigned seconds, uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size)
{
	size_t got = TPM_MESSAGE_MAX;
	TSS2_RC rc;

	alarm(seconds);
	rc = Tss2_Tcti_Transmit(tcti->context, size, command);
	if (rc == TSS2_RC_SUCCESS)
		rc = Tss2_Tcti_Receive(tcti->context, &got, response, TSS2_TCTI_TIMEOUT_BLOCK);
	alarm(0);
	if (rc != TSS2_RC_SUCCESS)
		return -EIO;
	*ret_size = got;
	return 0;
}
