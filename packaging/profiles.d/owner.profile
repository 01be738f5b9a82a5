# Erasing and taking over the TPM. One success or one failed authorization, and it is spent.
[Profile]
Summary=erase or take over the TPM: Clear, hierarchy passwords and policies, lockout parameters, clock

[Allow]
Commands=StartAuthSession;FlushContext;ContextSave;ContextLoad;GetCapability;GetRandom;ReadPublic;Clear;ClearControl;ClockSet;HierarchyControl;HierarchyChangeAuth;SetPrimaryPolicy;DictionaryAttackParameters;PolicySecret;PolicyAuthValue;PolicyPassword;PolicyCommandCode;PolicyOR;PolicyGetDigest;PolicyRestart
Capabilities=ALGS;HANDLES;COMMANDS;PCRS;TPM_PROPERTIES;PCR_PROPERTIES;ECC_CURVES
Hierarchies=NULL
Once=yes
