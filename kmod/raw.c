// SPDX-License-Identifier: GPL-2.0-only
/*
 * The raw protocol NETLINK_TEST: a kernel socket with port ID 0 and 32 groups
 * in every namespace.
 */
#include <linux/build_bug.h>
#include <linux/netlink.h>
#include <linux/skbuff.h>
#include <net/netlink.h>
#include <net/sock.h>

#include "nlpeer.h"
#include "raw_gen.h"

/* An event has the same attributes on both protocols. */
static_assert((int)NETLINK_TEST_A_EVENT_GROUP == NLPEER_A_EVENT_GROUP);
static_assert((int)NETLINK_TEST_A_EVENT_SEQ == NLPEER_A_EVENT_SEQ);
static_assert((int)NETLINK_TEST_A_EVENT_TIME == NLPEER_A_EVENT_TIME);
static_assert((int)NETLINK_TEST_A_EVENT_KIND == NLPEER_A_EVENT_KIND);
static_assert((int)NETLINK_TEST_A_EVENT_DATA == NLPEER_A_EVENT_DATA);
static_assert((int)NETLINK_TEST_A_EVENT_OBJECT == NLPEER_A_EVENT_OBJECT);
static_assert((int)NETLINK_TEST_A_EVENT_MAX == NLPEER_A_EVENT_MAX);

static int raw_echo(struct nlpeer_answers *answers, struct nlmsghdr *nlh,
		    struct netlink_ext_ack *extack, unsigned int *tx)
{
	int len = nlmsg_len(nlh);
	struct nlmsghdr *answer;
	struct sk_buff *reply;
	int err;

	err = nlpeer_request_flags(nlh, 0, extack);
	if (err && (nlh->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP) {
		NL_SET_ERR_MSG_MOD(extack, "echo has no dump");
		return -EOPNOTSUPP;
	}
	if (err)
		return err;

	if (len > NLPEER_PAYLOAD_MAX) {
		NL_SET_ERR_MSG_MOD(extack, "echo payload is longer than "
				   __stringify(NLPEER_PAYLOAD_MAX) " bytes");
		return -EMSGSIZE;
	}

	reply = nlpeer_answers_room(answers, len);
	if (!reply)
		return -ENOMEM;

	/* The same message, but for where it comes from. */
	answer = __skb_put(reply, nlmsg_total_size(len));
	memcpy(answer, nlh, nlh->nlmsg_len);
	if (nlmsg_padlen(len))
		memset((u8 *)answer + nlh->nlmsg_len, 0, nlmsg_padlen(len));
	answer->nlmsg_flags = 0;
	answer->nlmsg_pid = answers->portid;
	*tx = answer->nlmsg_len;
	return nlpeer_answers_put(answers);
}

/*
 * What a change makes known to its asker is a datagram of its own, and comes
 * behind the answers to the requests before it.
 */
static int raw_change(struct nlpeer_answers *answers,
		      const struct nlmsghdr *nlh,
		      struct netlink_ext_ack *extack)
{
	if (nlmsg_report(nlh))
		nlpeer_answers_flush(answers);
	return nlpeer_request_admin(answers->requests, extack);
}

static int raw_object_new(struct nlpeer_net *nn, struct nlpeer_answers *answers,
			  struct nlmsghdr *nlh, struct netlink_ext_ack *extack)
{
	int err = raw_change(answers, nlh, extack);

	return err ? err : nlpeer_request_new(nn, NLPEER_CARRIER_RAW,
					      answers->requests, nlh, 0,
					      extack);
}

static int raw_object_del(struct nlpeer_net *nn, struct nlpeer_answers *answers,
			  struct nlmsghdr *nlh, struct netlink_ext_ack *extack)
{
	int err = raw_change(answers, nlh, extack);

	return err ? err : nlpeer_request_del(nn, NLPEER_CARRIER_RAW,
					      answers->requests, nlh, 0,
					      extack);
}

static int raw_put_object(struct sk_buff *skb, u32 portid, u32 seq, int flags,
			  const struct nlpeer_object *obj,
			  struct netlink_callback *cb)
{
	struct nlmsghdr *nlh;

	nlh = nlmsg_put(skb, portid, seq, NETLINK_TEST_MSG_OBJECT_NEW, 0,
			flags);
	if (!nlh)
		return -EMSGSIZE;

