// SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause)
/* Do not edit directly, auto-generated from: */
/*	spec/nlpeer.yaml */
/* YNL-GEN kernel source */
/* To regenerate run: make generate */

#include <net/netlink.h>
#include <net/genetlink.h>

#include "genl_gen.h"

#include <uapi/linux/nlpeer.h>

/* Integer value ranges */
static const struct netlink_range_validation nlpeer_a_beacon_interval_range = {
	.max	= NLPEER_INTERVAL_MAX,
};

/* NLPEER_CMD_ECHO - do */
static const struct nla_policy nlpeer_echo_nl_policy[NLPEER_A_ECHO_PAYLOAD + 1] = {
	[NLPEER_A_ECHO_PAYLOAD] = NLA_POLICY_MAX_LEN(NLPEER_PAYLOAD_MAX),
};

/* NLPEER_CMD_BEACON_SET - do */
static const struct nla_policy nlpeer_beacon_set_nl_policy[NLPEER_A_BEACON_BURST + 1] = {
	[NLPEER_A_BEACON_INTERVAL] = NLA_POLICY_FULL_RANGE(NLA_U32, &nlpeer_a_beacon_interval_range),
	[NLPEER_A_BEACON_GROUPS] = { .type = NLA_U32, },
	[NLPEER_A_BEACON_GENL] = NLA_POLICY_MAX(NLA_U32, 1),
	[NLPEER_A_BEACON_SIZE] = NLA_POLICY_MAX(NLA_U32, NLPEER_DATA_MAX),
	[NLPEER_A_BEACON_CONNECTOR] = NLA_POLICY_MAX(NLA_U32, 1),
	[NLPEER_A_BEACON_PACKED] = { .type = NLA_U32, },
	[NLPEER_A_BEACON_BURST] = NLA_POLICY_RANGE(NLA_U32, 1, NLPEER_BURST_MAX),
};

/* NLPEER_CMD_EVENT_GET - dump */
static const struct nla_policy nlpeer_event_get_nl_policy[NLPEER_A_EVENT_SEQ + 1] = {
	[NLPEER_A_EVENT_GROUP] = { .type = NLA_U32, },
	[NLPEER_A_EVENT_SEQ] = { .type = NLA_U64, },
};

/* NLPEER_CMD_OBJECT_NEW - do */
static const struct nla_policy nlpeer_object_new_nl_policy[NLPEER_A_OBJECT_FLAGS + 1] = {
	[NLPEER_A_OBJECT_KEY] = { .type = NLA_NUL_STRING, .len = NLPEER_KEY_MAX, },
	[NLPEER_A_OBJECT_VALUE] = NLA_POLICY_MAX_LEN(NLPEER_VALUE_MAX),
	[NLPEER_A_OBJECT_FLAGS] = NLA_POLICY_MASK(NLA_U32, 0xf00),
};

/* NLPEER_CMD_OBJECT_DEL - do */
static const struct nla_policy nlpeer_object_del_nl_policy[NLPEER_A_OBJECT_PREFIX + 1] = {
	[NLPEER_A_OBJECT_KEY] = { .type = NLA_NUL_STRING, .len = NLPEER_KEY_MAX, },
	[NLPEER_A_OBJECT_PREFIX] = { .type = NLA_NUL_STRING, .len = NLPEER_KEY_MAX, },
};

/* NLPEER_CMD_OBJECT_GET - do */
static const struct nla_policy nlpeer_object_get_do_nl_policy[NLPEER_A_OBJECT_KEY + 1] = {
	[NLPEER_A_OBJECT_KEY] = { .type = NLA_NUL_STRING, .len = NLPEER_KEY_MAX, },
};

/* NLPEER_CMD_OBJECT_GET - dump */
static const struct nla_policy nlpeer_object_get_dump_nl_policy[NLPEER_A_OBJECT_ATOMIC + 1] = {
	[NLPEER_A_OBJECT_PREFIX] = { .type = NLA_NUL_STRING, .len = NLPEER_KEY_MAX, },
	[NLPEER_A_OBJECT_ATOMIC] = { .type = NLA_FLAG, },
};

/* Ops table for nlpeer */
static const struct genl_split_ops nlpeer_nl_ops[] = {
	{
		.cmd		= NLPEER_CMD_ECHO,
		.doit		= nlpeer_nl_echo_doit,
		.policy		= nlpeer_echo_nl_policy,
		.maxattr	= NLPEER_A_ECHO_PAYLOAD,
		.flags		= GENL_CMD_CAP_DO,
	},
	{
		.cmd	= NLPEER_CMD_STATS_GET,
		.doit	= nlpeer_nl_stats_get_doit,
		.flags	= GENL_CMD_CAP_DO,
	},
	{
		.cmd	= NLPEER_CMD_BEACON_GET,
		.doit	= nlpeer_nl_beacon_get_doit,
		.flags	= GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NLPEER_CMD_BEACON_SET,
		.doit		= nlpeer_nl_beacon_set_doit,
		.policy		= nlpeer_beacon_set_nl_policy,
		.maxattr	= NLPEER_A_BEACON_BURST,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NLPEER_CMD_EVENT_GET,
		.start		= nlpeer_nl_event_get_start,
		.dumpit		= nlpeer_nl_event_get_dumpit,
		.policy		= nlpeer_event_get_nl_policy,
		.maxattr	= NLPEER_A_EVENT_SEQ,
		.flags		= GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= NLPEER_CMD_OBJECT_NEW,
		.doit		= nlpeer_nl_object_new_doit,
		.policy		= nlpeer_object_new_nl_policy,
		.maxattr	= NLPEER_A_OBJECT_FLAGS,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NLPEER_CMD_OBJECT_DEL,
		.doit		= nlpeer_nl_object_del_doit,
		.policy		= nlpeer_object_del_nl_policy,
		.maxattr	= NLPEER_A_OBJECT_PREFIX,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NLPEER_CMD_OBJECT_GET,
		.doit		= nlpeer_nl_object_get_doit,
		.policy		= nlpeer_object_get_do_nl_policy,
		.maxattr	= NLPEER_A_OBJECT_KEY,
		.flags		= GENL_CMD_CAP_DO,
	},
	{
		.cmd		= NLPEER_CMD_OBJECT_GET,
		.start		= nlpeer_nl_object_get_start,
		.dumpit		= nlpeer_nl_object_get_dumpit,
		.done		= nlpeer_nl_object_get_done,
		.policy		= nlpeer_object_get_dump_nl_policy,
		.maxattr	= NLPEER_A_OBJECT_ATOMIC,
		.flags		= GENL_CMD_CAP_DUMP,
	},
};

static const struct genl_multicast_group nlpeer_nl_mcgrps[] = {
	[NLPEER_NLGRP_BEACON] = { "beacon", },
	[NLPEER_NLGRP_OBJECTS] = { "objects", },
};

struct genl_family nlpeer_nl_family __ro_after_init = {
	.name		= NLPEER_FAMILY_NAME,
	.version	= NLPEER_FAMILY_VERSION,
	.netnsok	= true,
	.parallel_ops	= true,
	.module		= THIS_MODULE,
	.split_ops	= nlpeer_nl_ops,
	.n_split_ops	= ARRAY_SIZE(nlpeer_nl_ops),
	.mcgrps		= nlpeer_nl_mcgrps,
	.n_mcgrps	= ARRAY_SIZE(nlpeer_nl_mcgrps),
};
