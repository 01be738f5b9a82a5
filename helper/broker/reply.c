#include "broker/reply.h"

#include "broker/text.h"
#include "common/peer.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>

#define REPLY_DRAIN_MAX 16

uint32_t reply_room(uint32_t item_size)
{
	return (PROTOCOL_REPLY_MAX - (uint32_t)sizeof(struct protocol_reply)) / item_size;
}

void reply_drain(int fd)
{
	char packet[1];
	pid_t pid;
	uid_t uid;

	for (int i = 0; i < REPLY_DRAIN_MAX; i++) {
		ssize_t got = peer_receive(fd, packet, sizeof packet, &pid, &uid);

		if (got <= 0)
			return; /* also where the next packet brings descriptors: it stays */
	}
}

int reply_send(int fd, const struct reply *reply)
{
	struct protocol_reply header;
	char message[sizeof header.message];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec parts[2];
	struct msghdr packet = {.msg_iov = parts, .msg_iovlen = 1};

	text_line(reply->message ? reply->message : "", message, sizeof message);
	header = protocol_reply_new(reply->type, reply->status, message);
	header.session = reply->session;
	parts[0] = (struct iovec){.iov_base = &header, .iov_len = sizeof header};
	if (reply->item_count > 0) {
		size_t size = (size_t)reply->item_count * reply->item_size;

		header.item_count = reply->item_count;
		header.item_size = reply->item_size;
		header.length += (uint32_t)size;
		parts[1] = (struct iovec){
			.iov_base = (void *)(uintptr_t)reply->items, .iov_len = size};
		packet.msg_iovlen = 2;
	}
	if (reply->fd >= 0) {
		struct cmsghdr *rights;

		packet.msg_control = control.bytes;
		packet.msg_controllen = sizeof control.bytes;
		rights = CMSG_FIRSTHDR(&packet);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(rights), &reply->fd, sizeof(int));
	}
	reply_drain(fd);
	return sendmsg(fd, &packet, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}
