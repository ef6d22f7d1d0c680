// SPDX-License-Identifier: GPL-2.0-only
/*
 * The connector: messages {idx 16, val 1} come back as they were sent, and events
 * are multicast to group 16. What it cannot do is plain here: it exists in the
 * initial network namespace alone, reads one message of a datagram, sends no
 * errors and no acknowledgments, tells nobody whether somebody listens, and its
 * sequence numbers are the sender's business.
 */
#include <linux/build_bug.h>
#include <linux/connector.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <net/netlink.h>

#include "nlpeer.h"

static struct cb_id connector_id = {
	.idx = NLPEER_CN_IDX,
	.val = NLPEER_CN_VAL,
};

/*
 * Calls in progress, plus one for as long as the callback is registered. The
 * connector neither waits for them when a callback is removed nor holds the
 * module for them.
 */
static atomic_t connector_calls = ATOMIC_INIT(1);
static DECLARE_WAIT_QUEUE_HEAD(connector_idle);
static bool connector_up;

static void connector_leave(void)
{
	if (atomic_dec_and_test(&connector_calls))
		wake_up(&connector_idle);
}

static int connector_echo(const struct cn_msg *msg, u32 portid,
			  unsigned int *tx)
{
	struct cn_msg *answer;
	int err;

	/* The connector drops what is longer before anybody sees it. */
	BUILD_BUG_ON(NLPEER_CN_PAYLOAD_MAX !=
		     CONNECTOR_MAX_MSG_SIZE - sizeof(*msg));

	answer = kmalloc(struct_size(answer, data, msg->len), GFP_KERNEL);
	if (!answer)
		return -ENOMEM;

	answer->id = connector_id;
	answer->seq = msg->seq;
	answer->ack = msg->ack;
	answer->len = msg->len;
	answer->flags = 0;
	memcpy(answer->data, msg->data, msg->len);

	/*
	 * Flags that may wait for memory would also wait for room at the asker:
	 * who is inside sendmsg, and cannot read. It overruns instead, and is
	 * told so by ENOBUFS.
	 */
	err = cn_netlink_send(answer, portid, 0, GFP_NOWAIT | __GFP_NOWARN);
	kfree(answer);

	if (err < 0)
		return err;
	*tx = nlmsg_msg_size(sizeof(*msg) + msg->len);
	return 0;
}

/* Context: process, that of the sender. Anybody may send. */
static void connector_input(struct cn_msg *msg, struct netlink_skb_parms *nsp)
{
	unsigned int tx = 0;
	int err;

	atomic_inc(&connector_calls);
	err = connector_echo(msg, nsp->portid, &tx);
	nlpeer_count_request(nlpeer_pernet(&init_net),
			     NLPEER_CARRIER_CONNECTOR,
			     nlmsg_msg_size(sizeof(*msg) + msg->len), tx, err);
	connector_leave();
}

/**
 * nlpeer_connector_register - take the index, in the initial namespace
 *
 * Context: process, may sleep. The namespace has its data.
 * Return: 0 or a negative errno.
 */
int nlpeer_connector_register(void)
{
	int err = cn_add_callback(&connector_id, "nlpeer", connector_input);

	WRITE_ONCE(connector_up, !err);
	return err;
}

/**
 * nlpeer_connector_unregister - give the index back
 *
 * Waits for the calls in progress. A task that has fetched the callback and was
 * preempted before its first instruction is not counted yet; a grace period in
 * which every task passes through a voluntary sleep or user space waits for that
 * one, where the kernel offers it.
 *
 * Context: process, may sleep.
 */
void nlpeer_connector_unregister(void)
{
	cn_del_callback(&connector_id);
	nlpeer_synchronize_tasks();
	connector_leave();
	wait_event(connector_idle, !atomic_read(&connector_calls));
	nlpeer_synchronize_tasks();	/* until the last has left our code */
}

/**
 * nlpeer_connector_has - can a namespace use the connector
 * @nn: the namespace
 *
 * Context: any.
 */
bool nlpeer_connector_has(const struct nlpeer_net *nn)
{
	return net_eq(nn->net, &init_net) && READ_ONCE(connector_up);
}

/**
 * nlpeer_connector_event - multicast an event to the connector's group
 * @nn: the initial namespace
 * @ev: the event
 * @heard: false if nobody listened, or nobody had room
 *
 * The data of the message are the attributes of the event, its seq the low half
 * of the event's number.
 *
 * Context: process, may sleep.
 * Return: false if there was no memory.
 */
bool nlpeer_connector_event(struct nlpeer_net *nn,
			    const struct nlpeer_event *ev, bool *heard)
{
	size_t size = nlpeer_event_size(ev);
	struct cn_msg *msg;
	struct sk_buff *skb;
	bool sent = false;
	int err;

	/* The attributes are written where a carrier has them, in a buffer. */
	skb = alloc_skb(sizeof(*msg) + size, GFP_KERNEL);
	if (!skb)
		return false;

	msg = skb_put_zero(skb, sizeof(*msg));
	if (WARN_ON_ONCE(nlpeer_event_put(skb, ev)))
		goto out;

	msg->id = connector_id;
	msg->seq = lower_32_bits(ev->seq);
	msg->len = skb->len - sizeof(*msg);
	err = cn_netlink_send(msg, 0, NLPEER_CN_IDX, GFP_KERNEL);
	*heard = err != -ESRCH;
	sent = err != -ENOMEM;
out:
	kfree_skb(skb);
	return sent;
}
