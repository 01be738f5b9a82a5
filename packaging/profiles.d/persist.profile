# Own NV indices and own persistent keys. Both are known by the account of their user.
[Profile]
Summary=own NV indices and own persistent keys, within quotas
Groups=tpmgate-users

[Allow]
Commands=StartAuthSession;FlushContext;ContextSave;ContextLoad;GetCapability;GetRandom;ReadPublic;SelfTest;GetTestResult;ReadClock;PCR_Read;Hash;HashSequenceStart;SequenceUpdate;SequenceComplete;ECC_Parameters;TestParms;CreatePrimary;Create;Load;EvictControl;NV_DefineSpace;NV_DefineSpace2;NV_UndefineSpace;NV_Read;NV_ReadPublic;NV_ReadPublic2;NV_Write;NV_Increment;NV_SetBits;NV_Extend;NV_WriteLock;NV_ReadLock;NV_ChangeAuth;PolicySigned;PolicySecret;PolicyTicket;PolicyOR;PolicyPCR;PolicyLocality;PolicyNV;PolicyCounterTimer;PolicyCommandCode;PolicyPhysicalPresence;PolicyCpHash;PolicyNameHash;PolicyDuplicationSelect;PolicyAuthorize;PolicyAuthValue;PolicyPassword;PolicyGetDigest;PolicyNvWritten;PolicyTemplate;PolicyAuthorizeNV;PolicyCapability;PolicyParameters;PolicyTransportSPDM;PolicyRestart
Capabilities=ALGS;HANDLES;COMMANDS;PCRS;TPM_PROPERTIES;PCR_PROPERTIES;ECC_CURVES
Hierarchies=OWNER;NULL
StorageRootKey=yes
PolicySecret=OWNER
