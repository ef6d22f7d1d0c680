// SPDX-License-Identifier: GPL-2.0-only
/*
 * The last events of a namespace, so that a listener that lost some can ask for
 * them. Data are not kept: every kind of event derives them from its number.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "nlpeer.h"

/**
 * nlpeer_history_init - make room for the last events of a namespace
 * @nn: the namespace
 * @size: how many, 0 for none
 *
 * Context: process, may sleep.
 * Return: 0 or -ENOMEM.
 */
int nlpeer_history_init(struct nlpeer_net *nn, u32 size)
{
	struct nlpeer_history *h = &nn->history;

	spin_lock_init(&h->lock);
	h->size = size;
	if (!size)
		return 0;

	/* Paid for by whoever makes the namespace, which owns it. */
	h->slot = kvcalloc(size, sizeof(*h->slot), GFP_KERNEL_ACCOUNT);
	return h->slot ? 0 : -ENOMEM;
}

/**
 * nlpeer_history_exit - forget everything
 * @nn: the namespace, in which nobody sends or asks any more
 */
void nlpeer_history_exit(struct nlpeer_net *nn)
{
	kvfree(nn->history.slot);
}

static struct nlpeer_event *history_slot(struct nlpeer_history *h, u64 pos)
{
	u32 slot;

	div_u64_rem(pos, h->size, &slot);
	return &h->slot[slot];
}

/**
 * nlpeer_history_add - remember an event, and forget the oldest for it
 * @nn: the namespace
 * @ev: the event
 *
 * Context: process.
 */
void nlpeer_history_add(struct nlpeer_net *nn, const struct nlpeer_event *ev)
{
	struct nlpeer_history *h = &nn->history;

	if (!h->size)
		return;

	spin_lock(&h->lock);
	*history_slot(h, h->count) = *ev;
	h->count++;
	spin_unlock(&h->lock);
}

/**
 * nlpeer_history_next - find the next event of a group
 * @nn: the namespace
 * @group: the group
 * @seq: only events with a greater number
 * @pos: where to go on, 0 at first; moved behind the event that was found
 * @ev: the event
 *
 * Context: process.
 * Return: false if there is none, and @pos is at the end.
 */
bool nlpeer_history_next(struct nlpeer_net *nn, u32 group, u64 seq, u64 *pos,
			 struct nlpeer_event *ev)
{
	struct nlpeer_history *h = &nn->history;
	bool found = false;

	if (!h->size)
		return false;

	spin_lock(&h->lock);
	if (h->count > h->size && *pos < h->count - h->size)
		*pos = h->count - h->size;
	while (!found && *pos < h->count) {
		const struct nlpeer_event *slot = history_slot(h, (*pos)++);

		if (slot->group == group && slot->seq > seq) {
			*ev = *slot;
			found = true;
		}
	}
	spin_unlock(&h->lock);

	return found;
}

/**
 * nlpeer_history_held - count what is remembered
 * @nn: the namespace
 *
 * Context: process.
 * Return: a number of events.
 */
u32 nlpeer_history_held(struct nlpeer_net *nn)
{
	struct nlpeer_history *h = &nn->history;
	u32 held;

	spin_lock(&h->lock);
	held = min_t(u64, h->count, h->size);
	spin_unlock(&h->lock);

	return held;
}
