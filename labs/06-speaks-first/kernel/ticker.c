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
	/*
	 * TODO(3): make a message of type TICK whose payload is t->number, four
	 * bytes, and send it to GROUP. Whose context is this? It decides how you
	 * may ask for memory.
	 */
}

static void ticker_tick(struct timer_list *timer)
{
	struct ticker *t = container_of(timer, struct ticker, timer);

	/*
	 * TODO(4): nobody may be listening. Then make no message at all; but go
	 * on counting, so that who comes later sees how long the clock has run.
	 */
	t->number += 1 + xchg(&skip, 0);
	ticker_send(t);

	/* TODO(2): a timer rings once. Set it again. */
}

/* A network namespace is made, or was there when the module came. */
static int __net_init ticker_net_init(struct net *net)
{
	struct ticker *t = net_generic(net, ticker_id);

	/*
	 * TODO(1): make the kernel's socket of this namespace, for PROTOCOL, with
	 * groups up to GROUP that anybody may join, and keep it in t->sk. Without
	 * a socket there is no ticker: -ENOMEM.
	 */

	timer_setup(&t->timer, ticker_tick, 0);
	/* TODO(2): set the timer, interval_ms from now. */
	return 0;
}

/*
 * A network namespace dies, or the module goes. When this returns, the kernel
 * frees the struct ticker, and soon after the code of this file.
 */
static void __net_exit ticker_net_exit(struct net *net)
{
	struct ticker *t = net_generic(net, ticker_id);

	/* TODO(2): before anything goes that the timer uses: stop it for good. */
	netlink_kernel_release(t->sk);
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
