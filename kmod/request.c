// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests about objects that are shaped like rtnetlink's: what to do stands in
 * the flags of the header, and attributes follow it, behind a few bytes that are
 * the carrier's business. Generic netlink has neither.
 */
#include <linux/capability.h>
#include <linux/skbuff.h>
#include <net/netlink.h>
#include <net/sock.h>

#include "nlpeer.h"
#include "raw_gen.h"

/* The same attributes for every carrier. */
static_assert((int)NETLINK_TEST_A_OBJECT_KEY == NLPEER_A_OBJECT_KEY);
static_assert((int)NETLINK_TEST_A_OBJECT_VALUE == NLPEER_A_OBJECT_VALUE);
static_assert((int)NETLINK_TEST_A_OBJECT_GENERATION == NLPEER_A_OBJECT_GENERATION);
static_assert((int)NETLINK_TEST_A_OBJECT_PREFIX == NLPEER_A_OBJECT_PREFIX);
static_assert((int)NETLINK_TEST_A_OBJECT_PAYLOAD == NLPEER_A_OBJECT_PAYLOAD);
static_assert((int)NETLINK_TEST_A_OBJECT_MAX == NLPEER_A_OBJECT_MAX);

/* What deletes all, unless a request names less. */
static const struct {
	struct nlattr attr;
	char prefix[NLA_ALIGNTO];
} request_any = { .attr = { .nla_len = NLA_HDRLEN + 1 } };

/**
 * nlpeer_request_bad_flags - refuse flags that mean nothing
 * @extack: says so
 *
 * Return: -EINVAL.
 */
int nlpeer_request_bad_flags(struct netlink_ext_ack *extack)
{
	NL_SET_ERR_MSG_MOD(extack, "ambiguous or reserved bits set in nlmsg_flags");
	return -EINVAL;
}

/**
 * nlpeer_request_no_admin - refuse what only an administrator may do
 * @extack: says so
 *
 * Return: -EPERM.
 */
int nlpeer_request_no_admin(struct netlink_ext_ack *extack)
{
	NL_SET_ERR_MSG_MOD(extack, "this needs CAP_NET_ADMIN");
	return -EPERM;
}

/**
 * nlpeer_request_admin - may the sender change the namespace
 * @skb: the request
 * @extack: says what is wrong
 *
 * Both the sender of the message and the opener of the socket must be allowed
 * to, so that no program can be talked into it; the opener need not be where the
 * sender gave an address.
 *
 * Context: that of the sender, which it takes the current task for.
 * Return: 0 or -EPERM.
 */
int nlpeer_request_admin(struct sk_buff *skb, struct netlink_ext_ack *extack)
{
	if (netlink_ns_capable(skb, sock_net(skb->sk)->user_ns, CAP_NET_ADMIN))
		return 0;
	return nlpeer_request_no_admin(extack);
}

/**
 * nlpeer_request_parse - check attributes and pick out those about objects
 * @nlh: the request's header
 * @hdrlen: bytes of the carrier between header and attributes, there
 * @maxattr: greatest attribute in @policy
 * @policy: what the request takes
 * @req: what it says
 * @payload: that of an echo, or NULL for none; may be NULL
 * @extack: says what is wrong
 *
 * Return: 0 or what netlink's parser returns.
 */
int nlpeer_request_parse(const struct nlmsghdr *nlh, int hdrlen, int maxattr,
			 const struct nla_policy *policy,
			 struct nlpeer_object_request *req,
			 const struct nlattr **payload,
			 struct netlink_ext_ack *extack)
{
	struct nlattr *attrs[NLPEER_A_OBJECT_MAX + 1] = {};
	int err;

	err = nlmsg_parse(nlh, hdrlen, attrs, maxattr, policy, extack);
	if (err)
		return err;

	req->key = attrs[NLPEER_A_OBJECT_KEY];
	req->prefix = attrs[NLPEER_A_OBJECT_PREFIX];
	req->attrs = nlmsg_attrdata(nlh, hdrlen);
	req->len = nlmsg_attrlen(nlh, hdrlen);
	if (payload)
		*payload = attrs[NLPEER_A_OBJECT_PAYLOAD];
	return 0;
}

static struct nlpeer_cause request_cause(enum nlpeer_carrier via,
					 struct sk_buff *skb,
					 const struct nlmsghdr *nlh)
{
	return (struct nlpeer_cause) {
		.via = via,
		.portid = NETLINK_CB(skb).portid,
		.seq = nlh->nlmsg_seq,
		.echo = nlmsg_report(nlh),
	};
}

/**
 * nlpeer_request_new - carry out a NEW
 * @nn: the namespace
 * @via: the carrier
 * @skb: the request, whose sender may change the namespace
 * @nlh: its header
 * @hdrlen: bytes of the carrier behind it
 * @extack: says what is wrong
 *
 * Context: process, may sleep.
 * Return: 0 or a negative errno.
 */
