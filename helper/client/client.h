#pragma once
/*
 * What our own clients know beyond tpmgate.h.
 */
#include "client/tpmgate.h"

/*
 * Where the broker is looked for with OPTIONS (checked or NULL). *ret_source is who said so:
 * "given" (the options), "environment" or "default".
 */
const char *client_socket(const struct tpmgate_options *options, const char **ret_source);

/* The profiles that a session with OPTIONS would ask for. */
const char *client_profiles(const struct tpmgate_options *options);
