#pragma once
/*
 * The three descriptors of a session: client, TPM and account socket. Waits on all of them at once,
 * so that a long command hides neither a hang-up nor a revocation, and moves whole messages.
 *
 *   open      commands go to the TPM
 *   released  the TPM is closed for good: revoked, removed, failed, or at a time limit. The client
 *             is answered with `released_code` until it leaves; nobody closes on it first.
 */
#include "common/policy.h"
#include "relay/link.h"
#include "relay/tpm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct channel {
	int client;
	int tpm; /* -1 once released */
	struct link link;
	enum policy_backend backend;
	uint32_t released_code; /* response code of every command once released */
	uint64_t transacted;    /* commands that the TPM was given */
	bool client_gone;
	bool peek;        /* the kernel lets the client pass descriptors: look before receiving */
	uint64_t idle_ns; /* longest time without a command; 0: no limit */
	uint64_t idle_deadline; /* when that is over, by channel_now(); 0: never */
	uint64_t deadline;      /* end of the session's lifetime, channel_now(); 0: none */
	/* The broker has ordered something while it is asked something else, and the TPM is free.
	 * NULL: that waits for the answer. */
	void (*ordered)(void *context);
	/* The TPM is about to be released: what is left to be told. May be NULL. */
	void (*releasing)(void *context);
	void *context;
};

/* Takes the descriptors of enum relay_fd. */
struct channel channel_new(const struct policy_image *image);

/* Nanoseconds since boot, the time asleep included. */
uint64_t channel_now(void);

/* Tells the broker that the relay is confined and serves. Returns 0 or a negative errno. */
int channel_ready(struct channel *channel);

/*
 * Asks the broker and waits for *ret_answer: 5 s for a sign of life, then 300 s. Returns 0; -ETIME
 * or -EBUSY where there is no answer; -EPIPE where the client has left meanwhile; -ECANCELED where
 * the channel was released.
 */
int channel_ask(struct channel *channel, const struct account_message *question,
	struct account_message *ret_answer);

/* As link_tell() and link_tell_session(); the channel is released where the broker does not take
 * what it must know. */
void channel_tell(struct channel *channel, const struct account_message *message);
void channel_tell_session(struct channel *channel, enum account_type type, uint32_t handle);

/*
 * Receives up to SIZE bytes from the client, waiting at most TIMEOUT_MS for the first (-1: until a
 * limit of the session ends the wait). Returns the number of bytes; 0 when the client has left;
 * -ETIME when TIMEOUT_MS is over; -EAGAIN when the channel was released meanwhile.
 */
ssize_t channel_receive(struct channel *channel, void *bytes, size_t size, int timeout_ms);

/* Drops what the client has sent and nobody has read yet. */
void channel_drop(struct channel *channel);

/*
 * Sends a response of SIZE bytes to the client, all but the first *SENT, to which it adds what the
 * client takes. Returns 0 when it has taken the whole; -EPIPE when it has left; -EAGAIN when the
 * broker has ordered something while the client did not read.
 */
int channel_send(struct channel *channel, const void *bytes, size_t size, size_t *sent);

/*
 * Has the TPM execute a command of SIZE bytes. Returns 0 and the response, whose size agrees with
 * its header; -ENOMEM or -EINVAL where the kernel's resource manager refused it, having flushed the
 * descriptor's sessions; any other negative errno where the TPM was not reached or gave no proper
 * answer. The channel is released where that is for good.
 */
int channel_transact(struct channel *channel, const void *command, size_t size,
	uint8_t response[TPM_MESSAGE_MAX], size_t *ret_size);

/* Closes the TPM; every command is answered with CODE from here on. */
void channel_release(struct channel *channel, uint32_t code);
