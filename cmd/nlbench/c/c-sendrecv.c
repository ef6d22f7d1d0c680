// SPDX-License-Identifier: MIT
/*
 * The yardstick: sendto and recv, no library, no allocation while the clock
 * runs. Each request is written anew: header, sequence number, payload; each
 * answer is judged by length, type, sequence number, first and last byte, and
 * those before and after the timed part by all their bytes.
 *
 *	echo, echo-genl, echo-rtnl, echo-connector	one sendto of BATCH
 *		requests, and recv until all are answered
 *	recv		events queued beforehand, a datagram each
 *	recv-packed	the same in a packed group; BATCH of them a burst
 *	dump		COUNT dumps of a table of SIZE objects; an operation is
 *			one object
 *	syscall		a system call that does nothing
 */
#include <linux/connector.h>
#include <linux/netlink_test.h>
#include <linux/nlpeer.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "netlink.h"

/* What stands in front of the payload is the same in request and answer. */
struct carrier {
	int protocol;
	uint16_t request;
	uint16_t answer;
	size_t payload_max;
	size_t head;		/* bytes in front of the payload */
	size_t seq;		/* where a second sequence number is, or 0 */
	int pad;		/* an attribute: its padding counts */
	unsigned char fill[40];	/* of the head, behind nlmsghdr */
};

struct echo {
	const struct carrier *carrier;
	int fd;
	uint32_t seq;
	size_t length;		/* nlmsg_len of a request and of an answer */
	size_t stride;
	unsigned long batch;
	unsigned char *out;
	unsigned char *in;
	size_t room;
	unsigned char payload[BENCH_PAYLOAD_MAX];
};

static inline void write_request(struct echo *e, unsigned char *p, size_t size)
{
	const struct carrier *c = e->carrier;
	struct nlmsghdr *nlh = (struct nlmsghdr *)p;

	nlh->nlmsg_len = e->length;
	nlh->nlmsg_type = c->request;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nlh->nlmsg_seq = ++e->seq;
	nlh->nlmsg_pid = 0;
	if (c->head > NLMSG_HDRLEN)
		memcpy(p + NLMSG_HDRLEN, c->fill, c->head - NLMSG_HDRLEN);
	if (c->seq)
		memcpy(p + c->seq, &nlh->nlmsg_seq, sizeof(nlh->nlmsg_seq));
	memcpy(p + c->head, e->payload, size);
}

/* Returns what is wrong with an answer, or NULL. */
static const char *judge(const struct echo *e, const struct nlmsghdr *nlh,
			 uint32_t seq, size_t size, int all)
{
	const unsigned char *p = (const unsigned char *)nlh + e->carrier->head;

	if (nlh->nlmsg_type != e->carrier->answer)
		return nlh->nlmsg_type == NLMSG_ERROR ?
		       strerror(netlink_errno(nlh)) :
		       "an answer of another type";
	if (nlh->nlmsg_len != e->length)
		return "an answer of another length";
	if (nlh->nlmsg_seq != seq)
		return "an answer out of order";
	if (size && (p[0] != e->payload[0] || p[size - 1] != e->payload[size - 1]))
		return "other bytes than were sent";
	if (all && memcmp(p, e->payload, size))
		return "other bytes than were sent";
	return NULL;
}

/* One sendto, all answers. Returns 0, or -1 after a failure. */
static int exchange(struct bench_run *run, struct echo *e, int all)
{
	uint32_t seq = e->seq + 1;
	unsigned long i, left = e->batch;
	const char *wrong;

	for (i = 0; i < e->batch; i++)
		write_request(e, e->out + i * e->stride, run->size);
	if (sendto(e->fd, e->out, e->batch * e->stride, 0,
		   (const struct sockaddr *)&the_kernel,
		   sizeof(the_kernel)) < 0) {
		if (errno == EMSGSIZE)
			bench_skip(run, "%zu bytes do not fit one sendto",
				   e->batch * e->stride);
		else
			bench_errno(run, "sendto");
		return -1;
	}
	while (left) {
		ssize_t n = recv(e->fd, e->in, e->room, 0);
		size_t at = 0;

		if (n < 0) {
			bench_errno(run, "recv");
			return -1;
		}
		while (at + NLMSG_HDRLEN <= (size_t)n) {
			const struct nlmsghdr *nlh =
				(const struct nlmsghdr *)(e->in + at);

			if (nlh->nlmsg_len < NLMSG_HDRLEN ||
			    nlh->nlmsg_len > (size_t)n - at || !left) {
				bench_error(run, "a datagram of other lengths than it says");
				return -1;
			}
			wrong = judge(e, nlh, seq, run->size, all);
			if (wrong) {
				bench_error(run, "%s", wrong);
				return -1;
			}
			seq++;
			left--;
			at += NLMSG_ALIGN(nlh->nlmsg_len);
		}
	}
	return 0;
}

