// SPDX-License-Identifier: MIT
/*
 * libnl, as its documentation uses it: a message allocated and filled for each
 * request, nl_send_auto, nl_recvmsgs_default with a callback for valid messages
 * that parses attributes into a table.
 *
 * Choices that its documentation offers and that make it faster: no automatic
 * acknowledgments, as the answer tells enough; no peeking at the size of each
 * datagram, as the greatest is known, which makes two system calls of three.
 * It has no call that sends several messages in one datagram.
 */
#include <linux/netlink_test.h>
#include <linux/nlpeer.h>
#include <netlink/attr.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include "bench.h"

struct peer {
	struct bench_run *run;
	struct nl_sock *sk;
	int family;
	int all;
	uint32_t seq;		/* of the request */
	unsigned long answers;
	unsigned char payload[BENCH_PAYLOAD_MAX];
};

static void fail(struct bench_run *run, const char *what, int err)
{
	bench_error(run, "%s: %s", what, nl_geterror(err));
}

static int judge(struct peer *p, struct nlmsghdr *nlh)
{
	struct nlattr *tb[NLPEER_A_ECHO_MAX + 1];

	if (!p->family)
		return bench_judge(p->run, nlmsg_data(nlh), nlmsg_datalen(nlh),
				   p->payload, p->all);
	if (genlmsg_parse(nlh, 0, tb, NLPEER_A_ECHO_MAX, NULL) < 0 ||
	    !tb[NLPEER_A_ECHO_PAYLOAD]) {
		bench_error(p->run, "an answer without its payload");
		return -1;
	}
	return bench_judge(p->run, nla_data(tb[NLPEER_A_ECHO_PAYLOAD]),
			   nla_len(tb[NLPEER_A_ECHO_PAYLOAD]), p->payload,
			   p->all);
}

static int echo_cb(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *nlh = nlmsg_hdr(msg);
	struct peer *p = arg;

	if (nlh->nlmsg_seq != p->seq)
		bench_error(p->run, "an answer out of order");
	else
		judge(p, nlh);
	p->answers++;
	return NL_OK;
}

static struct nl_msg *make_request(struct peer *p)
{
	struct nl_msg *msg = nlmsg_alloc_size(p->run->size + 64);
	int err;

	if (!msg)
		return NULL;
	if (p->family) {
		err = genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, p->family, 0,
				  0, NLPEER_CMD_ECHO, NLPEER_FAMILY_VERSION) ? 0 : -NLE_NOMEM;
		if (!err)
			err = nla_put(msg, NLPEER_A_ECHO_PAYLOAD, p->run->size,
				      p->payload);
	} else {
		err = nlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ,
				NETLINK_TEST_MSG_ECHO, 0, 0) ? 0 : -NLE_NOMEM;
		if (!err)
			err = nlmsg_append(msg, p->payload, p->run->size, 0);
	}
	if (err) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

static int exchange(struct peer *p, int all)
{
	struct nl_msg *msg = make_request(p);
	int err;

	if (!msg) {
		bench_error(p->run, "no memory for a message");
		return -1;
	}
	p->all = all;
	p->answers = 0;
	err = nl_send_auto(p->sk, msg);
	p->seq = nlmsg_hdr(msg)->nlmsg_seq;
	nlmsg_free(msg);
	if (err < 0) {
		fail(p->run, "nl_send_auto", err);
		return -1;
	}
	while (!p->answers) {
		err = nl_recvmsgs_default(p->sk);
		if (err < 0) {
			fail(p->run, "nl_recvmsgs_default", err);
			return -1;
		}
	}
	return p->run->failed[0] ? -1 : 0;
}

