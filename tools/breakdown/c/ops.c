// SPDX-License-Identifier: MIT
/*
 * Repeats one operation for ever with system calls alone, as the least that a
 * program can do, for nlvm profile: it first writes what it measures itself, as
 * NANOSECONDS OPERATIONS, and then calls marker() before each.
 *
 *	ops-c echo-raw|batch-raw|event
 */
#include <linux/netlink.h>
#include <linux/netlink_test.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define PAYLOAD		64	/* what all figures of the documentation are about */
#define BATCH		64
#define WARMUP		1000
#define MEASURED	2000
#define SIZE		(NLMSG_HDRLEN + PAYLOAD)
#define RCVBUF		(32 << 20)

/* Enough events that none is waited for while it is measured. */
#define BURST \
	"nlctl beacon set --interval off --groups 3 --size 64 --burst 4000 >&2"

static int fd;
static unsigned int seq;
static unsigned int count;	/* requests in a datagram */
static char requests[BATCH * SIZE] __attribute__((aligned(8)));
static char answers[65536] __attribute__((aligned(8)));

static __attribute__((noinline)) void marker(void)
{
	__asm__ volatile("");
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void echo(void)
{
	struct nlmsghdr *h;
	unsigned int i, n;
	ssize_t got;

	for (i = 0; i < count; i++) {
		h = (void *)(requests + i * SIZE);
		h->nlmsg_seq = ++seq;
	}
	if (send(fd, requests, count * SIZE, 0) != (ssize_t)(count * SIZE))
		die("send");
	for (n = 0; n < count; n += got / SIZE) {
		got = recv(fd, answers, sizeof(answers), 0);
		if (got <= 0 || got % SIZE)
			die("recv");
		for (i = 0; i < got / SIZE; i++) {
			h = (void *)(answers + i * SIZE);
			if (h->nlmsg_len != SIZE ||
			    h->nlmsg_type != NETLINK_TEST_MSG_ECHO ||
			    h->nlmsg_seq != seq - count + n + i + 1)
				die("answer");
		}
	}
}

/* As little as it takes to know that it is an event. */
static void event(void)
{
	const struct nlmsghdr *h = (void *)answers;
	ssize_t got = recv(fd, answers, sizeof(answers), MSG_DONTWAIT);

	if (got < SIZE || h->nlmsg_type != NETLINK_TEST_MSG_EVENT)
		die("event");
}

static unsigned long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void prepare(void)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	unsigned int i;

	if (connect(fd, (struct sockaddr *)&kernel, sizeof(kernel)))
		die("connect");
	for (i = 0; i < count; i++) {
		struct nlmsghdr *h = (void *)(requests + i * SIZE);

		h->nlmsg_len = SIZE;
		h->nlmsg_type = NETLINK_TEST_MSG_ECHO;
		h->nlmsg_flags = NLM_F_REQUEST;
		memset(NLMSG_DATA(h), 'x', PAYLOAD);
	}
}

static void listen_up(void)
{
	struct sockaddr_nl self = { .nl_family = AF_NETLINK, .nl_groups = 1 << 2 };
	int size = RCVBUF;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    bind(fd, (struct sockaddr *)&self, sizeof(self)) || system(BURST))
		die("listen");
}

int main(int argc, char **argv)
{
	const char *name = argc == 2 ? argv[1] : "";
	void (*operation)(void) = echo;
	unsigned long long began;
	unsigned int i;

	fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_TEST);
	if (fd < 0)
		die("socket");
	if (!strcmp(name, "echo-raw")) {
		count = 1;
		prepare();
	} else if (!strcmp(name, "batch-raw")) {
		count = BATCH;
		prepare();
	} else if (!strcmp(name, "event")) {
		operation = event;
		listen_up();
	} else {
		fprintf(stderr, "ops-c: name one operation: batch-raw, echo-raw, event\n");
		return 1;
	}
	for (i = 0; i < WARMUP; i++)
		operation();
	began = now();
	for (i = 0; i < MEASURED; i++)
		operation();
	printf("%llu %d\n", now() - began, MEASURED);
	fflush(stdout);
	for (;;) {
		marker();
		operation();
	}
}
