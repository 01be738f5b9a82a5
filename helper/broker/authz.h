#pragma once
/*
 * polkit. The only file that knows it.
 *
 * It is asked over D-Bus directly, by GIO: libpolkit's client has a subject with a pidfd (from
 * 124), but never attaches the descriptor to the call, so that polkit would judge a number. Here
 * polkit gets pid and pidfd, and each version takes the better one that it knows.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum authz_answer {
	AUTHZ_NO = 0,
	AUTHZ_YES,
	AUTHZ_CHALLENGE,   /* after a prompt; with `interactive`: nobody is there to show one */
	AUTHZ_DISMISSED,   /* the prompt was closed without an answer */
	AUTHZ_UNAVAILABLE, /* polkit could not be asked */
	AUTHZ_FAULT,       /* polkit does not answer this question, such as for an unknown action */
};

struct authz_question {
	const char *action;
	pid_t pid;
	uid_t uid;
	int pidfd;
	bool interactive;
	/* what the prompt says; all fit to be shown, and NULL where there is nothing to say */
	const char *profile;
	const char *program;
	const char *device;
	const char *sandbox;
};

/* PROBLEM is why, for AUTHZ_UNAVAILABLE and AUTHZ_FAULT; else NULL. */
typedef void (*authz_done)(void *context, enum authz_answer answer, const char *problem);

struct authz;
struct authz_check;

/* With ENABLED false every question has the answer AUTHZ_UNAVAILABLE. */
struct authz *authz_new(bool enabled);
void authz_free(struct authz *authz);

/*
 * Asks. DONE is called once, from the main loop; after authz_cancel(), which also takes back the
 * prompt, never.
 */
struct authz_check *authz_ask(
	struct authz *authz, const struct authz_question *question, authz_done done, void *context);
void authz_cancel(struct authz_check *check);
