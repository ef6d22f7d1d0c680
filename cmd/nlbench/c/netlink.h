/* SPDX-License-Identifier: MIT */
/* Sockets for contenders that use no library. */
#ifndef NLBENCH_NETLINK_H
#define NLBENCH_NETLINK_H

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "bench.h"

static const struct sockaddr_nl the_kernel = { .nl_family = AF_NETLINK };

/*
 * A socket with room for what is measured: only root can have that much. A loss
 * would otherwise wait for ever; the time limit costs nothing until then.
 */
static inline int netlink_open(struct bench_run *run, int protocol)
{
	const struct timeval patience = { .tv_sec = 20 };
	const int room = 32 << 20;
	int fd;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (fd < 0) {
		if (errno == EPROTONOSUPPORT)
			bench_skip(run, "this kernel has no netlink protocol %d; is the module loaded?", protocol);
		else
			bench_errno(run, "socket");
		return -1;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience))) {
		bench_errno(run, "setsockopt");
		close(fd);
		return -1;
	}
	return fd;
}

/* A socket without a port ID of its own would be taken for the sender. */
static inline int netlink_join(struct bench_run *run, int fd, int group)
{
	if (!bind(fd, (const struct sockaddr *)&the_kernel,
		  sizeof(the_kernel)) &&
	    !setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group,
			sizeof(group)))
		return 0;
	bench_errno(run, "join");
	return -1;
}

/* The errno of an error or acknowledgment, positive. */
static inline int netlink_errno(const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *e = NLMSG_DATA(nlh);

	return nlh->nlmsg_len < NLMSG_LENGTH(sizeof(e->error)) ? EBADMSG :
								 -e->error;
}

static inline size_t put_attr(unsigned char *p, uint16_t type,
			      const void *data, size_t len)
{
	struct nlattr *a = (struct nlattr *)p;

	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + len;
	memcpy(p + NLA_HDRLEN, data, len);
	return NLA_ALIGN(a->nla_len);
}

/*
 * Send one request and receive one answer, outside of what is timed. Returns
 * the length of the answer, or 0 after a failure.
 */
static inline size_t netlink_ask(struct bench_run *run, int fd,
				 const void *request, size_t len,
				 void *answer, size_t room)
{
	const struct nlmsghdr *nlh = answer;
	ssize_t n;

	if (sendto(fd, request, len, 0, (const struct sockaddr *)&the_kernel,
		   sizeof(the_kernel)) < 0) {
		bench_errno(run, "sendto");
		return 0;
	}
	n = recv(fd, answer, room, 0);
	if (n < 0) {
		bench_errno(run, "recv");
		return 0;
	}
	if ((size_t)n < sizeof(*nlh) || nlh->nlmsg_len > (size_t)n) {
		bench_error(run, "a message that is cut off");
		return 0;
	}
	return nlh->nlmsg_len;
}

/* The number of a generic netlink family, or 0 after a failure. */
static inline uint16_t genl_family(struct bench_run *run, int fd,
				   const char *name)
{
	_Alignas(struct nlmsghdr) unsigned char request[64] = { 0 };
	_Alignas(struct nlmsghdr) unsigned char answer[16384];
	struct nlmsghdr *nlh = (struct nlmsghdr *)request;
	struct genlmsghdr *genl = NLMSG_DATA(nlh);
	size_t len, at;

	genl->cmd = CTRL_CMD_GETFAMILY;
	genl->version = 1;
	nlh->nlmsg_type = GENL_ID_CTRL;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nlh->nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	nlh->nlmsg_len += put_attr(request + nlh->nlmsg_len,
				   CTRL_ATTR_FAMILY_NAME, name,
				   strlen(name) + 1);
	len = netlink_ask(run, fd, request, nlh->nlmsg_len, answer,
			  sizeof(answer));
	if (!len)
		return 0;

	nlh = (struct nlmsghdr *)answer;
	if (nlh->nlmsg_type == NLMSG_ERROR) {
		if (netlink_errno(nlh) == ENOENT)
			bench_skip(run, "this kernel has no family %s; is the module loaded?", name);
		else
			bench_error(run, "family %s: %s", name,
				    strerror(netlink_errno(nlh)));
		return 0;
	}
	for (at = NLMSG_LENGTH(GENL_HDRLEN); at + NLA_HDRLEN <= len;) {
		const struct nlattr *a = (const struct nlattr *)(answer + at);
		uint16_t id;

		if (a->nla_len < NLA_HDRLEN || a->nla_len > len - at)
			break;
		if (a->nla_type == CTRL_ATTR_FAMILY_ID &&
		    a->nla_len == NLA_HDRLEN + sizeof(id)) {
			memcpy(&id, answer + at + NLA_HDRLEN, sizeof(id));
			return id;
		}
		at += NLA_ALIGN(a->nla_len);
	}
	bench_error(run, "family %s: an answer without its number", name);
	return 0;
}

#endif /* NLBENCH_NETLINK_H */
