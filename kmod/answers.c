// SPDX-License-Identifier: GPL-2.0-only
/*
 * Answers to the requests of one datagram, packed into as few datagrams as they
 * fit in. One request alone is answered as all of netlink does: its answer and
 * its acknowledgment are a datagram each.
 */
#include <linux/kernel.h>
#include <linux/netlink.h>
#include <linux/skbuff.h>
#include <net/netlink.h>

#include "nlpeer.h"

/**
 * nlpeer_answers_begin - begin to answer the requests of a datagram
 * @a: to be set up; the caller keeps @rest up to date
 * @sk: the kernel's socket
 * @requests: the datagram
 * @pack: answer several requests in a datagram
 */
void nlpeer_answers_begin(struct nlpeer_answers *a, struct sock *sk,
			  struct sk_buff *requests, bool pack)
{
	const struct nlmsghdr *first = nlmsg_hdr(requests);

	a->sk = sk;
	a->requests = requests;
	a->skb = NULL;
	a->left = 0;
	a->portid = NETLINK_CB(requests).portid;
	a->pack = pack && requests->len >= NLMSG_HDRLEN &&
		  requests->len >= NLMSG_ALIGN(first->nlmsg_len) + NLMSG_HDRLEN;
	/* Who sends that much at once has a buffer to receive as much. */
	a->limit = clamp_t(unsigned int, requests->len, NLPEER_PACK_MIN,
			   NLPEER_PACK_MAX);
}

/**
 * nlpeer_answers_flush - send what there is
 * @a: the answers
 *
 * Does not wait: an asker that does not read overruns, and is told so by
 * ENOBUFS. The answers are gone in any case.
 *
 * Context: process, may sleep.
 * Return: 0 or a negative errno.
 */
int nlpeer_answers_flush(struct nlpeer_answers *a)
{
	struct sk_buff *skb = a->skb;

	a->skb = NULL;
	a->left = 0;
	if (!skb)
		return 0;
	if (!skb->len) {	/* nothing came of it */
		kfree_skb(skb);
		return 0;
	}
	return nlmsg_unicast(a->sk, skb, a->portid);
}

/* Make room for @size more bytes in the datagram begun. */
static bool answers_extend(struct nlpeer_answers *a, unsigned int size)
{
	struct sk_buff *skb = a->skb;

	if (!skb || skb->len + size > a->limit)
		return false;
	/* Twice as much each time, so the bytes copied stay in proportion. */
	return skb_tailroom(skb) >= size ||
	       !pskb_expand_head(skb, 0, max(size, skb->len), GFP_KERNEL);
}

/**
 * nlpeer_answers_more_room - get room where there is none left
 * @a: the answers
 * @size: bytes of the next message
 *
 * Context: process, may sleep.
 * Return: see nlpeer_answers_room().
 */
struct sk_buff *nlpeer_answers_more_room(struct nlpeer_answers *a,
					 unsigned int size)
{
	unsigned int most = size;

	if (!answers_extend(a, size)) {
		nlpeer_answers_flush(a);
		/* An echo is as long as its request; else this is a guess. */
		if (a->pack)
			most = max(size, min(a->rest, a->limit));
		a->skb = alloc_skb(most, GFP_KERNEL);
		if (!a->skb || !a->pack)
			return a->skb;
	}
	most = min(a->skb->len + skb_tailroom(a->skb), max(a->limit, size));
	a->left = most - a->skb->len - size;
	return a->skb;
}

/**
 * nlpeer_answers_ack - acknowledge a request
 * @a: the answers
 * @nlh: the request
 * @err: 0 or a negative errno
 * @extack: says more
 *
 * What an error says depends on options of the asker's socket, which only the
 * core of netlink knows. It has a datagram of its own, in its place.
 *
 * Context: process, may sleep.
 */
void nlpeer_answers_ack(struct nlpeer_answers *a, struct nlmsghdr *nlh, int err,
			const struct netlink_ext_ack *extack)
{
	struct nlmsgerr *ack;
	struct nlmsghdr *hdr;
	struct sk_buff *skb;

	if (err || !a->pack)
		goto alone;
	skb = nlpeer_answers_room(a, sizeof(*ack));
	if (!skb)
		goto alone;
	hdr = nlmsg_put(skb, a->portid, nlh->nlmsg_seq, NLMSG_ERROR,
			sizeof(*ack), NLM_F_CAPPED);
	if (WARN_ON_ONCE(!hdr))		/* the room was just made */
		goto alone;
	ack = nlmsg_data(hdr);
	ack->error = 0;
	ack->msg = *nlh;
	/* Nothing stands behind one elsewhere, so some stop reading at it. */
	nlpeer_answers_flush(a);
	return;

alone:
	nlpeer_answers_flush(a);
	netlink_ack(a->requests, nlh, err, extack);
}
