// SPDX-License-Identifier: GPL-2.0-only
/*
 * ticker: the kernel speaks first. In each network namespace a timer counts,
 * and each count is sent to whoever has joined a multicast group.
 */
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/skbuff.h>
#include <linux/timer.h>
#include <net/net_namespace.h>
#include <net/netlink.h>
#include <net/netns/generic.h>

#define PROTOCOL	31
#define GROUP		3		/* a number, not a mask */
#define TICK		NLMSG_MIN_TYPE	/* 0x10: the first type that is ours */

static unsigned int interval_ms = 100;
module_param(interval_ms, uint, 0444);
MODULE_PARM_DESC(interval_ms, "milliseconds from one tick to the next");

static unsigned int skip;
module_param(skip, uint, 0644);
MODULE_PARM_DESC(skip, "numbers that the next tick leaves out, as if they were lost");

/* One for each network namespace; the kernel allocates it, filled with zeroes. */
struct ticker {
	struct sock *sk;
	struct timer_list timer;
	u32 number;			/* of the last tick; the timer's alone */
};

static unsigned int ticker_id;

/* Called by the timer: softirq context, where nothing may sleep. */
static void ticker_send(struct ticker *t)
{
	//> todo 3
	//| /*
	//|  * TODO(3): make a message of type TICK whose payload is t->number, four
	//|  * bytes, and send it to GROUP. Whose context is this? It decides how you
	//|  * may ask for memory.
	//|  */
	//> solved
	struct nlmsghdr *nlh;
	struct sk_buff *skb;

	skb = nlmsg_new(sizeof(t->number), GFP_ATOMIC);
	if (!skb)
		return;		/* the number was counted: the gap tells */

	nlh = nlmsg_put(skb, 0, 0, TICK, sizeof(t->number), 0);
	if (!nlh) {
		kfree_skb(skb);
		return;
	}
	memcpy(nlmsg_data(nlh), &t->number, sizeof(t->number));
	nlmsg_end(skb, nlh);

	/* -ESRCH says that nobody listens here, which is no error of ours. */
	nlmsg_multicast(t->sk, skb, 0, GROUP, GFP_ATOMIC);
	//> mistake may-sleep
	//| struct nlmsghdr *nlh;
	//| struct sk_buff *skb;
	//|
	//| skb = nlmsg_new(sizeof(t->number), GFP_KERNEL);
	//| if (!skb)
	//| 	return;
	//| nlh = nlmsg_put(skb, 0, 0, TICK, sizeof(t->number), 0);
	//| if (!nlh) {
	//| 	kfree_skb(skb);
	//| 	return;
	//| }
	//| memcpy(nlmsg_data(nlh), &t->number, sizeof(t->number));
	//| nlmsg_end(skb, nlh);
	//| nlmsg_multicast(t->sk, skb, 0, GROUP, GFP_KERNEL);
	//> mistake clone-may-sleep
	//| struct nlmsghdr *nlh;
	//| struct sk_buff *skb;
	//|
	//| skb = nlmsg_new(sizeof(t->number), GFP_ATOMIC);
	//| if (!skb)
	//| 	return;
	//| nlh = nlmsg_put(skb, 0, 0, TICK, sizeof(t->number), 0);
	//| if (!nlh) {
	//| 	kfree_skb(skb);
	//| 	return;
	//| }
	//| memcpy(nlmsg_data(nlh), &t->number, sizeof(t->number));
	//| nlmsg_end(skb, nlh);
	//| nlmsg_multicast(t->sk, skb, 0, GROUP, GFP_KERNEL);
	//> mistake number-as-mask
	//| struct nlmsghdr *nlh;
	//| struct sk_buff *skb;
	//|
	//| skb = nlmsg_new(sizeof(t->number), GFP_ATOMIC);
	//| if (!skb)
	//| 	return;
	//| nlh = nlmsg_put(skb, 0, 0, TICK, sizeof(t->number), 0);
	//| if (!nlh) {
	//| 	kfree_skb(skb);
	//| 	return;
	//| }
	//| memcpy(nlmsg_data(nlh), &t->number, sizeof(t->number));
	//| nlmsg_end(skb, nlh);
	//| nlmsg_multicast(t->sk, skb, 0, 1 << (GROUP - 1), GFP_ATOMIC);
	//> end
}

