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

static bool genl_up;	/* the family is registered, so its groups have numbers */

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
	    nla_put_u32(skb, NLPEER_A_BEACON_SIZE, config->size) ||
	    nla_put_u32(skb, NLPEER_A_BEACON_CONNECTOR, config->connector) ||
	    nla_put_u32(skb, NLPEER_A_BEACON_PACKED, config->packed))
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
	u32 burst = 0;
	const struct {
		int attr;
		u32 *value;
	} setting[] = {
		{ NLPEER_A_BEACON_INTERVAL, &config.interval },
		{ NLPEER_A_BEACON_GROUPS, &config.groups },
		{ NLPEER_A_BEACON_GENL, &config.genl },
		{ NLPEER_A_BEACON_SIZE, &config.size },
		{ NLPEER_A_BEACON_CONNECTOR, &config.connector },
		{ NLPEER_A_BEACON_PACKED, &config.packed },
		{ NLPEER_A_BEACON_BURST, &burst },
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
	if (config.connector && !nlpeer_connector_has(nn)) {
		NL_SET_ERR_MSG_ATTR(info->extack,
				    info->attrs[NLPEER_A_BEACON_CONNECTOR],
				    "nlpeer: this namespace has no connector");
		return -EOPNOTSUPP;
	}

	nlpeer_beacon_set(nn, &config, present);
	if (burst && !nlpeer_beacon_burst(nn, burst)) {
		GENL_SET_ERR_MSG(info,
				 "nlpeer: the burst took too long and was cut short");
		return -EAGAIN;
	}
	return 0;
}

/* What a request says about objects; the family has checked the attributes. */
static void genl_object_request(struct genl_info *info,
				struct nlpeer_object_request *req,
				struct nlpeer_cause *cause)
{
	req->attrs = nlmsg_attrdata(info->nlhdr, GENL_HDRLEN);
	req->len = nlmsg_attrlen(info->nlhdr, GENL_HDRLEN);

	cause->via = NLPEER_CARRIER_GENL;
	cause->portid = info->snd_portid;
	cause->seq = info->snd_seq;
	cause->echo = nlmsg_report(info->nlhdr);
}

static int genl_object_new(struct nlpeer_net *nn, struct genl_info *info,
			   unsigned int *tx)
{
	const struct nlattr *flags = info->attrs[NLPEER_A_OBJECT_FLAGS];
	struct nlpeer_object_request req = {
		.key = info->attrs[NLPEER_A_OBJECT_KEY],
		.flags = flags ? nla_get_u32(flags) : 0,
	};
	struct nlpeer_cause cause;

	/* The bits of the attribute are those of the header. */
	BUILD_BUG_ON(NLPEER_MODIFIER_REPLACE != NLM_F_REPLACE);
	BUILD_BUG_ON(NLPEER_MODIFIER_EXCL != NLM_F_EXCL);
	BUILD_BUG_ON(NLPEER_MODIFIER_CREATE != NLM_F_CREATE);
	BUILD_BUG_ON(NLPEER_MODIFIER_APPEND != NLM_F_APPEND);

	genl_object_request(info, &req, &cause);
	return nlpeer_object_new(nn, &req, &cause, info->extack);
}

static int genl_object_del(struct nlpeer_net *nn, struct genl_info *info,
			   unsigned int *tx)
{
	struct nlpeer_object_request req = {
		.key = info->attrs[NLPEER_A_OBJECT_KEY],
		.prefix = info->attrs[NLPEER_A_OBJECT_PREFIX],
	};
	struct nlpeer_cause cause;

	genl_object_request(info, &req, &cause);
	return nlpeer_object_del(nn, &req, &cause, info->extack);
}

