# The TPM's permanent identity: it outlives Clear, and names the machine to whoever sees it.
[Profile]
Summary=this computer's permanent identity: endorsement key, quotes, certificates, event logs
Groups=tpmgate-users

[Allow]
Commands=StartAuthSession;FlushContext;ContextSave;ContextLoad;GetCapability;GetRandom;ReadPublic;SelfTest;GetTestResult;ReadClock;PCR_Read;Hash;HashSequenceStart;SequenceUpdate;SequenceComplete;ECC_Parameters;TestParms;CreatePrimary;Create;CreateLoaded;Load;LoadExternal;ActivateCredential;MakeCredential;Certify;CertifyCreation;CertifyX509;Quote;GetTime;GetSessionAuditDigest;NV_Certify;NV_Read;NV_ReadPublic;NV_ReadPublic2;VerifySignature;PolicySigned;PolicySecret;PolicyTicket;PolicyOR;PolicyPCR;PolicyLocality;PolicyNV;PolicyCounterTimer;PolicyCommandCode;PolicyPhysicalPresence;PolicyCpHash;PolicyNameHash;PolicyDuplicationSelect;PolicyAuthorize;PolicyAuthValue;PolicyPassword;PolicyGetDigest;PolicyNvWritten;PolicyTemplate;PolicyAuthorizeNV;PolicyCapability;PolicyParameters;PolicyTransportSPDM;PolicyRestart
Capabilities=ALGS;HANDLES;COMMANDS;PCRS;TPM_PROPERTIES;PCR_PROPERTIES;ECC_CURVES
Hierarchies=ENDORSEMENT;NULL
PolicySecret=ENDORSEMENT

[Handles]
# endorsement keys and IDevID keys
UseKey=0x81010000-0x810100FF;0x81020000-0x810200FF
# their certificates
NvRead=0x01C00000-0x01C0FFFF;0x01C90000-0x01C9FFFF
