/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one file that knows kernel versions. Macros are tested for, not the
 * version: stable kernels take over new interfaces without changing theirs.
 */
#ifndef _NLPEER_COMPAT_H
#define _NLPEER_COMPAT_H

#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/version.h>
#include <net/genetlink.h>
#include <net/netlink.h>
#include <net/rtnetlink.h>

#ifndef CONFIG_MODULE_UNLOAD
/* Who never unloads a module does not count its users. */
static inline int module_refcount(struct module *mod)
{
	return 0;
}
#endif

/*
 * NLA_POLICY_MAX_LEN is missing before 7.0 and keeps its limit in 16 signed
 * bits after; the length of the plain binary type is unsigned everywhere.
 */
#undef NLA_POLICY_MAX_LEN
#define NLA_POLICY_MAX_LEN(_len)	{ .type = NLA_BINARY, .len = (_len) }

/* Older policies point to a range that is not const, though nothing writes it. */
#undef NLA_POLICY_FULL_RANGE
#define NLA_POLICY_FULL_RANGE(_type, _range) {				\
	.type = NLA_ENSURE_UINT_TYPE(_type),				\
	.validation_type = NLA_VALIDATE_RANGE_PTR,			\
	.range = (struct netlink_range_validation *)(_range),		\
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
/*
 * Split operations are young. An entry of ours that has a do or a dump, not
 * both, is the same as an entry of the older table, member by member.
 */
#define genl_split_ops			genl_ops
#define split_ops			ops
#define n_split_ops			n_ops

#define NLPEER_MAX_OPS	16
#define NLPEER_MAX_ATTR	16

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
/* An operation without a policy takes none; the core sees to it from 6.1 on. */
static inline void nlpeer_refuse_attrs(struct genl_ops *op)
{
	static const struct nla_policy reject[] = {
		{ .type = NLA_REJECT }, { .type = NLA_REJECT },
	};

	if (!op->policy) {
		op->policy = reject;
		op->maxattr = ARRAY_SIZE(reject) - 1;
	}
}
#else
static inline void nlpeer_refuse_attrs(struct genl_ops *op)
{
}
#endif

/*
 * Make one entry of the do and the dump of one command. They share a policy
 * there, which takes what either takes.
 */
static inline void nlpeer_merge_ops(struct genl_family *family)
{
	static struct nla_policy policy[NLPEER_MAX_ATTR + 1];
	static struct genl_ops ops[NLPEER_MAX_OPS];
	unsigned int i, j, n = 0;

	if (WARN_ON(family->n_ops > NLPEER_MAX_OPS))
		return;
	for (i = 0; i < family->n_ops; i++) {
		const struct genl_ops *op = &family->ops[i];
		struct genl_ops *before = n ? &ops[n - 1] : NULL;

		if (!before || before->cmd != op->cmd) {
			ops[n] = *op;
			nlpeer_refuse_attrs(&ops[n++]);
			continue;
		}
		for (j = 1; j <= NLPEER_MAX_ATTR; j++) {
			const struct nla_policy *from = NULL;

			if (j <= op->maxattr && op->policy[j].type)
				from = &op->policy[j];
			if (j <= before->maxattr && before->policy[j].type)
				from = &before->policy[j];
			if (from)	/* has const members */
				memcpy(&policy[j], from, sizeof(*from));
		}
		before->policy = policy;
		before->maxattr = max(before->maxattr, op->maxattr);
		before->start = op->start;
		before->dumpit = op->dumpit;
		before->done = op->done;
		before->flags |= op->flags;
	}
	family->ops = ops;
	family->n_ops = n;
}

/* What the shared policy let through, and the handler has to refuse. */
static inline struct nlattr *nlpeer_stray_attr(struct nlattr **attrs, int type)
{
	return attrs[type];
}
#else
static inline void nlpeer_merge_ops(struct genl_family *family)
{
}

static inline struct nlattr *nlpeer_stray_attr(struct nlattr **attrs, int type)
{
	return NULL;
}
#endif

#ifndef GENL_REQ_ATTR_CHECK		/* before 6.1 */
#define GENL_REQ_ATTR_CHECK(info, attr)	(!(info)->attrs[attr])
#endif

#ifndef NL_SET_ERR_ATTR_MISS		/* before 6.1 */
#define NL_SET_ERR_ATTR_MISS(extack, nest, type)			\
	((void)(extack), (void)(nest), (void)(type))
#endif

#ifndef NLM_F_BULK			/* before 5.19 */
#define NLM_F_BULK	0x200
#define RTNL_FLAG_BULK_DEL_SUPPORTED	0
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
#define RTNL_FLAG_DUMP_UNLOCKED		0
#endif

#ifndef rtnl_register_many		/* before 6.1, by a stable update */
struct rtnl_msg_handler {
	struct module *owner;
	int protocol;
	int msgtype;
	rtnl_doit_func doit;
	rtnl_dumpit_func dumpit;
	int flags;
};

static inline void nlpeer_rtnl_remove(const struct rtnl_msg_handler *h, int n)
{
	while (n--)
		rtnl_unregister(h[n].protocol, h[n].msgtype);
}

static inline int nlpeer_rtnl_add(const struct rtnl_msg_handler *h, int n)
{
	int err, i;

	for (i = 0; i < n; i++) {
		err = rtnl_register_module(h[i].owner, h[i].protocol,
					   h[i].msgtype, h[i].doit,
					   h[i].dumpit, h[i].flags);
		if (err) {
			nlpeer_rtnl_remove(h, i);
			return err;
		}
	}
	return 0;
}

#define rtnl_register_many(h)	nlpeer_rtnl_add(h, ARRAY_SIZE(h))
#define rtnl_unregister_many(h)	nlpeer_rtnl_remove(h, ARRAY_SIZE(h))
#endif

/* The attributes of a dump's request. */
static inline struct nlattr **nlpeer_dump_attrs(struct netlink_callback *cb)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
	return genl_dumpit_info(cb)->attrs;
#else
	return genl_info_dump(cb)->attrs;
#endif
}

/* Wait until no task is inside a function that it entered before. */
static inline void nlpeer_synchronize_tasks(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 11, 0)
	synchronize_rcu();	/* the other one is not exported */
	msleep(100);
#else
	synchronize_rcu_tasks();
#endif
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*function)(struct hrtimer *),
				 clockid_t clock_id, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock_id, mode);
	timer->function = function;
}
#endif

#endif /* _NLPEER_COMPAT_H */
