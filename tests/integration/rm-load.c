/*
 * rm-load TCTI CLIENTS KEYS SESSIONS OPERATIONS [SEED]: programs that have more in the TPM, all at
 * once, than it has room for.
 *
 * Each client is a process with a connection of its own, a primary key, KEYS objects and SESSIONS
 * sessions. When all have theirs, they run their shares of OPERATIONS, in an order that SEED
 * repeats. Every result is checked, where possible without the TPM; as no two clients and no two
 * objects have a key, a password, a policy or a content in common, an object or session that is
 * taken for another's is noticed.
 *
 * Prints how many operations of each kind succeeded and "ok N operations". Ends with 1 at the first
 * response that is not success and the first result that is wrong, and says so in one line.
 */
#include "rm-load.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NONE            ESYS_TR_NONE
#define CLIENTS_MAX     64
#define OPERATIONS_MAX  10000000
#define MESSAGE_SIZE    48
#define HANDLES_MAX     254
#define TRANSIENT_FIRST 0x80000000u /* that of tpm2-tss shifts a sign bit */
#define TIMEOUT_SECONDS 850
#define SEED_DEFAULT    "20261125"

/* How often each is chosen is its weight's part of them all. */
enum operation { SIGN, UNSEAL, HMAC, DECRYPT, RANDOM, PUBLIC, RENEW, RELOAD, SWAP, POLICY, LIST };
#define OPERATION_COUNT (LIST + 1)

static const struct {
	const char *name;
	unsigned int weight;
} operations[OPERATION_COUNT] = {
	[SIGN] = {"sign", 24},
	[UNSEAL] = {"unseal", 16},
	[HMAC] = {"hmac", 12},
	[DECRYPT] = {"decrypt", 8},
	[RANDOM] = {"random", 8},
	[PUBLIC] = {"public", 8},
	[RENEW] = {"renew session", 5},
	[RELOAD] = {"reload", 5},
	[SWAP] = {"save and load", 5},
	[POLICY] = {"policy", 6},
	[LIST] = {"handles", 3},
};

/* What all processes share. */
struct shared {
	atomic_flag failed;
	pthread_barrier_t started;
	unsigned long counts[CLIENTS_MAX][OPERATION_COUNT];
};

struct load {
	const char *tcti;
	unsigned int clients;
	unsigned int objects;
	unsigned int sessions;
	unsigned int count;
	const char *seed;
	struct shared *shared;
};

/* ---- operations ----------------------------------------------------------------------------- */

static bool is_equal(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
	return a_size == b_size && memcmp(a, b, a_size) == 0;
}

static void sign(struct load_client *client, struct load_object *object)
{
	TPM2B_DIGEST digest = {.size = TPM2_SHA256_DIGEST_SIZE};
	TPMT_SIG_SCHEME scheme = {0};
	TPMT_TK_HASHCHECK ticket = {.tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL};
	TPMT_SIGNATURE *signature = NULL;

	scheme.scheme = TPM2_ALG_NULL;
	storm_fill(&client->random, digest.buffer, digest.size);
	client_must(client, "Sign",
		Esys_Sign(client->esys, object->handle, client_authorize(client, object), NONE,
			NONE, &digest, &scheme, &ticket, &signature));
	if (signature->sigAlg != TPM2_ALG_ECDSA ||
		!crypto_verify(object->key, &digest, &signature->signature.ecdsa))
		client_fail(client, "a signature by another key", 0);
	Esys_Free(signature);
}

static void unseal(struct load_client *client, struct load_object *object)
{
	TPM2B_SENSITIVE_DATA *data = NULL;

	client_must(client, "Unseal",
		Esys_Unseal(client->esys, object->handle, client_authorize(client, object), NONE,
			NONE, &data));
	if (!is_equal(data->buffer, data->size, object->data.buffer, object->data.size))
		client_fail(client, "another secret", 0);
	Esys_Free(data);
}

