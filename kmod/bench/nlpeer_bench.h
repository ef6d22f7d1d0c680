/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/*
 * The other ways into the kernel that nlbench compares netlink with. All of
 * them echo: what is sent comes back.
 *
 *	/dev/nlpeer_bench		ioctl, write and read, rings
 *	/proc/nlpeer_bench		write and read
 *	/sys/kernel/nlpeer_bench/echo	write and read, less than a page
 */
#ifndef _UAPI_NLPEER_BENCH_H
#define _UAPI_NLPEER_BENCH_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Bytes of one echo, but for sysfs. */
#define NLPEER_BENCH_MAX	32768

/**
 * struct nlpeer_bench_echo - argument of NLPEER_BENCH_ECHO
 * @in: address of the bytes to send
 * @out: address of as many bytes that the echo is written to; may be @in
 * @len: how many, at most NLPEER_BENCH_MAX
 * @pad: 0
 */
struct nlpeer_bench_echo {
	__u64 in;
	__u64 out;
	__u32 len;
	__u32 pad;
};

/* Does nothing, successfully. */
#define NLPEER_BENCH_NULL	_IO(0xbe, 0)

/*
 * Echoes at once. An open file has one buffer: what was written to it and not
 * read yet is forgotten.
 */
#define NLPEER_BENCH_ECHO	_IOW(0xbe, 1, struct nlpeer_bench_echo)

/*
 * Answers the requests that are queued in the ring, as many as the answers have
 * room for, and returns their number. ENXIO before the first mmap; EINVAL for
 * an index or length that lies and EMSGSIZE for a request that is too long, if
 * no request came before it; ENOSPC if there is no room for the first answer.
 */
#define NLPEER_BENCH_DOORBELL	_IO(0xbe, 2)

/**
 * struct nlpeer_bench_ring - the indices of one ring
 * @head: bytes ever taken out; the reader writes it
 * @pad1: so that reader and writer do not share a cache line
 * @tail: bytes ever put in; the writer writes it
 * @pad2: the same
 *
 * They count on, modulo 2^32; the place in the ring is the index modulo
 * NLPEER_BENCH_RING_SIZE. Each is stored with release and loaded with acquire
 * semantics.
 */
struct nlpeer_bench_ring {
	__u32 head;
	__u8 pad1[60];
	__u32 tail;
	__u8 pad2[60];
};

/**
 * struct nlpeer_bench_rings - the beginning of what mmap maps
 * @request: user space writes, the kernel reads
 * @answer: the kernel writes, user space reads
 *
 * The kernel reads @request.tail and @answer.head alone; the others it keeps
 * for itself and writes here for user space to see.
 */
struct nlpeer_bench_rings {
	struct nlpeer_bench_ring request;
	struct nlpeer_bench_ring answer;
};

/**
 * struct nlpeer_bench_entry - stands before the bytes of a request or answer
 * @len: of the bytes, at most NLPEER_BENCH_MAX
 * @id: any; the answer's is that of its request
 *
 * The next entry begins at the next multiple of 8. Bytes may go on at the
 * beginning of the ring; this struct never does.
 */
struct nlpeer_bench_entry {
	__u32 len;
	__u32 id;
};

#define NLPEER_BENCH_ALIGN	8
#define NLPEER_BENCH_RING_SIZE	1048576	/* bytes, a power of two */

/* Where the rings begin in the mapping, and its length. */
#define NLPEER_BENCH_REQUESTS	65536
#define NLPEER_BENCH_ANSWERS	(NLPEER_BENCH_REQUESTS + NLPEER_BENCH_RING_SIZE)
#define NLPEER_BENCH_MAP_SIZE	(NLPEER_BENCH_ANSWERS + NLPEER_BENCH_RING_SIZE)

#endif /* _UAPI_NLPEER_BENCH_H */
