// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events: numbered in each group, written as attributes, handed to the carrier
 * that owns the group.
 */
#include <linux/ktime.h>
#include <linux/skbuff.h>
#include <net/netlink.h>

#include "nlpeer.h"

static bool event_is_raw(u32 group)
{
	return group <= NLPEER_RAW_GROUPS;
}

/* Where a group keeps its number, or NLPEER_GROUPS if there is no such group. */
static u32 event_slot(u32 group)
{
	if (group >= 1 && group <= NLPEER_RAW_GROUPS)
		return group - 1;
	return group == NLPEER_GROUP_BEACON ? NLPEER_RAW_GROUPS : NLPEER_GROUPS;
}

/**
 * nlpeer_event_last - look up the number of a group's last event
 * @nn: the namespace
 * @group: any number
 * @seq: the number, 0 if there was no event yet
 *
 * Context: any.
 * Return: false if there is no such group.
 */
bool nlpeer_event_last(const struct nlpeer_net *nn, u32 group, u64 *seq)
{
	u32 slot = event_slot(group);

	if (slot == NLPEER_GROUPS)
		return false;
	*seq = atomic64_read(&nn->seq[slot]);
	return true;
}

/**
 * nlpeer_event_wanted - ask for listeners before anything is built
 * @nn: the namespace
 * @group: group of the event
 *
 * The netlink core keeps one set of listeners for all namespaces, so true can
 * also mean that somebody listens elsewhere.
 *
 * Context: any.
 * Return: false if nobody listens to @group.
 */
bool nlpeer_event_wanted(const struct nlpeer_net *nn, u32 group)
{
	if (event_is_raw(group))
		return nlpeer_raw_wanted(nn, group);
	return nlpeer_genl_wanted(nn);
}

/**
 * nlpeer_event_send - number an event and send it to one group
 * @nn: the namespace
 * @group: where to
 * @kind: enum nlpeer_kind
 * @len: bytes of data, derived from the number by the kind
 *
 * A number is used up by every event that somebody may have waited for, also
 * when there was no memory for it or no room at the listener: that is how a
 * listener can tell what it lost. The core of netlink answers "nobody there"
 * in both of the latter cases, so its answer says nothing.
 *
 * Context: process, may sleep. One caller at a time in a namespace.
 */
void nlpeer_event_send(struct nlpeer_net *nn, u32 group, u32 kind, u32 len)
{
	struct nlpeer_event ev = {
		.group = group,
		.kind = kind,
		.time = ktime_get_boottime_ns(),
		.len = len,
	};

	if (!nlpeer_event_wanted(nn, group))
		return;

	/* Into the history first: who hears of a number can ask for it. */
	ev.seq = atomic64_inc_return(&nn->seq[event_slot(group)]);
	nlpeer_history_add(nn, &ev);

	if (event_is_raw(group))
		nlpeer_count_event(nn, NLPEER_CARRIER_RAW,
				   nlpeer_raw_event(nn, &ev));
	else
		nlpeer_count_event(nn, NLPEER_CARRIER_GENL,
				   nlpeer_genl_event(nn, &ev));
}

/**
 * nlpeer_event_size - room that nlpeer_event_put() needs
 * @ev: the event
 *
 * Return: bytes.
 */
size_t nlpeer_event_size(const struct nlpeer_event *ev)
{
	return nla_total_size(sizeof(u32)) +		/* group */
	       nla_total_size_64bit(sizeof(u64)) +	/* seq */
	       nla_total_size_64bit(sizeof(u64)) +	/* time */
	       nla_total_size(sizeof(u32)) +		/* kind */
	       nla_total_size(ev->len);			/* data */
}

/**
 * nlpeer_event_put - write the attribute set event
 * @skb: has room for nlpeer_event_size()
 * @ev: the event
 *
 * Return: 0 or -EMSGSIZE; the caller drops the message then.
 */
int nlpeer_event_put(struct sk_buff *skb, const struct nlpeer_event *ev)
{
	struct nlattr *attr;
	u8 *data;
	u32 i;

	if (nla_put_u32(skb, NLPEER_A_EVENT_GROUP, ev->group) ||
	    nla_put_u64_64bit(skb, NLPEER_A_EVENT_SEQ, ev->seq,
			      NLPEER_A_EVENT_PAD) ||
	    nla_put_u64_64bit(skb, NLPEER_A_EVENT_TIME, ev->time,
			      NLPEER_A_EVENT_PAD) ||
	    nla_put_u32(skb, NLPEER_A_EVENT_KIND, ev->kind))
		return -EMSGSIZE;

	attr = nla_reserve(skb, NLPEER_A_EVENT_DATA, ev->len);
	if (!attr)
		return -EMSGSIZE;

	data = nla_data(attr);
	for (i = 0; i < ev->len; i++)
		data[i] = ev->seq + i;
	return 0;
}