static void ticker_tick(struct timer_list *timer)
{
	struct ticker *t = container_of(timer, struct ticker, timer);

	//> todo 4
	//| /*
	//|  * TODO(4): nobody may be listening. Then make no message at all; but go
	//|  * on counting, so that who comes later sees how long the clock has run.
	//|  */
	//| t->number += 1 + xchg(&skip, 0);
	//| ticker_send(t);
	//> solved
	t->number += 1 + xchg(&skip, 0);
	if (netlink_has_listeners(t->sk, GROUP))
		ticker_send(t);
	//> mistake counts-when-heard
	//| if (netlink_has_listeners(t->sk, GROUP)) {
	//| 	t->number += 1 + xchg(&skip, 0);
	//| 	ticker_send(t);
	//| }
	//> end

	//> todo 2
	//| /* TODO(2): a timer rings once. Set it again. */
	//> solved
	mod_timer(&t->timer, jiffies + msecs_to_jiffies(interval_ms));
	//> end
}

/* A network namespace is made, or was there when the module came. */
static int __net_init ticker_net_init(struct net *net)
{
	struct ticker *t = net_generic(net, ticker_id);
	//> todo 1
	//|
	//| /*
	//|  * TODO(1): make the kernel's socket of this namespace, for PROTOCOL, with
	//|  * groups up to GROUP that anybody may join, and keep it in t->sk. Without
	//|  * a socket there is no ticker: -ENOMEM.
	//|  */
	//> solved
	struct netlink_kernel_cfg cfg = {
		.groups = GROUP,
		.flags = NL_CFG_F_NONROOT_RECV,
	};

	t->sk = netlink_kernel_create(net, PROTOCOL, &cfg);
	if (!t->sk)
		return -ENOMEM;
	//> mistake first-namespace-only
	//| struct netlink_kernel_cfg cfg = {
	//| 	.groups = GROUP,
	//| 	.flags = NL_CFG_F_NONROOT_RECV,
	//| };
	//|
	//| t->sk = netlink_kernel_create(&init_net, PROTOCOL, &cfg);
	//| if (!t->sk)
	//| 	return -ENOMEM;
	//> mistake root-only
	//| struct netlink_kernel_cfg cfg = {
	//| 	.groups = GROUP,
	//| };
	//|
	//| t->sk = netlink_kernel_create(net, PROTOCOL, &cfg);
	//| if (!t->sk)
	//| 	return -ENOMEM;
	//> end

	timer_setup(&t->timer, ticker_tick, 0);
	//> todo 2
	//| /* TODO(2): set the timer, interval_ms from now. */
	//> solved
	mod_timer(&t->timer, jiffies + msecs_to_jiffies(interval_ms));
	//> end
	return 0;
}

/*
 * A network namespace dies, or the module goes. When this returns, the kernel
 * frees the struct ticker, and soon after the code of this file.
 */
static void __net_exit ticker_net_exit(struct net *net)
{
	struct ticker *t = net_generic(net, ticker_id);

	//> todo 2
	//| /* TODO(2): before anything goes that the timer uses: stop it for good. */
	//| netlink_kernel_release(t->sk);
	//> solved
	timer_delete_sync(&t->timer);
	netlink_kernel_release(t->sk);
	//> mistake not-stopped
	//| netlink_kernel_release(t->sk);
	//> mistake not-waited
	//| timer_delete(&t->timer);
	//| netlink_kernel_release(t->sk);
	//> mistake only-tries
	//| #include <linux/version.h>
	//| #if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
	//| #define timer_delete_sync_try try_to_del_timer_sync
	//| #endif
	//| timer_delete_sync_try(&t->timer);
	//| netlink_kernel_release(t->sk);
	//> mistake socket-first
	//| netlink_kernel_release(t->sk);
	//| timer_delete_sync(&t->timer);
	//> end
}

static struct pernet_operations ticker_net_ops = {
	.init = ticker_net_init,
	.exit = ticker_net_exit,
	.id = &ticker_id,
	.size = sizeof(struct ticker),
};

static int __init ticker_init(void)
{
	return register_pernet_subsys(&ticker_net_ops);
}

static void __exit ticker_exit(void)
{
	unregister_pernet_subsys(&ticker_net_ops);
}

module_init(ticker_init);
module_exit(ticker_exit);

MODULE_DESCRIPTION("Lab 6: a clock that everybody may listen to");
MODULE_LICENSE("GPL");
