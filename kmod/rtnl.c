// SPDX-License-Identifier: GPL-2.0-only
/*
 * rtnetlink: handlers of the protocol family 127 for the numbers of
 * RTM_{NEW,DEL,GET}ADDRLABEL, which no other family but PF_INET6 has and no
 * dump of all families reaches. rtnetlink itself refuses changes without
 * CAP_NET_ADMIN, with no text, and takes any of NLM_F_ROOT and NLM_F_MATCH for
 * a dump.
 *
 * rtnetlink is not meant to grow by message types; a driver adds a kind of link
 * instead. This carrier is here to be looked at.
 */
#include <linux/skbuff.h>
#include <net/netlink.h>
#include <net/rtnetlink.h>
#include <net/sock.h>

#include "nlpeer.h"

/* struct rtgenmsg, as long as attributes need it. */
#define RTNL_HDRLEN	NLMSG_ALIGN(sizeof(struct rtgenmsg))

static const struct nla_policy rtnl_get_policy[NLPEER_A_OBJECT_MAX + 1] = {
	[NLPEER_A_OBJECT_KEY] = { .type = NLA_NUL_STRING, .len = NLPEER_KEY_MAX, },
	[NLPEER_A_OBJECT_PAYLOAD] = NLA_POLICY_MAX_LEN(NLPEER_PAYLOAD_MAX),
};

static int rtnl_check_header(const struct nlmsghdr *nlh,
			     struct netlink_ext_ack *extack)
{
	if (nlmsg_len(nlh) >= RTNL_HDRLEN)
		return 0;
	NL_SET_ERR_MSG_MOD(extack, "struct rtgenmsg and its padding are missing");
	return -EINVAL;
}

static struct nlmsghdr *rtnl_put_header(struct sk_buff *skb, u32 portid,
					u32 seq, int type, int flags)
{
	struct nlmsghdr *nlh;

	nlh = nlmsg_put(skb, portid, seq, type, RTNL_HDRLEN, flags);
	if (!nlh)
		return NULL;
	memset(nlmsg_data(nlh), 0, RTNL_HDRLEN);
	((struct rtgenmsg *)nlmsg_data(nlh))->rtgen_family = NLPEER_RTNL_FAMILY;
	return nlh;
}

static int rtnl_put_object(struct sk_buff *skb, u32 portid, u32 seq, int type,
			   int flags, const struct nlpeer_object *obj,
			   u64 generation, struct netlink_callback *cb)
{
	struct nlmsghdr *nlh;

	nlh = rtnl_put_header(skb, portid, seq, type, flags);
	if (!nlh)
		return -EMSGSIZE;

	if (nlpeer_object_fill(skb, obj, generation)) {
		nlmsg_cancel(skb, nlh);
		return -EMSGSIZE;
	}
	if (cb)
		nl_dump_check_consistent(cb, nlh);
	nlmsg_end(skb, nlh);
	return 0;
}

static int rtnl_new(struct nlpeer_net *nn, struct sk_buff *skb,
		    const struct nlmsghdr *nlh, struct netlink_ext_ack *extack,
		    unsigned int *tx)
{
	int err = rtnl_check_header(nlh, extack);

	return err ? err : nlpeer_request_new(nn, NLPEER_CARRIER_RTNL, skb, nlh,
					      RTNL_HDRLEN, extack);
}

static int rtnl_del(struct nlpeer_net *nn, struct sk_buff *skb,
		    const struct nlmsghdr *nlh, struct netlink_ext_ack *extack,
		    unsigned int *tx)
{
	int err = rtnl_check_header(nlh, extack);

	return err ? err : nlpeer_request_del(nn, NLPEER_CARRIER_RTNL, skb, nlh,
					      RTNL_HDRLEN, extack);
}

static struct sk_buff *rtnl_make_echo(const struct nlmsghdr *nlh, u32 portid,
				      const struct nlattr *payload)
{
	struct nlmsghdr *answer;
	struct sk_buff *reply;

	reply = nlmsg_new(RTNL_HDRLEN + nla_total_size(nla_len(payload)),
			  GFP_KERNEL);
	if (!reply)
		return ERR_PTR(-ENOMEM);

	answer = rtnl_put_header(reply, portid, nlh->nlmsg_seq,
				 RTM_NEWADDRLABEL, 0);
	if (WARN_ON_ONCE(!answer ||
			 nla_put(reply, NLPEER_A_OBJECT_PAYLOAD,
				 nla_len(payload), nla_data(payload)))) {
		nlmsg_free(reply);
		return ERR_PTR(-EMSGSIZE);
	}
	nlmsg_end(reply, answer);
	return reply;
}