static int genl_object_get(struct nlpeer_net *nn, struct genl_info *info,
			   unsigned int *tx)
{
	struct nlpeer_object_request req = {
		.key = info->attrs[NLPEER_A_OBJECT_KEY],
	};
	const struct nlattr *stray;
	struct nlpeer_object *obj;
	struct sk_buff *reply;
	void *hdr;
	int err;

	stray = nlpeer_stray_attr(info->attrs, NLPEER_A_OBJECT_PREFIX);
	if (!stray)
		stray = nlpeer_stray_attr(info->attrs, NLPEER_A_OBJECT_ATOMIC);
	if (stray) {
		NL_SET_ERR_MSG_ATTR(info->extack, stray,
				    "Unknown attribute type");
		return -EINVAL;
	}

	obj = nlpeer_object_get(nn, &req, info->extack);
	if (IS_ERR(obj))
		return PTR_ERR(obj);

	reply = genl_reply_new(info, nlpeer_object_size(obj), &hdr);
	if (!reply) {
		nlpeer_object_put(obj);
		return -ENOMEM;
	}

	err = nlpeer_object_fill(reply, obj, obj->generation);
	nlpeer_object_put(obj);
	return genl_reply_end(info, reply, hdr, err, tx);
}

#define NLPEER_NOT_LAST \
	"nlpeer: what takes long must be the last request of a datagram"

/* Does no other request follow in the datagram? */
static bool genl_request_last(const struct sk_buff *skb,
			      const struct nlmsghdr *nlh)
{
	return skb->len <= NLMSG_ALIGN(nlh->nlmsg_len);
}

/*
 * Every operation is counted in one place. @slow is the attribute, if there is
 * one, that makes it take long. The core keeps all families as they are while it
 * has a datagram: who registers one waits, and behind that all who ask any of
 * them. So what takes long comes once in a datagram, at its end.
 */
static int genl_request(const struct sk_buff *skb, struct genl_info *info,
			const struct nlattr *slow,
			int (*handle)(struct nlpeer_net *nn,
				      struct genl_info *info,
				      unsigned int *tx))
{
	struct nlpeer_net *nn = nlpeer_pernet(genl_info_net(info));
	unsigned int tx = 0;
	int err;

	if (slow && !genl_request_last(skb, info->nlhdr)) {
		NL_SET_ERR_MSG_ATTR(info->extack, slow,
				    NLPEER_NOT_LAST);
		err = -EINVAL;
	} else {
		err = handle(nn, info, &tx);
	}
	nlpeer_count_request(nn, NLPEER_CARRIER_GENL, info->nlhdr->nlmsg_len,
			     tx, err);
	return err;
}

int nlpeer_nl_echo_doit(struct sk_buff *skb, struct genl_info *info)
{
	return genl_request(skb, info, NULL, genl_echo);
}

int nlpeer_nl_stats_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	return genl_request(skb, info, NULL, genl_stats_get);
}

int nlpeer_nl_beacon_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	return genl_request(skb, info, NULL, genl_beacon_get);
}

int nlpeer_nl_beacon_set_doit(struct sk_buff *skb, struct genl_info *info)
{
	return genl_request(skb, info, info->attrs[NLPEER_A_BEACON_BURST],
			    genl_beacon_set);
}

int nlpeer_nl_object_new_doit(struct sk_buff *skb, struct genl_info *info)
{
	return genl_request(skb, info, NULL, genl_object_new);
}

int nlpeer_nl_object_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	return genl_request(skb, info, info->attrs[NLPEER_A_OBJECT_PREFIX],
			    genl_object_del);
}

int nlpeer_nl_object_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	return genl_request(skb, info, NULL, genl_object_get);
}

static int genl_object_dump_start(struct nlpeer_net *nn,
				  struct netlink_callback *cb)
{
	struct nlpeer_object_dump *dump = (void *)cb->ctx;
	struct nlattr **attrs = nlpeer_dump_attrs(cb);
	bool atomic = nla_get_flag(attrs[NLPEER_A_OBJECT_ATOMIC]);
	const struct nlattr *stray;