static void echo_rounds(struct bench_run *run, struct echo *e)
{
	unsigned long i, rounds = (run->count + run->batch - 1) / run->batch;

	if (exchange(run, e, 1))
		return;
	bench_start(run);
	for (i = 0; i < rounds; i++)
		if (exchange(run, e, 0))
			return;
	bench_stop(run, rounds * run->batch);
	exchange(run, e, 1);
}

static void echo(struct bench_run *run, const struct carrier *c, int fd)
{
	static struct echo e;

	if (run->size > c->payload_max) {
		bench_skip(run, "at most %zu bytes", c->payload_max);
		return;
	}
	e.carrier = c;
	e.fd = fd;
	e.length = c->head + run->size;
	e.stride = NLMSG_ALIGN(e.length);
	if (c->pad)
		e.length = e.stride;
	e.batch = run->batch;
	/* The answering datagram is no longer than that of the requests. */
	e.room = e.stride * e.batch + 65536;
	bench_pattern(e.payload, run->size);
	e.out = calloc(e.batch, e.stride);
	e.in = calloc(1, e.room);
	if (e.out && e.in)
		echo_rounds(run, &e);
	else
		bench_errno(run, "calloc");
	free(e.out);
	free(e.in);
}

static void echo_raw(struct bench_run *run)
{
	static const struct carrier raw = {
		.protocol = NETLINK_TEST,
		.request = NETLINK_TEST_MSG_ECHO,
		.answer = NETLINK_TEST_MSG_ECHO,
		.payload_max = NLPEER_PAYLOAD_MAX,
		.head = NLMSG_HDRLEN,
	};
	int fd = netlink_open(run, NETLINK_TEST);

	if (fd < 0)
		return;
	echo(run, &raw, fd);
	close(fd);
}

/* The head of a payload that is an attribute. */
static void fill_attr(struct carrier *c, size_t at, uint16_t type, size_t size)
{
	const struct nlattr a = {
		.nla_len = NLA_HDRLEN + size,
		.nla_type = type,
	};

	memcpy(c->fill + at, &a, sizeof(a));
	c->head = NLMSG_HDRLEN + at + NLA_HDRLEN;
	c->pad = 1;
}

static void echo_genl(struct bench_run *run)
{
	const struct genlmsghdr genl = { .cmd = NLPEER_CMD_ECHO, .version = NLPEER_FAMILY_VERSION };
	struct carrier c = {
		.protocol = NETLINK_GENERIC,
		.payload_max = NLPEER_PAYLOAD_MAX,
	};
	int fd = netlink_open(run, c.protocol);

	if (fd < 0)
		return;
	c.request = c.answer = genl_family(run, fd, NLPEER_FAMILY_NAME);
	memcpy(c.fill, &genl, sizeof(genl));
	fill_attr(&c, GENL_HDRLEN, NLPEER_A_ECHO_PAYLOAD, run->size);
	if (c.request)
		echo(run, &c, fd);
	close(fd);
}

static void echo_rtnl(struct bench_run *run)
{
	struct carrier c = {
		.protocol = NETLINK_ROUTE,
		.request = RTM_GETADDRLABEL,
		.answer = RTM_NEWADDRLABEL,
		.payload_max = NLPEER_PAYLOAD_MAX,
		.fill = { NLPEER_RTNL_FAMILY },
	};
	int fd = netlink_open(run, c.protocol);

	if (fd < 0)
		return;
	fill_attr(&c, NLMSG_ALIGN(sizeof(struct rtgenmsg)),
		  NLPEER_A_OBJECT_PAYLOAD, run->size);
	echo(run, &c, fd);
	close(fd);
}

