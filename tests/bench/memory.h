#pragma once
/* Memory of running programs, from /proc/PID/status. */

struct memory {
	unsigned int processes;
	unsigned long resident; /* VmRSS, kB; pages of files are counted in each process */
	unsigned long own;      /* RssAnon, kB: the part that is not of files */
};

/* Adds up the descendants of this process that are called NAME. */
struct memory memory_of(const char *name);
