#pragma once
/*
 * What the tests of the TCTI begin with: the library as a program loads it, through dlopen() and
 * Tss2_Tcti_Info(), a fake broker that TPMGATE_SOCKET names, and this program as the other end of
 * the session.
 */
#include "fake-broker.h"

#include <tss2/tss2_tcti.h>

extern const uint8_t get_random[12];
extern const uint8_t random_response[14];

extern struct fake_broker broker;
extern void *library;
extern const TSS2_TCTI_INFO *info;
extern TSS2_TCTI_CONTEXT *context; /* allocated, not initialized */
extern size_t context_size;
extern int peer; /* the other end of the session, -1 for none */

int tcti_scene_setup(void **state);
int tcti_scene_teardown(void **state); /* fails if a descriptor stayed open */

/* Calls init while the broker answers as it was told. */
TSS2_RC init_with(const char *config);
void init(void);              /* to a context that can transmit */
void init_and_transmit(void); /* to one that waits for a response */

/* Writes what a TPM would. */
void answer(const void *bytes, size_t size);
TSS2_RC receive(uint8_t *response, size_t *size, int32_t timeout);

/* The session works: one more command and its response. */
void assert_works(void);