static void echo_connector(struct bench_run *run)
{
	const struct cn_msg msg = {
		.id = { .idx = NLPEER_CN_IDX, .val = NLPEER_CN_VAL },
		.len = run->size,
	};
	struct carrier c = {
		.protocol = NETLINK_CONNECTOR,
		.request = NLMSG_DONE,
		.answer = NLMSG_DONE,
		.payload_max = NLPEER_CN_PAYLOAD_MAX,
		.head = NLMSG_HDRLEN + sizeof(msg),
		.seq = NLMSG_HDRLEN + offsetof(struct cn_msg, seq),
	};
	int fd;

	if (run->batch > 1) {
		bench_skip(run, "the connector reads one message of a datagram");
		return;
	}
	memcpy(c.fill, &msg, sizeof(msg));
	fd = netlink_open(run, c.protocol);
	if (fd < 0)
		return;
	echo(run, &c, fd);
	close(fd);
}

/* Events that wait in a receive buffer. */
struct queue {
	int fd;
	int feeder;		/* of the family, or a sender of our own */
	uint16_t family;	/* 0: events are our own */
	int group;
	uint64_t seq;		/* of the last one, 0 before the first */
	int packed;
	unsigned char *in;
	size_t room;
};

/* Set the beacon and have it send a burst, of 0 for none; returns an errno. */
static int set_beacon(struct bench_run *run, struct queue *q, uint32_t groups,
		      uint32_t burst)
{
	_Alignas(struct nlmsghdr) unsigned char request[128] = { 0 };
	_Alignas(struct nlmsghdr) unsigned char answer[1024];
	struct nlmsghdr *nlh = (struct nlmsghdr *)request;
	struct genlmsghdr *genl = NLMSG_DATA(nlh);
	uint32_t packed = q->packed ? groups : 0, size = run->size;
	size_t len = NLMSG_LENGTH(GENL_HDRLEN);

	genl->cmd = NLPEER_CMD_BEACON_SET;
	genl->version = NLPEER_FAMILY_VERSION;
	len += put_attr(request + len, NLPEER_A_BEACON_GROUPS, &groups, sizeof(groups));
	len += put_attr(request + len, NLPEER_A_BEACON_SIZE, &size, sizeof(size));
	len += put_attr(request + len, NLPEER_A_BEACON_PACKED, &packed, sizeof(packed));
	if (burst)
		len += put_attr(request + len, NLPEER_A_BEACON_BURST, &burst, sizeof(burst));
	*nlh = (struct nlmsghdr){
		.nlmsg_len = len,
		.nlmsg_type = q->family,
		.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
	};
	if (!netlink_ask(run, q->feeder, request, len, answer, sizeof(answer)))
		return EIO;
	nlh = (struct nlmsghdr *)answer;
	return nlh->nlmsg_type == NLMSG_ERROR ? netlink_errno(nlh) : EBADMSG;
}

/* What the events of one datagram say; returns how many they are, or -1. */
static int read_events(struct bench_run *run, struct queue *q, size_t len)
{
	size_t at, next;
	int n = 0;

	for (at = 0; at + NLMSG_HDRLEN <= len; at = next) {
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)(q->in + at);
		uint64_t seq = 0;
		size_t end, a;

		if (nlh->nlmsg_len < NLMSG_HDRLEN || nlh->nlmsg_len > len - at ||
		    nlh->nlmsg_type != NETLINK_TEST_MSG_EVENT) {
			bench_error(run, "no event");
			return -1;
		}
		end = at + nlh->nlmsg_len;
		next = at + NLMSG_ALIGN(nlh->nlmsg_len);
		for (a = at + NLMSG_HDRLEN; a + NLA_HDRLEN <= end;) {
			const struct nlattr *attr = (const struct nlattr *)(q->in + a);

			if (attr->nla_len < NLA_HDRLEN || attr->nla_len > end - a)
				break;
			if (attr->nla_type == NETLINK_TEST_A_EVENT_SEQ)
				memcpy(&seq, q->in + a + NLA_HDRLEN, sizeof(seq));
			else if (attr->nla_type == NETLINK_TEST_A_EVENT_DATA &&
				 (size_t)attr->nla_len - NLA_HDRLEN != run->size)
				break;
			a += NLA_ALIGN(attr->nla_len);
		}
		if (a < end || !seq || (q->seq && seq != q->seq + 1)) {
			bench_error(run, "event %llu after %llu, or not whole",
				    (unsigned long long)seq,
				    (unsigned long long)q->seq);
			return -1;
		}
		q->seq = seq;
		n++;
	}
	return n;
}

