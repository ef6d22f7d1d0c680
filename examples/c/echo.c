// SPDX-License-Identifier: MIT
/*
 * Bytes to the kernel and back, with nothing but system calls:
 *
 *	gcc -static -Iinclude/uapi -o echo examples/c/echo.c
 *	nlvm run --put echo -- ./echo hello
 */
#include <linux/netlink.h>
#include <linux/netlink_test.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const char *text = argc > 1 ? argv[1] : "hello";
	struct sockaddr_nl me = { .nl_family = AF_NETLINK };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };	/* nl_pid 0 */
	struct { struct nlmsghdr nlh; char payload[1024]; } out = {}, in = {};
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_TEST);

	out.nlh.nlmsg_len = NLMSG_LENGTH(strnlen(text, sizeof(out.payload)));
	out.nlh.nlmsg_type = NETLINK_TEST_MSG_ECHO;
	out.nlh.nlmsg_flags = NLM_F_REQUEST;
	out.nlh.nlmsg_seq = 1;
	memcpy(out.payload, text, NLMSG_PAYLOAD(&out.nlh, 0));

	if (fd < 0 || bind(fd, (struct sockaddr *)&me, sizeof(me)) ||
	    sendto(fd, &out, out.nlh.nlmsg_len, 0,
		   (struct sockaddr *)&kernel, sizeof(kernel)) < 0 ||
	    recv(fd, &in, sizeof(in), 0) < 0) {
		perror("echo");
		return 1;
	}
	printf("port %u got %.*s\n", in.nlh.nlmsg_pid,
	       (int)NLMSG_PAYLOAD(&in.nlh, 0), in.payload);
	return memcmp(in.payload, out.payload, NLMSG_PAYLOAD(&out.nlh, 0)) != 0;
}
