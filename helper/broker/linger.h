#pragma once
/*
 * Connections that were answered before they said anything. They are kept for a moment, a few at a
 * time, so that a client that is just about to send its request can do so and find the answer,
 * instead of a broken pipe.
 */
struct linger;

struct linger *linger_new(void);
void linger_free(struct linger *linger);

/* Owns FD from here on. */
void linger_add(struct linger *linger, int fd);
/* How many descriptors are kept. */
unsigned linger_count(const struct linger *linger);
