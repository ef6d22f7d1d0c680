// SPDX-License-Identifier: GPL-2.0-only
/*
 * lablink: a kind of network link, "lab". It carries nothing, but it can be
 * made, listed and deleted by rtnetlink, and it has an attribute of its own.
 */
#include <linux/etherdevice.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <net/netlink.h>
#include <net/rtnetlink.h>

#include "compat.h"

/* The attributes in IFLA_INFO_DATA, when IFLA_INFO_KIND is "lab". */
enum {
	LAB_A_UNSPEC,
	LAB_A_MARK,		/* u32, 1 to LAB_MARK_MAX */
	__LAB_A_MAX,
};

#define LAB_A_MAX	(__LAB_A_MAX - 1)
#define LAB_MARK_MAX	1000

/* Of each link of ours; it lies behind the kernel's struct net_device. */
struct lab_link {
	u32 mark;
};

static const struct nla_policy lab_policy[LAB_A_MAX + 1] = {
	[LAB_A_MARK] = { .type = NLA_U32 },
};

/* What is sent over the link ends here. */
static netdev_tx_t lab_xmit(struct sk_buff *skb, struct net_device *dev)
{
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops lab_device_ops = {
	.ndo_start_xmit = lab_xmit,
};

/* The first thing that happens to a new link: it is filled with what all have. */
static void lab_setup(struct net_device *dev)
{
	ether_setup(dev);
	eth_hw_addr_random(dev);
	dev->netdev_ops = &lab_device_ops;
	dev->needs_free_netdev = true;
}

/*
 * Before a link is made or changed: are the attributes good? Those of the kind
 * are in data, or data is NULL. rtnetlink has seen to it that they are as
 * lab_policy says.
 */
static int lab_validate(struct nlattr *tb[], struct nlattr *data[],
			struct netlink_ext_ack *extack)
{
	/*
	 * TODO(2): without a mark, refuse with -EINVAL and say so in words. With
	 * one that is not 1 to LAB_MARK_MAX, refuse with -EINVAL, say so, and
	 * point to the attribute.
	 */
	return data && data[LAB_A_MARK] ? 0 : -EINVAL;
}

/* Make the link, which lab_setup() has prepared. Its attributes are good. */
static int lab_create(struct net_device *dev, struct nlattr *data[],
		      struct netlink_ext_ack *extack)
{
	struct lab_link *lab = netdev_priv(dev);

	lab->mark = nla_get_u32(data[LAB_A_MARK]);
	/* TODO(1): the link is complete. Make it known to the kernel. */
	return -EOPNOTSUPP;
}

/* How many bytes lab_fill_info() adds to a message at most. */
static size_t lab_get_size(const struct net_device *dev)
{
	return nla_total_size(sizeof(u32));
}

/* Somebody wants to know, or is told: what is in IFLA_INFO_DATA of this link? */
static int lab_fill_info(struct sk_buff *skb, const struct net_device *dev)
{
	/* TODO(3): add the mark. If there is no room for it: -EMSGSIZE. */
	return 0;
}

static struct rtnl_link_ops lab_link_ops = {
	.kind = "lab",
	.priv_size = sizeof(struct lab_link),
	.setup = lab_setup,
	.policy = lab_policy,
	.maxtype = LAB_A_MAX,
	.validate = lab_validate,
	.newlink = lab_newlink,		/* compat.h: it calls lab_create() */
	.get_size = lab_get_size,
	.fill_info = lab_fill_info,
};

static int __init lablink_init(void)
{
	return rtnl_link_register(&lab_link_ops);
}

/* All links of the kind are deleted, too. */
static void __exit lablink_exit(void)
{
	rtnl_link_unregister(&lab_link_ops);
}

module_init(lablink_init);
module_exit(lablink_exit);

MODULE_DESCRIPTION("Lab 7: a kind of links");
MODULE_LICENSE("GPL");
MODULE_ALIAS_RTNL_LINK("lab");
