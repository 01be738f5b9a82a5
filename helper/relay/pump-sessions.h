#pragma once
/*
 * The pump's TPM sessions: what the broker is told of them, and what it orders.
 */
#include "relay/pump.h"

/* Tells the broker which of those that it knows of are not here any more; SAVED, or 0, was saved.
 */
void pump_tell_sessions(struct pump *pump, uint32_t saved);

/*
 * After a transaction that failed: the kernel's resource manager may have flushed all sessions of
 * this descriptor, and their numbers may be somebody else's by now.
 */
void pump_lose_sessions(struct pump *pump);

/*
 * Tells the broker now and then how many times sessions were saved: a TPM refuses all saves when
 * one saved session is too many saves old.
 */
void pump_report_saves(struct pump *pump);

/* Tells of the rest, before the TPM is released. CONTEXT is the struct pump. */
void pump_tell_last(void *context);

/*
 * Renews what is loaded here, where an order says that it is too old. The broker need not be asked
 * about that, and is perhaps being asked something else. CONTEXT is the struct pump.
 */
void pump_renew_as_ordered(void *context);

/* Renews or flushes the TPM sessions that the broker's orders are about. */
void pump_obey(struct pump *pump);
