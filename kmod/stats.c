// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counters of the carriers, one set for each processor so that requests in
 * parallel do not share a cache line.
 */
#include <linux/percpu.h>
#include <linux/skbuff.h>
#include <linux/u64_stats_sync.h>
#include <net/netlink.h>

#include "nlpeer.h"

#define CARRIERS	NLPEER_CARRIER_GENL
#define BEACON_COUNTERS	3
#define HISTORY_COUNTERS	2

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

struct nlpeer_pcpu_stats {
	u64_stats_t count[CARRIERS][COUNTERS];
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

	/* A fixed handful for each processor, owned by the namespace. */
	nn->stats = alloc_percpu(struct nlpeer_pcpu_stats);
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
	struct nlpeer_pcpu_stats *stats = get_cpu_ptr(nn->stats);
	u64_stats_t *count = stats->count[carrier - 1];

	u64_stats_update_begin(&stats->sync);
	u64_stats_inc(&count[REQUESTS]);
	u64_stats_add(&count[RX_BYTES], rx);
	if (err) {
		u64_stats_inc(&count[ERRORS]);
	} else if (tx) {
		u64_stats_inc(&count[REPLIES]);
		u64_stats_add(&count[TX_BYTES], tx);
	}
	u64_stats_update_end(&stats->sync);
	put_cpu_ptr(nn->stats);
}

/**
 * nlpeer_count_event - count one event
 * @nn: the namespace
 * @carrier: the way it went
 * @sent: false if there was no memory for it
 *
 * Context: process.
 */
void nlpeer_count_event(struct nlpeer_net *nn, enum nlpeer_carrier carrier,
			bool sent)
{
	struct nlpeer_pcpu_stats *stats = get_cpu_ptr(nn->stats);

	u64_stats_update_begin(&stats->sync);
	u64_stats_inc(&stats->count[carrier - 1][sent ? EVENTS : EVENT_ERRORS]);
	u64_stats_update_end(&stats->sync);
	put_cpu_ptr(nn->stats);
}

static void stats_sum(const struct nlpeer_net *nn, int carrier,
		      u64 sum[COUNTERS])
{
	int cpu, i;

	memset(sum, 0, COUNTERS * sizeof(*sum));
	for_each_possible_cpu(cpu) {
		const struct nlpeer_pcpu_stats *stats;
		u64 count[COUNTERS];
		unsigned int start;

		stats = per_cpu_ptr(nn->stats, cpu);
		do {
			start = u64_stats_fetch_begin(&stats->sync);
			for (i = 0; i < COUNTERS; i++)
				count[i] = u64_stats_read(&stats->count[carrier - 1][i]);
		} while (u64_stats_fetch_retry(&stats->sync, start));

		for (i = 0; i < COUNTERS; i++)
			sum[i] += count[i];
	}
}

/**
 * nlpeer_stats_size - room that nlpeer_stats_put() needs
 *
 * Return: bytes.
 */
size_t nlpeer_stats_size(void)
{
	return CARRIERS * nla_total_size(nla_total_size(sizeof(u32)) +
					 COUNTERS * nla_total_size_64bit(sizeof(u64))) +
	       nla_total_size(BEACON_COUNTERS * nla_total_size_64bit(sizeof(u64))) +
	       nla_total_size(HISTORY_COUNTERS * nla_total_size(sizeof(u32)));
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

	stats_sum(nn, carrier, sum);
	for (i = 0; i < COUNTERS; i++)
		if (nla_put_u64_64bit(skb, NLPEER_A_CARRIER_STATS_REQUESTS + i,
				      sum[i], NLPEER_A_CARRIER_STATS_PAD))
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

	nest = nla_nest_start(skb, NLPEER_A_STATS_HISTORY);
	if (!nest)
		return -EMSGSIZE;

	if (nla_put_u32(skb, NLPEER_A_HISTORY_STATS_SIZE, nn->history.size) ||
	    nla_put_u32(skb, NLPEER_A_HISTORY_STATS_HELD,
			nlpeer_history_held(nn)))
		return -EMSGSIZE;

	nla_nest_end(skb, nest);
	return 0;
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

	return stats_put_history(skb, nn);
}
