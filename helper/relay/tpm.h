#pragma once
/*
 * Numbers of the TPM 2.0 library specification, Part 2, that the relay needs by name.
 */
#include <stdint.h>

#define TPM_HEADER_SIZE     10   /* bytes: tag, size, code (Part 1, section 18.2) */
#define TPM_MESSAGE_MAX     4096 /* bytes of the largest command and response */
#define TPM_SESSIONS_MAX    3    /* entries of an authorization area (Part 1, section 18.6.2) */
#define TPM_DIGEST_MAX      64   /* bytes of the largest digest */
#define TPM_CAP_MAX_HANDLES 254  /* handles in one answer of GetCapability */

/* TPM_ST (section 6.9) */
#define TPM_ST_NO_SESSIONS 0x8001u
#define TPM_ST_SESSIONS    0x8002u

/* TPM_CC (section 6.5.2): those that the relay treats by name */
#define TPM_CC_NV_DEFINE_SPACE       0x0000012au
#define TPM_CC_EVICT_CONTROL         0x00000120u
#define TPM_CC_NV_UNDEFINE_SPACE     0x00000122u
#define TPM_CC_HIERARCHY_CONTROL     0x00000121u
#define TPM_CC_CREATE_PRIMARY        0x00000131u
#define TPM_CC_SEQUENCE_COMPLETE     0x0000013eu
#define TPM_CC_REWRAP                0x00000152u
#define TPM_CC_CLEAR                 0x00000126u
#define TPM_CC_CHANGE_EPS            0x00000124u
#define TPM_CC_CHANGE_PPS            0x00000125u
#define TPM_CC_INCREMENTAL_SELF_TEST 0x00000142u
#define TPM_CC_SELF_TEST             0x00000143u
#define TPM_CC_STARTUP               0x00000144u
#define TPM_CC_CREATE                0x00000153u
#define TPM_CC_IMPORT                0x00000156u
#define TPM_CC_LOAD                  0x00000157u
#define TPM_CC_HMAC_START            0x0000015bu
#define TPM_CC_CONTEXT_LOAD          0x00000161u
#define TPM_CC_CONTEXT_SAVE          0x00000162u
#define TPM_CC_FLUSH_CONTEXT         0x00000165u
#define TPM_CC_LOAD_EXTERNAL         0x00000167u
#define TPM_CC_NV_READ_PUBLIC        0x00000169u
#define TPM_CC_READ_PUBLIC           0x00000173u
#define TPM_CC_START_AUTH_SESSION    0x00000176u
#define TPM_CC_GET_CAPABILITY        0x0000017au
#define TPM_CC_GET_TEST_RESULT       0x0000017cu
#define TPM_CC_HASH                  0x0000017du
#define TPM_CC_HASH_SEQUENCE_START   0x00000186u
#define TPM_CC_CREATE_LOADED         0x00000191u
#define TPM_CC_NV_DEFINE_SPACE_2     0x0000019du

/* TPM_RC (section 6.6); the relay's own refusals are in the resource manager's layer */
#define TPM_RC_LAYER           0x000b0000u
#define TPM_RC_SUCCESS         0x000u
#define TPM_RC_INITIALIZE      0x100u
#define TPM_RC_FAILURE         0x101u
#define TPM_RC_SEQUENCE        0x103u
#define TPM_RC_DISABLED        0x120u
#define TPM_RC_AUTH_MISSING    0x125u
#define TPM_RC_COMMAND_SIZE    0x142u
#define TPM_RC_COMMAND_CODE    0x143u
#define TPM_RC_AUTH_CONTEXT    0x145u
#define TPM_RC_NV_SPACE        0x14bu
#define TPM_RC_NV_DEFINED      0x14cu
#define TPM_RC_VALUE           0x084u
#define TPM_RC_HANDLE          0x08bu
#define TPM_RC_SIZE            0x095u
#define TPM_RC_INSUFFICIENT    0x09au
#define TPM_RC_RESERVED_BITS   0x0a1u
#define TPM_RC_AUTH_FAIL       0x08eu
#define TPM_RC_BAD_AUTH        0x0a2u
#define TPM_RC_P               0x040u /* format-one codes: about a parameter ... */
#define TPM_RC_S               0x800u /* ... or a session; otherwise about a handle */
#define TPM_RC_CONTEXT_GAP     0x901u
#define TPM_RC_OBJECT_MEMORY   0x902u
#define TPM_RC_SESSION_MEMORY  0x903u
#define TPM_RC_MEMORY          0x904u
#define TPM_RC_SESSION_HANDLES 0x905u
#define TPM_RC_OBJECT_HANDLES  0x906u
#define TPM_RC_YIELDED         0x908u
#define TPM_RC_TESTING         0x90au
#define TPM_RC_REFERENCE_H0    0x910u
#define TPM_RC_REFERENCE_S0    0x918u
#define TPM_RC_NV_RATE         0x920u
#define TPM_RC_LOCKOUT         0x921u
#define TPM_RC_RETRY           0x922u

