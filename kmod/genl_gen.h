/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	spec/nlpeer.yaml */
/* YNL-GEN kernel header */
/* To regenerate run: make generate */

#ifndef _LINUX_NLPEER_GEN_H
#define _LINUX_NLPEER_GEN_H

#include <net/netlink.h>
#include <net/genetlink.h>

#include <uapi/linux/nlpeer.h>

int nlpeer_nl_event_get_start(struct netlink_callback *cb);
int nlpeer_nl_object_get_start(struct netlink_callback *cb);
int nlpeer_nl_object_get_done(struct netlink_callback *cb);

int nlpeer_nl_echo_doit(struct sk_buff *skb, struct genl_info *info);
int nlpeer_nl_stats_get_doit(struct sk_buff *skb, struct genl_info *info);
int nlpeer_nl_beacon_get_doit(struct sk_buff *skb, struct genl_info *info);
int nlpeer_nl_beacon_set_doit(struct sk_buff *skb, struct genl_info *info);
int nlpeer_nl_event_get_dumpit(struct sk_buff *skb,
			       struct netlink_callback *cb);
int nlpeer_nl_object_new_doit(struct sk_buff *skb, struct genl_info *info);
int nlpeer_nl_object_del_doit(struct sk_buff *skb, struct genl_info *info);
int nlpeer_nl_object_get_doit(struct sk_buff *skb, struct genl_info *info);
int nlpeer_nl_object_get_dumpit(struct sk_buff *skb,
				struct netlink_callback *cb);

enum {
	NLPEER_NLGRP_BEACON,
	NLPEER_NLGRP_OBJECTS,
};

extern struct genl_family nlpeer_nl_family;

#endif /* _LINUX_NLPEER_GEN_H */
