// SPDX-License-Identifier: GPL-2.0-only
/*
 * The beacon: a timer on a fixed grid, and work that sends what a tick brings.
 *
 * The timer runs in a soft interrupt, where all it does is ask for listeners
 * and wake the work; building and sending happens in process context, where the
 * scheduler sees the cost and memory may be waited for.
 *
 * It is the work, when it is done, that sets the timer to the next point of the
 * grid. Points that passed meanwhile are missed, so a slow machine sends fewer
 * events and never a bunch of them.
 *
 * The points are whole milliseconds of the clock, the same for all beacons. So
 * one interrupt serves all that are due: a processor has a thousand in a second
 * at most, however many beacons somebody sets in namespaces of his own.
 */
#include <linux/bitops.h>
#include <linux/ktime.h>

#include "nlpeer.h"

static struct workqueue_struct *beacon_wq;

/* The groups that settings name, and how many they are. */
static unsigned int beacon_groups(const struct nlpeer_beacon_config *config,
				  u32 groups[NLPEER_GROUPS])
{
	unsigned long raw = config->groups;
	unsigned int bit, n = 0;

	for_each_set_bit(bit, &raw, NLPEER_RAW_GROUPS)
		groups[n++] = bit + 1;
	if (config->genl)
		groups[n++] = NLPEER_GROUP_BEACON;
	if (config->connector)
		groups[n++] = NLPEER_GROUP_CONNECTOR;
	return n;
}

static bool beacon_wanted(const struct nlpeer_net *nn,
			  const struct nlpeer_beacon_config *config)
{
	u32 groups[NLPEER_GROUPS];
	unsigned int i, n = beacon_groups(config, groups);

	for (i = 0; i < n; i++)
		if (nlpeer_event_wanted(nn, groups[i]))
			return true;
	return false;
}

static enum hrtimer_restart beacon_tick(struct hrtimer *timer)
{
	struct nlpeer_net *nn = container_of(timer, struct nlpeer_net,
					     beacon.timer);
	struct nlpeer_beacon *b = &nn->beacon;
	struct nlpeer_beacon_config config;
	unsigned long flags;

	spin_lock_irqsave(&b->lock, flags);
	config = b->config;
	spin_unlock_irqrestore(&b->lock, flags);

	b->heard = beacon_wanted(nn, &config);
	queue_work(beacon_wq, &b->work);

	return HRTIMER_NORESTART;
}

/**
 * nlpeer_beacon_burst - send events by the settings in force
 * @nn: the namespace
 * @n: how many to each group
 *
 * Context: process, may sleep.
 * Return: were all sent; not if it took too long
 */
bool nlpeer_beacon_burst(struct nlpeer_net *nn, u32 n)
{
	unsigned long end = jiffies + NLPEER_LONGEST;
	struct nlpeer_beacon_config config;
	u32 groups[NLPEER_GROUPS];
	unsigned int i, count;
	bool all = true;

	nlpeer_beacon_get(nn, &config);
	count = beacon_groups(&config, groups);
	for (i = 0; i < count; i++)
		all &= nlpeer_event_burst(nn, groups[i], config.size, n,
					  groups[i] <= NLPEER_RAW_GROUPS &&
					  config.packed & BIT(groups[i] - 1),
					  end);
	return all;
}

/* Set the timer to a time in milliseconds. Caller holds b->lock. */
static void beacon_ring(struct nlpeer_beacon *b, s64 at)
{
	if (b->armed)
		hrtimer_start(&b->timer, ms_to_ktime(at),
			      HRTIMER_MODE_ABS_SOFT);
}

/*
 * Step to the first point of the grid that lies ahead. Caller holds b->lock.
 *
 * The steps are counted here, as hrtimer_forward() takes an interval for longer
 * than it is if the timers of the machine are coarse.
 *
 * Return: how many points are behind
 */
static u64 beacon_step(struct nlpeer_beacon *b)
{
	s64 late = ktime_to_ms(ktime_get()) - b->due;
	u64 n = late < 0 ? 0 : div_u64(late, b->config.interval) + 1;

	b->due += n * b->config.interval;
	return n;
}

/* The tick was handled, at last. */
static void beacon_next(struct nlpeer_beacon *b)
{
	spin_lock_irq(&b->lock);
	atomic64_add(beacon_step(b) - 1, &b->missed);
	beacon_ring(b, b->due);
	spin_unlock_irq(&b->lock);
}

/* The tick cannot be handled now. It is late, which the next will see. */
static void beacon_later(struct nlpeer_beacon *b)
{
	spin_lock_irq(&b->lock);
	beacon_ring(b, ktime_to_ms(ktime_get()) + 1);
	spin_unlock_irq(&b->lock);
}

static void beacon_work(struct work_struct *work)
{
	struct nlpeer_net *nn = container_of(work, struct nlpeer_net,
					     beacon.work);
	struct nlpeer_beacon *b = &nn->beacon;
	struct nlpeer_beacon_config config;
	u32 groups[NLPEER_GROUPS];

	if (b->heard) {
		nlpeer_beacon_get(nn, &config);
		if (!nlpeer_event_tick(nn, groups,
				       beacon_groups(&config, groups),
				       config.size)) {
			beacon_later(b);
			return;
		}
	} else {
		atomic64_inc(&b->idle);
	}
	atomic64_inc(&b->ticks);
	beacon_next(b);
}

