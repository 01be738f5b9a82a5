/*
 * Owns: the queue of what is asked, and the thread that writes. What is asked is judged one after
 * another, each when everything before it is on disk or has failed, so that no judgement rests on
 * what may not come true:
 *
 *   queued -> judged -> nothing to write ---------------------> answered
 *                   \-> written by the thread -> in the table -/
 *
 * The table changes when the disk has. The thread touches the file and the job, and only while a
 * job is its; everything else is the main loop's.
 */
#include "broker/registry.h"

#include "broker/config.h"
#include "broker/registry-file.h"
#include "broker/registry-judge.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

/* Records of no use that a file may have before it is written anew. */
#define DEAD_MAX 64

enum job_state { JOB_NONE = 0, JOB_READY, JOB_DONE, JOB_QUIT };

struct job {
	enum job_state state;
	GArray *records;   /* to write the file anew with; or NULL */
	bool must_rewrite; /* there is no use in the record otherwise */
	bool append;
	struct registry_record record;
	int rewritten; /* 0 or a negative errno */
	int result;
};

struct registry {
	struct registry_table *table;
	struct registry_file *file;
	GQueue requests; /* struct registry_request; the first may be in the thread's hands */
	struct registry_change change; /* of the first */
	bool writing;
	uint64_t postponed; /* records before which writing anew is not tried again */
	char *problem;      /* that writing failed */
	GSource *source;
	pthread_t thread;
	pthread_mutex_t mutex; /* of `job.state`; who sees it change owns the job */
	pthread_cond_t changed;
	struct job job;
};

/* ---- the thread --------------------------------------------------------------------------- */

static void job_run(struct job *job, struct registry_file *file)
{
	job->rewritten = 0;
	if (job->records)
		job->rewritten = registry_file_rewrite(file,
			(struct registry_record *)(void *)job->records->data, job->records->len);
	job->result = job->must_rewrite ? job->rewritten : 0;
	if (job->append && job->result == 0)
		job->result = registry_file_append(file, job->record);
}

static void *registry_write(void *data)
{
	struct registry *registry = data;

	pthread_mutex_lock(&registry->mutex);
	for (;;) {
		while (registry->job.state != JOB_READY && registry->job.state != JOB_QUIT)
			pthread_cond_wait(&registry->changed, &registry->mutex);
		if (registry->job.state == JOB_QUIT)
			break;
		pthread_mutex_unlock(&registry->mutex);
		job_run(&registry->job, registry->file);
		pthread_mutex_lock(&registry->mutex);
		registry->job.state = JOB_DONE;
		pthread_cond_signal(&registry->changed);
		g_source_set_ready_time(registry->source, 0);
	}
	pthread_mutex_unlock(&registry->mutex);
	return NULL;
}

static void job_set_state(struct registry *registry, enum job_state state)
{
	pthread_mutex_lock(&registry->mutex);
	registry->job.state = state;
	pthread_cond_signal(&registry->changed);
	pthread_mutex_unlock(&registry->mutex);
}

static bool job_is_done(struct registry *registry)
{
	bool done;

	pthread_mutex_lock(&registry->mutex);
	done = registry->job.state == JOB_DONE;
	pthread_mutex_unlock(&registry->mutex);
	return done;
}

/* ---- writing ------------------------------------------------------------------------------ */

static void drop_records_of(GArray *records, uint32_t uid)
{
	for (guint i = records->len; i > 0; i--)
		if (g_array_index(records, struct registry_record, i - 1).uid == uid)
			g_array_remove_index_fast(records, i - 1);
}

static bool registry_is_mostly_dead(const struct registry *registry)
{
	const uint64_t records = registry_file_records(registry->file);

	return records > DEAD_MAX + 2 * registry_table_size(registry->table) &&
	       records >= registry->postponed;
}

/* What the thread has to do for CHANGE. A uid is forgotten by writing the file without it. */
static void registry_prepare(struct registry *registry, const struct registry_change *change)
{
	struct job *job = &registry->job;
	const bool forget = change->type == CHANGE_FORGET;

	job->must_rewrite = forget || registry_file_needs_rewrite(registry->file);
	if (job->must_rewrite || registry_is_mostly_dead(registry))
		job->records = registry_record_all(registry->table);
	if (forget)
		drop_records_of(job->records, change->entry.uid);
	job->append = !forget;
	if (job->append)
		job->record = registry_record_new(
			change->type == CHANGE_SET ? REGISTRY_SET : REGISTRY_REMOVE,
			&change->entry);
}

/* The job's end: the table follows the disk. Returns the answer to what it was for. */
static enum account_answer registry_conclude(struct registry *registry)
{
	struct job *job = &registry->job;

