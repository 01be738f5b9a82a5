/*
 * Owns: copies of the items, each one block of memory with its strings behind it.
 */
#include "cli/lists.h"

#include "client/call.h"
#include "client/client.h"

#include <stdlib.h>
#include <string.h>

/* Room for an item of SIZE bytes and LENGTH bytes of strings, as the last element of the array. */
static void *lists_append(
	struct lists *lists, void *array_pointer, size_t *count, size_t size, size_t length)
{
	void ***array = array_pointer;
	void **grown = reallocarray(*array, *count + 1, sizeof *grown);

	if (grown) {
		*array = grown;
		grown[*count] = malloc(size + length);
		if (grown[*count])
			return grown[(*count)++];
	}
	lists->out_of_memory = true;
	return NULL;
}

/* Copies TEXT to *NEXT, which moves behind it. */
static const char *lists_put(char **next, const char *text)
{
	char *copy = *next;
	size_t size = strlen(text) + 1;

	memcpy(copy, text, size);
	*next += size;
	return copy;
}

static void each_profile(const struct tpmgate_profile *profile, void *context)
{
	struct lists *lists = context;
	size_t length = strlen(profile->name) + strlen(profile->summary) + strlen(profile->group) +
			strlen(profile->action) + 4;
	struct tpmgate_profile *copy =
		lists_append(lists, &lists->profiles, &lists->profile_count, sizeof *copy, length);

	if (!copy)
		return;

	char *text = (char *)(copy + 1);

	*copy = *profile;
	copy->name = lists_put(&text, profile->name);
	copy->summary = lists_put(&text, profile->summary);
	copy->group = lists_put(&text, profile->group);
	copy->action = lists_put(&text, profile->action);
}

static void each_device(const struct tpmgate_device *device, void *context)
{
	struct lists *lists = context;
	size_t length =
		strlen(device->name) + strlen(device->path) + strlen(device->description) + 3;
	struct tpmgate_device *copy =
		lists_append(lists, &lists->devices, &lists->device_count, sizeof *copy, length);

	if (!copy)
		return;

	char *text = (char *)(copy + 1);

	*copy = *device;
	copy->name = lists_put(&text, device->name);
	copy->path = lists_put(&text, device->path);
	copy->description = lists_put(&text, device->description);
}

static void each_session(const struct tpmgate_session *session, void *context)
{
	struct lists *lists = context;
	size_t length = strlen(session->profiles) + strlen(session->device) + 2;
	struct tpmgate_session *copy =
		lists_append(lists, &lists->sessions, &lists->session_count, sizeof *copy, length);

	if (!copy)
		return;

	char *text = (char *)(copy + 1);

	*copy = *session;
	copy->profiles = lists_put(&text, session->profiles);
	copy->device = lists_put(&text, session->device);
}

static int lists_check(const struct lists *lists, int r, struct tpmgate_message *message)
{
	if (r == 0 && lists->out_of_memory)
		return call_fail(message, TPMGATE_E_MEMORY, "out of memory");
	return r;
}

int lists_read_profiles(
	struct lists *lists, const struct tpmgate_options *options, struct tpmgate_message *message)
{
	return lists_check(lists, tpmgate_profiles(options, each_profile, lists, message), message);
}

int lists_read_devices(
	struct lists *lists, const struct tpmgate_options *options, struct tpmgate_message *message)
{
	return lists_check(lists, tpmgate_devices(options, each_device, lists, message), message);
}

int lists_read_sessions(struct lists *lists, const struct tpmgate_options *options, bool everybody,
	struct tpmgate_message *message)
{
	int r = client_sessions(options, everybody, each_session, lists, message);

	return lists_check(lists, r, message);
}

static void lists_free(void *array_pointer, size_t count)
{
	void **array = *(void ***)array_pointer;

	for (size_t i = 0; i < count; i++)
		free(array[i]);
	free(array);
}

void lists_done(struct lists *lists)
{
	lists_free(&lists->profiles, lists->profile_count);
	lists_free(&lists->devices, lists->device_count);
	lists_free(&lists->sessions, lists->session_count);
	*lists = (struct lists){.profiles = NULL};
}