	if (nlpeer_object_fill(skb, obj, obj->generation)) {
		nlmsg_cancel(skb, nlh);
		return -EMSGSIZE;
	}
	if (cb)
		nl_dump_check_consistent(cb, nlh);
	nlmsg_end(skb, nlh);
	return 0;
}

static int raw_object_get(struct nlpeer_net *nn, struct nlpeer_answers *answers,
			  struct nlmsghdr *nlh, struct netlink_ext_ack *extack,
			  unsigned int *tx)
{
	struct nlpeer_object_request req;
	struct nlpeer_object *obj;
	struct sk_buff *reply;
	unsigned int before;
	int err;

	err = nlpeer_request_flags(nlh, 0, extack);
	if (!err)
		err = nlpeer_request_parse(nlh, 0,
					   NETLINK_TEST_OBJECT_GET_DO_POLICY_MAX,
					   netlink_test_object_get_do_policy,
					   &req, NULL, extack);
	if (err)
		return err;

	obj = nlpeer_object_get(nn, &req, extack);
	if (IS_ERR(obj))
		return PTR_ERR(obj);

	reply = nlpeer_answers_room(answers, nlpeer_object_size(obj));
	if (!reply) {
		nlpeer_object_put(obj);
		return -ENOMEM;
	}
	before = reply->len;
	err = raw_put_object(reply, answers->portid, nlh->nlmsg_seq, 0, obj,
			     NULL);
	nlpeer_object_put(obj);
	if (WARN_ON_ONCE(err))		/* the room was just made */
		return err;

	*tx = reply->len - before;
	return nlpeer_answers_put(answers);
}

static int raw_object_dump_start(struct netlink_callback *cb)
{
	struct nlpeer_net *nn = nlpeer_pernet(sock_net(cb->skb->sk));
	struct netlink_ext_ack *extack = cb->data;

	cb->data = NULL;	/* gone when the request has been answered */
	return nlpeer_request_dump(nn, cb, 0, extack);
}

static int raw_dump_object(struct sk_buff *skb, struct netlink_callback *cb,
			   const struct nlpeer_object *obj, int flags)
{
	return raw_put_object(skb, NETLINK_CB(cb->skb).portid,
			      cb->nlh->nlmsg_seq, flags, obj, cb);
}

static int raw_object_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct nlpeer_object_dump *dump = (void *)cb->ctx;
	int err;

	err = nlpeer_object_dump_next(dump, skb, cb, raw_dump_object);
	nlpeer_count_reply(dump->nn, NLPEER_CARRIER_RAW, skb->len);
	return err;
}

static int raw_object_dump_done(struct netlink_callback *cb)
{
	nlpeer_object_dump_done((void *)cb->ctx);
	return 0;
}

static int raw_object_dump_request(struct nlpeer_net *nn,
				   struct nlpeer_answers *answers,
				   struct nlmsghdr *nlh,
				   struct netlink_ext_ack *extack)
{
	struct netlink_dump_control control = {
		.start = raw_object_dump_start,
		.dump = raw_object_dump,
		.done = raw_object_dump_done,
		.data = extack,		/* not every kernel hands it to start */
		.min_dump_alloc = NLPEER_OBJECT_MSG_MAX,
	};

	nlpeer_answers_flush(answers);	/* the dump begins by itself */
	return netlink_dump_start(nn->raw, answers->requests, nlh, &control);
}

static int raw_refuse(const struct nlmsghdr *nlh,
		      struct netlink_ext_ack *extack)
{
	if (nlh->nlmsg_type == NETLINK_TEST_MSG_EVENT)
		NL_SET_ERR_MSG_MOD(extack, "events are sent by the kernel only");
	else
		NL_SET_ERR_MSG_MOD(extack, "unknown message type");
	return -EOPNOTSUPP;
}

static int raw_handle(struct nlpeer_net *nn, struct nlpeer_answers *answers,
		      struct nlmsghdr *nlh, struct netlink_ext_ack *extack,
		      unsigned int *tx)
{
	switch (nlh->nlmsg_type) {
	case NETLINK_TEST_MSG_ECHO:
		return raw_echo(answers, nlh, extack, tx);
	case NETLINK_TEST_MSG_OBJECT_NEW:
		return raw_object_new(nn, answers, nlh, extack);
	case NETLINK_TEST_MSG_OBJECT_DEL:
		return raw_object_del(nn, answers, nlh, extack);
	case NETLINK_TEST_MSG_OBJECT_GET:
		if (nlh->nlmsg_flags & NLM_F_DUMP)
			return raw_object_dump_request(nn, answers, nlh,
						       extack);
		return raw_object_get(nn, answers, nlh, extack, tx);
	default:
		return raw_refuse(nlh, extack);
	}
}