	stray = nlpeer_stray_attr(attrs, NLPEER_A_OBJECT_KEY);
	if (stray) {
		NL_SET_ERR_MSG_ATTR(cb->extack, stray, "Unsupported attribute");
		return -EINVAL;
	}
	if (atomic && !dump->admin)
		return nlpeer_request_no_admin(cb->extack);
	return nlpeer_object_dump_start(dump, nn,
					attrs[NLPEER_A_OBJECT_PREFIX], atomic,
					cb->extack);
}

/*
 * This runs in the sender. The first part of a dump need not: where its socket
 * has no room for that, it is made for whoever reads.
 */
int nlpeer_nl_object_get_start(struct netlink_callback *cb)
{
	struct nlpeer_object_dump *dump = (void *)cb->ctx;

	if (nla_get_flag(nlpeer_dump_attrs(cb)[NLPEER_A_OBJECT_ATOMIC]))
		dump->admin = !nlpeer_request_admin(cb->skb, NULL);
	cb->min_dump_alloc = NLPEER_OBJECT_MSG_MAX;
	return 0;
}

static int genl_dump_object(struct sk_buff *skb, struct netlink_callback *cb,
			    const struct nlpeer_object *obj, int flags)
{
	void *hdr;

	hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
			  &nlpeer_nl_family, flags, NLPEER_CMD_OBJECT_GET);
	if (!hdr)
		return -EMSGSIZE;

	if (nlpeer_object_fill(skb, obj, obj->generation)) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	genl_dump_check_consistent(cb, hdr);
	genlmsg_end(skb, hdr);
	return 0;
}

int nlpeer_nl_object_get_dumpit(struct sk_buff *skb,
				struct netlink_callback *cb)
{
	struct nlpeer_net *nn = nlpeer_pernet(sock_net(cb->skb->sk));
	struct nlpeer_object_dump *dump = (void *)cb->ctx;
	int err;

	/* Here and not in start, where some kernels have no place for a text. */
	if (!dump->nn) {
		err = genl_object_dump_start(nn, cb);
		nlpeer_count_request(nn, NLPEER_CARRIER_GENL,
				     cb->nlh->nlmsg_len, 0, err);
		if (err)
			return err;
	}

	err = nlpeer_object_dump_next(dump, skb, cb, genl_dump_object);
	nlpeer_count_reply(dump->nn, NLPEER_CARRIER_GENL, skb->len);
	return err;
}

int nlpeer_nl_object_get_done(struct netlink_callback *cb)
{
	nlpeer_object_dump_done((void *)cb->ctx);
	return 0;
}

/* Where a dump of events stands, in the 48 bytes that netlink keeps for it. */
struct genl_event_dump {
	u64 pos;	/* in the history */
	bool begun;	/* and counted */
	bool last;	/* request of its datagram */
};

