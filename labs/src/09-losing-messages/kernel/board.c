// SPDX-License-Identifier: GPL-2.0-only
/*
 * board: a table of numbers in the kernel. Anybody may set one, each change is
 * announced to a group, and whoever has missed some asks for the table.
 */
#include <linux/build_bug.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/skbuff.h>
#include <net/net_namespace.h>
#include <net/netlink.h>
#include <net/sock.h>

#define PROTOCOL	31
#define GROUP		1
#define SLOTS		64

/* Messages. */
#define BOARD_SET	0x10	/* struct board_set: set a slot */
#define BOARD_LIST	0x11	/* nothing; with NLM_F_DUMP: list all slots */
#define BOARD_CHANGE	0x12	/* struct board_change: what a slot is */

struct board_set {
	__u32 slot;
	__u32 value;
};

struct board_change {
	__u32 number;		/* of the last change of all, when this was written */
	__u32 slot;
	__u32 value;
};

static unsigned int fail;
module_param(fail, uint, 0644);
MODULE_PARM_DESC(fail, "how many of the next announcements find no memory");

static unsigned int meanwhile;
module_param(meanwhile, uint, 0644);
MODULE_PARM_DESC(meanwhile, "slot 1 becomes this just before the next list is written, and one more just after");

static bool torn;
module_param(torn, bool, 0644);
MODULE_PARM_DESC(torn, "a list breaks off after half of the slots, with -EIO");

static struct sock *sock;

static DEFINE_MUTEX(lock);	/* what follows */
static u32 values[SLOTS];
static u32 number;

static int board_put(struct sk_buff *skb, u32 portid, u32 seq, int flags,
		     u32 slot)
{
	struct board_change *change;
	struct nlmsghdr *nlh;

	nlh = nlmsg_put(skb, portid, seq, BOARD_CHANGE, sizeof(*change), flags);
	if (!nlh)
		return -EMSGSIZE;
	change = nlmsg_data(nlh);
	change->number = number;
	change->slot = slot;
	change->value = values[slot];
	nlmsg_end(skb, nlh);
	return 0;
}

/* Memory for an announcement, or NULL; sooner or later there is none. */
static struct sk_buff *board_new(void)
{
	if (fail) {
		fail--;
		return NULL;
	}
	return nlmsg_new(sizeof(struct board_change), GFP_KERNEL);
}

/* Tell the group what has become of a slot. The caller holds the lock. */
static void board_announce(u32 slot)
{
	struct sk_buff *skb = board_new();

	if (!skb || board_put(skb, 0, 0, 0, slot)) {
		kfree_skb(skb);
		//> todo 2
		//| /*
		//|  * TODO(2): nobody will hear of this change. See to it that all who
		//|  * are in the group learn at least that they have missed one.
		//|  */
		//> solved
		netlink_set_err(sock, 0, GROUP, -ENOBUFS);
		//> mistake positive-errno
		//| netlink_set_err(sock, 0, GROUP, ENOBUFS);
		//> end
		return;
	}
	nlmsg_multicast(sock, skb, 0, GROUP, GFP_KERNEL);
}

/* Change a slot, and tell the group. The caller holds the lock. */
static void board_update(u32 slot, u32 value)
{
	values[slot] = value;
	//> todo 1
	//| /* TODO(1): whoever misses a change cannot see it. Number them. */
	//| board_announce(slot);
	//> solved
	number++;
	board_announce(slot);
	//> mistake number-after
	//| board_announce(slot);
	//| number++;
	//> end
}

static int board_set(const struct nlmsghdr *nlh, struct netlink_ext_ack *extack)
{
	const struct board_set *set = nlmsg_data(nlh);

	if (nlmsg_len(nlh) < sizeof(*set) || set->slot >= SLOTS) {
		NL_SET_ERR_MSG(extack, "no such slot");
		return -EINVAL;
	}
	mutex_lock(&lock);
	board_update(set->slot, set->value);
	mutex_unlock(&lock);
	return 0;
}

/* All slots fit into one buffer, so what a list says was so at one moment. */
static int board_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	int end = torn ? SLOTS / 2 : SLOTS;

	BUILD_BUG_ON(SLOTS * (NLMSG_HDRLEN + sizeof(struct board_change)) >
		     NLMSG_GOODSIZE - NLMSG_HDRLEN);

	mutex_lock(&lock);
	if (meanwhile)
		board_update(1, meanwhile);
	for (; cb->args[0] < end; cb->args[0]++)
		if (board_put(skb, NETLINK_CB(cb->skb).portid,
			      cb->nlh->nlmsg_seq, NLM_F_MULTI, cb->args[0]))
			break;
	if (meanwhile)
		board_update(1, meanwhile + 1);
	meanwhile = 0;
	mutex_unlock(&lock);
	if (torn && !skb->len)
		return -EIO;
	return skb->len;
}

static int board_request(struct sk_buff *skb, struct nlmsghdr *nlh,
			 struct netlink_ext_ack *extack)
{
	struct netlink_dump_control control = { .dump = board_dump };

	switch (nlh->nlmsg_type) {
	case BOARD_SET:
		return board_set(nlh, extack);
	case BOARD_LIST:
		if (nlh->nlmsg_flags & NLM_F_DUMP)
			return netlink_dump_start(sock, skb, nlh, &control);
		fallthrough;
	default:
		NL_SET_ERR_MSG(extack, "no such request");
		return -EOPNOTSUPP;
	}
}

static void board_input(struct sk_buff *skb)
{
	netlink_rcv_skb(skb, board_request);
}

static int __init board_init(void)
{
	struct netlink_kernel_cfg cfg = {
		.groups = GROUP,
		.flags = NL_CFG_F_NONROOT_RECV,
		.input = board_input,
	};

	sock = netlink_kernel_create(&init_net, PROTOCOL, &cfg);
	return sock ? 0 : -EADDRINUSE;
}

static void __exit board_exit(void)
{
	netlink_kernel_release(sock);
}

module_init(board_init);
module_exit(board_exit);

MODULE_DESCRIPTION("Lab 9: a table that announces its changes");
MODULE_LICENSE("GPL");
