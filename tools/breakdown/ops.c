// SPDX-License-Identifier: MIT
/*
 * Repeats one operation for ever with system calls alone, as the least that a
 * program can do, for nlvm profile: it calls marker() before each, and first
 * writes what it measures itself, as NANOSECONDS OPERATIONS.
 *
 *	ops-c echo-raw|batch-raw
 */
#include <linux/netlink.h>
#include <linux/netlink_test.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define PAYLOAD		64	/* that of all figures of the documentation */
#define BATCH		64	/* requests in a datagram */
#define MEASURED	1000
#define SIZE		(NLMSG_HDRLEN + PAYLOAD)

static int fd;
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

static void operation(void)
{
	static unsigned int seq;
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
			if (h->nlmsg_len != SIZE || h->nlmsg_type != NETLINK_TEST_MSG_ECHO ||
			    h->nlmsg_seq != seq - count + n + i + 1)
				die("answer");
		}
	}
}

static unsigned long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	unsigned long long began;
	unsigned int i;

	if (argc == 2 && !strcmp(argv[1], "echo-raw"))
		count = 1;
	else if (argc == 2 && !strcmp(argv[1], "batch-raw"))
		count = BATCH;
	else
		return fprintf(stderr, "ops-c: name one operation: echo-raw, batch-raw\n"), 2;

	fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_TEST);
	if (fd < 0 || connect(fd, (struct sockaddr *)&kernel, sizeof(kernel)))
		die("socket");
	for (i = 0; i < count; i++) {
		struct nlmsghdr *h = (void *)(requests + i * SIZE);

		h->nlmsg_len = SIZE;
		h->nlmsg_type = NETLINK_TEST_MSG_ECHO;
		h->nlmsg_flags = NLM_F_REQUEST;
		memset(NLMSG_DATA(h), 'x', PAYLOAD);
	}
	for (i = 0; i < MEASURED; i++)
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
