// SPDX-License-Identifier: GPL-2.0-only
/*
 * The generic netlink family nlpeer. Its tables and policies are generated
 * from spec/nlpeer.yaml; these are the handlers. They run in parallel, in the
 * context of the sender.
 */
#include <linux/skbuff.h>
#include <net/genetlink.h>
#include <net/netlink.h>
#include <net/sock.h>

#include "nlpeer.h"
#include "genl_gen.h"

/* Begin a reply with room for @size bytes of attributes. */
static struct sk_buff *genl_reply_new(struct genl_info *info, size_t size,
				      void **hdr)
{
	struct sk_buff *reply;

	reply = genlmsg_new(size, GFP_KERNEL);
	if (!reply)
		return NULL;

	*hdr = genlmsg_put_reply(reply, info, &nlpeer_nl_family, 0,
				 info->genlhdr->cmd);
	if (WARN_ON_ONCE(!*hdr)) {	/* genlmsg_new() made room for it */
		nlmsg_free(reply);
		return NULL;
	}
	return reply;
}

/* End a reply and send it, or drop it if it could not be filled. */
static int genl_reply_end(struct genl_info *info, struct sk_buff *reply,
			  void *hdr, int err, unsigned int *tx)
{
	if (WARN_ON_ONCE(err)) {	/* the size was just asked for */
		nlmsg_free(reply);
		return err;
	}
	genlmsg_end(reply, hdr);
	*tx = reply->len;
	return genlmsg_reply(reply, info);
}

static int genl_echo(struct nlpeer_net *nn, struct genl_info *info,
		     unsigned int *tx)
{
	const struct nlattr *payload;
	struct sk_buff *reply;
	void *hdr;

	if (GENL_REQ_ATTR_CHECK(info, NLPEER_A_ECHO_PAYLOAD)) {
		GENL_SET_ERR_MSG(info, "nlpeer: an echo needs a payload");
		return -EINVAL;
	}
	payload = info->attrs[NLPEER_A_ECHO_PAYLOAD];

	reply = genl_reply_new(info, nla_total_size(nla_len(payload)), &hdr);
	if (!reply)
		return -ENOMEM;

	return genl_reply_end(info, reply, hdr,
			      nla_put(reply, NLPEER_A_ECHO_PAYLOAD,
				      nla_len(payload), nla_data(payload)), tx);
}

static int genl_stats_get(struct nlpeer_net *nn, struct genl_info *info,
			  unsigned int *tx)
{
	struct sk_buff *reply;
	void *hdr;

	reply = genl_reply_new(info, nlpeer_stats_size(), &hdr);
	if (!reply)
		return -ENOMEM;

	return genl_reply_end(info, reply, hdr, nlpeer_stats_put(reply, nn),
			      tx);
}

static int genl_put_beacon(struct sk_buff *skb,
			   const struct nlpeer_beacon_config *config)
{
	if (nla_put_u32(skb, NLPEER_A_BEACON_INTERVAL, config->interval) ||
	    nla_put_u32(skb, NLPEER_A_BEACON_GROUPS, config->groups) ||
	    nla_put_u32(skb, NLPEER_A_BEACON_GENL, config->genl) ||
	    nla_put_u32(skb, NLPEER_A_BEACON_SIZE, config->size))
		return -EMSGSIZE;
	return 0;
}

static int genl_beacon_get(struct nlpeer_net *nn, struct genl_info *info,
			   unsigned int *tx)
{
	struct nlpeer_beacon_config config;
	struct sk_buff *reply;
	void *hdr;

	reply = genl_reply_new(info, NLPEER_A_BEACON_MAX *
				     nla_total_size(sizeof(u32)), &hdr);
	if (!reply)
		return -ENOMEM;

	nlpeer_beacon_get(nn, &config);
	return genl_reply_end(info, reply, hdr,
			      genl_put_beacon(reply, &config), tx);
}

static int genl_beacon_set(struct nlpeer_net *nn, struct genl_info *info,
			   unsigned int *tx)
{
	struct nlpeer_beacon_config config = {};
	const struct {
		int attr;
		u32 *value;
	} setting[] = {
		{ NLPEER_A_BEACON_INTERVAL, &config.interval },
		{ NLPEER_A_BEACON_GROUPS, &config.groups },
		{ NLPEER_A_BEACON_GENL, &config.genl },
		{ NLPEER_A_BEACON_SIZE, &config.size },
	};
	unsigned long present = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(setting); i++) {
		const struct nlattr *attr = info->attrs[setting[i].attr];

		if (!attr)
			continue;
		*setting[i].value = nla_get_u32(attr);
		present |= BIT(setting[i].attr);
	}
	if (!present) {
		GENL_SET_ERR_MSG(info, "nlpeer: no setting given");
		return -EINVAL;
	}

	nlpeer_beacon_set(nn, &config, present);
	return 0;
}

/* Every operation is counted in one place. */
static int genl_request(struct genl_info *info,
			int (*handle)(struct nlpeer_net *nn,
				      struct genl_info *info,
				      unsigned int *tx))
{
	struct nlpeer_net *nn = nlpeer_pernet(genl_info_net(info));
	unsigned int tx = 0;
	int err;

	err = handle(nn, info, &tx);
	nlpeer_count_request(nn, NLPEER_CARRIER_GENL, info->nlhdr->nlmsg_len,
			     tx, err);
	return err;
}

int nlpeer_nl_echo_doit(struct sk_buff *skb, struct genl_info *info)
{
	return genl_request(info, genl_echo);
}

