// SPDX-License-Identifier: GPL-2.0-only
/*
 * The last events of a namespace, so that a listener that lost some can ask for
 * them. Data are not kept: the beacon derives them from the event's number. What
 * happened to an object keeps the object, which is why bytes have a bound, too.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "nlpeer.h"

/**
 * nlpeer_history_init - make room for the last events of a namespace
 * @nn: the namespace
 * @size: how many, 0 for none
 * @bytes: most bytes that their objects may take
 *
 * Context: process, may sleep.
 * Return: 0 or -ENOMEM.
 */
int nlpeer_history_init(struct nlpeer_net *nn, u32 size, u64 bytes)
{
	struct nlpeer_history *h = &nn->history;

	spin_lock_init(&h->lock);
	h->size = size;
	h->bytes_max = bytes;
	if (!size)
		return 0;

	/* Paid for by whoever makes the namespace, which owns it. */
	h->slot = kvcalloc(size, sizeof(*h->slot), GFP_KERNEL_ACCOUNT);
	return h->slot ? 0 : -ENOMEM;
}

static struct nlpeer_event *history_slot(struct nlpeer_history *h, u64 pos)
{
	u32 slot;

	div_u64_rem(pos, h->size, &slot);
	return &h->slot[slot];
}

static u64 event_bytes(const struct nlpeer_event *ev)
{
	return ev->object ? nlpeer_object_bytes(ev->object) : 0;
}

/* Caller holds the lock, or is the last. */
static void history_forget(struct nlpeer_history *h)
{
	struct nlpeer_event *oldest = history_slot(h, h->first++);

	h->bytes -= event_bytes(oldest);
	nlpeer_object_put(oldest->object);
}

/**
 * nlpeer_history_exit - forget everything
 * @nn: the namespace, in which nobody sends or asks any more
 */
void nlpeer_history_exit(struct nlpeer_net *nn)
{
	struct nlpeer_history *h = &nn->history;

	while (h->first < h->count)
		history_forget(h);
	kvfree(h->slot);
}

/**
 * nlpeer_history_add - remember events, and forget the oldest for them
 * @nn: the namespace
 * @ev: the first
 * @n: how many, alike but for their numbers, which follow each other
 *
 * Context: process.
 */
void nlpeer_history_add(struct nlpeer_net *nn, const struct nlpeer_event *ev,
			u32 n)
{
	struct nlpeer_history *h = &nn->history;
	u64 bytes = event_bytes(ev);
	u32 i;

	if (!h->size || bytes > h->bytes_max)
		return;

	spin_lock(&h->lock);
	for (i = 0; i < n; i++) {
		struct nlpeer_event *slot;

		while (h->count - h->first == h->size ||
		       h->bytes + bytes > h->bytes_max)
			history_forget(h);
		slot = history_slot(h, h->count++);
		*slot = *ev;
		slot->seq += i;
		nlpeer_object_hold(ev->object);
		h->bytes += bytes;
	}
	spin_unlock(&h->lock);
}

/**
 * nlpeer_history_next - find the next event of a group
 * @nn: the namespace
 * @group: the group
 * @seq: only events with a greater number
 * @pos: where to go on, 0 at first; moved behind the event that was found
 * @ev: the event; its object is the caller's to put
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
	if (*pos < h->first)
		*pos = h->first;
	while (!found && *pos < h->count) {
		const struct nlpeer_event *slot = history_slot(h, (*pos)++);

		if (slot->group == group && slot->seq > seq) {
			*ev = *slot;
			nlpeer_object_hold(ev->object);
			found = true;
		}
	}
	spin_unlock(&h->lock);

	return found;
}

/**
 * nlpeer_history_held - measure what is remembered
 * @nn: the namespace
 * @held: events
 * @bytes: bytes of their objects
 *
 * Context: process.
 */
void nlpeer_history_held(struct nlpeer_net *nn, u32 *held, u64 *bytes)
{
	struct nlpeer_history *h = &nn->history;

	spin_lock(&h->lock);
	*held = h->count - h->first;
	*bytes = h->bytes;
	spin_unlock(&h->lock);
}