	if (job->records && job->rewritten == 0)
		registry_file_look(registry->file);
	registry->postponed = job->records && job->rewritten < 0
				      ? 2 * registry_file_records(registry->file)
				      : registry->postponed;
	g_clear_pointer(&job->records, g_array_unref);
	g_clear_pointer(&registry->problem, g_free);
	if (job->result < 0) {
		registry->problem = g_strdup_printf(
			"%s cannot be written (%s): NV indices and "
			"persistent keys can be neither made nor removed until it can",
			registry_file_path(registry->file), g_strerror(-job->result));
		return ACCOUNT_UNAVAILABLE;
	}
	registry_change_apply(registry->table, &registry->change);
	return ACCOUNT_YES;
}

/* ---- the queue ---------------------------------------------------------------------------- */

static struct registry_request *request_new(enum registry_request_type type,
	const struct registry_entry *entry, registry_done done, void *context)
{
	struct registry_request *request = g_new0(struct registry_request, 1);

	request->type = type;
	if (entry)
		request->entry = *entry;
	request->done = done;
	request->context = context;
	return request;
}

static void registry_push(struct registry *registry, struct registry_request *request)
{
	g_queue_push_tail(&registry->requests, request);
	g_source_set_ready_time(registry->source, 0);
}

/* The first request is answered, and gone. */
static void registry_answer(struct registry *registry, enum account_answer answer)
{
	struct registry_request *request = g_queue_pop_head(&registry->requests);
	struct registry_request *undo;

	if (request->orphan && registry_comes_before(request) && answer == ACCOUNT_YES) {
		/* nobody was told, so that the TPM is not asked */
		undo = request_new(REQUEST_CONFIRM, &request->entry, NULL, NULL);
		g_queue_push_head(&registry->requests, undo);
	}
	if (request->type == REQUEST_DOUBT && answer == ACCOUNT_UNAVAILABLE)
		/* what the disk says becomes doubtful just so when it is read */
		registry_change_apply(registry->table, &registry->change);
	if (request->done)
		request->done(request->context, answer);
	g_free(request);
}

/* Judges the first request. Returns whether it is the thread's now. */
static bool registry_begin(struct registry *registry)
{
	struct registry_request *request = g_queue_peek_head(&registry->requests);
	enum account_answer answer;

	if (request->orphan && registry_comes_before(request)) {
		registry_answer(registry, ACCOUNT_NO);
		return false;
	}
	answer = registry_judge(registry->table, request, &registry->change);
	if (answer != ACCOUNT_YES || registry->change.type == CHANGE_NONE) {
		registry_answer(registry, answer);
		return false;
	}
	registry_prepare(registry, &registry->change);
	return true;
}