int nlpeer_nl_stats_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	return genl_request(info, genl_stats_get);
}

int nlpeer_nl_beacon_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	return genl_request(info, genl_beacon_get);
}

int nlpeer_nl_beacon_set_doit(struct sk_buff *skb, struct genl_info *info)
{
	return genl_request(info, genl_beacon_set);
}

/* Where a dump of events stands, in the 48 bytes that netlink keeps for it. */
struct genl_event_dump {
	u64 pos;	/* in the history */
};

int nlpeer_nl_event_get_start(struct netlink_callback *cb)
{
	const struct nlpeer_event largest = { .len = NLPEER_DATA_MAX };

	BUILD_BUG_ON(sizeof(struct genl_event_dump) > sizeof(cb->ctx));

	/* A reader with a small buffer must not stop at a large event. */
	cb->min_dump_alloc = nlmsg_total_size(GENL_HDRLEN +
					      nlpeer_event_size(&largest));
	return 0;
}

static int genl_put_event(struct sk_buff *skb, struct netlink_callback *cb,
			  const struct nlpeer_event *ev)
{
	void *hdr;

	hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid,
			  cb->nlh->nlmsg_seq, &nlpeer_nl_family, NLM_F_MULTI,
			  NLPEER_CMD_EVENT_GET);
	if (!hdr)
		return -EMSGSIZE;

	if (nlpeer_event_put(skb, ev)) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return 0;
}

/* What a dump asks for: the group, and the number after which it begins. */
static int genl_event_get_parse(struct nlpeer_net *nn,
				struct netlink_callback *cb, u32 *group,
				u64 *seq)
{
	struct nlattr **attrs = nlpeer_dump_attrs(cb);
	u64 last;

	if (!attrs[NLPEER_A_EVENT_GROUP]) {
		NL_SET_ERR_MSG_MOD(cb->extack, "event-get needs a group");
		return -EINVAL;
	}
	*group = nla_get_u32(attrs[NLPEER_A_EVENT_GROUP]);
	if (!nlpeer_event_last(nn, *group, &last)) {
		NL_SET_ERR_MSG_ATTR(cb->extack, attrs[NLPEER_A_EVENT_GROUP],
				    "nlpeer: no such group");
		return -EINVAL;
	}

	*seq = 0;
	if (attrs[NLPEER_A_EVENT_SEQ])
		*seq = nla_get_u64(attrs[NLPEER_A_EVENT_SEQ]);
	if (*seq > last) {
		NL_SET_ERR_MSG_ATTR(cb->extack, attrs[NLPEER_A_EVENT_SEQ],
				    "nlpeer: the group has not reached that number");
		return -ERANGE;
	}
	return 0;
}

int nlpeer_nl_event_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct genl_event_dump *dump = (struct genl_event_dump *)cb->ctx;
	struct nlpeer_net *nn = nlpeer_pernet(sock_net(skb->sk));
	struct nlpeer_event ev;
	u32 group;
	u64 seq;
	int err;

	err = genl_event_get_parse(nn, cb, &group, &seq);
	if (err)
		return err;

	for (;;) {
		u64 pos = dump->pos;

		if (!nlpeer_history_next(nn, group, seq, &pos, &ev))
			break;
		err = genl_put_event(skb, cb, &ev);
		if (err)	/* full; the next call begins with this one */
			return skb->len ? skb->len : err;
		dump->pos = pos;
	}
	return skb->len;
}

/**
 * nlpeer_genl_register - register the family, in all namespaces at once
 *
 * Context: process, may sleep. Every namespace has its data.
 * Return: 0 or a negative errno.
 */
int nlpeer_genl_register(void)
{
	return genl_register_family(&nlpeer_nl_family);
}

/**
 * nlpeer_genl_unregister - unregister the family
 *
 * Context: process, may sleep. Every beacon has been stopped. No request is
 * being handled after it returns.
 */
void nlpeer_genl_unregister(void)
{
	genl_unregister_family(&nlpeer_nl_family);
}

/**
 * nlpeer_genl_wanted - does anybody listen to the group "beacon"
 * @nn: the namespace
 *
 * Context: any.
 * Return: see nlpeer_event_wanted().
 */
bool nlpeer_genl_wanted(const struct nlpeer_net *nn)
{
	return genl_has_listeners(&nlpeer_nl_family, nn->net,
				  NLPEER_NLGRP_BEACON);
}

/**
 * nlpeer_genl_event - multicast an event to the group "beacon"
 * @nn: the namespace
 * @ev: the event
 *
 * Context: process, may sleep.
 * Return: false if there was no memory; the listeners have been told.
 */
bool nlpeer_genl_event(struct nlpeer_net *nn, const struct nlpeer_event *ev)
{
	struct sk_buff *skb;
	void *hdr;

	skb = genlmsg_new(nlpeer_event_size(ev), GFP_KERNEL);
	if (!skb)
		goto lost;

	hdr = genlmsg_put(skb, 0, 0, &nlpeer_nl_family, 0, NLPEER_CMD_EVENT);
	if (WARN_ON_ONCE(!hdr || nlpeer_event_put(skb, ev))) {
		nlmsg_free(skb);
		goto lost;
	}
	genlmsg_end(skb, hdr);

	genlmsg_multicast_netns(&nlpeer_nl_family, nn->net, skb, 0,
				NLPEER_NLGRP_BEACON, GFP_KERNEL);
	return true;

lost:
	genl_set_err(&nlpeer_nl_family, nn->net, 0, NLPEER_NLGRP_BEACON,
		     -ENOBUFS);
	return false;
}
