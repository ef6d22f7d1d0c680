/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The inside of nlpeer. A carrier (raw.c, genl.c, connector.c, rtnl.c) checks
 * and strips its own header; the core (objects.c, events.c, history.c, beacon.c,
 * stats.c) does the work and knows no header. request.c is what two carriers
 * share. Everything a namespace owns hangs off struct nlpeer_net.
 */
#ifndef _NLPEER_H
#define _NLPEER_H

#include <linux/atomic.h>
#include <linux/hrtimer.h>
#include <linux/jiffies.h>
#include <linux/mutex.h>
#include <linux/netlink.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>
#include <net/netlink.h>

#include <uapi/linux/netlink_test.h>
#include <uapi/linux/nlpeer.h>

#include "compat.h"

struct netlink_ext_ack;
struct nlpeer_pcpu_stats;
struct sk_buff;
struct sock;

/* Groups of the raw protocol. More would not fit the nl_groups of a bind. */
#define NLPEER_RAW_GROUPS	32

/*
 * Every group that events are sent to: the raw ones, two of generic netlink, and
 * the connector's. The last three are numbered one by one.
 */
#define NLPEER_GROUPS		(NLPEER_RAW_GROUPS + 3)

/* A message with an object fits in this, whatever its headers. */
#define NLPEER_OBJECT_MSG_MAX	(NLPEER_OBJECT_MAX + 256)

/*
 * Jiffies that a request works at most. An event costs as much as it has
 * listeners, and nobody bounds those.
 */
#define NLPEER_LONGEST		(5 * HZ)

/**
 * nlpeer_too_long - ask whether a request has to end before it is done
 * @end: the jiffies at which it began, and NLPEER_LONGEST
 *
 * Context: process.
 * Return: true behind @end, and if the caller is being killed.
 */
static inline bool nlpeer_too_long(unsigned long end)
{
	return fatal_signal_pending(current) || time_after(jiffies, end);
}

/**
 * struct nlpeer_beacon_config - what user space may set of a beacon
 * @interval: milliseconds between two ticks, 0 for none
 * @groups: raw groups that hear it, bit n - 1 for group n
 * @genl: 1 if the generic netlink group hears it
 * @size: bytes of data in each event
 * @connector: 1 if the connector's group hears it
 * @packed: raw groups where a burst comes packed, likewise
 */
struct nlpeer_beacon_config {
	u32 interval;
	u32 groups;
	u32 genl;
	u32 size;
	u32 connector;
	u32 packed;
};

/**
 * struct nlpeer_beacon - the timed broadcaster of a namespace
 * @control: serialises settings, start and stop; held while sleeping
 * @lock: guards @config, @armed and @due, also against the timer
 * @config: the settings in force
 * @up: the namespace is complete, the timer may run; under @control
 * @armed: the schedule goes on
 * @due: the point of the grid that is next, in milliseconds of CLOCK_MONOTONIC
 * @heard: the last tick found a listener; the timer's, then the work's
 * @timer: ticks on a fixed grid
 * @work: sends a tick's events, and sets the timer to the next
 * @ticks: ticks whose work began; the work's, as is @idle
 * @idle: ticks among them without a listener
 * @missed: ticks skipped
 */
struct nlpeer_beacon {
	struct mutex control;	/* settings, start and stop */
	spinlock_t lock;	/* config, armed, due */
	struct nlpeer_beacon_config config;
	bool up;
	bool armed;
	s64 due;
	bool heard;
	struct hrtimer timer;
	struct work_struct work;
	atomic64_t ticks;
	atomic64_t idle;
	atomic64_t missed;
};

/**
 * struct nlpeer_object - one state of an object, never changed
 * @node: in the tree, or empty if it is no longer there; under the table's lock
 * @refs: who knows it
 * @len: bytes of @values
 * @generation: of the change that made it
 * @key: 1 to NLPEER_KEY_MAX bytes and a 0
 * @values: attributes NLPEER_A_OBJECT_VALUE, as they cross the wire
 */
struct nlpeer_object {
	struct rb_node node;
	refcount_t refs;
	u32 len;
	u64 generation;
	char key[NLPEER_KEY_MAX + 1];
	u8 values[] __aligned(NLMSG_ALIGNTO);
};

/**
 * struct nlpeer_objects - the objects of a namespace
 * @lock: guards all of it, and the order of its events; held while sleeping
 * @tree: in the order of the keys
 * @generation: changes so far
 * @bytes: that the objects take
 * @bytes_max: bound of @bytes
 * @count: objects
 * @count_max: bound of @count
 * @snapshots: atomic dumps in progress
 */
struct nlpeer_objects {
	struct mutex lock;	/* the table and the order of its events */
	struct rb_root tree;
	u64 generation;
	u64 bytes;
	u64 bytes_max;
	u32 count;
	u32 count_max;
	u32 snapshots;
};