static gboolean registry_run(GSource *source, GSourceFunc callback, gpointer data)
{
	struct registry *registry = data;

	(void)callback;
	g_source_set_ready_time(source, -1);
	if (registry->writing) {
		if (!job_is_done(registry))
			return G_SOURCE_CONTINUE;
		registry->writing = false;
		registry_answer(registry, registry_conclude(registry));
	}
	while (!g_queue_is_empty(&registry->requests) && !registry->writing)
		if (registry_begin(registry)) {
			registry->writing = true;
			job_set_state(registry, JOB_READY);
		}
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs registry_source = {.dispatch = registry_run};

/* ---- what others see ---------------------------------------------------------------------- */

static bool registry_start(struct registry *registry, char **ret_problem)
{
	sigset_t all;
	sigset_t before;
	int r;

	registry->source = g_source_new(&registry_source, sizeof(GSource));
	g_source_set_callback(registry->source, G_SOURCE_FUNC(NULL), registry, NULL);
	g_source_set_name(registry->source, "registry");
	g_source_attach(registry->source, g_main_context_get_thread_default());
	pthread_mutex_init(&registry->mutex, NULL);
	pthread_cond_init(&registry->changed, NULL);
	/* signals are the main thread's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&registry->thread, NULL, registry_write, registry);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0)
		*ret_problem = g_strdup_printf("the registry's thread: %s", g_strerror(r));
	return r == 0;
}

static void registry_release(struct registry *registry)
{
	if (registry->source) {
		g_source_destroy(registry->source);
		g_source_unref(registry->source);
		pthread_cond_destroy(&registry->changed);
		pthread_mutex_destroy(&registry->mutex);
	}
	registry_file_close(registry->file);
	registry_table_free(registry->table);
	g_free(registry->problem);
	g_free(registry);
}

struct registry *registry_open(const char *directory, char **ret_problem)
{
	struct registry *registry = g_new0(struct registry, 1);

	g_queue_init(&registry->requests);
	registry->table = registry_table_new();
	registry->file = registry_file_open(directory, registry->table, ret_problem);
	if (registry->file && registry_start(registry, ret_problem))
		return registry;
	registry_release(registry);
	return NULL;
}

void registry_close(struct registry *registry)
{
	if (!registry)
		return;
	pthread_mutex_lock(&registry->mutex);
	while (registry->job.state == JOB_READY)
		pthread_cond_wait(&registry->changed, &registry->mutex);
	pthread_mutex_unlock(&registry->mutex);
	job_set_state(registry, JOB_QUIT);
	pthread_join(registry->thread, NULL);
	for (GList *l = registry->requests.head; l; l = l->next)
		((struct registry_request *)l->data)->done = NULL;
	if (registry->writing)
		registry_answer(registry, registry_conclude(registry));
	while (!g_queue_is_empty(&registry->requests))
		if (registry_begin(registry)) {
			job_run(&registry->job, registry->file);
			registry_answer(registry, registry_conclude(registry));
		}
	registry_release(registry);
}

const char *registry_problem(const struct registry *registry)
{
	return registry->problem ? registry->problem : registry_file_problem(registry->file);
}

bool registry_is_settled(const struct registry *registry)
{
	return registry->requests.length == 0 && registry_table_is_settled(registry->table);
}

bool registry_owns(const struct registry *registry, const struct registry_entry *entry)
{
	const struct registry_entry *found;

	if (!registry_entry_is_sound(entry))
		return false;
	found = registry_table_find(registry->table, entry);
	return found && found->state == REGISTRY_OWN && found->uid == entry->uid &&
	       found->size == entry->size && memcmp(found->data, entry->data, entry->size) == 0;
}

const struct registry_entry *registry_find(const struct registry *registry, const char *device,
	enum account_kind kind, uint32_t handle)
{
	struct registry_entry entry = {.kind = (uint32_t)kind, .handle = handle};

	if (kind == ACCOUNT_KIND_SEALED || strlen(device) >= sizeof entry.device)
		return NULL;
	memcpy(entry.device, device, strlen(device));
	return registry_table_find(registry->table, &entry);
}

void registry_claim(struct registry *registry, const struct config *config,
	const struct registry_entry *entry, registry_done done, void *context)
{
	struct registry_request *request = request_new(REQUEST_CLAIM, entry, done, context);

	request->limits = (struct registry_limits){
		.nv_indices = config->nv_indices_per_user,
		.nv_size = config->nv_index_size,
		.nv_user_size = config->nv_user_size,
		.nv_total_size = config->nv_total_size,
		.persistent = config->persistent_per_user,
		.sealed = config->sealed_per_user,
	};
	registry_push(registry, request);
}

void registry_drop(struct registry *registry, const struct registry_entry *entry,
	registry_done done, void *context)
{
	registry_push(registry, request_new(REQUEST_DROP, entry, done, context));
}

void registry_confirm(struct registry *registry, const struct registry_entry *entry, bool success,
	registry_done done, void *context)
{
	struct registry_request *request = request_new(REQUEST_CONFIRM, entry, done, context);

	request->success = success;
	registry_push(registry, request);
}

void registry_doubt(struct registry *registry, const struct registry_entry *entry)
{
	registry_push(registry, request_new(REQUEST_DOUBT, entry, NULL, NULL));
}

void registry_absent(struct registry *registry, const struct registry_entry *entry)
{
	/* a relay may say so as often as it likes while the disk is slow */
	for (GList *l = registry->requests.head; l; l = l->next) {
		const struct registry_request *request = l->data;

		if (request->type == REQUEST_ABSENT && request->entry.uid == entry->uid &&
			request->entry.kind == entry->kind &&
			request->entry.handle == entry->handle &&
			strcmp(request->entry.device, entry->device) == 0)
			return;
	}
	registry_push(registry, request_new(REQUEST_ABSENT, entry, NULL, NULL));
}

void registry_adopt(struct registry *registry, const struct registry_entry *entry,
	registry_done done, void *context)
{
	registry_push(registry, request_new(REQUEST_ADOPT, entry, done, context));
}

void registry_forget(struct registry *registry, uint32_t uid, registry_done done, void *context)
{
	struct registry_entry entry = {.uid = uid};

	registry_push(registry, request_new(REQUEST_FORGET, &entry, done, context));
}

void registry_forget_waiter(struct registry *registry, const void *context)
{
	for (GList *l = registry->requests.head; l; l = l->next) {
		struct registry_request *request = l->data;

		if (!request->done || request->context != context)
			continue;
		request->done = NULL;
		request->orphan = true;
	}
}

void registry_each(const struct registry *registry, uint32_t uid,
	void (*each)(const struct registry_entry *entry, void *context), void *context)
{
	registry_table_each(registry->table, uid, each, context);
}
