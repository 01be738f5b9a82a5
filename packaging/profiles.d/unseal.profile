# Secrets that others sealed to this TPM and this user can read, as systemd-creds and clevis do.
[Profile]
Summary=unseal secrets that others sealed and this user can read

[Allow]
Commands=StartAuthSession;FlushContext;ContextSave;ContextLoad;GetCapability;GetRandom;ReadPublic;CreatePrimary;Load;LoadExternal;Import;Unseal;Duplicate;Rewrap;VerifySignature;NV_ReadPublic;NV_ReadPublic2;PolicySigned;PolicySecret;PolicyTicket;PolicyOR;PolicyPCR;PolicyLocality;PolicyNV;PolicyCounterTimer;PolicyCommandCode;PolicyPhysicalPresence;PolicyCpHash;PolicyNameHash;PolicyDuplicationSelect;PolicyAuthorize;PolicyAuthValue;PolicyPassword;PolicyGetDigest;PolicyNvWritten;PolicyTemplate;PolicyAuthorizeNV;PolicyCapability;PolicyParameters;PolicyTransportSPDM;PolicyRestart
Capabilities=ALGS;HANDLES;COMMANDS;PCRS;TPM_PROPERTIES;PCR_PROPERTIES;ECC_CURVES
Hierarchies=OWNER;NULL
StorageRootKey=yes
UnsealForeign=yes

[Handles]
NvAuthorize=0x01D1020D-0x01D10224
