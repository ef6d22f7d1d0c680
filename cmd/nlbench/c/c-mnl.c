// SPDX-License-Identifier: MIT
/*
 * libmnl, as its documentation uses it: mnl_nlmsg_put_header and mnl_attr_put
 * into a buffer of ours, mnl_socket_sendto, mnl_socket_recvfrom, mnl_cb_run
 * with a callback that parses attributes by mnl_attr_parse; several requests in
 * one datagram by its batch.
 *
 * Choices: no acknowledgment is asked for, as the answer tells enough; the
 * buffers are made once; opaque bytes are copied behind the header, where
 * mnl_nlmsg_put_extra_header would write zeros before.
 */
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/netlink_test.h>
#include <linux/nlpeer.h>
#include <stdlib.h>

#include "bench.h"

struct peer {
	struct bench_run *run;
	struct mnl_socket *nl;
	unsigned int portid;
	uint16_t type;
	int genl;
	uint32_t seq;		/* of the last request */
	uint32_t next;		/* of the next answer */
	unsigned long left;	/* answers to come */
	int all;
	unsigned char *out;
	unsigned char *in;
	size_t room;
	unsigned char payload[BENCH_PAYLOAD_MAX];
};

static struct mnl_socket *open_socket(struct bench_run *run, int protocol)
{
	struct mnl_socket *nl = mnl_socket_open(protocol);
	int room = 32 << 20;

	if (!nl) {
		if (errno == EPROTONOSUPPORT)
			bench_skip(run, "this kernel has no netlink protocol %d; is the module loaded?", protocol);
		else
			bench_errno(run, "mnl_socket_open");
		return NULL;
	}
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) ||
	    setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room))) {
		bench_errno(run, "mnl_socket_bind");
		mnl_socket_close(nl);
		return NULL;
	}
	return nl;
}

static int family_attr(const struct nlattr *attr, void *data)
{
	uint16_t *family = data;

	if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID &&
	    !mnl_attr_validate(attr, MNL_TYPE_U16))
		*family = mnl_attr_get_u16(attr);
	return MNL_CB_OK;
}

static int family_cb(const struct nlmsghdr *nlh, void *data)
{
	mnl_attr_parse(nlh, sizeof(struct genlmsghdr), family_attr, data);
	return MNL_CB_OK;
}

/* The number of a family, or 0 after a failure. */
static uint16_t find_family(struct bench_run *run, struct mnl_socket *nl)
{
	unsigned char buf[16384];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct genlmsghdr *genl;
	uint16_t family = 0;
	ssize_t n;

	nlh->nlmsg_type = GENL_ID_CTRL;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	nlh->nlmsg_seq = 1;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = CTRL_CMD_GETFAMILY;
	genl->version = 1;
	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, NLPEER_FAMILY_NAME);
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0) {
		bench_errno(run, "mnl_socket_sendto");
		return 0;
	}
	do {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n > 0)
			n = mnl_cb_run(buf, n, 1, mnl_socket_get_portid(nl),
				       family_cb, &family);
	} while (n > MNL_CB_STOP);
	if (n < 0 && errno == ENOENT)
		bench_skip(run, "this kernel has no family %s; is the module loaded?", NLPEER_FAMILY_NAME);
	else if (n < 0 || !family)
		bench_errno(run, "family");
	return run->failed[0] ? 0 : family;
}

static void put_request(struct peer *p, void *buf)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = p->type;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nlh->nlmsg_seq = ++p->seq;
	if (p->genl) {
		struct genlmsghdr *genl;

		genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
		genl->cmd = NLPEER_CMD_ECHO;
		genl->version = NLPEER_FAMILY_VERSION;
		mnl_attr_put(nlh, NLPEER_A_ECHO_PAYLOAD, p->run->size,
			     p->payload);
	} else {
		memcpy(mnl_nlmsg_get_payload(nlh), p->payload, p->run->size);
		nlh->nlmsg_len += p->run->size;
	}
}

static int echo_attr(const struct nlattr *attr, void *data)
{
	const struct nlattr **tb = data;

	if (mnl_attr_type_valid(attr, NLPEER_A_ECHO_MAX) < 0)
		return MNL_CB_OK;
	if (mnl_attr_validate(attr, MNL_TYPE_BINARY) < 0)
		return MNL_CB_ERROR;
	tb[mnl_attr_get_type(attr)] = attr;
	return MNL_CB_OK;
}

static int echo_cb(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[NLPEER_A_ECHO_MAX + 1] = { 0 };
	struct peer *p = data;
	int bad;

	if (nlh->nlmsg_type != p->type || nlh->nlmsg_seq != p->next++) {
		bench_error(p->run, "an answer of another type, or out of order");
		return MNL_CB_ERROR;
	}
	if (!p->genl) {
		bad = bench_judge(p->run, mnl_nlmsg_get_payload(nlh),
				  mnl_nlmsg_get_payload_len(nlh), p->payload,
				  p->all);
	} else if (mnl_attr_parse(nlh, sizeof(struct genlmsghdr), echo_attr, tb) < 0 ||
		   !tb[NLPEER_A_ECHO_PAYLOAD]) {
		bench_error(p->run, "an answer without its payload");
		bad = -1;
	} else {
		bad = bench_judge(p->run,
				  mnl_attr_get_payload(tb[NLPEER_A_ECHO_PAYLOAD]),
				  mnl_attr_get_payload_len(tb[NLPEER_A_ECHO_PAYLOAD]),
				  p->payload, p->all);
	}
	if (bad)
		return MNL_CB_ERROR;
	return --p->left ? MNL_CB_OK : MNL_CB_STOP;
}

