// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events: numbered in each group, written as attributes, handed to the carrier
 * that owns the group.
 */
#include <linux/ktime.h>
#include <linux/skbuff.h>
#include <net/netlink.h>

#include "nlpeer.h"

/* Where a group keeps its number, or NLPEER_GROUPS if there is no such group. */
static u32 event_slot(u32 group)
{
	if (group >= 1 && group <= NLPEER_RAW_GROUPS)
		return group - 1;
	if (group >= NLPEER_GROUP_BEACON && group <= NLPEER_GROUP_CONNECTOR)
		return NLPEER_RAW_GROUPS + group - NLPEER_GROUP_BEACON;
	return NLPEER_GROUPS;
}

static enum nlpeer_carrier event_carrier(u32 group)
{
	if (group <= NLPEER_RAW_GROUPS)
		return NLPEER_CARRIER_RAW;
	if (group == NLPEER_GROUP_CONNECTOR)
		return NLPEER_CARRIER_CONNECTOR;
	return NLPEER_CARRIER_GENL;
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
 * also mean that somebody listens elsewhere. The connector tells nobody, so
 * there it is always true.
 *
 * Context: any.
 * Return: false if nobody listens to @group.
 */
bool nlpeer_event_wanted(const struct nlpeer_net *nn, u32 group)
{
	switch (event_carrier(group)) {
	case NLPEER_CARRIER_RAW:
		return nlpeer_raw_wanted(nn, group);
	case NLPEER_CARRIER_CONNECTOR:
		return nlpeer_connector_has(nn);
	default:
		return nlpeer_genl_wanted(nn, group);
	}
}

/* Send events that have their numbers. Caller holds nn->events. */
static bool event_send(struct nlpeer_net *nn, const struct nlpeer_event *ev,
		       u32 n, const struct nlpeer_cause *cause)
{
	bool heard = true, sent;

	switch (event_carrier(ev->group)) {
	case NLPEER_CARRIER_RAW:
		nlpeer_history_add(nn, ev, n);
		return nlpeer_raw_event(nn, ev, n, cause);
	case NLPEER_CARRIER_CONNECTOR:
		/*
		 * Only sending tells whether anybody listens. What nobody heard
		 * would push what others ask for out of the history.
		 */
		sent = nlpeer_connector_event(nn, ev, &heard);
		if (heard)
			nlpeer_history_add(nn, ev, n);
		return sent;
	default:
		nlpeer_history_add(nn, ev, n);
		return nlpeer_genl_event(nn, ev, cause);
	}
}

/*
 * Number events and send them to their group. Caller holds nn->events.
 *
 * A number is used up by every event that somebody may have waited for, also
 * when there was no memory for it or no room at the listener: that is how a
 * listener can tell what it lost. The core of netlink answers "nobody there" in
 * both of the latter cases, so its answer says nothing.
 *
 * They go into the history first, as who hears of a number can ask for it. One
 * datagram at a time, so that numbers are sent in their order: a listener takes
 * a number that is missing for lost.
 *
 * @n is 1, or on the raw protocol as many as go into one datagram. They follow
 * each other in number and are alike in all else.
 */
static void event_number(struct nlpeer_net *nn, struct nlpeer_event *ev,
			 u32 n, const struct nlpeer_cause *cause)
{
	atomic64_t *last = &nn->seq[event_slot(ev->group)];

	lockdep_assert_held(&nn->events);

	if (nn->ended && ev->kind != NLPEER_KIND_END)
		return;
	ev->time = ktime_get_boottime_ns();
	ev->seq = atomic64_add_return(n, last) - n + 1;
	nlpeer_count_events(nn, event_carrier(ev->group), n,
			    event_send(nn, ev, n, cause));
}

/* The same, if somebody listens, as soon as nobody else is at it. */
static void event_multicast(struct nlpeer_net *nn, struct nlpeer_event *ev,
			    u32 n, const struct nlpeer_cause *cause)
{
	bool echo = cause && cause->echo &&
		    cause->via == event_carrier(ev->group);

	if (!echo && !nlpeer_event_wanted(nn, ev->group))
		return;

	mutex_lock(&nn->events);
	event_number(nn, ev, n, cause);
	mutex_unlock(&nn->events);
}

/**
 * nlpeer_event_tick - send an event of the beacon to each of some groups
 * @nn: the namespace
 * @groups: where to
 * @n: how many of them
 * @len: bytes of data, derived from the number
 *
 * It waits for nobody: all namespaces share who calls it, and a task that is
 * sending events may be one to which its owner gives next to no processor.
 *
 * Context: process, may sleep for memory.
 * Return: false if somebody else is sending events of the namespace
 */
bool nlpeer_event_tick(struct nlpeer_net *nn, const u32 *groups,
		       unsigned int n, u32 len)
{
	unsigned int i;

	if (!mutex_trylock(&nn->events))
		return false;

	for (i = 0; i < n; i++) {
		struct nlpeer_event ev = {
			.group = groups[i],
			.kind = NLPEER_KIND_BEACON,
			.len = len,
		};

		if (nlpeer_event_wanted(nn, ev.group))
			event_number(nn, &ev, 1, NULL);
		cond_resched();
	}
	mutex_unlock(&nn->events);
	return true;
}

/**
 * nlpeer_event_burst - send events of the beacon to one group
 * @nn: the namespace
 * @group: where to
 * @len: bytes of data, derived from the number
 * @n: how many, at least 1; the first is sent in any case
 * @pack: several in a datagram, on the raw protocol
 * @end: when to give up, see nlpeer_too_long()
 *
 * Context: process, may sleep.
 * Return: were all sent
 */
bool nlpeer_event_burst(struct nlpeer_net *nn, u32 group, u32 len, u32 n,
			bool pack, unsigned long end)
{
	struct nlpeer_event ev = {
		.group = group,
		.kind = NLPEER_KIND_BEACON,
		.len = len,
	};
	u32 most = 1;

	if (pack)
		most = max_t(u32, 1, SKB_WITH_OVERHEAD(NLPEER_PACK_MIN) /
				     nlmsg_total_size(nlpeer_event_size(&ev)));

	do {
		u32 now = min(n, most);

		event_multicast(nn, &ev, now, NULL);
		n -= now;
		cond_resched();
	} while (n && !nlpeer_too_long(end));
	return !n;
}

/**
 * nlpeer_event_object - tell all carriers what happened to an object
 * @nn: the namespace
 * @kind: NLPEER_KIND_OBJECT_...
 * @obj: as it is since, or was
 * @generation: of the change
 * @cause: the request
 *
 * Context: process, may sleep. One caller at a time in a namespace.
 */
void nlpeer_event_object(struct nlpeer_net *nn, u32 kind,
			 struct nlpeer_object *obj, u64 generation,
			 const struct nlpeer_cause *cause)
{
	static const u32 groups[] = {
		NETLINK_TEST_GRP_OBJECTS,
		NLPEER_GROUP_OBJECTS,
		NLPEER_GROUP_CONNECTOR,
	};
	struct nlpeer_event ev = {
		.kind = kind,
		.object = obj,
		.generation = generation,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(groups); i++) {
		ev.group = groups[i];
		event_multicast(nn, &ev, 1, cause);
	}

	/* No group of ours is on rtnetlink, but who asks for it gets an answer. */
	if (cause->via == NLPEER_CARRIER_RTNL && cause->echo)
		nlpeer_rtnl_echo(nn, &ev, cause);
}

/**
 * nlpeer_event_end - tell all groups that there will be no more
 * @nn: the namespace; what happens to objects is no event any more
 *
 * The raw groups have no listeners then: their sockets hold both the module and
 * the namespace.
 *
 * Context: process, may sleep.
 */
void nlpeer_event_end(struct nlpeer_net *nn)
{
	struct nlpeer_event ev = { .kind = NLPEER_KIND_END };

	mutex_lock(&nn->events);
	nn->ended = true;
	mutex_unlock(&nn->events);

	for (ev.group = NLPEER_GROUP_BEACON;
	     ev.group <= NLPEER_GROUP_CONNECTOR; ev.group++)
		event_multicast(nn, &ev, 1, NULL);
}

/**
 * nlpeer_event_size - room that nlpeer_event_put() needs
 * @ev: the event
 *
 * Return: bytes.
 */
size_t nlpeer_event_size(const struct nlpeer_event *ev)
{
	size_t size = nla_total_size(sizeof(u32)) +		/* group */
		      nla_total_size_64bit(sizeof(u64)) +	/* seq */
		      nla_total_size_64bit(sizeof(u64)) +	/* time */
		      nla_total_size(sizeof(u32));		/* kind */

	if (ev->object)
		return size + nla_total_size(nlpeer_object_size(ev->object));
	return size + nla_total_size(ev->len);			/* data */
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
	int err;

	if (nla_put_u32(skb, NLPEER_A_EVENT_GROUP, ev->group) ||
	    nla_put_u64_64bit(skb, NLPEER_A_EVENT_SEQ, ev->seq,
			      NLPEER_A_EVENT_PAD) ||
	    nla_put_u64_64bit(skb, NLPEER_A_EVENT_TIME, ev->time,
			      NLPEER_A_EVENT_PAD) ||
	    nla_put_u32(skb, NLPEER_A_EVENT_KIND, ev->kind))
		return -EMSGSIZE;

	if (ev->object) {
		attr = nla_nest_start(skb, NLPEER_A_EVENT_OBJECT);
		if (!attr)
			return -EMSGSIZE;
		err = nlpeer_object_fill(skb, ev->object, ev->generation);
		if (!err)
			nla_nest_end(skb, attr);
		return err;
	}

	attr = nla_reserve(skb, NLPEER_A_EVENT_DATA, ev->len);
	if (!attr)
		return -EMSGSIZE;

	data = nla_data(attr);
	for (i = 0; i < ev->len; i++)
		data[i] = ev->seq + i;
	return 0;
}