int nlpeer_nl_event_get_start(struct netlink_callback *cb)
{
	struct genl_event_dump *dump = (struct genl_event_dump *)cb->ctx;

	BUILD_BUG_ON(sizeof(struct genl_event_dump) > sizeof(cb->ctx));
	BUILD_BUG_ON(NLPEER_DATA_MAX > NLPEER_OBJECT_MAX);

	/* Only here is the datagram as the sender's turn has left it. */
	dump->last = genl_request_last(cb->skb, cb->nlh);
	/* A reader with a small buffer must not stop at a large event. */
	cb->min_dump_alloc = NLPEER_OBJECT_MSG_MAX;
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
	const struct genl_event_dump *dump = (void *)cb->ctx;
	struct nlattr **attrs = nlpeer_dump_attrs(cb);
	u64 last;

	if (!attrs[NLPEER_A_EVENT_GROUP]) {
		NL_SET_ERR_MSG_MOD(cb->extack, "event-get needs a group");
		return -EINVAL;
	}
	/* All that is remembered may be looked through, and nothing found. */
	if (!dump->last) {
		NL_SET_ERR_MSG(cb->extack, NLPEER_NOT_LAST);
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
	if (!dump->begun)
		nlpeer_count_request(nn, NLPEER_CARRIER_GENL,
				     cb->nlh->nlmsg_len, 0, err);
	if (!dump->begun && !err)
		dump->pos = nlpeer_history_seek(nn, group, seq);
	dump->begun = true;
	if (err)
		return err;

	for (;;) {
		u64 pos = dump->pos;

		if (!nlpeer_history_next(nn, group, &pos, &ev))
			break;
		err = genl_put_event(skb, cb, &ev);
		nlpeer_object_put(ev.object);
		if (err)	/* full; the next call begins with this one */
			break;
		dump->pos = pos;
	}
	nlpeer_count_reply(nn, NLPEER_CARRIER_GENL, skb->len);
	return skb->len ? skb->len : err;
}

/**
 * nlpeer_genl_register - register the family, in all namespaces at once
 *
 * Context: process, may sleep. Every namespace has its data.
 * Return: 0 or a negative errno.
 */
int nlpeer_genl_register(void)
{
	int err;

	nlpeer_merge_ops(&nlpeer_nl_family);
	err = genl_register_family(&nlpeer_nl_family);
	WRITE_ONCE(genl_up, !err);
	return err;
}

/**
 * nlpeer_genl_unregister - unregister the family
 *
 * Context: process, may sleep. Every beacon has been stopped. No request is
 * being handled after it returns.
 */
void nlpeer_genl_unregister(void)
{
	WRITE_ONCE(genl_up, false);
	genl_unregister_family(&nlpeer_nl_family);
}

static unsigned int genl_group(u32 group)
{
	return group == NLPEER_GROUP_OBJECTS ? NLPEER_NLGRP_OBJECTS :
					       NLPEER_NLGRP_BEACON;
}

/**
 * nlpeer_genl_wanted - does anybody listen to a group of the family
 * @nn: the namespace
 * @group: NLPEER_GROUP_BEACON or NLPEER_GROUP_OBJECTS
 *
 * Context: any.
 * Return: see nlpeer_event_wanted().
 */
bool nlpeer_genl_wanted(const struct nlpeer_net *nn, u32 group)
{
	return READ_ONCE(genl_up) &&
	       genl_has_listeners(&nlpeer_nl_family, nn->net,
				  genl_group(group));
}

/**
 * nlpeer_genl_event - multicast an event to a group of the family
 * @nn: the namespace
 * @ev: the event
 * @cause: the request that is the cause, or NULL
 *
 * If it came over this family, its port ID and sequence number stand in the
 * header, and it gets the event too if it asked for that.
 *
 * Context: process, may sleep.
 * Return: false if there was no memory; the listeners have been told.
 */
bool nlpeer_genl_event(struct nlpeer_net *nn, const struct nlpeer_event *ev,
		       const struct nlpeer_cause *cause)
{
	bool ours = cause && cause->via == NLPEER_CARRIER_GENL;
	unsigned int group = genl_group(ev->group);
	u32 portid = ours ? cause->portid : 0;
	struct sk_buff *skb;
	void *hdr;

	skb = genlmsg_new(nlpeer_event_size(ev), GFP_KERNEL);
	if (!skb)
		goto lost;

	hdr = genlmsg_put(skb, portid, ours ? cause->seq : 0,
			  &nlpeer_nl_family, 0, NLPEER_CMD_EVENT);
	if (WARN_ON_ONCE(!hdr || nlpeer_event_put(skb, ev))) {
		nlmsg_free(skb);
		goto lost;
	}
	genlmsg_end(skb, hdr);

	nlmsg_notify(nn->net->genl_sock, skb, portid,
		     nlpeer_nl_family.mcgrp_offset + group, ours && cause->echo,
		     GFP_KERNEL);
	return true;

lost:
	genl_set_err(&nlpeer_nl_family, nn->net, 0, group, -ENOBUFS);
	return false;
}
