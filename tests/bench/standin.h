#pragma once
/*
 * A TPM stand-in that answers at once, so that what is measured is the way to it: GetRandom gets
 * its bytes, GetCapability an empty list (a relay asks for leftovers of earlier sessions), and
 * everything else TPM_RC_FAILURE.
 */

/* Serves the connected stream FD until its other end closes. */
void standin_serve(int fd);

/* Serves the connections to the listening socket FD, one after the other, for ever. */
void standin_listen(int fd);