/* A format-one code about handle, parameter or session number INDEX, from 0. */
static inline uint32_t tpm_rc_at(uint32_t code, unsigned index)
{
	return code | (index + 1) << 8;
}

/* TPM_RH (section 7.4) */
#define TPM_RH_OWNER       0x40000001u
#define TPM_RH_NULL        0x40000007u
#define TPM_RS_PW          0x40000009u
#define TPM_RH_LOCKOUT     0x4000000au
#define TPM_RH_ENDORSEMENT 0x4000000bu
#define TPM_RH_PLATFORM    0x4000000cu
#define TPM_RH_PLATFORM_NV 0x4000000du

/* TPM_HT (section 7.2): the most significant byte of a handle */
#define TPM_HT_PCR            0x00u
#define TPM_HT_NV_INDEX       0x01u
#define TPM_HT_HMAC_SESSION   0x02u /* for GetCapability: loaded sessions */
#define TPM_HT_POLICY_SESSION 0x03u /* for GetCapability: saved sessions */
#define TPM_HT_EXTERNAL_NV    0x11u
#define TPM_HT_PERMANENT_NV   0x12u
#define TPM_HT_PERMANENT      0x40u
#define TPM_HT_TRANSIENT      0x80u
#define TPM_HT_PERSISTENT     0x81u
#define TPM_HT_AC             0x90u

#define TPM_SRK_RSA 0x81000001u /* storage root keys, by convention */
#define TPM_SRK_ECC 0x81000002u

/* TPM_ALG_ID (section 6.3) */
#define TPM_ALG_RSA       0x0001u
#define TPM_ALG_HMAC      0x0005u
#define TPM_ALG_KEYEDHASH 0x0008u
#define TPM_ALG_XOR       0x000au
#define TPM_ALG_NULL      0x0010u
#define TPM_ALG_ECC       0x0023u
#define TPM_ALG_SYMCIPHER 0x0025u

/* TPMA_OBJECT (section 8.3), TPMA_NV (section 13.4), TPMA_SESSION (section 8.4) */
#define TPMA_OBJECT_NO_DA      (1u << 10)
#define TPMA_OBJECT_RESTRICTED (1u << 16)
#define TPMA_OBJECT_DECRYPT    (1u << 17)
#define TPMA_OBJECT_SIGN       (1u << 18)
#define TPMA_NV_TYPE_SHIFT     4
#define TPM_NT_PIN_FAIL        8u
#define TPM_NT_PIN_PASS        9u
#define TPMA_NV_PPWRITE        (1u << 0)
#define TPMA_NV_POLICY_DELETE  (1u << 10)
#define TPMA_NV_WRITELOCKED    (1u << 11)
#define TPMA_NV_GLOBALLOCK     (1u << 15)
#define TPMA_NV_PPREAD         (1u << 16)
#define TPMA_NV_NO_DA          (1u << 25)
#define TPMA_NV_READLOCKED     (1u << 28)
#define TPMA_NV_WRITTEN        (1u << 29)
#define TPMA_NV_PLATFORMCREATE (1u << 30)
#define TPMA_SESSION_CONTINUE  0x01u
#define TPMA_SESSION_RESERVED  0x18u

/* TPM_CAP (section 6.12), TPM_SE (section 6.11) */
#define TPM_CAP_HANDLES        1u
#define TPM_CAP_TPM_PROPERTIES 6u
#define TPM_SE_HMAC            0u

/* TPM_PT (section 6.13) */
#define TPM_PT_CONTEXT_GAP_MAX     0x114u
#define TPM_PT_HR_PERSISTENT_AVAIL 0x209u
#define TPM_PT_LOCKOUT_COUNTER     0x20eu
#define TPM_PT_MAX_AUTH_FAIL       0x20fu
#define TPM_PT_LOCKOUT_INTERVAL    0x210u