/* What goes well leaves @extack empty. */
static void raw_request(struct nlpeer_net *nn, struct nlpeer_answers *answers,
			struct nlmsghdr *nlh, struct netlink_ext_ack *extack,
			struct nlpeer_tally *tally)
{
	unsigned int tx = 0;
	int err = 0;

	/* What is no request is passed over. */
	if (nlh->nlmsg_flags & NLM_F_REQUEST &&
	    nlh->nlmsg_type >= NLMSG_MIN_TYPE) {
		err = raw_handle(nn, answers, nlh, extack, &tx);
		if (err && err != -EINTR) {
			nlpeer_count_request(nn, NLPEER_CARRIER_RAW,
					     nlh->nlmsg_len, 0, err);
		} else {
			tally->requests++;
			tally->replies += tx != 0;
			tally->rx += nlh->nlmsg_len;
			tally->tx += tx;
		}
		/* A dump that has begun ends by itself, without an answer. */
		if (err == -EINTR)
			return;
	}
	if (err || nlh->nlmsg_flags & NLM_F_ACK)
		nlpeer_answers_ack(answers, nlh, err, extack);
	if (err)
		*extack = (struct netlink_ext_ack) {};
}

/* Is it an echo that asks for nothing else, whole with its padding? */
static bool raw_plain_echo(const struct nlmsghdr *nlh, unsigned int rest)
{
	return nlh->nlmsg_type == NETLINK_TEST_MSG_ECHO &&
	       nlh->nlmsg_flags == NLM_F_REQUEST &&
	       nlh->nlmsg_len >= NLMSG_HDRLEN &&
	       nlh->nlmsg_len <= NLMSG_HDRLEN + NLPEER_PAYLOAD_MAX &&
	       NLMSG_ALIGN(nlh->nlmsg_len) <= rest;
}

/*
 * Answer a batch of nothing but plain echoes as raw_echo() does, but by the
 * datagram that it came in, which is sent back: nothing is copied, and no memory
 * made but for another sk_buff, as what is done for each message is what a batch
 * costs. Return false, with nothing done, if it is none.
 *
 * The bytes are written to only if nobody else has them: those in a group do if
 * the sender named one.
 */
static bool raw_send_back(const struct nlpeer_answers *answers,
			  struct sk_buff *requests, struct nlpeer_tally *tally)
{
	unsigned int rest = requests->len, count = 0, bytes = 0, size;
	struct nlmsghdr *nlh = nlmsg_hdr(requests);
	struct sk_buff *skb;

	if (!answers->pack || rest > answers->limit || skb_cloned(requests))
		return false;
	while (rest >= NLMSG_HDRLEN) {
		if (!raw_plain_echo(nlh, rest))
			return false;
		size = NLMSG_ALIGN(nlh->nlmsg_len);
		bytes += nlh->nlmsg_len;
		rest -= size;
		nlh = (void *)nlh + size;
		count++;
	}

	skb = netlink_skb_clone(requests, GFP_KERNEL);
	if (!skb)
		return false;
	skb_trim(skb, skb->len - rest);
	/* It is the kernel's now: port ID, credentials and all. */
	NETLINK_CB(skb) = (struct netlink_skb_parms) {};

	*tally = (struct nlpeer_tally) {
		.requests = count, .replies = count, .rx = bytes, .tx = bytes,
	};
	for (nlh = nlmsg_hdr(skb); count; count--) {
		size = nlh->nlmsg_len;
		nlh->nlmsg_flags = 0;
		nlh->nlmsg_pid = answers->portid;
		if (size % NLMSG_ALIGNTO)
			memset((u8 *)nlh + size, 0, NLMSG_ALIGN(size) - size);
		nlh = (void *)nlh + NLMSG_ALIGN(size);
	}
	nlmsg_unicast(answers->sk, skb, answers->portid);
	return true;
}

/*
 * Requests of one send come in order, and are read by the rules of
 * netlink_rcv_skb(), which has no way to tell a handler that there are more.
 *
 * Context: process, that of the sender.
 */
static void raw_input(struct sk_buff *skb)
{
	struct nlpeer_net *nn = nlpeer_pernet(sock_net(skb->sk));
	struct netlink_ext_ack extack = {};
	struct nlpeer_tally tally = {};
	struct nlpeer_answers answers;
	struct nlmsghdr *nlh;
	int rest = skb->len;

	/* A request may come in before nlpeer_raw_init() knows the socket. */
	if (!READ_ONCE(nn->raw))
		WRITE_ONCE(nn->raw, skb->sk);
	nlpeer_answers_begin(&answers, nn->raw, skb, nlpeer_batch);
	if (raw_send_back(&answers, skb, &tally))
		goto count;
	nlh = nlmsg_hdr(skb);
	while (nlmsg_ok(nlh, rest)) {
		answers.rest = rest;
		raw_request(nn, &answers, nlh, &extack, &tally);
		nlh = nlmsg_next(nlh, &rest);
	}
	nlpeer_answers_flush(&answers);
count:
	if (tally.requests)
		nlpeer_count_tally(nn, NLPEER_CARRIER_RAW, &tally);
}

