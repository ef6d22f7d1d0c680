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
	u32 portid = NETLINK_CB(skb).portid;
	struct nlmsghdr *reply;
	struct sk_buff *answer;
	int err;

	answer = nlmsg_new(nlmsg_len(nlh), GFP_KERNEL);
	if (!answer)
		return -ENOMEM;
	reply = nlmsg_put(answer, portid, nlh->nlmsg_seq, nlh->nlmsg_type, nlmsg_len(nlh), 0);
	memcpy(nlmsg_data(reply), nlmsg_data(nlh), nlmsg_len(nlh));
	err = netlink_unicast(sock, answer, portid, MSG_DONTWAIT);
	return err < 0 ? err : 0;
}

/* Is called with what one sendmsg() brought, in the context of the sender. */
static void echo_input(struct sk_buff *skb)
{
	netlink_rcv_skb(skb, echo_one);
}

static int __init echo_init(void)
{
	struct netlink_kernel_cfg cfg = { .input = echo_input };

	sock = netlink_kernel_create(&init_net, NETLINK_LAB, &cfg);
	if (!sock)
		return -EADDRINUSE;
	return 0;
}

static void __exit echo_exit(void)
{
	netlink_kernel_release(sock);
}

module_init(echo_init);
module_exit(echo_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("lab 3: the kernel answers");
