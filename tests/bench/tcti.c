#include "tcti.h"

#include <errno.h>
#include <stdio.h>

#ifndef BENCH_TSS

int tcti_load(void)
{
	puts("comparison with tpm2-abrmd: left out, built without the headers of tpm2-tss");
	return 1;
}

int tcti_open(const char *conf, void **ret_tcti)
{
	(void)conf;
	(void)ret_tcti;
	return -ENOSYS;
}

void tcti_close(void *tcti)
{
	(void)tcti;
}

struct way way_over_tcti(void *tcti)
{
	(void)tcti;
	return (struct way){0};
}

#else

#include <dlfcn.h>
#include <tss2/tss2_tcti.h>

#define TCTI_TIMEOUT_MS 10000

static TSS2_RC (*tcti_initialize)(const char *conf, TSS2_TCTI_CONTEXT **ret_context);
static void (*tcti_finalize)(TSS2_TCTI_CONTEXT **context);

int tcti_load(void)
{
	static const char *const names[] = {
		"libtss2-tctildr.so.0", "libtss2-tcti-swtpm.so.0", "libtss2-tcti-tabrmd.so.0"};
	static void *libraries[sizeof names / sizeof names[0]];

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		libraries[i] = dlopen(names[i], RTLD_NOW);
		if (!libraries[i]) {
			printf("comparison with tpm2-abrmd: left out, %s\n", dlerror());
			return 1;
		}
	}
	*(void **)&tcti_initialize = dlsym(libraries[0], "Tss2_TctiLdr_Initialize");
	*(void **)&tcti_finalize = dlsym(libraries[0], "Tss2_TctiLdr_Finalize");
	return tcti_initialize && tcti_finalize ? 0 : -ENOSYS;
}

int tcti_open(const char *conf, void **ret_tcti)
{
	TSS2_TCTI_CONTEXT *context = NULL;
	TSS2_RC rc = tcti_initialize(conf, &context);

	if (rc != TSS2_RC_SUCCESS) {
		fprintf(stderr, "bench-tpmgate: TCTI %s: 0x%08x\n", conf, rc);
		return -EIO;
	}
	*ret_tcti = context;
	return 0;
}

void tcti_close(void *tcti)
{
	TSS2_TCTI_CONTEXT *context = tcti;

	if (context)
		tcti_finalize(&context);
}

static int tcti_transact(void *context, const uint8_t *command, size_t size,
	uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size)
{
	*ret_size = TPM_MESSAGE_MAX;
	if (Tss2_Tcti_Transmit(context, size, command) != TSS2_RC_SUCCESS ||
		Tss2_Tcti_Receive(context, ret_size, response, TCTI_TIMEOUT_MS) != TSS2_RC_SUCCESS)
		return -EIO;
	return 0;
}

struct way way_over_tcti(void *tcti)
{
	return (struct way){.transact = tcti_transact, .context = tcti};
}

#endif
