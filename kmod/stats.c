// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counters of the carriers, one set for each processor so that requests in
 * parallel do not share a cache line.
 */
#include <linux/build_bug.h>
#include <linux/gfp.h>
#include <linux/percpu.h>
#include <linux/skbuff.h>
#include <linux/u64_stats_sync.h>
#include <net/netlink.h>

#include "nlpeer.h"

#define CARRIERS	NLPEER_CARRIER_RTNL
#define BEACON_COUNTERS	3

/* In the order of their attributes, which follow the carrier's number. */
enum counter {
	REQUESTS,
	REPLIES,
	ERRORS,
	RX_BYTES,
	TX_BYTES,
	EVENTS,
	EVENT_ERRORS,
	COUNTERS,
};

/* Errors that have a counter of their own; the first is for all others. */
static const int stats_errno[] = {
	0, EPERM, ENOENT, EINTR, EAGAIN, ENOMEM, EBUSY, EEXIST, EINVAL, ENOSPC,
	ERANGE, EMSGSIZE, EOPNOTSUPP, ENOBUFS, ECONNREFUSED,
};

/* Counters in the longest array. */
#define COUNTERS_MAX	16

static_assert(COUNTERS <= COUNTERS_MAX);
static_assert(ARRAY_SIZE(stats_errno) <= COUNTERS_MAX);

struct nlpeer_pcpu_stats {
	u64_stats_t count[CARRIERS][COUNTERS];
	u64_stats_t error[CARRIERS][ARRAY_SIZE(stats_errno)];
	struct u64_stats_sync sync;
};

/**
 * nlpeer_stats_init - get the counters of a namespace, all zero
 * @nn: the namespace
 *
 * Context: process, may sleep.
 * Return: 0 or -ENOMEM.
 */
int nlpeer_stats_init(struct nlpeer_net *nn)
{
	int cpu;

	/* A fixed handful for each processor, paid for as the history is. */
	nn->stats = alloc_percpu_gfp(struct nlpeer_pcpu_stats,
				     GFP_KERNEL_ACCOUNT);
	if (!nn->stats)
		return -ENOMEM;

	for_each_possible_cpu(cpu)
		u64_stats_init(&per_cpu_ptr(nn->stats, cpu)->sync);
	return 0;
}

/**
 * nlpeer_stats_exit - give the counters back
 * @nn: the namespace, in which nothing counts any more
 */
void nlpeer_stats_exit(struct nlpeer_net *nn)
{
	free_percpu(nn->stats);
}

static int errno_slot(int err)
{
	int i;

	for (i = 1; i < ARRAY_SIZE(stats_errno); i++)
		if (err == -stats_errno[i])
			return i;
	return 0;
}

/**
 * nlpeer_count_tally - count requests that went well
 * @nn: the namespace
 * @carrier: the way they came
 * @tally: the requests
 *
 * Context: process.
 */
void nlpeer_count_tally(struct nlpeer_net *nn, enum nlpeer_carrier carrier,
			const struct nlpeer_tally *tally)
{
	struct nlpeer_pcpu_stats *stats = get_cpu_ptr(nn->stats);
	u64_stats_t *count = stats->count[carrier - 1];

	u64_stats_update_begin(&stats->sync);
	u64_stats_add(&count[REQUESTS], tally->requests);
	u64_stats_add(&count[RX_BYTES], tally->rx);
	u64_stats_add(&count[REPLIES], tally->replies);
	u64_stats_add(&count[TX_BYTES], tally->tx);
	u64_stats_update_end(&stats->sync);
	put_cpu_ptr(nn->stats);
}

static void count_error(struct nlpeer_net *nn, enum nlpeer_carrier carrier,
			unsigned int rx, int err)
{
	struct nlpeer_pcpu_stats *stats = get_cpu_ptr(nn->stats);
	u64_stats_t *count = stats->count[carrier - 1];

	u64_stats_update_begin(&stats->sync);
	u64_stats_inc(&count[REQUESTS]);
	u64_stats_add(&count[RX_BYTES], rx);
	u64_stats_inc(&count[ERRORS]);
	u64_stats_inc(&stats->error[carrier - 1][errno_slot(err)]);
	u64_stats_update_end(&stats->sync);
	put_cpu_ptr(nn->stats);
}

/**
 * nlpeer_count_request - count one request when it is done with
 * @nn: the namespace
 * @carrier: the way it came
 * @rx: its length with header
 * @tx: length of the reply with header, 0 if there is none
 * @err: what the handler will return
 *
 * Context: process.
 */
void nlpeer_count_request(struct nlpeer_net *nn, enum nlpeer_carrier carrier,
			  unsigned int rx, unsigned int tx, int err)
{
	const struct nlpeer_tally one = {
		.requests = 1,
		.replies = tx != 0,
		.rx = rx,
		.tx = tx,
	};

	if (err)
		count_error(nn, carrier, rx, err);
	else
		nlpeer_count_tally(nn, carrier, &one);
}