/**
 * struct nlpeer_object_request - what a request says about objects
 * @key: attribute, or NULL
 * @prefix: attribute, or NULL
 * @attrs: all attributes, checked, for the values among them
 * @len: bytes of @attrs
 * @flags: NLM_F_CREATE, _EXCL, _REPLACE and _APPEND
 */
struct nlpeer_object_request {
	const struct nlattr *key;
	const struct nlattr *prefix;
	const struct nlattr *attrs;
	int len;
	u32 flags;
};

/**
 * struct nlpeer_cause - the request that changes an object
 * @via: the way it came
 * @portid: who asks
 * @seq: its number
 * @echo: who asks wants the event, too
 */
struct nlpeer_cause {
	enum nlpeer_carrier via;
	u32 portid;
	u32 seq;
	bool echo;
};

struct nlpeer_snapshot;

/**
 * struct nlpeer_object_dump - where a dump of objects stands
 * @nn: the namespace; NULL before the beginning
 * @prefix: what the keys begin with
 * @last: the object that was written last, held; not with @snapshot
 * @snapshot: of an atomic dump
 * @flags: of each message
 * @admin: on generic netlink, the sender may have an atomic one
 */
struct nlpeer_object_dump {
	struct nlpeer_net *nn;
	const char *prefix;
	struct nlpeer_object *last;
	struct nlpeer_snapshot *snapshot;
	u32 flags;
	bool admin;
};

/* Writes one object of a dump as a message, or returns -EMSGSIZE. */
typedef int (*nlpeer_object_put_fn)(struct sk_buff *skb,
				    struct netlink_callback *cb,
				    const struct nlpeer_object *obj, int flags);

/**
 * struct nlpeer_event - one event in one group
 * @group: 1 to 32 for the raw groups, or NLPEER_GROUP_...
 * @kind: enum nlpeer_kind
 * @seq: its number in the group, from 1
 * @time: nanoseconds of CLOCK_BOOTTIME
 * @len: bytes of data
 * @object: what it is about, or NULL
 * @generation: of the change to @object
 */
struct nlpeer_event {
	u32 group;
	u32 kind;
	u64 seq;
	u64 time;
	u32 len;
	struct nlpeer_object *object;
	u64 generation;
};

/**
 * struct nlpeer_history - the last events of a namespace, of all groups
 * @lock: guards all of it
 * @slot: a ring of @size events, NULL if there is no history
 * @size: events that it can hold
 * @first: events that are forgotten; the oldest is in slot @first, modulo @size
 * @count: events that were ever put in
 * @bytes: of the objects that it holds
 * @bytes_max: bound of @bytes
 */
struct nlpeer_history {
	spinlock_t lock;	/* all of it */
	struct nlpeer_event *slot;
	u32 size;
	u64 first;
	u64 count;
	u64 bytes;
	u64 bytes_max;
};

/**
 * struct nlpeer_net - all that nlpeer has in one network namespace
 * @net: the namespace, which outlives this
 * @raw: kernel socket of the raw protocol
 * @stats: counters of the carriers, see stats.c
 * @events: one event at a time gets its number and is sent
 * @ended: nothing but the last events is sent any more; under @events
 * @seq: number of the last event in each group; written under @events
 * @history: the last events
 * @objects: the objects
 * @beacon: the beacon
 */
struct nlpeer_net {
	struct net *net;
	struct sock *raw;
	struct nlpeer_pcpu_stats __percpu *stats;
	struct mutex events;	/* order of numbers, history and sending */
	bool ended;
	atomic64_t seq[NLPEER_GROUPS];
	struct nlpeer_history history;
	struct nlpeer_objects objects;
	struct nlpeer_beacon beacon;
};

/**
 * struct nlpeer_answers - answers to the requests of one datagram
 * @sk: the kernel's socket
 * @requests: the datagram
 * @rest: bytes of it from the request on that is being answered
 * @skb: answers that have not been sent yet, or NULL
 * @left: bytes for which there is room in it
 * @limit: bytes up to which answers are put together
 * @portid: who asks
 * @pack: there are several requests, and their answers are put together
 */
struct nlpeer_answers {
	struct sock *sk;
	struct sk_buff *requests;
	struct sk_buff *skb;
	unsigned int rest;
	unsigned int left;
	unsigned int limit;
	u32 portid;
	bool pack;
};

/**
 * struct nlpeer_tally - requests that went well, to be counted at once
 * @requests: how many
 * @replies: how many of them have a reply
 * @rx: their length, with headers
 * @tx: length of the replies, with headers
 */
struct nlpeer_tally {
	unsigned int requests;
	unsigned int replies;
	unsigned int rx;
	unsigned int tx;
};