/* Where the kernel has no bursts: the same bytes, from a socket of our own. */
static int send_own(struct bench_run *run, struct queue *q, unsigned long n)
{
	static _Alignas(struct nlmsghdr) unsigned char out[NLPEER_DATA_MAX + 256];
	static unsigned char data[NLPEER_DATA_MAX];
	struct sockaddr_nl to = {
		.nl_family = AF_NETLINK,
		.nl_groups = 1u << (q->group - 1),
	};
	struct nlmsghdr *nlh = (struct nlmsghdr *)out;
	uint32_t group = q->group, kind = NLPEER_KIND_BEACON;
	uint64_t seq = q->seq, now;
	size_t len;

	bench_pattern(data, run->size);
	while (n--) {
		now = bench_now();
		seq++;
		len = NLMSG_HDRLEN;
		len += put_attr(out + len, NETLINK_TEST_A_EVENT_GROUP, &group, sizeof(group));
		len += put_attr(out + len, NETLINK_TEST_A_EVENT_SEQ, &seq, sizeof(seq));
		len += put_attr(out + len, NETLINK_TEST_A_EVENT_TIME, &now, sizeof(now));
		len += put_attr(out + len, NETLINK_TEST_A_EVENT_KIND, &kind, sizeof(kind));
		len += put_attr(out + len, NETLINK_TEST_A_EVENT_DATA, data, run->size);
		*nlh = (struct nlmsghdr){
			.nlmsg_len = len,
			.nlmsg_type = NETLINK_TEST_MSG_EVENT,
		};
		/*
		 * A multicast is a unicast to its port ID too, here that of the
		 * kernel, which does not listen on this protocol.
		 */
		if (sendto(q->feeder, out, len, 0, (struct sockaddr *)&to,
			   sizeof(to)) < 0 && errno != ECONNREFUSED) {
			bench_errno(run, "sendto a group");
			return -1;
		}
	}
	return 0;
}

static int feed(struct bench_run *run, struct queue *q, unsigned long n)
{
	unsigned long burst = run->batch > 1 ? run->batch : n;

	if (!q->family)
		return send_own(run, q, n);
	for (; n; n -= burst) {
		int err;

		if (burst > n)
			burst = n;
		err = set_beacon(run, q, 1u << (q->group - 1), burst);
		if (err) {
			bench_error(run, "beacon-set: %s", strerror(err));
			return -1;
		}
	}
	return 0;
}

/* So many at a time that the receive buffer holds them. */
#define QUEUE_MAX	1024

/* Of events of this size, several fit into a packed datagram. */
#define PACKED_MAX	2048

static void receive_rounds(struct bench_run *run, struct queue *q)
{
	unsigned long done = 0, datagrams = 0;

	while (done < run->count) {
		unsigned long n = run->count - done, got = 0;

		if (n > QUEUE_MAX)
			n = QUEUE_MAX;
		if (feed(run, q, n))
			return;
		bench_start(run);
		while (got < n) {
			ssize_t len = recv(q->fd, q->in, q->room, 0);
			int events;

			if (len < 0) {
				bench_errno(run, "recv");
				return;
			}
			events = read_events(run, q, len);
			if (events < 0)
				return;
			got += events;
			datagrams++;
		}
		bench_stop(run, got);
		done += got;
	}
	if (q->packed ? datagrams == done && run->batch > 1 && run->size <= PACKED_MAX : datagrams != done)
		bench_error(run, "%lu events in %lu datagrams", done, datagrams);
}

/* Opens the sockets; returns 0, or -1 after a failure. */
static int open_queue(struct bench_run *run, struct queue *q)
{
	int err;

	q->feeder = netlink_open(run, NETLINK_GENERIC);
	if (q->feeder < 0)
		return -1;
	q->family = genl_family(run, q->feeder, NLPEER_FAMILY_NAME);
	err = q->family ? set_beacon(run, q, 0, 0) : 0;
	if (q->family && !err) {
		q->fd = netlink_open(run, NETLINK_TEST);
		return q->fd < 0 ? -1 : 0;
	}
	if (err && err != EINVAL) {
		bench_error(run, "beacon-set: %s", strerror(err));
		return -1;
	}
	if (q->packed) {
		bench_skip(run, "the module is too old, or not loaded");
		return -1;
	}
	run->failed[0] = 0;
	q->family = 0;
	close(q->feeder);
	q->feeder = netlink_open(run, NETLINK_USERSOCK);
	q->fd = netlink_open(run, NETLINK_USERSOCK);
	return q->feeder < 0 || q->fd < 0 ? -1 : 0;
}