/* Returns 0, or -1 after a failure. */
static int open_peer(struct peer *p, int protocol, nl_recvmsg_msg_cb_t cb)
{
	int err;

	p->sk = nl_socket_alloc();
	if (!p->sk) {
		bench_error(p->run, "no memory for a socket");
		return -1;
	}
	nl_socket_disable_auto_ack(p->sk);
	nl_socket_modify_cb(p->sk, NL_CB_VALID, NL_CB_CUSTOM, cb, p);
	err = nl_connect(p->sk, protocol);
	if (err < 0) {
		if (err == -NLE_PROTO_MISMATCH || errno == EPROTONOSUPPORT)
			bench_skip(p->run, "this kernel has no netlink protocol %d; is the module loaded?", protocol);
		else
			fail(p->run, "nl_connect", err);
		return -1;
	}
	nl_socket_disable_msg_peek(p->sk);
	err = nl_socket_set_msg_buf_size(p->sk, 65536);
	if (!err)
		err = nl_socket_set_buffer_size(p->sk, 200000, 200000);
	if (err)
		fail(p->run, "size of buffers", err);
	return err ? -1 : 0;
}

static void echo_rounds(struct peer *p)
{
	struct bench_run *run = p->run;
	unsigned long i;

	bench_pattern(p->payload, run->size);
	if (exchange(p, 1))
		return;
	bench_start(run);
	for (i = 0; i < run->count; i++)
		if (exchange(p, 0))
			return;
	bench_stop(run, run->count);
	exchange(p, 1);
}

static void echo(struct bench_run *run, int genl)
{
	static struct peer p;

	if (run->size > NLPEER_PAYLOAD_MAX) {
		bench_skip(run, "at most %d bytes", NLPEER_PAYLOAD_MAX);
		return;
	}
	if (run->batch > 1) {
		bench_skip(run, "libnl has no call that sends several messages in one datagram");
		return;
	}
	p.run = run;
	p.family = 0;
	if (!open_peer(&p, genl ? NETLINK_GENERIC : NETLINK_TEST, echo_cb)) {
		if (genl)
			p.family = genl_ctrl_resolve(p.sk, NLPEER_FAMILY_NAME);
		if (p.family < 0)
			bench_skip(run, "family %s: %s; is the module loaded?",
				   NLPEER_FAMILY_NAME, nl_geterror(p.family));
		else
			echo_rounds(&p);
	}
	nl_socket_free(p.sk);
}

static void echo_raw(struct bench_run *run)
{
	echo(run, 0);
}

static void echo_genl(struct bench_run *run)
{
	echo(run, 1);
}

static int object_cb(struct nl_msg *msg, void *arg)
{
	static const struct nla_policy policy[NETLINK_TEST_A_OBJECT_MAX + 1] = {
		[NETLINK_TEST_A_OBJECT_KEY] = { .type = NLA_STRING },
	};
	struct nlattr *tb[NETLINK_TEST_A_OBJECT_MAX + 1];
	struct nlmsghdr *nlh = nlmsg_hdr(msg);
	struct peer *p = arg;

	if (nlh->nlmsg_type != NETLINK_TEST_MSG_OBJECT_NEW || nlh->nlmsg_seq != p->seq ||
	    nlmsg_parse(nlh, 0, tb, NETLINK_TEST_A_OBJECT_MAX, (struct nla_policy *)policy) < 0 ||
	    !tb[NETLINK_TEST_A_OBJECT_KEY])
		bench_error(p->run, "no object");
	p->answers++;
	return NL_OK;
}

static void dump_once(struct peer *p)
{
	struct bench_run *run = p->run;
	int err;

	p->answers = 0;
	p->seq = nl_socket_use_seq(p->sk) + 1;
	err = nl_send_simple(p->sk, NETLINK_TEST_MSG_OBJECT_GET, NLM_F_DUMP,
			     NULL, 0);
	if (err >= 0)
		err = nl_recvmsgs_default(p->sk);	/* to its end */
	if (err < 0)
		fail(run, "dump", err);
	else if (p->answers != run->size)
		bench_error(run, "the table has %lu objects, not %zu", p->answers, run->size);
	run->operations += p->answers;
}

static void dump(struct bench_run *run)
{
	static struct peer p;
	unsigned long i;

	p.run = run;
	if (!open_peer(&p, NETLINK_TEST, object_cb)) {
		bench_start(run);
		for (i = 0; i < run->count && !run->failed[0]; i++)
			dump_once(&p);
		bench_stop(run, 0);
	}
	nl_socket_free(p.sk);
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
