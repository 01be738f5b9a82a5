#pragma once
/*
 * Identifiers of the log lines that somebody may have to act on, as the journal's field MESSAGE_ID.
 * packaging/systemd/tpmgate.catalog explains each of them; a test compares the two. An identifier
 * stays what it is for ever: scripts search for it.
 */
#define EVENT_BROKER_FAILED    "309dc5878d4245ba878050095135119a"
#define EVENT_CONFIG_PROBLEM   "6f01d8ee170f4acc9910e05e26b42163"
#define EVENT_REGISTRY_PROBLEM "92db13744955403fbcb5f63260efdd95"
#define EVENT_CALLER_REFUSED   "6d415d34f1664d7797f272b1a806420f"
#define EVENT_SESSION_OPENED   "ac9ca8fa794c492f92d3d8bd0b0b154d"
#define EVENT_SESSION_ENDED    "178a2b09770c4e54a362ca85f11b79db"
#define EVENT_SESSION_FAILED   "9ec3cb735943490a927b1bd7faba7468"
#define EVENT_SESSION_REVOKED  "c3a95cd2837141fb9756f05ac4853353"
#define EVENT_COMMAND_REFUSED  "a29b9f96c26d4cddac17a7ca496410ac"
#define EVENT_TPM_FOUND        "696992194a6342f491cd1de20cda0cd1"
#define EVENT_TPM_REMOVED      "d2081c43a2e4484e9105f9c507cffae3"
#define EVENT_TPM_FAILED       "e97942791bab4c47bcef7401533f2774"
#define EVENT_LOCKOUT_NEAR     "4cf2ae1497054e6b889e35f79f5a1f1b"
#define EVENT_MANAGER_FAILED   "7aaa615a3dbe4fe4a01d04b75f4c2c7c"
#define EVENT_RECORDS_CHANGED  "61ea9094293a45d0b5f6693473717917"
