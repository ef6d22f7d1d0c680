// SPDX-License-Identifier: MIT
/*
 * The other ways into the kernel, of the module in kmod/bench. Each copies the
 * payload anew and judges each echo by length, first and last byte, those before
 * and after the timed part by all bytes. Files stay open.
 *
 *	ioctl		bytes in, bytes out, one call
 *	ioctl-null	a call that does nothing
 *	chardev		write and read on a character device
 *	proc		write and read
 *	sysfs		pwrite and pread
 *	ring		BATCH requests in shared memory, a doorbell, and BATCH
 *			answers in shared memory
 */
#include <fcntl.h>
#include <nlpeer_bench.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define DEVICE	"/dev/nlpeer_bench"
#define PROC	"/proc/nlpeer_bench"
#define SYSFS	"/sys/kernel/nlpeer_bench/echo"

/* A page less one byte, on the smallest pages that there are. */
#define SYSFS_MAX	4095

static unsigned char payload[BENCH_PAYLOAD_MAX];
static unsigned char out[BENCH_PAYLOAD_MAX];
static unsigned char in[BENCH_PAYLOAD_MAX];

static int open_way(struct bench_run *run, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		bench_skip(run, "no %s; is the module of kmod/bench loaded?", path);
	else if (fd < 0)
		bench_errno(run, path);
	return fd;
}

typedef int (*exchange_fn)(struct bench_run *run, int fd, int all);

static inline int by_ioctl(struct bench_run *run, int fd, int all)
{
	struct nlpeer_bench_echo echo = {
		.in = (uintptr_t)out,
		.out = (uintptr_t)in,
		.len = run->size,
	};

	memcpy(out, payload, run->size);
	if (ioctl(fd, NLPEER_BENCH_ECHO, &echo)) {
		bench_errno(run, "ioctl");
		return -1;
	}
	return bench_judge(run, in, run->size, payload, all);
}

static inline int by_null(struct bench_run *run, int fd, int all)
{
	(void)all;
	if (!ioctl(fd, NLPEER_BENCH_NULL))
		return 0;
	bench_errno(run, "ioctl");
	return -1;
}

static inline int by_stream(struct bench_run *run, int fd, int all)
{
	ssize_t n;

	memcpy(out, payload, run->size);
	if (write(fd, out, run->size) != (ssize_t)run->size) {
		bench_errno(run, "write");
		return -1;
	}
	n = read(fd, in, sizeof(in));
	return bench_judge(run, in, n, payload, all);
}

static inline int by_file(struct bench_run *run, int fd, int all)
{
	ssize_t n;

	memcpy(out, payload, run->size);
	if (pwrite(fd, out, run->size, 0) != (ssize_t)run->size) {
		bench_errno(run, "pwrite");
		return -1;
	}
	n = pread(fd, in, sizeof(in), 0);
	return bench_judge(run, in, n, payload, all);
}

/* One at a time, COUNT times. */
static inline void rounds(struct bench_run *run, const char *path, size_t max,
			  exchange_fn exchange)
{
	unsigned long i;
	int fd;

	if (run->size > max) {
		bench_skip(run, "at most %zu bytes", max);
		return;
	}
	if (run->batch > 1) {
		bench_skip(run, "takes one request at a time");
		return;
	}
	fd = open_way(run, path);
	if (fd < 0)
		return;
	bench_pattern(payload, run->size);
	if (!exchange(run, fd, 1)) {
		bench_start(run);
		for (i = 0; i < run->count; i++)
			if (exchange(run, fd, 0))
				break;
		bench_stop(run, i);
		exchange(run, fd, 1);
	}
	close(fd);
}

static void echo_ioctl(struct bench_run *run)
{
	rounds(run, DEVICE, NLPEER_BENCH_MAX, by_ioctl);
}

static void null_ioctl(struct bench_run *run)
{
	rounds(run, DEVICE, BENCH_PAYLOAD_MAX, by_null);
}

static void echo_chardev(struct bench_run *run)
{
	rounds(run, DEVICE, NLPEER_BENCH_MAX, by_stream);
}

static void echo_proc(struct bench_run *run)
{
	rounds(run, PROC, NLPEER_BENCH_MAX, by_stream);
}

static void echo_sysfs(struct bench_run *run)
{
	/* An empty write does not reach the file's owner. */
	if (!run->size)
		bench_skip(run, "sysfs hands on no empty write");
	else
		rounds(run, SYSFS, SYSFS_MAX, by_file);
}

/* The rings, and our side of their indices. */
struct ring {
	int fd;
	struct nlpeer_bench_rings *rings;
	unsigned char *requests;
	unsigned char *answers;
	uint32_t tail;		/* of the requests */
	uint32_t head;		/* of the answers */
	uint32_t id;
};

#define RING_MASK	(NLPEER_BENCH_RING_SIZE - 1)

static inline uint32_t entry_size(size_t len)
{
	return (sizeof(struct nlpeer_bench_entry) + len + NLPEER_BENCH_ALIGN - 1) &
	       ~(NLPEER_BENCH_ALIGN - 1);
}

