# The default profile: keys and secrets that live in files, or below them, wrapped by the TPM.
# What needs the endorsement or platform hierarchy, persistent handles, NV indices, PCR changes
# or lockout authorization is in none of these commands or handles. Nor is Rewrap: it would print
# what somebody else wrapped for import below the storage root key, password or not. Nor are the
# commands of the unpublished revision 1.85, whose authorizations no TPM has confirmed.
[Profile]
Summary=make and use own keys, seal and unseal own secrets
Groups=tpmgate-users

[Allow]
Commands=StartAuthSession;FlushContext;ContextSave;ContextLoad;GetCapability;GetRandom;ReadPublic;SelfTest;GetTestResult;ReadClock;PCR_Read;Hash;HashSequenceStart;SequenceUpdate;SequenceComplete;ECC_Parameters;TestParms;StirRandom;CreatePrimary;Create;CreateLoaded;Load;LoadExternal;ObjectChangeAuth;Import;Duplicate;Unseal;MakeCredential;RSA_Encrypt;RSA_Decrypt;ECDH_KeyGen;ECDH_ZGen;ECC_Encrypt;ECC_Decrypt;EncryptDecrypt;EncryptDecrypt2;HMAC;HMAC_Start;Sign;VerifySignature;NV_ReadPublic;NV_ReadPublic2;PolicySigned;PolicySecret;PolicyTicket;PolicyOR;PolicyPCR;PolicyLocality;PolicyNV;PolicyCounterTimer;PolicyCommandCode;PolicyPhysicalPresence;PolicyCpHash;PolicyNameHash;PolicyDuplicationSelect;PolicyAuthorize;PolicyAuthValue;PolicyPassword;PolicyGetDigest;PolicyNvWritten;PolicyTemplate;PolicyAuthorizeNV;PolicyCapability;PolicyParameters;PolicyTransportSPDM;PolicyRestart
Capabilities=ALGS;HANDLES;COMMANDS;PCRS;TPM_PROPERTIES;PCR_PROPERTIES;ECC_CURVES
Hierarchies=OWNER;NULL
StorageRootKey=yes

[Handles]
# systemd's pcrlock policies, which PolicyAuthorizeNV reads by owner authorization
NvAuthorize=0x01D1020D-0x01D10224
