#pragma once
/*
 * A disk that fails by the test's word, for a registry whose system calls go through it
 * (-Wl,--wrap). What was written and not synchronised since may be there after a power cut, may be
 * zeros, or may not be there, and a directory that was not synchronised may be as it was. Files
 * keep their inodes.
 */
#define DISK_KILLED 77 /* exit status of who was killed */

enum disk_fault {
	FAULT_KILL,        /* the process ends before the call */
	FAULT_KILL_PART,   /* after the call, or half of it for a write */
	FAULT_ERROR,       /* ENOSPC or EIO, once; of a write, half is done */
	FAULT_ERRORS,      /* the same for a while */
	FAULT_POWER_LOST,  /* what was not synchronised is not there */
	FAULT_POWER_ZEROS, /* it is zeros */
	FAULT_POWER_NAMES, /* it is not there, but for names */
	FAULT_POWER_BYTES, /* it is there, but for names */
	FAULTS,
};

/* Watches DIRECTORY as it is. LINKS is another, empty, of the same file system. */
void disk_begin(const char *directory, const char *links);
/* FAULT comes at the call AT, counted from here and 1; 0: none. */
void disk_fail(enum disk_fault fault, unsigned at);
