#include "client-scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fake_broker broker;
struct tpmgate_options options;
struct tpmgate_message message;
static size_t fds_before;

int client_scene_setup(void **state)
{
	(void)state;
	unsetenv("TPMGATE_SOCKET");
	unsetenv("TPMGATE_PROFILES");
	fds_before = fake_broker_count_fds();
	fake_broker_init(&broker);
	options = (struct tpmgate_options){.size = sizeof options, .socket = broker.path};
	memset(&message, 'x', sizeof message);
	return 0;
}

int client_scene_teardown(void **state)
{
	(void)state;
	fake_broker_done(&broker);
	assert_int_equal(fake_broker_count_fds(), fds_before);
	return 0;
}

int open_once(void)
{
	fake_broker_start(&broker);

	int r = tpmgate_open(&options, &message);

	fake_broker_join(&broker);
	assert_non_null(memchr(message.text, '\0', sizeof message.text));
	if (r < 0)
		assert_true(strlen(message.text) > 10);
	return r;
}

void assert_message(const char *part)
{
	if (!strstr(message.text, part))
		fail_msg("\"%s\" is not in \"%s\"", part, message.text);
}