static struct sk_buff *rtnl_make_object(const struct nlmsghdr *nlh, u32 portid,
					struct nlpeer_net *nn,
					const struct nlpeer_object_request *req,
					struct netlink_ext_ack *extack)
{
	struct nlpeer_object *obj;
	struct sk_buff *reply;
	int err = -ENOMEM;

	obj = nlpeer_object_get(nn, req, extack);
	if (IS_ERR(obj))
		return ERR_CAST(obj);

	reply = nlmsg_new(RTNL_HDRLEN + nlpeer_object_size(obj), GFP_KERNEL);
	if (reply)
		err = rtnl_put_object(reply, portid, nlh->nlmsg_seq,
				      RTM_NEWADDRLABEL, 0, obj,
				      obj->generation, NULL);
	nlpeer_object_put(obj);
	if (err) {
		WARN_ON_ONCE(err == -EMSGSIZE);	/* the size was just asked for */
		kfree_skb(reply);
		return ERR_PTR(err);
	}
	return reply;
}

static int rtnl_get(struct nlpeer_net *nn, struct sk_buff *skb,
		    const struct nlmsghdr *nlh, struct netlink_ext_ack *extack,
		    unsigned int *tx)
{
	u32 portid = NETLINK_CB(skb).portid;
	struct nlpeer_object_request req;
	const struct nlattr *payload;
	struct sk_buff *reply;
	int err;

	err = nlpeer_request_flags(nlh, 0, extack);
	if (!err)
		err = rtnl_check_header(nlh, extack);
	if (!err)
		err = nlpeer_request_parse(nlh, RTNL_HDRLEN,
					   NLPEER_A_OBJECT_PAYLOAD,
					   rtnl_get_policy, &req, &payload,
					   extack);
	if (err)
		return err;

	if (payload && req.key) {
		NL_SET_ERR_MSG_ATTR(extack, payload,
				    "nlpeer: key and payload contradict each other");
		return -EINVAL;
	}
	if (payload)
		reply = rtnl_make_echo(nlh, portid, payload);
	else
		reply = rtnl_make_object(nlh, portid, nn, &req, extack);
	if (IS_ERR(reply))
		return PTR_ERR(reply);

	*tx = reply->len;
	return rtnl_unicast(reply, nn->net, portid);
}

/* Every request is counted in one place. */
static int rtnl_request(struct sk_buff *skb, const struct nlmsghdr *nlh,
			struct netlink_ext_ack *extack,
			int (*handle)(struct nlpeer_net *nn,
				      struct sk_buff *skb,
				      const struct nlmsghdr *nlh,
				      struct netlink_ext_ack *extack,
				      unsigned int *tx))
{
	struct nlpeer_net *nn = nlpeer_pernet(sock_net(skb->sk));
	unsigned int tx = 0;
	int err;

	err = handle(nn, skb, nlh, extack, &tx);
	nlpeer_count_request(nn, NLPEER_CARRIER_RTNL, nlh->nlmsg_len, tx, err);
	return err;
}

static int rtnl_new_doit(struct sk_buff *skb, struct nlmsghdr *nlh,
			 struct netlink_ext_ack *extack)
{
	return rtnl_request(skb, nlh, extack, rtnl_new);
}

static int rtnl_del_doit(struct sk_buff *skb, struct nlmsghdr *nlh,
			 struct netlink_ext_ack *extack)
{
	return rtnl_request(skb, nlh, extack, rtnl_del);
}

static int rtnl_get_doit(struct sk_buff *skb, struct nlmsghdr *nlh,
			 struct netlink_ext_ack *extack)
{
	return rtnl_request(skb, nlh, extack, rtnl_get);
}

static int rtnl_dump_done(struct netlink_callback *cb)
{
	nlpeer_object_dump_done((void *)cb->ctx);
	return 0;
}

/* rtnetlink has no callback for the beginning and the end of a dump. */
static int rtnl_dump_start(struct nlpeer_net *nn, struct netlink_callback *cb)
{
	int err = rtnl_check_header(cb->nlh, cb->extack);

	/*
	 * So this may run in whoever reads, not in the sender: see
	 * nlpeer_nl_object_get_start(). The opener is known in any case.
	 */
	if (!err && cb->nlh->nlmsg_flags & NLM_F_ATOMIC &&
	    !sk_ns_capable(NETLINK_CB(cb->skb).sk, nn->net->user_ns,
			   CAP_NET_ADMIN))
		err = nlpeer_request_no_admin(cb->extack);
	if (!err)
		err = nlpeer_request_dump(nn, cb, RTNL_HDRLEN, cb->extack);
	if (!err)
		cb->done = rtnl_dump_done;
	return err;
}