int nlpeer_request_new(struct nlpeer_net *nn, enum nlpeer_carrier via,
		       struct sk_buff *skb, const struct nlmsghdr *nlh,
		       int hdrlen, struct netlink_ext_ack *extack)
{
	const u32 flags = NLM_F_REPLACE | NLM_F_EXCL | NLM_F_CREATE |
			  NLM_F_APPEND;
	struct nlpeer_cause cause = request_cause(via, skb, nlh);
	struct nlpeer_object_request req = {
		.flags = nlh->nlmsg_flags & flags,
	};
	int err;

	err = nlpeer_request_flags(nlh, flags, extack);
	if (!err)
		err = nlpeer_request_parse(nlh, hdrlen,
					   NETLINK_TEST_OBJECT_NEW_DO_POLICY_MAX,
					   netlink_test_object_new_do_policy,
					   &req, NULL, extack);
	return err ? err : nlpeer_object_new(nn, &req, &cause, extack);
}

/* One object by its key, or with NLM_F_BULK those with a prefix, or all. */
static int request_check_bulk(struct nlpeer_object_request *req,
			      const struct nlmsghdr *nlh,
			      struct netlink_ext_ack *extack)
{
	if (!(nlh->nlmsg_flags & NLM_F_BULK)) {
		if (!req->prefix)
			return 0;
		NL_SET_ERR_MSG_ATTR(extack, req->prefix,
				    "nlpeer: deleting by prefix needs NLM_F_BULK");
		return -EINVAL;
	}
	if (req->key) {
		NL_SET_ERR_MSG_ATTR(extack, req->key,
				    "nlpeer: NLM_F_BULK goes with a prefix, not with a key");
		return -EINVAL;
	}
	if (!req->prefix)
		req->prefix = &request_any.attr;
	return 0;
}

/**
 * nlpeer_request_del - carry out a DEL
 * @nn: the namespace
 * @via: the carrier
 * @skb: the request, whose sender may change the namespace
 * @nlh: its header
 * @hdrlen: bytes of the carrier behind it
 * @extack: says what is wrong
 *
 * Context: process, may sleep.
 * Return: 0 or a negative errno.
 */
int nlpeer_request_del(struct nlpeer_net *nn, enum nlpeer_carrier via,
		       struct sk_buff *skb, const struct nlmsghdr *nlh,
		       int hdrlen, struct netlink_ext_ack *extack)
{
	struct nlpeer_cause cause = request_cause(via, skb, nlh);
	struct nlpeer_object_request req = {};
	int err;

	err = nlpeer_request_flags(nlh, NLM_F_BULK, extack);
	if (!err)
		err = nlpeer_request_parse(nlh, hdrlen,
					   NETLINK_TEST_OBJECT_DEL_DO_POLICY_MAX,
					   netlink_test_object_del_do_policy,
					   &req, NULL, extack);
	if (!err)
		err = request_check_bulk(&req, nlh, extack);
	return err ? err : nlpeer_object_del(nn, &req, &cause, extack);
}

/* All with NLM_F_ROOT, those with a prefix with NLM_F_MATCH, either with both. */
static int request_check_dump(const struct nlpeer_object_request *req,
			      const struct nlmsghdr *nlh,
			      struct netlink_ext_ack *extack)
{
	bool root = nlh->nlmsg_flags & NLM_F_ROOT;
	bool match = nlh->nlmsg_flags & NLM_F_MATCH;

	if (req->prefix && !match) {
		NL_SET_ERR_MSG_ATTR(extack, req->prefix,
				    "nlpeer: NLM_F_ROOT alone asks for all; a prefix needs NLM_F_MATCH");
		return -EINVAL;
	}
	if (!req->prefix && !root) {
		NL_SET_ERR_ATTR_MISS(extack, NULL, NLPEER_A_OBJECT_PREFIX);
		NL_SET_ERR_MSG_MOD(extack, "NLM_F_MATCH alone needs a prefix");
		return -EINVAL;
	}
	return 0;
}

/**
 * nlpeer_request_dump - begin the dump that a GET asks for
 * @nn: the namespace
 * @cb: the dump, which has a &struct nlpeer_object_dump in its context
 * @hdrlen: bytes of the carrier behind the header
 * @extack: says what is wrong
 *
 * Context: process, may sleep.
 * Return: 0 or a negative errno. After 0, nlpeer_object_dump_done() is due.
 */
int nlpeer_request_dump(struct nlpeer_net *nn, struct netlink_callback *cb,
			int hdrlen, struct netlink_ext_ack *extack)
{
	bool atomic = cb->nlh->nlmsg_flags & NLM_F_ATOMIC;
	struct nlpeer_object_request req;
	int err;

	err = nlpeer_request_flags(cb->nlh,
				   NLM_F_ROOT | NLM_F_MATCH | NLM_F_ATOMIC,
				   extack);
	if (!err && atomic)
		err = nlpeer_request_admin(cb->skb, extack);
	if (!err)
		err = nlpeer_request_parse(cb->nlh, hdrlen,
					   NETLINK_TEST_OBJECT_GET_DUMP_POLICY_MAX,
					   netlink_test_object_get_dump_policy,
					   &req, NULL, extack);
	if (!err)
		err = request_check_dump(&req, cb->nlh, extack);
	if (!err)
		err = nlpeer_object_dump_start((void *)cb->ctx, nn, req.prefix,
					       atomic, extack);
	return err;
}
