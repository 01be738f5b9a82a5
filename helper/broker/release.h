#pragma once
/*
 * Closing what a client has left behind. A connection may hold packets that nobody received, with
 * descriptors in them whose last owner we are; closing one of those can put the closer to sleep for
 * as long as its sender likes (SO_LINGER).
 */

/* Closes FD within a few milliseconds, whatever is queued on it. Main thread only; keeps errno. */
void release_close(int fd);

/* Closes FD, a TPM's node, in another thread: that may wait for a command that runs for minutes. */
void release_slowly(int fd);