/**
 * nlpeer_count_reply - count one datagram of an answer that has several
 * @nn: the namespace
 * @carrier: the way it goes
 * @tx: its length
 *
 * Context: process.
 */
void nlpeer_count_reply(struct nlpeer_net *nn, enum nlpeer_carrier carrier,
			unsigned int tx)
{
	struct nlpeer_pcpu_stats *stats = get_cpu_ptr(nn->stats);
	u64_stats_t *count = stats->count[carrier - 1];

	u64_stats_update_begin(&stats->sync);
	u64_stats_inc(&count[REPLIES]);
	u64_stats_add(&count[TX_BYTES], tx);
	u64_stats_update_end(&stats->sync);
	put_cpu_ptr(nn->stats);
}

/**
 * nlpeer_count_events - count events
 * @nn: the namespace
 * @carrier: the way they went
 * @n: how many
 * @sent: false if there was no memory for them
 *
 * Context: process.
 */
void nlpeer_count_events(struct nlpeer_net *nn, enum nlpeer_carrier carrier,
			 u32 n, bool sent)
{
	struct nlpeer_pcpu_stats *stats = get_cpu_ptr(nn->stats);

	u64_stats_update_begin(&stats->sync);
	u64_stats_add(&stats->count[carrier - 1][sent ? EVENTS : EVENT_ERRORS],
		      n);
	u64_stats_update_end(&stats->sync);
	put_cpu_ptr(nn->stats);
}

/* Add up one array of counters, which lies at the same place for each CPU. */
static void stats_sum(const struct nlpeer_net *nn, size_t offset, int n,
		      u64 *sum)
{
	u64 value[COUNTERS_MAX];
	int cpu, i;

	memset(sum, 0, n * sizeof(*sum));
	for_each_possible_cpu(cpu) {
		const struct nlpeer_pcpu_stats *stats;
		const u64_stats_t *count;
		unsigned int start;

		stats = per_cpu_ptr(nn->stats, cpu);
		count = (const void *)stats + offset;
		do {
			start = u64_stats_fetch_begin(&stats->sync);
			for (i = 0; i < n; i++)
				value[i] = u64_stats_read(&count[i]);
		} while (u64_stats_fetch_retry(&stats->sync, start));

		for (i = 0; i < n; i++)
			sum[i] += value[i];
	}
}

/**
 * nlpeer_stats_size - room that nlpeer_stats_put() needs
 *
 * Return: bytes.
 */
size_t nlpeer_stats_size(void)
{
	size_t u32_size = nla_total_size(sizeof(u32));
	size_t u64_size = nla_total_size_64bit(sizeof(u64));
	size_t error = nla_total_size(u32_size + u64_size);

	return CARRIERS * nla_total_size(u32_size + COUNTERS * u64_size +
					 ARRAY_SIZE(stats_errno) * error) +
	       nla_total_size(BEACON_COUNTERS * u64_size) +
	       nla_total_size(2 * u32_size + 2 * u64_size) +	/* history */
	       nla_total_size(3 * u32_size + 3 * u64_size);	/* objects */
}

static int stats_put_errors(struct sk_buff *skb, const struct nlpeer_net *nn,
			    int carrier)
{
	u64 sum[ARRAY_SIZE(stats_errno)];
	int i;

	stats_sum(nn, offsetof(struct nlpeer_pcpu_stats, error[carrier - 1]),
		  ARRAY_SIZE(sum), sum);
	for (i = 0; i < ARRAY_SIZE(sum); i++) {
		struct nlattr *nest;

		if (!sum[i])
			continue;
		nest = nla_nest_start(skb, NLPEER_A_CARRIER_STATS_ERROR);
		if (!nest ||
		    nla_put_u32(skb, NLPEER_A_ERROR_STATS_ERRNO,
				stats_errno[i]) ||
		    nla_put_u64_64bit(skb, NLPEER_A_ERROR_STATS_COUNT, sum[i],
				      NLPEER_A_ERROR_STATS_PAD))
			return -EMSGSIZE;
		nla_nest_end(skb, nest);
	}
	return 0;
}

static int stats_put_carrier(struct sk_buff *skb, const struct nlpeer_net *nn,
			     int carrier)
{
	u64 sum[COUNTERS];
	struct nlattr *nest;
	int i;

	BUILD_BUG_ON(NLPEER_A_CARRIER_STATS_EVENT_ERRORS !=
		     NLPEER_A_CARRIER_STATS_REQUESTS + EVENT_ERRORS);

	nest = nla_nest_start(skb, NLPEER_A_STATS_CARRIER);
	if (!nest)
		return -EMSGSIZE;

	if (nla_put_u32(skb, NLPEER_A_CARRIER_STATS_CARRIER, carrier))
		return -EMSGSIZE;

	stats_sum(nn, offsetof(struct nlpeer_pcpu_stats, count[carrier - 1]),
		  COUNTERS, sum);
	for (i = 0; i < COUNTERS; i++)
		if (nla_put_u64_64bit(skb, NLPEER_A_CARRIER_STATS_REQUESTS + i,
				      sum[i], NLPEER_A_CARRIER_STATS_PAD))
			return -EMSGSIZE;

	if (stats_put_errors(skb, nn, carrier))
		return -EMSGSIZE;

	nla_nest_end(skb, nest);
	return 0;
}