/* main.c */
extern bool nlpeer_batch;
struct nlpeer_net *nlpeer_pernet(const struct net *net);

/* stats.c */
int nlpeer_stats_init(struct nlpeer_net *nn);
void nlpeer_stats_exit(struct nlpeer_net *nn);
void nlpeer_count_request(struct nlpeer_net *nn, enum nlpeer_carrier carrier,
			  unsigned int rx, unsigned int tx, int err);
void nlpeer_count_tally(struct nlpeer_net *nn, enum nlpeer_carrier carrier,
			const struct nlpeer_tally *tally);
void nlpeer_count_reply(struct nlpeer_net *nn, enum nlpeer_carrier carrier,
			unsigned int tx);
void nlpeer_count_events(struct nlpeer_net *nn, enum nlpeer_carrier carrier,
			 u32 n, bool sent);
size_t nlpeer_stats_size(void);
int nlpeer_stats_put(struct sk_buff *skb, struct nlpeer_net *nn);

/* objects.c */
void nlpeer_objects_init(struct nlpeer_net *nn, u32 count, u64 bytes);
void nlpeer_objects_exit(struct nlpeer_net *nn);
int nlpeer_object_new(struct nlpeer_net *nn,
		      const struct nlpeer_object_request *req,
		      const struct nlpeer_cause *cause,
		      struct netlink_ext_ack *extack);
int nlpeer_object_del(struct nlpeer_net *nn,
		      const struct nlpeer_object_request *req,
		      const struct nlpeer_cause *cause,
		      struct netlink_ext_ack *extack);
struct nlpeer_object *nlpeer_object_get(struct nlpeer_net *nn,
					const struct nlpeer_object_request *req,
					struct netlink_ext_ack *extack);
struct nlpeer_object *nlpeer_object_hold(struct nlpeer_object *obj);
void nlpeer_object_put(struct nlpeer_object *obj);
size_t nlpeer_object_bytes(const struct nlpeer_object *obj);
size_t nlpeer_object_size(const struct nlpeer_object *obj);
int nlpeer_object_fill(struct sk_buff *skb, const struct nlpeer_object *obj,
		       u64 generation);
int nlpeer_object_dump_start(struct nlpeer_object_dump *dump,
			     struct nlpeer_net *nn, const struct nlattr *prefix,
			     bool atomic, struct netlink_ext_ack *extack);
int nlpeer_object_dump_next(struct nlpeer_object_dump *dump,
			    struct sk_buff *skb, struct netlink_callback *cb,
			    nlpeer_object_put_fn put);
void nlpeer_object_dump_done(struct nlpeer_object_dump *dump);

/* events.c */
bool nlpeer_event_wanted(const struct nlpeer_net *nn, u32 group);
bool nlpeer_event_tick(struct nlpeer_net *nn, const u32 *groups,
		       unsigned int n, u32 len);
bool nlpeer_event_burst(struct nlpeer_net *nn, u32 group, u32 len, u32 n,
			bool pack, unsigned long end);
void nlpeer_event_object(struct nlpeer_net *nn, u32 kind,
			 struct nlpeer_object *obj, u64 generation,
			 const struct nlpeer_cause *cause);
void nlpeer_event_end(struct nlpeer_net *nn);
size_t nlpeer_event_size(const struct nlpeer_event *ev);
int nlpeer_event_put(struct sk_buff *skb, const struct nlpeer_event *ev);
bool nlpeer_event_last(const struct nlpeer_net *nn, u32 group, u64 *seq);

/* history.c */
int nlpeer_history_init(struct nlpeer_net *nn, u32 size, u64 bytes);
void nlpeer_history_exit(struct nlpeer_net *nn);
void nlpeer_history_add(struct nlpeer_net *nn, const struct nlpeer_event *ev,
			u32 n);
u64 nlpeer_history_seek(struct nlpeer_net *nn, u32 group, u64 seq);
bool nlpeer_history_next(struct nlpeer_net *nn, u32 group, u64 *pos,
			 struct nlpeer_event *ev);
void nlpeer_history_held(struct nlpeer_net *nn, u32 *held, u64 *bytes);

/* beacon.c */
int nlpeer_beacon_register(void);
void nlpeer_beacon_unregister(void);
void nlpeer_beacon_init(struct nlpeer_net *nn,
			const struct nlpeer_beacon_config *config);
void nlpeer_beacon_start(struct nlpeer_net *nn);
void nlpeer_beacon_stop(struct nlpeer_net *nn);
void nlpeer_beacon_get(struct nlpeer_net *nn,
		       struct nlpeer_beacon_config *config);
void nlpeer_beacon_set(struct nlpeer_net *nn,
		       const struct nlpeer_beacon_config *config,
		       unsigned long present);
