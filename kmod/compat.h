/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one file that knows kernel versions. Macros are tested for, not the
 * version: stable kernels take over new interfaces without changing theirs.
 */
#ifndef _NLPEER_COMPAT_H
#define _NLPEER_COMPAT_H

#include <linux/hrtimer.h>
#include <linux/version.h>
#include <net/genetlink.h>
#include <net/netlink.h>

/*
 * NLA_POLICY_MAX_LEN is missing before 7.0 and keeps its limit in 16 signed
 * bits after; the length of the plain binary type is unsigned everywhere.
 */
#undef NLA_POLICY_MAX_LEN
#define NLA_POLICY_MAX_LEN(_len)	{ .type = NLA_BINARY, .len = (_len) }

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
/*
 * Split operations are young. An entry of ours that has a do or a dump, not
 * both, is the same as an entry of the older table, member by member.
 */
#define genl_split_ops			genl_ops
#define split_ops			ops
#define n_split_ops			n_ops

/* The policy pointed to a range that is not const, though nothing wrote it. */
#undef NLA_POLICY_FULL_RANGE
#define NLA_POLICY_FULL_RANGE(_type, _range) {				\
	.type = NLA_ENSURE_UINT_TYPE(_type),				\
	.validation_type = NLA_VALIDATE_RANGE_PTR,			\
	.range = (struct netlink_range_validation *)(_range),		\
}
#endif

#ifndef GENL_REQ_ATTR_CHECK		/* before 6.1 */
#define GENL_REQ_ATTR_CHECK(info, attr)	(!(info)->attrs[attr])
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
