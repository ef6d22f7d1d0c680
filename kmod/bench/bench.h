/* SPDX-License-Identifier: GPL-2.0-only */
/* The inside of nlpeer_bench. */
#ifndef _NLPEER_BENCH_INSIDE_H
#define _NLPEER_BENCH_INSIDE_H

#include <linux/types.h>

struct vm_area_struct;

/**
 * struct bench_ring - both rings of an open file
 * @area: what is mapped, NULL before the first mmap
 * @request_head: bytes of requests ever taken out
 * @answer_tail: bytes of answers ever put in
 *
 * Whoever maps @area may write all of it at any time. So what the kernel has
 * to believe stands here, and what it reads there is read once and judged.
 */
struct bench_ring {
	void *area;
	u32 request_head;
	u32 answer_tail;
};

/* file.c */
int bench_file_register(void);
void bench_file_unregister(void);

/* ring.c */
int bench_ring_map(struct bench_ring *ring, struct vm_area_struct *vma);
long bench_ring_answer(struct bench_ring *ring);
void bench_ring_free(struct bench_ring *ring);

#endif /* _NLPEER_BENCH_INSIDE_H */
