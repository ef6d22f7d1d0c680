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

/* An event has the same attributes on both protocols. */
static_assert((int)NETLINK_TEST_A_EVENT_GROUP == NLPEER_A_EVENT_GROUP);
static_assert((int)NETLINK_TEST_A_EVENT_SEQ == NLPEER_A_EVENT_SEQ);
static_assert((int)NETLINK_TEST_A_EVENT_TIME == NLPEER_A_EVENT_TIME);
static_assert((int)NETLINK_TEST_A_EVENT_KIND == NLPEER_A_EVENT_KIND);
static_assert((int)NETLINK_TEST_A_EVENT_DATA == NLPEER_A_EVENT_DATA);
static_assert((int)NETLINK_TEST_A_EVENT_MAX == NLPEER_A_EVENT_MAX);

/* The flags a request may carry, as generic netlink has it. */
static int raw_check_flags(const struct nlmsghdr *nlh,
			   struct netlink_ext_ack *extack)
{
	if ((nlh->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP) {
		NL_SET_ERR_MSG_MOD(extack, "echo has no dump");
		return -EOPNOTSUPP;
	}
	if (nlh->nlmsg_flags & ~(NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO)) {
		NL_SET_ERR_MSG_MOD(extack, "ambiguous or reserved bits set in nlmsg_flags");
		return -EINVAL;
	}
	return 0;
}

static int raw_echo(struct nlpeer_net *nn, struct sk_buff *skb,
		    const struct nlmsghdr *nlh, struct netlink_ext_ack *extack)
{
	u32 portid = NETLINK_CB(skb).portid;
	int len = nlmsg_len(nlh);
	struct nlmsghdr *answer;
	struct sk_buff *reply;
	int err;

	err = raw_check_flags(nlh, extack);
	if (err)
		return err;

	if (len > NLPEER_PAYLOAD_MAX) {
		NL_SET_ERR_MSG_MOD(extack, "echo payload is longer than "
				   __stringify(NLPEER_PAYLOAD_MAX) " bytes");
		return -EMSGSIZE;
	}

	reply = nlmsg_new(len, GFP_KERNEL);
	if (!reply)
		return -ENOMEM;

	answer = nlmsg_put(reply, portid, nlh->nlmsg_seq, NETLINK_TEST_MSG_ECHO,
			   len, 0);
	if (WARN_ON_ONCE(!answer)) {	/* the size was just asked for */
		nlmsg_free(reply);
		return -EMSGSIZE;
	}
	memcpy(nlmsg_data(answer), nlmsg_data(nlh), len);

	/*
	 * Does not wait: an asker that does not read overruns, and is told so
	 * by ENOBUFS. The reply is gone in any case.
	 */
	return nlmsg_unicast(nn->raw, reply, portid);
}

static int raw_request(struct sk_buff *skb, struct nlmsghdr *nlh,
		       struct netlink_ext_ack *extack)
{
	struct nlpeer_net *nn = nlpeer_pernet(sock_net(skb->sk));
	unsigned int tx = 0;
	int err;

	switch (nlh->nlmsg_type) {
	case NETLINK_TEST_MSG_ECHO:
		err = raw_echo(nn, skb, nlh, extack);
		tx = nlh->nlmsg_len;
		break;
	case NETLINK_TEST_MSG_EVENT:
		NL_SET_ERR_MSG_MOD(extack, "events are sent by the kernel only");
		err = -EOPNOTSUPP;
		break;
	default:
		NL_SET_ERR_MSG_MOD(extack, "unknown message type");
		err = -EOPNOTSUPP;
		break;
	}

	nlpeer_count_request(nn, NLPEER_CARRIER_RAW, nlh->nlmsg_len, tx, err);
	return err;
}

/* Context: process, that of the sender. Requests of one send come in order. */
static void raw_input(struct sk_buff *skb)
{
	netlink_rcv_skb(skb, raw_request);
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
 * Return: 0, or -EADDRINUSE if the number is taken (or, as the netlink core
 * does not tell, if memory is short).
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

	nn->raw = netlink_kernel_create(nn->net, protocol, &cfg);
	return nn->raw ? 0 : -EADDRINUSE;
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
 * nlpeer_raw_event - multicast an event to a group of this protocol
 * @nn: the namespace
 * @ev: the event
 *
 * Context: process, may sleep.
 * Return: false if there was no memory; the listeners have been told.
 */
bool nlpeer_raw_event(struct nlpeer_net *nn, const struct nlpeer_event *ev)
{
	struct nlmsghdr *nlh;
	struct sk_buff *skb;

	skb = nlmsg_new(nlpeer_event_size(ev), GFP_KERNEL);
	if (!skb)
		goto lost;

	nlh = nlmsg_put(skb, 0, 0, NETLINK_TEST_MSG_EVENT, 0, 0);
	if (WARN_ON_ONCE(!nlh || nlpeer_event_put(skb, ev))) {
		nlmsg_free(skb);
		goto lost;
	}
	nlmsg_end(skb, nlh);

	nlmsg_multicast(nn->raw, skb, 0, ev->group, GFP_KERNEL);
	return true;

lost:
	netlink_set_err(nn->raw, 0, ev->group, -ENOBUFS);
	return false;
}
