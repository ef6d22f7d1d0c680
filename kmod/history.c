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

/* Slots that are looked at before others may have the lock, or the processor. */
#define HISTORY_STRIDE	1024

/**
 * nlpeer_history_seek - find where the events behind a number begin
 * @nn: the namespace
 * @group: the group
 * @seq: the number
 *
 * Who asks has mostly missed few, so this goes back from the youngest.
 *
 * Context: process, may sleep.
 * Return: where nlpeer_history_next() begins; it is right for as long as the
 * history lives.
 */
u64 nlpeer_history_seek(struct nlpeer_net *nn, u32 group, u64 seq)
{
	struct nlpeer_history *h = &nn->history;
	u64 pos = U64_MAX;
	bool done = false;

	if (!h->size || !seq)
		return 0;

	while (!done) {
		u64 stop;

		cond_resched();
		spin_lock(&h->lock);
		pos = min(pos, h->count);
		stop = max(h->first, pos - min_t(u64, pos, HISTORY_STRIDE));
		while (!done && pos > stop) {
			const struct nlpeer_event *slot;

			slot = history_slot(h, pos - 1);
			done = slot->group == group && slot->seq <= seq;
			pos -= !done;
		}
		done |= pos <= h->first;
		spin_unlock(&h->lock);
	}

	return pos;
}

/**
 * nlpeer_history_next - find the next event of a group
 * @nn: the namespace
 * @group: the group
 * @pos: where to go on, see nlpeer_history_seek(); moved behind what was found
 * @ev: the event; its object is the caller's to put
 *
 * Context: process, may sleep.
 * Return: false if there is none, and @pos is at the end.
 */
bool nlpeer_history_next(struct nlpeer_net *nn, u32 group, u64 *pos,
			 struct nlpeer_event *ev)
{
	struct nlpeer_history *h = &nn->history;
	bool found = false, more;

	if (!h->size)
		return false;

	do {
		u64 stop;

		cond_resched();
		spin_lock(&h->lock);
		*pos = max(*pos, h->first);
		stop = min(h->count, *pos + HISTORY_STRIDE);
		while (!found && *pos < stop) {
			const struct nlpeer_event *slot;

			slot = history_slot(h, (*pos)++);
			found = slot->group == group;
			if (found) {
				*ev = *slot;
				nlpeer_object_hold(ev->object);
			}
		}
		more = *pos < h->count;
		spin_unlock(&h->lock);
	} while (!found && more);

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
