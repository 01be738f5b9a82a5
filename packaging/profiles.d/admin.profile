# For the machine's administrator. PCRs= of tpmgate.conf says which PCRs may be changed.
[Profile]
Summary=reset the lockout, any owner NV index or persistent key, PCRs in a configured mask

[Allow]
Commands=StartAuthSession;FlushContext;ContextSave;ContextLoad;GetCapability;GetRandom;ReadPublic;SelfTest;GetTestResult;ReadClock;PCR_Read;Hash;HashSequenceStart;SequenceUpdate;SequenceComplete;ECC_Parameters;TestParms;CreatePrimary;Create;Load;EvictControl;ClockRateAdjust;NV_GlobalWriteLock;GetCommandAuditDigest;DictionaryAttackLockReset;PCR_Event;PCR_Reset;PCR_Extend;EventSequenceComplete;SetCommandCodeAuditStatus;IncrementalSelfTest;Commit;ZGen_2Phase;EC_Ephemeral;NV_DefineSpace;NV_DefineSpace2;NV_UndefineSpace;NV_Read;NV_ReadPublic;NV_ReadPublic2;NV_Write;NV_Increment;NV_SetBits;NV_Extend;NV_WriteLock;NV_ReadLock;NV_ChangeAuth;PolicySigned;PolicySecret;PolicyTicket;PolicyOR;PolicyPCR;PolicyLocality;PolicyNV;PolicyCounterTimer;PolicyCommandCode;PolicyPhysicalPresence;PolicyCpHash;PolicyNameHash;PolicyDuplicationSelect;PolicyAuthorize;PolicyAuthValue;PolicyPassword;PolicyGetDigest;PolicyNvWritten;PolicyTemplate;PolicyAuthorizeNV;PolicyCapability;PolicyParameters;PolicyTransportSPDM;PolicyRestart
Capabilities=ALGS;HANDLES;COMMANDS;PCRS;TPM_PROPERTIES;PCR_PROPERTIES;ECC_CURVES
Hierarchies=OWNER;NULL
StorageRootKey=yes
PolicySecret=OWNER
PCRs=configured

[Handles]
Evict=0x81000000-0x817FFFFF
# the owner's; not the TPM maker's, the platform's, endorsement certificates or systemd's
NvRead=0x01800000-0x01BFFFFF
NvWrite=0x01800000-0x01BFFFFF
NvDefine=0x01800000-0x01BFFFFF
