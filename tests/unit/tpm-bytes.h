#pragma once
/*
 * Commands and responses of a TPM, for tests to send.
 */
#include <stddef.h>
#include <stdint.h>

struct bytes {
	size_t size;
	uint8_t bytes[200];
};

struct bytes bytes_of(const void *bytes, size_t size);
/* A command without sessions, of u32 words after the code. */
struct bytes command_of(uint32_t code, const uint32_t *words, size_t count);
/* A command with one session, or a password, these handles and parameters. */
struct bytes command_with_session(uint32_t code, uint32_t session, uint8_t attributes,
	const uint32_t *handles, size_t handle_count, struct bytes parameters);
struct bytes command_with_password(
	uint32_t code, const uint32_t *handles, size_t handle_count, struct bytes parameters);
/* The same, with a password that is not empty. */
struct bytes command_with_guess(
	uint32_t code, const uint32_t *handles, size_t handle_count, struct bytes parameters);
/* A response without parameters. */
struct bytes response_of(uint32_t code);
/* Success of a command with one session; HANDLE 0: it returns none. */
struct bytes response_with_session(uint32_t handle, struct bytes parameters);
struct bytes response_of_handle(uint32_t handle);
/* GetCapability of TPM properties from FIRST on. */
struct bytes response_of_properties(uint32_t first, const uint32_t *values, uint32_t count);
/* ReadPublic: the public area's front, and a Name of 34 bytes. */
struct bytes response_of_public(uint16_t type, uint32_t attributes);
/* NV_ReadPublic: an index of 32 bytes. */
struct bytes response_of_nv_public(uint32_t index, uint32_t attributes);
/* TPMS_NV_PUBLIC of 32 bytes. */
struct bytes nv_public(uint32_t index, uint32_t attributes);