static void hmac(struct load_client *client, struct load_object *object)
{
	TPM2B_MAX_BUFFER message = {.size = MESSAGE_SIZE};
	TPM2B_DIGEST *digest = NULL;
	uint8_t expected[TPM2_SHA256_DIGEST_SIZE];

	storm_fill(&client->random, message.buffer, message.size);
	client_must(client, "HMAC",
		Esys_HMAC(client->esys, object->handle, client_authorize(client, object), NONE,
			NONE, &message, TPM2_ALG_NULL, &digest));
	crypto_hmac(&object->data, message.buffer, message.size, expected);
	if (!is_equal(digest->buffer, digest->size, expected, sizeof expected))
		client_fail(client, "an HMAC by another key", 0);
	Esys_Free(digest);
}

static void decrypt(struct load_client *client, struct load_object *object)
{
	uint8_t message[MESSAGE_SIZE];
	TPM2B_PUBLIC_KEY_RSA encrypted = {0};
	TPM2B_PUBLIC_KEY_RSA *decrypted = NULL;
	TPMT_RSA_DECRYPT scheme = {0};
	TPM2B_DATA label = {0};

	scheme.scheme = TPM2_ALG_NULL;
	storm_fill(&client->random, message, sizeof message);
	if (!crypto_encrypt(object->key, message, sizeof message, &encrypted))
		client_fail(client, "encryption by libcrypto", 0);
	client_must(client, "RSA_Decrypt",
		Esys_RSA_Decrypt(client->esys, object->handle, client_authorize(client, object),
			NONE, NONE, &encrypted, &scheme, &label, &decrypted));
	if (!is_equal(decrypted->buffer, decrypted->size, message, sizeof message))
		client_fail(client, "another message", 0);
	Esys_Free(decrypted);
}

static void get_random(struct load_client *client)
{
	TPM2B_DIGEST *bytes = NULL;

	client_must(client, "GetRandom",
		Esys_GetRandom(client->esys, client_encrypt(client), NONE, NONE, LOAD_RANDOM_SIZE,
			&bytes));
	if (bytes->size != LOAD_RANDOM_SIZE ||
		memcmp(bytes->buffer, client->last_random, LOAD_RANDOM_SIZE) == 0)
		client_fail(client, "the same random bytes again", 0);
	memcpy(client->last_random, bytes->buffer, LOAD_RANDOM_SIZE);
	Esys_Free(bytes);
}

static void read_public(struct load_client *client, struct load_object *object)
{
	TPM2B_NAME *name = NULL;

	client_must(client, "ReadPublic",
		Esys_ReadPublic(client->esys, object->handle, NONE, NONE, NONE, NULL, &name, NULL));
	if (!is_equal(name->name, name->size, object->name->name, object->name->size))
		client_fail(client, "another Name", 0);
	Esys_Free(name);
}

/* What came of the session's policy until now is the TPM's to remember, wherever it was. */
static void check_policy(struct load_client *client, const struct load_session *session)
{
	TPM2B_DIGEST *policy = NULL;

	client_must(client, "PolicyGetDigest",
		Esys_PolicyGetDigest(client->esys, session->handle, NONE, NONE, NONE, &policy));
	if (!is_equal(policy->buffer, policy->size, session->policy.buffer, session->policy.size))
		client_fail(client, "another policy digest", 0);
	Esys_Free(policy);
}

static void extend_policy(struct load_client *client, struct load_session *session)
{
	uint16_t pcrs = (uint16_t)(1 + storm_below(&client->random, UINT16_MAX));
	TPML_PCR_SELECTION selection = crypto_selection(pcrs);
	TPM2B_DIGEST any = {0};

	check_policy(client, session);
	client_must(client, "PolicyPCR",
		Esys_PolicyPCR(client->esys, session->handle, NONE, NONE, NONE, &any, &selection));
	crypto_policy_pcr(&session->policy, pcrs);
}

