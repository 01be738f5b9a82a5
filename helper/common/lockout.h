#pragma once
/*
 * How near to a lockout tpmgate lets a TPM come. Each wrong authorization of what is not noDA
 * raises one counter of the TPM (TPM_PT_LOCKOUT_COUNTER, Part 2, section 6.13); at its maximum
 * (TPM_PT_MAX_AUTH_FAIL) everybody is locked out.
 */
#include <stdint.h>

/* At which counter nothing is tried any more that could raise it: half of MAXIMUM and more. */
uint32_t lockout_counter_limit(uint32_t maximum);

/* With how many failures of its own a uid is refused to try: a quarter of MAXIMUM, 1 to 3. */
uint32_t lockout_charge_limit(uint32_t maximum);
