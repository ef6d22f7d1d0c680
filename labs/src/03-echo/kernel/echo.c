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
	//> todo 3
	//| /*
	//|  * TODO(3): make a message with the type, the sequence number and the
	//|  * payload of this one, and send it to the port that this one came from.
	//|  */
	//| return -EOPNOTSUPP;
	//> solved
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
	//> mistake wrong-port
	//| struct nlmsghdr *reply;
	//| struct sk_buff *answer;
	//| int err;
	//|
	//| answer = nlmsg_new(nlmsg_len(nlh), GFP_KERNEL);
	//| if (!answer)
	//| 	return -ENOMEM;
	//| reply = nlmsg_put(answer, 0, nlh->nlmsg_seq, nlh->nlmsg_type, nlmsg_len(nlh), 0);
	//| memcpy(nlmsg_data(reply), nlmsg_data(nlh), nlmsg_len(nlh));
	//| err = netlink_unicast(sock, answer, 0, MSG_DONTWAIT);
	//| return err < 0 ? err : 0;
	//> mistake wrong-seq
	//| u32 portid = NETLINK_CB(skb).portid;
	//| struct nlmsghdr *reply;
	//| struct sk_buff *answer;
	//| int err;
	//|
	//| answer = nlmsg_new(nlmsg_len(nlh), GFP_KERNEL);
	//| if (!answer)
	//| 	return -ENOMEM;
	//| reply = nlmsg_put(answer, portid, 0, nlh->nlmsg_type, nlmsg_len(nlh), 0);
	//| memcpy(nlmsg_data(reply), nlmsg_data(nlh), nlmsg_len(nlh));
	//| err = netlink_unicast(sock, answer, portid, MSG_DONTWAIT);
	//| return err < 0 ? err : 0;
	//> mistake total-length
	//| u32 portid = NETLINK_CB(skb).portid;
	//| struct nlmsghdr *reply;
	//| struct sk_buff *answer;
	//| int err;
	//|
	//| answer = nlmsg_new(nlh->nlmsg_len, GFP_KERNEL);
	//| if (!answer)
	//| 	return -ENOMEM;
	//| reply = nlmsg_put(answer, portid, nlh->nlmsg_seq, nlh->nlmsg_type, nlh->nlmsg_len, 0);
	//| memcpy(nlmsg_data(reply), nlmsg_data(nlh), nlmsg_len(nlh));
	//| err = netlink_unicast(sock, answer, portid, MSG_DONTWAIT);
	//| return err < 0 ? err : 0;
	//> mistake double-free
	//| u32 portid = NETLINK_CB(skb).portid;
	//| struct nlmsghdr *reply;
	//| struct sk_buff *answer;
	//| int err;
	//|
	//| answer = nlmsg_new(nlmsg_len(nlh), GFP_KERNEL);
	//| if (!answer)
	//| 	return -ENOMEM;
	//| reply = nlmsg_put(answer, portid, nlh->nlmsg_seq, nlh->nlmsg_type, nlmsg_len(nlh), 0);
	//| memcpy(nlmsg_data(reply), nlmsg_data(nlh), nlmsg_len(nlh));
	//| err = netlink_unicast(sock, answer, portid, MSG_DONTWAIT);
	//| kfree_skb(answer);
	//| return err < 0 ? err : 0;
	//> mistake also-on-failure
	//| u32 portid = NETLINK_CB(skb).portid;
	//| struct nlmsghdr *reply;
	//| struct sk_buff *answer;
	//| int err;
	//|
	//| answer = nlmsg_new(nlmsg_len(nlh), GFP_KERNEL);
	//| if (!answer)
	//| 	return -ENOMEM;
	//| reply = nlmsg_put(answer, portid, nlh->nlmsg_seq, nlh->nlmsg_type, nlmsg_len(nlh), 0);
	//| memcpy(nlmsg_data(reply), nlmsg_data(nlh), nlmsg_len(nlh));
	//| err = netlink_unicast(sock, answer, portid, MSG_DONTWAIT);
	//| if (err < 0) {
	//| 	nlmsg_free(answer);
	//| 	return err;
	//| }
	//| return 0;
	//> end
}

/* Is called with what one sendmsg() brought, in the context of the sender. */
static void echo_input(struct sk_buff *skb)
{
	//> todo 2
	//| /*
	//|  * TODO(2): a datagram may hold several messages, and nonsense. Have
	//|  * echo_one() called for each request in it.
	//|  */
	//| (void)echo_one;
	//> solved
	netlink_rcv_skb(skb, echo_one);
	//> mistake first-only
	//| echo_one(skb, nlmsg_hdr(skb), NULL);
	//> end
}

static int __init echo_init(void)
{
	//> todo 1
	//| /*
	//|  * TODO(1): make the kernel's end of protocol NETLINK_LAB, in the first
	//|  * network namespace, such that echo_input() gets what is sent to it.
	//|  * If there is one already, return -EADDRINUSE.
	//|  */
	//| (void)echo_input;
	//> solved
	struct netlink_kernel_cfg cfg = { .input = echo_input };

	sock = netlink_kernel_create(&init_net, NETLINK_LAB, &cfg);
	if (!sock)
		return -EADDRINUSE;
	//> mistake unchecked
	//| struct netlink_kernel_cfg cfg = { .input = echo_input };
	//|
	//| sock = netlink_kernel_create(&init_net, NETLINK_LAB, &cfg);
	//> end
	return 0;
}

static void __exit echo_exit(void)
{
	//> todo 1
	//| /* TODO(1), too: give the socket back. */
	//| (void)sock;
	//> solved
	netlink_kernel_release(sock);
	//> end
}

module_init(echo_init);
module_exit(echo_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("lab 3: the kernel answers");