/* Of transient objects there are one's own to be seen, each once, and nobody else's. */
static void list_handles(struct load_client *client)
{
	TPMS_CAPABILITY_DATA *data = NULL;
	const TPML_HANDLE *list;

	client_must(client, "GetCapability",
		Esys_GetCapability(client->esys, NONE, NONE, NONE, TPM2_CAP_HANDLES,
			TRANSIENT_FIRST, HANDLES_MAX, NULL, &data));
	list = &data->data.handles;
	if (data->capability != TPM2_CAP_HANDLES || list->count != client->object_count + 1)
		client_fail(client, "more or fewer objects than there are", 0);
	for (unsigned int i = 0; i < client->object_count; i++) {
		TPM2_HANDLE handle = 0;
		unsigned int found = 0;

		client_must(client, "handle of an object",
			Esys_TR_GetTpmHandle(client->esys, client->objects[i].handle, &handle));
		for (unsigned int j = 0; j < list->count; j++)
			found += list->handle[j] == handle;
		if (found != 1)
			client_fail(client, "an object that is not listed", 0);
	}
	Esys_Free(data);
}

/* ---- a client ------------------------------------------------------------------------------- */

static enum operation any_operation(struct storm *random)
{
	unsigned int total = 0;
	unsigned int chosen;
	unsigned int i = 0;

	for (unsigned int j = 0; j < OPERATION_COUNT; j++)
		total += operations[j].weight;
	chosen = storm_below(random, total);
	while (chosen >= operations[i].weight)
		chosen -= operations[i++].weight;
	return (enum operation)i;
}

static struct load_object *any_object(struct load_client *client)
{
	if (client->object_count == 0)
		return NULL;
	return &client->objects[storm_below(&client->random, client->object_count)];
}

/* One of KIND, or NULL where there is none. */
static struct load_object *object_of(struct load_client *client, enum load_kind kind)
{
	unsigned int first = storm_below(&client->random, LOAD_OBJECTS_MAX);

	for (unsigned int i = 0; i < client->object_count; i++) {
		struct load_object *object = &client->objects[(first + i) % client->object_count];

		if (object->kind == kind)
			return object;
	}
	return NULL;
}

static struct load_session *session_for(struct load_client *client, bool policy)
{
	unsigned int first = storm_below(&client->random, LOAD_SESSIONS_MAX);

	for (unsigned int i = 0; i < client->session_count; i++) {
		struct load_session *session =
			&client->sessions[(first + i) % client->session_count];

		if (!policy || session->kind == LOAD_POLICY)
			return session;
	}
	return NULL;
}

static void use_object(struct load_client *client, struct load_object *object)
{
	switch (object->kind) {
	case LOAD_SIGN:
		sign(client, object);
		break;
	case LOAD_SECRET:
		unseal(client, object);
		break;
	case LOAD_HMAC:
		hmac(client, object);
		break;
	case LOAD_DECRYPT:
		decrypt(client, object);
		break;
	}
}

/* What OPERATION is about; NULL where the client has nothing of that kind. */
static struct load_object *object_for(struct load_client *client, enum operation operation)
{
	switch (operation) {
	case SIGN:
		return object_of(client, LOAD_SIGN);
	case UNSEAL:
		return object_of(client, LOAD_SECRET);
	case HMAC:
		return object_of(client, LOAD_HMAC);
	case DECRYPT:
		return object_of(client, LOAD_DECRYPT);
	default:
		return any_object(client);
	}
}

/* False where OPERATION needs what the client does not have. */
static bool run_operation(struct load_client *client, enum operation operation)
{
	struct load_object *object = object_for(client, operation);
	struct load_session *session = session_for(client, operation == POLICY);

	client->doing = operations[operation].name;
	if (operation == RANDOM) {
		get_random(client);
		return true;
	}
	if (operation == LIST) {
		list_handles(client);
		return true;
	}
	if (operation == RENEW || operation == POLICY) {
		if (!session)
			return false;
		if (operation == RENEW)
			client_renew_session(client, session);
		else
			extend_policy(client, session);
		return true;
	}
	if (!object)
		return false;
	if (operation == PUBLIC)
		read_public(client, object);
	else if (operation == RELOAD)
		client_reload(client, object);
	else if (operation == SWAP)
		client_swap(client, object);
	else
		use_object(client, object);
	return true;
}

