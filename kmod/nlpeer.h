/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The inside of nlpeer. A carrier (raw.c, genl.c) checks and strips its own
 * header; the core (events.c, history.c, beacon.c, stats.c) does the work and knows no
 * header. Everything a namespace owns hangs off struct nlpeer_net.
 */
#ifndef _NLPEER_H
#define _NLPEER_H

#include <linux/atomic.h>
#include <linux/hrtimer.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>

#include <uapi/linux/netlink_test.h>
#include <uapi/linux/nlpeer.h>

#include "compat.h"

struct nlpeer_pcpu_stats;
struct sk_buff;
struct sock;

/* Groups of the raw protocol. More would not fit the nl_groups of a bind. */
#define NLPEER_RAW_GROUPS	32

/* Every group that events are sent to: the raw ones and genl's "beacon". */
#define NLPEER_GROUPS		(NLPEER_RAW_GROUPS + 1)

/**
 * struct nlpeer_beacon_config - what user space may set of a beacon
 * @interval: milliseconds between two ticks, 0 for none
 * @groups: raw groups that hear it, bit n - 1 for group n
 * @genl: 1 if the generic netlink group hears it
 * @size: bytes of data in each event
 */
struct nlpeer_beacon_config {
	u32 interval;
	u32 groups;
	u32 genl;
	u32 size;
};

/**
 * struct nlpeer_beacon - the timed broadcaster of a namespace
 * @control: serialises settings, start and stop; held while sleeping
 * @lock: guards @config, also against the timer
 * @config: the settings in force
 * @up: the namespace is complete, the timer may run; under @control
 * @timer: ticks on a fixed grid
 * @work: sends a tick's events
 * @busy: bit 0 is set from a tick until its events are sent
 * @ticks: ticks handled in time
 * @idle: ticks among them without a listener
 * @missed: ticks skipped
 */
struct nlpeer_beacon {
	struct mutex control;	/* settings, start and stop */
	spinlock_t lock;	/* config */
	struct nlpeer_beacon_config config;
	bool up;
	struct hrtimer timer;
	struct work_struct work;
	unsigned long busy;
	atomic64_t ticks;
	atomic64_t idle;
	atomic64_t missed;
};

/**
 * struct nlpeer_event - one event in one group
 * @group: 1 to 32 for the raw groups, or NLPEER_GROUP_BEACON
 * @kind: enum nlpeer_kind
 * @seq: its number in the group, from 1
 * @time: nanoseconds of CLOCK_BOOTTIME
 * @len: bytes of data
 */
struct nlpeer_event {
	u32 group;
	u32 kind;
	u64 seq;
	u64 time;
	u32 len;
};

/**
 * struct nlpeer_history - the last events of a namespace, of all groups
 * @lock: guards all of it
 * @slot: a ring of @size events, NULL if there is no history
 * @size: events that it can hold
 * @count: events that were ever put in; the newest is in slot @count - 1,
 *	modulo @size
 */
struct nlpeer_history {
	spinlock_t lock;	/* slots and count */
	struct nlpeer_event *slot;
	u32 size;
	u64 count;
};

/**
 * struct nlpeer_net - all that nlpeer has in one network namespace
 * @net: the namespace, which outlives this
 * @raw: kernel socket of the raw protocol
 * @stats: counters of the carriers, see stats.c
 * @seq: number of the last event in each group; written by the beacon's work
 * @history: the last events
 * @beacon: the beacon
 */
struct nlpeer_net {
	struct net *net;
	struct sock *raw;
	struct nlpeer_pcpu_stats __percpu *stats;
	atomic64_t seq[NLPEER_GROUPS];
	struct nlpeer_history history;
	struct nlpeer_beacon beacon;
};

/* main.c */
struct nlpeer_net *nlpeer_pernet(const struct net *net);

/* stats.c */
int nlpeer_stats_init(struct nlpeer_net *nn);
void nlpeer_stats_exit(struct nlpeer_net *nn);
void nlpeer_count_request(struct nlpeer_net *nn, enum nlpeer_carrier carrier,
			  unsigned int rx, unsigned int tx, int err);
void nlpeer_count_event(struct nlpeer_net *nn, enum nlpeer_carrier carrier,
			bool sent);
size_t nlpeer_stats_size(void);
int nlpeer_stats_put(struct sk_buff *skb, struct nlpeer_net *nn);

/* events.c */
bool nlpeer_event_wanted(const struct nlpeer_net *nn, u32 group);
void nlpeer_event_send(struct nlpeer_net *nn, u32 group, u32 kind, u32 len);
size_t nlpeer_event_size(const struct nlpeer_event *ev);
int nlpeer_event_put(struct sk_buff *skb, const struct nlpeer_event *ev);

bool nlpeer_event_last(const struct nlpeer_net *nn, u32 group, u64 *seq);

/* history.c */
int nlpeer_history_init(struct nlpeer_net *nn, u32 size);
void nlpeer_history_exit(struct nlpeer_net *nn);
void nlpeer_history_add(struct nlpeer_net *nn, const struct nlpeer_event *ev);
bool nlpeer_history_next(struct nlpeer_net *nn, u32 group, u64 seq, u64 *pos,
			 struct nlpeer_event *ev);
u32 nlpeer_history_held(struct nlpeer_net *nn);

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

/* raw.c */
int nlpeer_raw_init(struct nlpeer_net *nn, int protocol, bool user_send);
void nlpeer_raw_exit(struct nlpeer_net *nn);
bool nlpeer_raw_wanted(const struct nlpeer_net *nn, u32 group);
bool nlpeer_raw_event(struct nlpeer_net *nn, const struct nlpeer_event *ev);

/* genl.c */
int nlpeer_genl_register(void);
void nlpeer_genl_unregister(void);
bool nlpeer_genl_wanted(const struct nlpeer_net *nn);
bool nlpeer_genl_event(struct nlpeer_net *nn, const struct nlpeer_event *ev);

#endif /* _NLPEER_H */
