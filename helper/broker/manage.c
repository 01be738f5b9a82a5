#include "broker/manage.h"

#include "broker/advice.h"

static const struct permit_item manage_item = {
	.name = "manage", .action = "io.github.tpmgate.manage"};

void manage_ask(struct client *client, bool interactive, client_permitted permitted)
{
	client_authorize(client,
		&(struct permit_request){
			.items = &manage_item,
			.item_count = 1,
			.names = manage_item.name,
			.interactive = interactive,
		},
		permitted);
}

void manage_refuse(struct client *client, enum permit_verdict verdict,
	const struct permit_item *item, const char *problem)
{
	g_autofree char *text = advice_text(&(struct advice){
		.verdict = verdict,
		.name = item->name,
		.action = item->action,
		.problem = problem,
		.uid = client->identity.peer.uid,
	});

	client_refuse(client, advice_status(verdict), "%s", text);
}