/* Nothing was lost on the way, whether it was used or not. */
static void check_everything(struct load_client *client)
{
	client->doing = "end";
	for (unsigned int i = 0; i < client->object_count; i++) {
		read_public(client, &client->objects[i]);
		use_object(client, &client->objects[i]);
	}
	for (unsigned int i = 0; i < client->session_count; i++)
		if (client->sessions[i].kind == LOAD_POLICY)
			check_policy(client, &client->sessions[i]);
	list_handles(client);
}

static void run_client(const struct load *load, unsigned int number)
{
	static struct load_client client;
	unsigned long *counts = load->shared->counts[number];
	unsigned long share = load->count / load->clients;

	/* Nobody outlives whoever started this, and nobody runs for ever. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(TIMEOUT_SECONDS);
	client.number = number;
	client.failed = &load->shared->failed;
	client.random.seed = strtoull(load->seed, NULL, 0);
	client.random.state =
		(client.random.seed * CLIENTS_MAX + number + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
	if (number < load->count % load->clients)
		share++;
	client_start(&client, load->tcti, load->objects, load->sessions);
	pthread_barrier_wait(&load->shared->started);
	while (client.random.round < share) {
		enum operation operation = any_operation(&client.random);

		if (!run_operation(&client, operation))
			continue;
		counts[operation]++;
		client.random.round++;
	}
	check_everything(&client);
	client_finish(&client);
}

/* ---- all of them ---------------------------------------------------------------------------- */

/* Waits for all; the first that fails takes the others with it. Returns the exit status. */
static int wait_for_clients(const struct load *load, const pid_t *pids)
{
	int result = 0;
	int status;
	pid_t pid;

	while ((pid = wait(&status)) > 0) {
		if (status == 0 || result != 0)
			continue;
		result = 1;
		if (WIFSIGNALED(status))
			printf("failed: a client ended by signal %d\n", WTERMSIG(status));
		for (unsigned int i = 0; i < load->clients; i++)
			if (pids[i] > 0 && pids[i] != pid)
				kill(pids[i], SIGKILL);
	}
	return result;
}

static int run(const struct load *load)
{
	static pid_t pids[CLIENTS_MAX];

	for (unsigned int i = 0; i < load->clients; i++) {
		pids[i] = fork();
		if (pids[i] < 0) {
			perror("rm-load: fork");
			for (unsigned int j = 0; j < i; j++)
				kill(pids[j], SIGKILL);
			return 1;
		}
		if (pids[i] == 0) {
			run_client(load, i);
			exit(0);
		}
	}
	if (wait_for_clients(load, pids) != 0)
		return 1;
	for (unsigned int i = 0; i < OPERATION_COUNT; i++) {
		unsigned long sum = 0;

		for (unsigned int j = 0; j < load->clients; j++)
			sum += load->shared->counts[j][i];
		printf("%-13s %7lu\n", operations[i].name, sum);
	}
	printf("ok %u operations\n", load->count);
	return 0;
}

static unsigned int parse(const char *text, unsigned int least, unsigned int most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end != '\0' || value < least || value > most) {
		fprintf(stderr, "rm-load: %s is not a number from %u to %u\n", text, least, most);
		exit(2);
	}
	return (unsigned int)value;
}

int main(int argc, char **argv)
{
	struct load load = {.seed = argc > 6 ? argv[6] : SEED_DEFAULT};
	pthread_barrierattr_t attributes;

	if (argc < 6 || argc > 7) {
		fprintf(stderr, "usage: rm-load TCTI CLIENTS KEYS SESSIONS OPERATIONS [SEED]\n");
		return 2;
	}
	load.tcti = argv[1];
	load.clients = parse(argv[2], 1, CLIENTS_MAX);
	load.objects = parse(argv[3], 1, LOAD_OBJECTS_MAX);
	load.sessions = parse(argv[4], 0, LOAD_SESSIONS_MAX);
	load.count = parse(argv[5], 1, OPERATIONS_MAX);
	load.shared = mmap(NULL, sizeof *load.shared, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0); // cppcheck-suppress invalidFunctionArg
	if (load.shared == MAP_FAILED) {
		perror("rm-load: mmap");
		return 2;
	}
	pthread_barrierattr_init(&attributes);
	pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&load.shared->started, &attributes, load.clients);
	return run(&load);
}