static int stats_put_beacon(struct sk_buff *skb, const struct nlpeer_beacon *b)
{
	struct nlattr *nest;

	nest = nla_nest_start(skb, NLPEER_A_STATS_BEACON);
	if (!nest)
		return -EMSGSIZE;

	if (nla_put_u64_64bit(skb, NLPEER_A_BEACON_STATS_TICKS,
			      atomic64_read(&b->ticks),
			      NLPEER_A_BEACON_STATS_PAD) ||
	    nla_put_u64_64bit(skb, NLPEER_A_BEACON_STATS_IDLE,
			      atomic64_read(&b->idle),
			      NLPEER_A_BEACON_STATS_PAD) ||
	    nla_put_u64_64bit(skb, NLPEER_A_BEACON_STATS_MISSED,
			      atomic64_read(&b->missed),
			      NLPEER_A_BEACON_STATS_PAD))
		return -EMSGSIZE;

	nla_nest_end(skb, nest);
	return 0;
}

static int stats_put_history(struct sk_buff *skb, struct nlpeer_net *nn)
{
	struct nlattr *nest;
	u64 bytes;
	u32 held;

	nest = nla_nest_start(skb, NLPEER_A_STATS_HISTORY);
	if (!nest)
		return -EMSGSIZE;

	nlpeer_history_held(nn, &held, &bytes);
	if (nla_put_u32(skb, NLPEER_A_HISTORY_STATS_SIZE, nn->history.size) ||
	    nla_put_u32(skb, NLPEER_A_HISTORY_STATS_HELD, held) ||
	    nla_put_u64_64bit(skb, NLPEER_A_HISTORY_STATS_BYTES, bytes,
			      NLPEER_A_HISTORY_STATS_PAD) ||
	    nla_put_u64_64bit(skb, NLPEER_A_HISTORY_STATS_BYTES_MAX,
			      nn->history.bytes_max,
			      NLPEER_A_HISTORY_STATS_PAD))
		return -EMSGSIZE;

	nla_nest_end(skb, nest);
	return 0;
}

static int stats_put_objects(struct sk_buff *skb, struct nlpeer_objects *t)
{
	struct nlattr *nest;
	int err = -EMSGSIZE;

	nest = nla_nest_start(skb, NLPEER_A_STATS_OBJECTS);
	if (!nest)
		return -EMSGSIZE;

	mutex_lock(&t->lock);
	if (!nla_put_u32(skb, NLPEER_A_OBJECT_STATS_COUNT, t->count) &&
	    !nla_put_u32(skb, NLPEER_A_OBJECT_STATS_COUNT_MAX, t->count_max) &&
	    !nla_put_u64_64bit(skb, NLPEER_A_OBJECT_STATS_BYTES, t->bytes,
			       NLPEER_A_OBJECT_STATS_PAD) &&
	    !nla_put_u64_64bit(skb, NLPEER_A_OBJECT_STATS_BYTES_MAX,
			       t->bytes_max, NLPEER_A_OBJECT_STATS_PAD) &&
	    !nla_put_u64_64bit(skb, NLPEER_A_OBJECT_STATS_GENERATION,
			       t->generation, NLPEER_A_OBJECT_STATS_PAD) &&
	    !nla_put_u32(skb, NLPEER_A_OBJECT_STATS_SNAPSHOTS, t->snapshots))
		err = 0;
	mutex_unlock(&t->lock);

	if (!err)
		nla_nest_end(skb, nest);
	return err;
}

/**
 * nlpeer_stats_put - write the attribute set stats
 * @skb: has room for nlpeer_stats_size()
 * @nn: the namespace
 *
 * Context: process.
 * Return: 0 or -EMSGSIZE; the caller drops the message then.
 */
int nlpeer_stats_put(struct sk_buff *skb, struct nlpeer_net *nn)
{
	int carrier;

	for (carrier = 1; carrier <= CARRIERS; carrier++)
		if (stats_put_carrier(skb, nn, carrier))
			return -EMSGSIZE;

	if (stats_put_beacon(skb, &nn->beacon))
		return -EMSGSIZE;

	if (stats_put_history(skb, nn))
		return -EMSGSIZE;

	return stats_put_objects(skb, &nn->objects);
}