/**
 * nlpeer_raw_init - open the kernel's socket in a namespace
 * @nn: the namespace, complete but for this
 * @protocol: netlink protocol number
 * @user_send: without CAP_NET_ADMIN too, a process may send to others
 *
 * The netlink core takes the flags from the first socket of a protocol and
 * keeps them for all namespaces until the last one is closed, so @user_send
 * must be the same in all.
 *
 * Context: process, may sleep.
 * Return: 0 or -ENOMEM; in the first namespace -EADDRINUSE if the number is
 * taken (or, as the netlink core does not tell, if memory is short).
 */
int nlpeer_raw_init(struct nlpeer_net *nn, int protocol, bool user_send)
{
	struct netlink_kernel_cfg cfg = {
		.groups = NLPEER_RAW_GROUPS,
		.flags = NL_CFG_F_NONROOT_RECV,
		.input = raw_input,
	};

	if (user_send)
		cfg.flags |= NL_CFG_F_NONROOT_SEND;

	WRITE_ONCE(nn->raw, netlink_kernel_create(nn->net, protocol, &cfg));
	/* Who has the number in one namespace has it in all. */
	if (!nn->raw)
		return net_eq(nn->net, &init_net) ? -EADDRINUSE : -ENOMEM;

	sock_hold(nn->raw);	/* see nlpeer_raw_put() */
	return 0;
}

/**
 * nlpeer_raw_exit - close the kernel's socket in a namespace
 * @nn: the namespace, whose beacon has been stopped
 *
 * Context: process, may sleep. No request is being handled after it returns.
 */
void nlpeer_raw_exit(struct nlpeer_net *nn)
{
	netlink_kernel_release(nn->raw);
}

/**
 * nlpeer_raw_put - forget the kernel's socket in a namespace
 * @nn: the namespace, in which nobody has a socket of the protocol any more
 *
 * Requests are charged to it without a reference, and a dump keeps the one that
 * began it until it ends. So after a load that failed it is needed for longer
 * than it is open.
 *
 * Context: process.
 */
void nlpeer_raw_put(struct nlpeer_net *nn)
{
	if (nn->raw)
		sock_put(nn->raw);
}

/**
 * nlpeer_raw_wanted - does anybody listen to a group of this protocol
 * @nn: the namespace
 * @group: 1 to 32
 *
 * Context: any.
 * Return: see nlpeer_event_wanted().
 */
bool nlpeer_raw_wanted(const struct nlpeer_net *nn, u32 group)
{
	return netlink_has_listeners(nn->raw, group);
}

/**
 * nlpeer_raw_event - multicast events to a group of this protocol
 * @nn: the namespace
 * @ev: the first event
 * @n: how many, alike but for their numbers, in one datagram
 * @cause: the request that is the cause, or NULL
 *
 * If it came over this protocol, its port ID and sequence number stand in the
 * header, and it gets the event too if it asked for that.
 *
 * Context: process, may sleep.
 * Return: false if there was no memory; the listeners have been told.
 */
bool nlpeer_raw_event(struct nlpeer_net *nn, const struct nlpeer_event *ev,
		      u32 n, const struct nlpeer_cause *cause)
{
	bool ours = cause && cause->via == NLPEER_CARRIER_RAW;
	u32 portid = ours ? cause->portid : 0;
	struct nlpeer_event each = *ev;
	struct nlmsghdr *nlh;
	struct sk_buff *skb;

	skb = alloc_skb(n * nlmsg_total_size(nlpeer_event_size(ev)),
			GFP_KERNEL);
	if (!skb)
		goto lost;

	for (; each.seq < ev->seq + n; each.seq++) {
		nlh = nlmsg_put(skb, portid, ours ? cause->seq : 0,
				NETLINK_TEST_MSG_EVENT, 0, 0);
		if (WARN_ON_ONCE(!nlh || nlpeer_event_put(skb, &each))) {
			nlmsg_free(skb);
			goto lost;
		}
		nlmsg_end(skb, nlh);
	}

	nlmsg_notify(nn->raw, skb, portid, ev->group, ours && cause->echo,
		     GFP_KERNEL);
	return true;

lost:
	netlink_set_err(nn->raw, 0, ev->group, -ENOBUFS);
	return false;
}
