// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kernel that answers: whatever is sent to it comes back to who sent it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/netlink.h>
#include <linux/skbuff.h>
#include <net/net_namespace.h>
#include <net/netlink.h>
#include <net/sock.h>

#define NETLINK_LAB 31 /* the labs' own protocol; the kernel uses those up to 22 */

static struct sock *sock; /* the kernel's end */

/* Answers one message. What it returns other than 0 is told to the asker. */
static int echo_one(struct sk_buff *skb, struct nlmsghdr *nlh,
		    struct netlink_ext_ack *extack)
{
	/*
	 * TODO(3): make a message with the type, the sequence number and the
	 * payload of this one, and send it to the port that this one came from.
	 */
	return -EOPNOTSUPP;
}

/* Is called with what one sendmsg() brought, in the context of the sender. */
static void echo_input(struct sk_buff *skb)
{
	/*
	 * TODO(2): a datagram may hold several messages, and nonsense. Have
	 * echo_one() called for each request in it.
	 */
	(void)echo_one;
}

static int __init echo_init(void)
{
	/*
	 * TODO(1): make the kernel's end of protocol NETLINK_LAB, in the first
	 * network namespace, such that echo_input() gets what is sent to it.
	 * If there is one already, return -EADDRINUSE.
	 */
	(void)echo_input;
	return 0;
}

static void __exit echo_exit(void)
{
	/* TODO(1), too: give the socket back. */
	(void)sock;
}

module_init(echo_init);
module_exit(echo_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("lab 3: the kernel answers");
