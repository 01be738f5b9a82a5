/*
 * ACCOUNT: what the ledger has of a TPM for the caller. Nobody else's charge is told, but the TPM's
 * own counter, which every session can read anyway.
 */
#include "broker/client.h"

#include "common/lockout.h"

#include <string.h>

void balance_tell(struct client *client)
{
	const struct broker *broker = client->broker;
	g_autofree char *problem = NULL;
	const struct device *device =
		device_list_find(broker->devices, client->request.device, &problem);
	struct protocol_account item;
	struct ledger_report report;

	if (!device) {
		client_refuse(client, PROTOCOL_NO_DEVICE, "%s", problem);
		return;
	}
	report = ledger_report(broker->accounts.ledger, device->name, client->identity.peer.uid);
	memset(&item, 0, sizeof item);
	g_strlcpy(item.device, device->name, sizeof item.device);
	item.counter = report.lockout.counter;
	item.maximum = report.lockout.maximum;
	item.limit = lockout_counter_limit(report.lockout.maximum);
	item.interval = report.lockout.interval;
	item.charge = report.charge;
	item.charge_limit = lockout_charge_limit(report.lockout.maximum);
	item.charge_falls = report.charge_falls;
	item.tpm_sessions = report.tpm_sessions;
	item.tpm_sessions_max = broker->config.tpm_sessions_per_user;
	item.nv_writes = report.nv_writes;
	item.nv_writes_max = broker->config.nv_writes_per_hour;
	client_reply_items(client, &item, 1, sizeof item);
}
