# What every program may know and ask: nothing here names a key or changes the TPM.
[Profile]
Summary=random numbers, hashing and public facts about the TPM
Groups=tpmgate-users

[Allow]
Commands=StartAuthSession;FlushContext;ContextSave;ContextLoad;GetCapability;GetRandom;ReadPublic;SelfTest;GetTestResult;ReadClock;PCR_Read;Hash;HashSequenceStart;SequenceUpdate;SequenceComplete;ECC_Parameters;TestParms
Capabilities=ALGS;HANDLES;COMMANDS;PCRS;TPM_PROPERTIES;PCR_PROPERTIES;ECC_CURVES
Hierarchies=NULL