static int rtnl_dump_object(struct sk_buff *skb, struct netlink_callback *cb,
			    const struct nlpeer_object *obj, int flags)
{
	return rtnl_put_object(skb, NETLINK_CB(cb->skb).portid,
			       cb->nlh->nlmsg_seq, RTM_NEWADDRLABEL, flags,
			       obj, obj->generation, cb);
}

static int rtnl_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct nlpeer_net *nn = nlpeer_pernet(sock_net(skb->sk));
	struct nlpeer_object_dump *dump = (void *)cb->ctx;
	int err;

	if (!dump->nn) {
		err = rtnl_dump_start(nn, cb);
		nlpeer_count_request(nn, NLPEER_CARRIER_RTNL,
				     cb->nlh->nlmsg_len, 0, err);
		if (err)
			return err;
	}

	err = nlpeer_object_dump_next(dump, skb, cb, rtnl_dump_object);

	/*
	 * The first buffer is made before anybody can say how large an object
	 * is. All others will do; until then there is a message for "nothing".
	 */
	if (err == -EMSGSIZE &&
	    nlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
		      NLMSG_NOOP, 0, NLM_F_MULTI))
		err = skb->len;

	nlpeer_count_reply(nn, NLPEER_CARRIER_RTNL, skb->len);
	return err;
}

/* No need of the lock of rtnetlink: a table of objects has its own. */
static const struct rtnl_msg_handler rtnl_handlers[] = {
	{ THIS_MODULE, NLPEER_RTNL_FAMILY, RTM_NEWADDRLABEL, rtnl_new_doit,
	  NULL, RTNL_FLAG_DOIT_UNLOCKED },
	{ THIS_MODULE, NLPEER_RTNL_FAMILY, RTM_DELADDRLABEL, rtnl_del_doit,
	  NULL, RTNL_FLAG_DOIT_UNLOCKED | RTNL_FLAG_BULK_DEL_SUPPORTED },
	{ THIS_MODULE, NLPEER_RTNL_FAMILY, RTM_GETADDRLABEL, rtnl_get_doit,
	  rtnl_dumpit, RTNL_FLAG_DOIT_UNLOCKED | RTNL_FLAG_DUMP_UNLOCKED },
};

/**
 * nlpeer_rtnl_register - take the message types, in all namespaces at once
 *
 * Context: process, may sleep. Every namespace has its data.
 * Return: 0 or a negative errno.
 */
int nlpeer_rtnl_register(void)
{
	return rtnl_register_many(rtnl_handlers);
}

/**
 * nlpeer_rtnl_unregister - give the message types back
 *
 * Context: process, may sleep. No request is being handled after it returns.
 */
void nlpeer_rtnl_unregister(void)
{
	rtnl_unregister_many(rtnl_handlers);
}

/**
 * nlpeer_rtnl_echo - send what happened to an object to who made it happen
 * @nn: the namespace
 * @ev: the event
 * @cause: the request, which came over this carrier and asks for it
 *
 * The message is shaped like a notification of rtnetlink: the object, as
 * RTM_NEWADDRLABEL or RTM_DELADDRLABEL.
 *
 * Context: process, may sleep.
 * Return: false if there was no memory, or the asker does not read.
 */
bool nlpeer_rtnl_echo(struct nlpeer_net *nn, const struct nlpeer_event *ev,
		      const struct nlpeer_cause *cause)
{
	int type = ev->kind == NLPEER_KIND_OBJECT_DEL ? RTM_DELADDRLABEL :
							RTM_NEWADDRLABEL;
	struct sk_buff *skb;

	skb = nlmsg_new(RTNL_HDRLEN + nlpeer_object_size(ev->object),
			GFP_KERNEL);
	if (!skb)
		return false;

	if (WARN_ON_ONCE(rtnl_put_object(skb, cause->portid, cause->seq, type,
					 0, ev->object, ev->generation,
					 NULL))) {
		nlmsg_free(skb);
		return false;
	}
	return !rtnl_unicast(skb, nn->net, cause->portid);
}