/* How many bytes from a place do not wrap, of len. */
static inline size_t unbroken(uint32_t at, size_t len)
{
	size_t room = NLPEER_BENCH_RING_SIZE - (at & RING_MASK);

	return len < room ? len : room;
}

static inline void put_request(struct ring *r, size_t len)
{
	struct nlpeer_bench_entry *e = (void *)(r->requests + (r->tail & RING_MASK));
	uint32_t at = r->tail + sizeof(*e);
	size_t n = unbroken(at, len);

	e->len = len;
	e->id = ++r->id;
	memcpy(r->requests + (at & RING_MASK), payload, n);
	if (n < len)
		memcpy(r->requests, payload + n, len - n);
	r->tail += entry_size(len);
}

static inline int take_answer(struct bench_run *run, struct ring *r,
			      uint32_t tail, uint32_t id, int all)
{
	const struct nlpeer_bench_entry *e = (void *)(r->answers + (r->head & RING_MASK));
	uint32_t at = r->head + sizeof(*e);
	size_t len, n;
	int bad;

	if (tail == r->head || e->id != id || e->len != run->size) {
		bench_error(run, "an answer is missing, or another one");
		return -1;
	}
	len = e->len;
	n = unbroken(at, len);
	if (n == len || !all) {
		const unsigned char *last = r->answers + ((at + len - 1) & RING_MASK);

		bad = len && (r->answers[at & RING_MASK] != payload[0] ||
			      *last != payload[len - 1] ||
			      (all && memcmp(r->answers + (at & RING_MASK), payload, n)));
	} else {
		bad = memcmp(r->answers + (at & RING_MASK), payload, n) ||
		      memcmp(r->answers, payload + n, len - n);
	}
	r->head += entry_size(len);
	if (bad)
		bench_error(run, "an echo of other bytes than were sent");
	return bad ? -1 : 0;
}

static int ring_exchange(struct bench_run *run, struct ring *r, int all)
{
	uint32_t id = r->id, tail;
	unsigned long i;
	int n;

	for (i = 0; i < run->batch; i++)
		put_request(r, run->size);
	__atomic_store_n(&r->rings->request.tail, r->tail, __ATOMIC_RELEASE);
	n = ioctl(r->fd, NLPEER_BENCH_DOORBELL);
	if (n < 0 || (unsigned long)n != run->batch) {
		bench_errno(run, "doorbell");
		return -1;
	}
	tail = __atomic_load_n(&r->rings->answer.tail, __ATOMIC_ACQUIRE);
	for (i = 0; i < run->batch; i++)
		if (take_answer(run, r, tail, ++id, all))
			return -1;
	__atomic_store_n(&r->rings->answer.head, r->head, __ATOMIC_RELEASE);
	return 0;
}

static void ring_rounds(struct bench_run *run, struct ring *r)
{
	unsigned long i, n = (run->count + run->batch - 1) / run->batch;

	bench_pattern(payload, run->size);
	/* Each page of both rings is touched before the clock runs. */
	for (i = 0; i * run->batch * entry_size(run->size) <= NLPEER_BENCH_RING_SIZE; i++)
		if (ring_exchange(run, r, 1))
			return;
	bench_start(run);
	for (i = 0; i < n; i++)
		if (ring_exchange(run, r, 0))
			return;
	bench_stop(run, n * run->batch);
	ring_exchange(run, r, 1);
}

static void echo_ring(struct bench_run *run)
{
	struct ring r = { 0 };
	void *map;

	if (run->size > NLPEER_BENCH_MAX ||
	    run->batch > NLPEER_BENCH_RING_SIZE / entry_size(run->size)) {
		bench_skip(run, "%lu requests of %zu bytes do not fit into a ring of %d",
			   run->batch, run->size, NLPEER_BENCH_RING_SIZE);
		return;
	}
	r.fd = open_way(run, DEVICE);
	if (r.fd < 0)
		return;
	map = mmap(NULL, NLPEER_BENCH_MAP_SIZE, PROT_READ | PROT_WRITE,
		   MAP_SHARED, r.fd, 0);
	if (map == MAP_FAILED) {
		bench_errno(run, "mmap");
	} else {
		r.rings = map;
		r.requests = (unsigned char *)map + NLPEER_BENCH_REQUESTS;
		r.answers = (unsigned char *)map + NLPEER_BENCH_ANSWERS;
		ring_rounds(run, &r);
		munmap(map, NLPEER_BENCH_MAP_SIZE);
	}
	close(r.fd);
}

int main(void)
{
	static const struct bench_case cases[] = {
		{ "ioctl", echo_ioctl },
		{ "ioctl-null", null_ioctl },
		{ "chardev", echo_chardev },
		{ "proc", echo_proc },
		{ "sysfs", echo_sysfs },
		{ "ring", echo_ring },
		{ 0 },
	};

	return bench_main(cases);
}
