#include "tcti-scene.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

const uint8_t get_random[12] = {
	0x80, 0x01,             /* TPM_ST_NO_SESSIONS */
	0x00, 0x00, 0x00, 0x0c, /* size: 12 */
	0x00, 0x00, 0x01, 0x7b, /* TPM_CC_GetRandom */
	0x00, 0x02,             /* bytesRequested */
};

const uint8_t random_response[14] = {
	0x80, 0x01,             /* TPM_ST_NO_SESSIONS */
	0x00, 0x00, 0x00, 0x0e, /* size: 14 */
	0x00, 0x00, 0x00, 0x00, /* TPM_RC_SUCCESS */
	0x00, 0x02, 0xab, 0xcd, /* randomBytes */
};

struct fake_broker broker;
static size_t fds_before;
void *library;
const TSS2_TCTI_INFO *info;
TSS2_TCTI_CONTEXT *context;
size_t context_size;
int peer;

int tcti_scene_setup(void **state)
{
	TSS2_TCTI_INFO_FUNC get_info;

	(void)state;
	unsetenv("TSS2_LOG");
	fds_before = fake_broker_count_fds();
	fake_broker_init(&broker);
	setenv("TPMGATE_SOCKET", broker.path, 1);
	unsetenv("TPMGATE_PROFILES");
	peer = -1;
	library = dlopen(TCTI_PATH, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(library);
	*(void **)&get_info = dlsym(library, TSS2_TCTI_INFO_SYMBOL);
	assert_non_null(get_info);
	info = get_info();
	assert_int_equal(info->init(NULL, &context_size, NULL), TSS2_RC_SUCCESS);
	context = calloc(1, context_size);
	assert_non_null(context);
	return 0;
}

int tcti_scene_teardown(void **state)
{
	(void)state;
	Tss2_Tcti_Finalize(context);
	free(context);
	if (peer >= 0)
		close(peer);
	dlclose(library);
	fake_broker_done(&broker);
	assert_int_equal(fake_broker_count_fds(), fds_before);
	return 0;
}

TSS2_RC init_with(const char *config)
{
	TSS2_RC rc;

	broker.served = 0;
	fake_broker_start(&broker);
	rc = info->init(context, &context_size, config);
	fake_broker_join(&broker);
	return rc;
}

void init(void)
{
	peer = fake_broker_session(&broker, SOCK_STREAM);
	assert_int_equal(init_with(NULL), TSS2_RC_SUCCESS);
}

void init_and_transmit(void)
{
	uint8_t command[sizeof get_random + 1];

	init();
	assert_int_equal(Tss2_Tcti_Transmit(context, sizeof get_random, get_random), 0);
	assert_int_equal(recv(peer, command, sizeof command, MSG_DONTWAIT), sizeof get_random);
	assert_memory_equal(command, get_random, sizeof get_random);
}

void answer(const void *bytes, size_t size)
{
	assert_int_equal(send(peer, bytes, size, MSG_NOSIGNAL), size);
}

TSS2_RC receive(uint8_t *response, size_t *size, int32_t timeout)
{
	return Tss2_Tcti_Receive(context, size, response, timeout);
}

void assert_works(void)
{
	/* unlike every other response here: an old one must not pass for it */
	static const uint8_t other_response[] = {
		0x80, 0x01,             /* TPM_ST_NO_SESSIONS */
		0x00, 0x00, 0x00, 0x0d, /* size: 13 */
		0x00, 0x00, 0x00, 0x00, /* TPM_RC_SUCCESS */
		0x00, 0x01, 0x77,       /* randomBytes */
	};
	uint8_t response[4096];
	size_t size = sizeof response;

	assert_int_equal(Tss2_Tcti_Transmit(context, sizeof get_random, get_random), 0);
	answer(other_response, sizeof other_response);
	assert_int_equal(receive(response, &size, TSS2_TCTI_TIMEOUT_BLOCK), 0);
	assert_int_equal(size, sizeof other_response);
	assert_memory_equal(response, other_response, sizeof other_response);
}