static int exchange(struct peer *p, int all)
{
	unsigned long i, batch = p->run->batch;
	ssize_t n;

	p->all = all;
	p->left = batch;
	p->next = p->seq + 1;
	if (batch == 1) {
		put_request(p, p->out);
		n = mnl_socket_sendto(p->nl, p->out, ((struct nlmsghdr *)p->out)->nlmsg_len);
	} else {
		struct mnl_nlmsg_batch *b = mnl_nlmsg_batch_start(p->out, p->room);

		if (!b) {
			bench_errno(p->run, "mnl_nlmsg_batch_start");
			return -1;
		}
		for (i = 0; i < batch; i++) {
			put_request(p, mnl_nlmsg_batch_current(b));
			mnl_nlmsg_batch_next(b);
		}
		n = mnl_socket_sendto(p->nl, mnl_nlmsg_batch_head(b),
				      mnl_nlmsg_batch_size(b));
		mnl_nlmsg_batch_stop(b);
	}
	if (n < 0) {
		if (errno == EMSGSIZE)
			bench_skip(p->run, "%lu requests do not fit one datagram", batch);
		else
			bench_errno(p->run, "mnl_socket_sendto");
		return -1;
	}
	/* Of several answers each has a number of its own: the callback looks. */
	do {
		n = mnl_socket_recvfrom(p->nl, p->in, p->room);
		if (n > 0)
			n = mnl_cb_run(p->in, n, batch == 1 ? p->seq : 0,
				       p->portid, echo_cb, p);
	} while (n > MNL_CB_STOP);
	if (n < 0)
		bench_errno(p->run, "mnl_cb_run");
	return n;
}

static void echo(struct bench_run *run, int genl)
{
	static struct peer p;
	unsigned long i, rounds = (run->count + run->batch - 1) / run->batch;

	if (run->size > NLPEER_PAYLOAD_MAX) {
		bench_skip(run, "at most %d bytes", NLPEER_PAYLOAD_MAX);
		return;
	}
	p.run = run;
	p.genl = genl;
	p.nl = open_socket(run, genl ? NETLINK_GENERIC : NETLINK_TEST);
	if (!p.nl)
		return;
	p.portid = mnl_socket_get_portid(p.nl);
	p.type = genl ? find_family(run, p.nl) : NETLINK_TEST_MSG_ECHO;
	/* The batch wants room for one message more than it is asked to hold. */
	p.room = (run->size + 64) * (run->batch + 1) + 65536;
	p.out = calloc(1, p.room);
	p.in = calloc(1, p.room);
	bench_pattern(p.payload, run->size);
	if (!p.out || !p.in) {
		bench_errno(run, "calloc");
	} else if (p.type && !exchange(&p, 1)) {
		bench_start(run);
		for (i = 0; i < rounds; i++)
			if (exchange(&p, 0))
				break;
		bench_stop(run, i * run->batch);
		if (!run->failed[0])
			exchange(&p, 1);
	}
	mnl_socket_close(p.nl);
	free(p.out);
	free(p.in);
}

static void echo_raw(struct bench_run *run)
{
	echo(run, 0);
}

static void echo_genl(struct bench_run *run)
{
	echo(run, 1);
}

static int object_attr(const struct nlattr *attr, void *data)
{
	const struct nlattr **tb = data;

	if (mnl_attr_type_valid(attr, NETLINK_TEST_A_OBJECT_MAX) >= 0)
		tb[mnl_attr_get_type(attr)] = attr;
	return MNL_CB_OK;
}

static int object_cb(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[NETLINK_TEST_A_OBJECT_MAX + 1] = { 0 };
	unsigned long *objects = data;

	if (nlh->nlmsg_type != NETLINK_TEST_MSG_OBJECT_NEW ||
	    mnl_attr_parse(nlh, 0, object_attr, tb) < 0 ||
	    !tb[NETLINK_TEST_A_OBJECT_KEY] ||
	    mnl_attr_validate(tb[NETLINK_TEST_A_OBJECT_KEY], MNL_TYPE_NUL_STRING) < 0)
		return MNL_CB_ERROR;
	++*objects;
	return MNL_CB_OK;
}

static void dump_once(struct bench_run *run, struct mnl_socket *nl,
		      uint32_t seq)
{
	static unsigned char in[65536];
	unsigned char out[64];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(out);
	unsigned long objects = 0;
	ssize_t n;

	nlh->nlmsg_type = NETLINK_TEST_MSG_OBJECT_GET;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = seq;
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0) {
		bench_errno(run, "mnl_socket_sendto");
		return;
	}
	do {
		n = mnl_socket_recvfrom(nl, in, sizeof(in));
		if (n > 0)
			n = mnl_cb_run(in, n, seq, mnl_socket_get_portid(nl),
				       object_cb, &objects);
	} while (n > MNL_CB_STOP);
	if (n < 0)
		bench_errno(run, "dump");
	else if (objects != run->size)
		bench_error(run, "the table has %lu objects, not %zu", objects, run->size);
	run->operations += objects;
}

static void dump(struct bench_run *run)
{
	struct mnl_socket *nl = open_socket(run, NETLINK_TEST);
	unsigned long i;

	if (!nl)
		return;
	bench_start(run);
	for (i = 0; i < run->count && !run->failed[0]; i++)
		dump_once(run, nl, i + 1);
	bench_stop(run, 0);
	mnl_socket_close(nl);
}

int main(void)
{
	static const struct bench_case cases[] = {
		{ "echo", echo_raw },
		{ "echo-genl", echo_genl },
		{ "dump", dump },
		{ 0 },
	};

	return bench_main(cases);
}
