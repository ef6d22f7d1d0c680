// SPDX-License-Identifier: GPL-2.0-only
/*
 * A ring of requests and one of answers, in memory that user space maps, and
 * what the doorbell does.
 */
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <asm/barrier.h>

#include "bench.h"
#include "nlpeer_bench.h"

#define RING_MASK	(NLPEER_BENCH_RING_SIZE - 1)

/**
 * bench_ring_map - map the rings into user space, and make them before
 * @ring: the rings
 * @vma: where to; a part from the beginning will do
 *
 * Context: process, may sleep. One call at a time.
 * Return: 0, or -EINVAL for a private mapping or one beyond the end, or -ENOMEM.
 */
int bench_ring_map(struct bench_ring *ring, struct vm_area_struct *vma)
{
	BUILD_BUG_ON(!is_power_of_2(NLPEER_BENCH_RING_SIZE));
	BUILD_BUG_ON(sizeof(struct nlpeer_bench_entry) != NLPEER_BENCH_ALIGN);
	BUILD_BUG_ON(sizeof(struct nlpeer_bench_rings) > NLPEER_BENCH_REQUESTS);

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (!ring->area) {
		ring->area = vmalloc_user(NLPEER_BENCH_MAP_SIZE);
		if (!ring->area)
			return -ENOMEM;
	}
	return remap_vmalloc_range(vma, ring->area, vma->vm_pgoff);
}

/* Bytes from a place in one ring to a place in the other, wrapping in both. */
static void ring_copy(u8 *to, u32 to_at, const u8 *from, u32 from_at, u32 len)
{
	while (len) {
		u32 f = from_at & RING_MASK, t = to_at & RING_MASK;
		u32 n = min3(len, NLPEER_BENCH_RING_SIZE - f,
			     NLPEER_BENCH_RING_SIZE - t);

		memcpy(to + t, from + f, n);
		from_at += n;
		to_at += n;
		len -= n;
	}
}

/* What lies between two indices of a ring, or more than fits into one. */
static u32 ring_used(u32 head, u32 tail)
{
	u32 used = tail - head;

	return IS_ALIGNED(used, NLPEER_BENCH_ALIGN) ? used : U32_MAX;
}

/**
 * bench_ring_answer - answer what is queued
 * @ring: the rings
 *
 * The end of the queue is read once, so there are at most as many requests as a
 * ring can hold. Bytes of a request that change while they are copied come back
 * in one of their states, or in several; its length and place do not.
 *
 * Context: process. One call at a time.
 * Return: how many, or a negative errno: see NLPEER_BENCH_DOORBELL.
 */
long bench_ring_answer(struct bench_ring *ring)
{
	struct nlpeer_bench_rings *rings = ring->area;
	u32 head = ring->request_head;
	u32 tail = ring->answer_tail;
	u8 *requests, *answers;
	u32 queued, unread, room;
	int err = 0;
	long n = 0;

	if (!rings)
		return -ENXIO;
	requests = ring->area + NLPEER_BENCH_REQUESTS;
	answers = ring->area + NLPEER_BENCH_ANSWERS;

	/* Pairs with the release by which user space publishes its requests. */
	queued = ring_used(head, smp_load_acquire(&rings->request.tail));
	/* Pairs with the release after which it reads the answers no more. */
	unread = ring_used(smp_load_acquire(&rings->answer.head), tail);
	if (queued > NLPEER_BENCH_RING_SIZE || unread > NLPEER_BENCH_RING_SIZE)
		return -EINVAL;
	room = NLPEER_BENCH_RING_SIZE - unread;

	while (queued) {
		struct nlpeer_bench_entry *from, *to;
		u32 len, size;

		/* Aligned, so there is at least this much, without a wrap. */
		from = (void *)(requests + (head & RING_MASK));
		len = READ_ONCE(from->len);
		size = sizeof(*from) + ALIGN(len, NLPEER_BENCH_ALIGN);
		if (len > NLPEER_BENCH_MAX)
			err = -EMSGSIZE;
		else if (size > queued)
			err = -EINVAL;
		else if (size > room)
			err = -ENOSPC;
		if (err)
			break;

		to = (void *)(answers + (tail & RING_MASK));
		WRITE_ONCE(to->len, len);
		WRITE_ONCE(to->id, READ_ONCE(from->id));
		ring_copy(answers, tail + sizeof(*to), requests,
			  head + sizeof(*from), len);
		head += size;
		tail += size;
		queued -= size;
		room -= size;
		n++;
	}

	ring->request_head = head;
	ring->answer_tail = tail;
	/* The answers are complete before this shows. */
	smp_store_release(&rings->answer.tail, tail);
	/* The requests are read before user space may write over them. */
	smp_store_release(&rings->request.head, head);
	return n ? n : err;
}

/**
 * bench_ring_free - give the memory back
 * @ring: the rings, mapped by nobody any more
 *
 * Context: process, may sleep.
 */
void bench_ring_free(struct bench_ring *ring)
{
	vfree(ring->area);
}
