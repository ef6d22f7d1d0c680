// SPDX-License-Identifier: MIT
/*
 * The least that a C program does for an operation: a prepared request, send
 * and recv. For nlvm profile: marker() is called between two operations.
 *
 *	echo-c [raw|genl FAMILY|event]
 */
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PAYLOAD 64
#define ECHO 16

static __attribute__((noinline)) void marker(void)
{
	__asm__ volatile("");
}

int main(void)
{
	struct {
		struct nlmsghdr h;
		char payload[PAYLOAD];
	} request = {
		.h = {
			.nlmsg_len = sizeof(request),
			.nlmsg_type = ECHO,
			.nlmsg_flags = NLM_F_REQUEST,
		},
	};
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	char answer[8192];
	unsigned int seq;
	int fd;

	fd = socket(AF_NETLINK, SOCK_RAW, 31);
	if (fd < 0 || connect(fd, (struct sockaddr *)&kernel, sizeof(kernel))) {
		perror("echo-c");
		return 1;
	}
	memset(request.payload, 'x', PAYLOAD);
	for (seq = 1;; seq++) {
		marker();
		request.h.nlmsg_seq = seq;
		if (sendto(fd, &request, sizeof(request), 0, NULL, 0) < 0 ||
		    recv(fd, answer, sizeof(answer), 0) != sizeof(request) ||
		    memcmp(answer + 16, request.payload, PAYLOAD)) {
			perror("echo-c");
			return 1;
		}
	}
}
