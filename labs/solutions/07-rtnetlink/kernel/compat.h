/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What rtnetlink calls to make a link: it has handed over its parameters one by
 * one, and since 6.15 in a struct. Either way lab_create() gets what it needs.
 */
#ifndef _LABLINK_COMPAT_H
#define _LABLINK_COMPAT_H

#include <linux/version.h>
#include <net/rtnetlink.h>

static int lab_create(struct net_device *dev, struct nlattr *data[],
		      struct netlink_ext_ack *extack);

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 15, 0)
static int lab_newlink(struct net *net, struct net_device *dev,
		       struct nlattr *tb[], struct nlattr *data[],
		       struct netlink_ext_ack *extack)
{
	return lab_create(dev, data, extack);
}
#else
static int lab_newlink(struct net_device *dev,
		       struct rtnl_newlink_params *params,
		       struct netlink_ext_ack *extack)
{
	return lab_create(dev, params->data, extack);
}
#endif

#endif /* _LABLINK_COMPAT_H */