bool nlpeer_beacon_burst(struct nlpeer_net *nn, u32 n);

/* request.c */
int nlpeer_request_bad_flags(struct netlink_ext_ack *extack);
int nlpeer_request_no_admin(struct netlink_ext_ack *extack);
int nlpeer_request_admin(struct sk_buff *skb, struct netlink_ext_ack *extack);
int nlpeer_request_parse(const struct nlmsghdr *nlh, int hdrlen, int maxattr,
			 const struct nla_policy *policy,
			 struct nlpeer_object_request *req,
			 const struct nlattr **payload,
			 struct netlink_ext_ack *extack);
int nlpeer_request_new(struct nlpeer_net *nn, enum nlpeer_carrier via,
		       struct sk_buff *skb, const struct nlmsghdr *nlh,
		       int hdrlen, struct netlink_ext_ack *extack);
int nlpeer_request_del(struct nlpeer_net *nn, enum nlpeer_carrier via,
		       struct sk_buff *skb, const struct nlmsghdr *nlh,
		       int hdrlen, struct netlink_ext_ack *extack);
int nlpeer_request_dump(struct nlpeer_net *nn, struct netlink_callback *cb,
			int hdrlen, struct netlink_ext_ack *extack);

/**
 * nlpeer_request_flags - check the flags of a request
 * @nlh: its header
 * @others: flags that it may have besides those that each may have
 * @extack: says what is wrong
 *
 * Return: 0 or -EINVAL.
 */
static inline int nlpeer_request_flags(const struct nlmsghdr *nlh, u32 others,
				       struct netlink_ext_ack *extack)
{
	if (likely(!(nlh->nlmsg_flags & ~(NLM_F_REQUEST | NLM_F_ACK |
					  NLM_F_ECHO | others))))
		return 0;
	return nlpeer_request_bad_flags(extack);
}

/* answers.c */
void nlpeer_answers_begin(struct nlpeer_answers *a, struct sock *sk,
			  struct sk_buff *requests, bool pack);
int nlpeer_answers_flush(struct nlpeer_answers *a);
struct sk_buff *nlpeer_answers_more_room(struct nlpeer_answers *a,
					 unsigned int size);
void nlpeer_answers_ack(struct nlpeer_answers *a, struct nlmsghdr *nlh, int err,
			const struct netlink_ext_ack *extack);

/**
 * nlpeer_answers_room - get room for the next message
 * @a: the answers
 * @len: length of its payload
 *
 * Context: process, may sleep.
 * Return: the datagram to put the message into, or NULL if memory is short.
 */
static inline struct sk_buff *nlpeer_answers_room(struct nlpeer_answers *a,
						  unsigned int len)
{
	unsigned int size = nlmsg_total_size(len);

	if (size > a->left)
		return nlpeer_answers_more_room(a, size);
	a->left -= size;
	return a->skb;
}

/**
 * nlpeer_answers_put - the message is complete
 * @a: the answers
 *
 * Context: process, may sleep.
 * Return: 0 or a negative errno, see nlpeer_answers_flush(). What goes wrong
 * with several answers later is no request's error; the asker is told.
 */
static inline int nlpeer_answers_put(struct nlpeer_answers *a)
{
	return a->pack ? 0 : nlpeer_answers_flush(a);
}

/* raw.c */
int nlpeer_raw_init(struct nlpeer_net *nn, int protocol, bool user_send);
void nlpeer_raw_exit(struct nlpeer_net *nn);
void nlpeer_raw_put(struct nlpeer_net *nn);
bool nlpeer_raw_wanted(const struct nlpeer_net *nn, u32 group);
bool nlpeer_raw_event(struct nlpeer_net *nn, const struct nlpeer_event *ev,
		      u32 n, const struct nlpeer_cause *cause);

/* genl.c */
int nlpeer_genl_register(void);
void nlpeer_genl_unregister(void);
bool nlpeer_genl_wanted(const struct nlpeer_net *nn, u32 group);
bool nlpeer_genl_event(struct nlpeer_net *nn, const struct nlpeer_event *ev,
		       const struct nlpeer_cause *cause);

/* connector.c */
int nlpeer_connector_register(void);
void nlpeer_connector_unregister(void);
bool nlpeer_connector_has(const struct nlpeer_net *nn);
bool nlpeer_connector_event(struct nlpeer_net *nn,
			    const struct nlpeer_event *ev, bool *heard);

/* rtnl.c */
int nlpeer_rtnl_register(void);
void nlpeer_rtnl_unregister(void);
bool nlpeer_rtnl_echo(struct nlpeer_net *nn, const struct nlpeer_event *ev,
		      const struct nlpeer_cause *cause);

#endif /* _NLPEER_H */