/* Begin a schedule. Caller holds b->control. */
static void beacon_arm(struct nlpeer_beacon *b)
{
	lockdep_assert_held(&b->control);

	spin_lock_irq(&b->lock);
	b->armed = b->up && b->config.interval;
	/* The first point that is not too early. */
	b->due = ktime_to_ms(ktime_get()) + b->config.interval + 1;
	beacon_ring(b, b->due);
	spin_unlock_irq(&b->lock);
}

/*
 * End it: no tick and no event of one after this. A tick that waits for its turn
 * behind those of all the other namespaces is taken back: so is nobody's request
 * to wait.
 */
static void beacon_halt(struct nlpeer_beacon *b)
{
	bool armed;

	lockdep_assert_held(&b->control);

	spin_lock_irq(&b->lock);
	armed = b->armed;
	b->armed = false;		/* first: the work sets the timer */
	spin_unlock_irq(&b->lock);
	hrtimer_cancel(&b->timer);	/* second: it queues the work */
	cancel_work_sync(&b->work);

	spin_lock_irq(&b->lock);
	if (armed)
		atomic64_add(beacon_step(b), &b->missed);
	spin_unlock_irq(&b->lock);
}

/**
 * nlpeer_beacon_register - get what all beacons share
 *
 * Context: process, may sleep.
 * Return: 0 or -ENOMEM.
 */
int nlpeer_beacon_register(void)
{
	/*
	 * One tick at a time, however many namespaces there are: anybody who
	 * may make a user namespace may make many, each with a beacon to set.
	 */
	beacon_wq = alloc_ordered_workqueue("nlpeer", 0);
	return beacon_wq ? 0 : -ENOMEM;
}

/**
 * nlpeer_beacon_unregister - give back what all beacons shared
 *
 * Context: process, may sleep. Every beacon has been stopped.
 */
void nlpeer_beacon_unregister(void)
{
	destroy_workqueue(beacon_wq);
}

/**
 * nlpeer_beacon_init - make a beacon that stands still
 * @nn: the namespace
 * @config: its first settings
 */
void nlpeer_beacon_init(struct nlpeer_net *nn,
			const struct nlpeer_beacon_config *config)
{
	struct nlpeer_beacon *b = &nn->beacon;

	mutex_init(&b->control);
	spin_lock_init(&b->lock);
	b->config = *config;
	hrtimer_setup(&b->timer, beacon_tick, CLOCK_MONOTONIC,
		      HRTIMER_MODE_ABS_SOFT);
	INIT_WORK(&b->work, beacon_work);
}

/**
 * nlpeer_beacon_start - let the beacon run, by the settings in force
 * @nn: the namespace, with everything a tick needs
 *
 * Context: process, may sleep.
 */
void nlpeer_beacon_start(struct nlpeer_net *nn)
{
	struct nlpeer_beacon *b = &nn->beacon;

	mutex_lock(&b->control);
	b->up = true;
	beacon_arm(b);
	mutex_unlock(&b->control);
}

/**
 * nlpeer_beacon_stop - no tick and no event of one after this returns
 * @nn: the namespace
 *
 * Settings can still be changed; they have no effect on it any more. Bursts end
 * with nlpeer_event_end().
 *
 * Context: process, may sleep.
 */
void nlpeer_beacon_stop(struct nlpeer_net *nn)
{
	struct nlpeer_beacon *b = &nn->beacon;

	mutex_lock(&b->control);
	b->up = false;
	beacon_halt(b);
	mutex_unlock(&b->control);
}

/**
 * nlpeer_beacon_get - read the settings in force
 * @nn: the namespace
 * @config: where to
 *
 * Context: process.
 */
void nlpeer_beacon_get(struct nlpeer_net *nn,
		       struct nlpeer_beacon_config *config)
{
	struct nlpeer_beacon *b = &nn->beacon;

	spin_lock_irq(&b->lock);
	*config = b->config;
	spin_unlock_irq(&b->lock);
}

/**
 * nlpeer_beacon_set - change some settings at once
 * @nn: the namespace
 * @config: new values, checked
 * @present: which to take, BIT(NLPEER_A_BEACON_...)
 *
 * The schedule goes on unless the interval changes.
 *
 * Context: process, may sleep.
 */
void nlpeer_beacon_set(struct nlpeer_net *nn,
		       const struct nlpeer_beacon_config *config,
		       unsigned long present)
{
	struct nlpeer_beacon *b = &nn->beacon;
	struct nlpeer_beacon_config next;
	bool rearm;

	mutex_lock(&b->control);

	next = b->config;	/* only written under b->control */
	if (present & BIT(NLPEER_A_BEACON_INTERVAL))
		next.interval = config->interval;
	if (present & BIT(NLPEER_A_BEACON_GROUPS))
		next.groups = config->groups;
	if (present & BIT(NLPEER_A_BEACON_GENL))
		next.genl = config->genl;
	if (present & BIT(NLPEER_A_BEACON_SIZE))
		next.size = config->size;
	if (present & BIT(NLPEER_A_BEACON_CONNECTOR))
		next.connector = config->connector;
	if (present & BIT(NLPEER_A_BEACON_PACKED))
		next.packed = config->packed;

	rearm = next.interval != b->config.interval;
	if (rearm)
		beacon_halt(b);	/* it sends nothing after the caller's answer */

	spin_lock_irq(&b->lock);
	b->config = next;
	spin_unlock_irq(&b->lock);

	if (rearm)
		beacon_arm(b);

	mutex_unlock(&b->control);
}
