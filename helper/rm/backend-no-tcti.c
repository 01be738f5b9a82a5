/* In place of backend-tcti.c, where the headers of tpm2-tss were not there to build with. */
#include "rm/backend.h"

#include <errno.h>
#include <stdio.h>

int backend_tcti_open(
	const char *conf, struct backend_tcti **ret_tcti, char problem[BACKEND_PROBLEM_SIZE])
{
	(void)ret_tcti;
	snprintf(problem, BACKEND_PROBLEM_SIZE,
		"tcti:%s cannot be used: tpmgate was built without TCTIs (TPMGATE_TCTI=OFF)", conf);
	return -ENOSYS;
}

void backend_tcti_close(struct backend_tcti *tcti)
{
	(void)tcti;
}

int backend_tcti_transact(struct backend_tcti *tcti, const uint8_t *command, size_t size,
	unsigned seconds, uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size)
{
	(void)tcti;
	(void)command;
	(void)size;
	(void)seconds;
	(void)response;
	(void)ret_size;
	return -ENOSYS;
}
