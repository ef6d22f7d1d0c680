// SPDX-License-Identifier: MIT
/*
 * Says something to a port, and prints what comes back from there.
 *
 *	hello PORT TEXT
 */
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define MSG_TEXT	NLMSG_MIN_TYPE
#define TEXT_MAX	1024

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* Sends a text to a port. */
static void say(int fd, unsigned int port, const char *text)
{
	union {
		struct nlmsghdr header;
		char bytes[NLMSG_SPACE(TEXT_MAX)];
	} buf;
	struct sockaddr_nl to = { 0 };
	size_t len = strlen(text);

	/* "= { 0 }" promises only the header, and the padding is sent, too. */
	memset(&buf, 0, sizeof(buf));
	if (len > TEXT_MAX) {
		fprintf(stderr, "hello: that is too long\n");
		exit(1);
	}
	/*
	 * TODO(5): fill the address, nl_family and nl_pid, and the message:
	 * the length and the type in its header, the text at NLMSG_DATA(),
	 * without its '\0'. NLMSG_LENGTH(n) is what belongs into nlmsg_len for
	 * n bytes of text, NLMSG_SPACE(n) how many bytes are sent.
	 */
	(void)port;
	if (sendto(fd, &buf, NLMSG_SPACE(0), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("sendto");
}

/* Waits for a text, and prints it. */
static void hear(int fd)
{
	union {
		struct nlmsghdr header;
		char bytes[8192];
	} buf;
	struct sockaddr_nl from;
	socklen_t size = sizeof(from);
	ssize_t n;

	n = recvfrom(fd, &buf, sizeof(buf), 0, (struct sockaddr *)&from, &size);
	if (n < 0)
		die("recvfrom");
	if (!NLMSG_OK(&buf.header, n)) {
		fprintf(stderr, "hello: a message whose length does not fit\n");
		exit(1);
	}
	printf("from port %u: %.*s\n", from.nl_pid, (int)NLMSG_PAYLOAD(&buf.header, 0),
	       (char *)NLMSG_DATA(&buf.header));
}

int main(int argc, char **argv)
{
	struct sockaddr_nl me = { .nl_family = AF_NETLINK };
	struct timeval limit = { .tv_sec = 20 };
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: hello PORT TEXT\n");
		return 2;
	}
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_USERSOCK);
	if (fd < 0)
		die("socket");
	if (bind(fd, (struct sockaddr *)&me, sizeof(me)) < 0)
		die("bind");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		die("SO_RCVTIMEO");
	say(fd, strtoul(argv[1], NULL, 0), argv[2]);
	hear(fd);
	close(fd);
	return 0;
}