static void receive_queue(struct bench_run *run, int packed)
{
	struct queue q = {
		.fd = -1,
		.feeder = -1,
		.group = packed ? 6 : 5,
		.packed = packed,
		.room = 65536,
	};

	if (run->size > NLPEER_DATA_MAX) {
		bench_skip(run, "an event has at most %d bytes of data", NLPEER_DATA_MAX);
		return;
	}
	q.in = malloc(q.room);
	if (!q.in)
		bench_errno(run, "malloc");
	else if (!open_queue(run, &q) && !netlink_join(run, q.fd, q.group))
		receive_rounds(run, &q);
	if (q.family)
		set_beacon(run, &q, 0, 0);
	if (q.feeder >= 0)
		close(q.feeder);
	if (q.fd >= 0)
		close(q.fd);
	free(q.in);
}

static void receive(struct bench_run *run)
{
	receive_queue(run, 0);
}

static void receive_packed(struct bench_run *run)
{
	receive_queue(run, 1);
}

/* Reads one dump; returns the number of objects, or -1 after a failure. */
static long read_dump(struct bench_run *run, int fd, unsigned char *in,
		      size_t room, uint32_t seq)
{
	const struct nlmsghdr request = {
		.nlmsg_len = sizeof(request),
		.nlmsg_type = NETLINK_TEST_MSG_OBJECT_GET,
		.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		.nlmsg_seq = seq,
	};
	long objects = 0;

	if (sendto(fd, &request, sizeof(request), 0,
		   (const struct sockaddr *)&the_kernel,
		   sizeof(the_kernel)) < 0) {
		bench_errno(run, "sendto");
		return -1;
	}
	for (;;) {
		ssize_t n = recv(fd, in, room, 0);
		size_t at = 0;

		if (n < 0) {
			bench_errno(run, "recv");
			return -1;
		}
		while (at + NLMSG_HDRLEN <= (size_t)n) {
			const struct nlmsghdr *nlh = (const struct nlmsghdr *)(in + at);
			const struct nlattr *key = (const struct nlattr *)(in + at + NLMSG_HDRLEN);

			if (nlh->nlmsg_len < NLMSG_HDRLEN ||
			    nlh->nlmsg_len > (size_t)n - at || nlh->nlmsg_seq != seq) {
				bench_error(run, "a dump of other messages than it should have");
				return -1;
			}
			if (nlh->nlmsg_type == NLMSG_ERROR || nlh->nlmsg_type == NLMSG_DONE) {
				if (!netlink_errno(nlh))
					return objects;
				bench_error(run, "dump: %s", strerror(netlink_errno(nlh)));
				return -1;
			}
			if (nlh->nlmsg_flags & NLM_F_DUMP_INTR) {
				bench_error(run, "the table changed under the dump");
				return -1;
			}
			if (nlh->nlmsg_type != NETLINK_TEST_MSG_OBJECT_NEW ||
			    nlh->nlmsg_len < NLMSG_HDRLEN + NLA_HDRLEN + 2 ||
			    key->nla_type != NETLINK_TEST_A_OBJECT_KEY) {
				bench_error(run, "no object");
				return -1;
			}
			objects++;
			at += NLMSG_ALIGN(nlh->nlmsg_len);
		}
	}
}

static void dump(struct bench_run *run)
{
	const size_t room = 65536;
	unsigned char *in = malloc(room);
	unsigned long i;
	long objects;
	int fd;

	if (!in) {
		bench_errno(run, "malloc");
		return;
	}
	fd = netlink_open(run, NETLINK_TEST);
	for (i = 0; fd >= 0 && i < run->count; i++) {
		bench_start(run);
		objects = read_dump(run, fd, in, room, i + 1);
		if (objects < 0)
			break;
		bench_stop(run, objects);
		if ((size_t)objects != run->size) {
			bench_error(run, "the table has %ld objects, not %zu",
				    objects, run->size);
			break;
		}
	}
	if (fd >= 0)
		close(fd);
	free(in);
}

static void empty_syscall(struct bench_run *run)
{
	unsigned long i;

	bench_start(run);
	for (i = 0; i < run->count; i++)
		syscall(SYS_getppid);
	bench_stop(run, run->count);
}

int main(void)
{
	static const struct bench_case cases[] = {
		{ "echo", echo_raw },
		{ "echo-genl", echo_genl },
		{ "echo-rtnl", echo_rtnl },
		{ "echo-connector", echo_connector },
		{ "recv", receive },
		{ "recv-packed", receive_packed },
		{ "dump", dump },
		{ "syscall", empty_syscall },
		{ 0 },
	};

	return bench_main(cases);
}
