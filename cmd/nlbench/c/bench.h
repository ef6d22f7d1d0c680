/* SPDX-License-Identifier: MIT */
/*
 * What the contenders written in C have in common: the conversation with the
 * driver, and the clock.
 *
 * A contender is started once and reads lines from its standard input:
 *
 *	CASE SIZE BATCH COUNT	do COUNT operations
 *	list			name the cases
 *
 * It answers each by one line:
 *
 *	NANOSECONDS OPERATIONS	time they took, and how many were done
 *	skip REASON		this kernel or this way cannot do that
 *	error TEXT		it went wrong
 *
 * and ends with its input. SIZE is the payload in bytes, BATCH the number of
 * requests in one datagram (or one ring of the doorbell); COUNT is rounded up to
 * a multiple of it. An operation is one echo, also in a batch.
 */
#ifndef NLBENCH_BENCH_H
#define NLBENCH_BENCH_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BENCH_PAYLOAD_MAX	32768

/* One measurement: what is asked for, and what came of it. */
struct bench_run {
	size_t size;
	unsigned long batch;
	unsigned long count;
	uint64_t started;
	uint64_t nanoseconds;
	uint64_t operations;
	char failed[256];	/* what to answer instead, "" if it went well */
};

struct bench_case {
	const char *name;
	void (*run)(struct bench_run *run);
};

static inline uint64_t bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* What stands between the two is timed; they may be called again and again. */
static inline void bench_start(struct bench_run *run)
{
	run->started = bench_now();
}

static inline void bench_stop(struct bench_run *run, uint64_t operations)
{
	run->nanoseconds += bench_now() - run->started;
	run->operations += operations;
}

/* The first failure of a run is the one that is told. */
__attribute__((format(printf, 3, 4)))
static inline void bench_fail(struct bench_run *run, const char *kind,
			      const char *format, ...)
{
	va_list args;
	int n;

	if (run->failed[0])
		return;
	n = snprintf(run->failed, sizeof(run->failed), "%s ", kind);
	va_start(args, format);
	vsnprintf(run->failed + n, sizeof(run->failed) - n, format, args);
	va_end(args);
}

#define bench_skip(run, ...)	bench_fail(run, "skip", __VA_ARGS__)
#define bench_error(run, ...)	bench_fail(run, "error", __VA_ARGS__)

/* A system call has failed. */
static inline void bench_errno(struct bench_run *run, const char *what)
{
	bench_error(run, "%s: %s", what, strerror(errno));
}

/* Bytes that no two neighbouring sizes or places share. */
static inline void bench_pattern(unsigned char *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (unsigned char)(i * 7 + (i >> 8) + len + 1);
}

/* Returns 0, or -1 after a failure: an echo that is not what was sent. */
static inline int bench_judge(struct bench_run *run, const void *echo,
			      size_t len, const unsigned char *sent, int all)
{
	const unsigned char *p = echo;

	if (len == run->size &&
	    (!len || (p[0] == sent[0] && p[len - 1] == sent[len - 1])) &&
	    (!all || !memcmp(p, sent, len)))
		return 0;
	bench_error(run, "an echo of other bytes than were sent");
	return -1;
}

static inline void bench_answer(const struct bench_case *cases,
				const char *line)
{
	struct bench_run run = { 0 };
	const struct bench_case *c;
	char name[32], junk;

	if (!strcmp(line, "list\n")) {
		for (c = cases; c->name; c++)
			printf("%s%s", c == cases ? "" : " ", c->name);
		printf("\n");
		return;
	}
	if (sscanf(line, "%31s %zu %lu %lu %c", name, &run.size, &run.batch,
		   &run.count, &junk) != 4 || !run.batch || !run.count) {
		printf("error not CASE SIZE BATCH COUNT, nor list\n");
		return;
	}
	for (c = cases; c->name && strcmp(c->name, name); c++)
		;
	if (!c->name) {
		printf("error unknown case %s, try: list\n", name);
		return;
	}
	c->run(&run);
	if (run.failed[0])
		printf("%s\n", run.failed);
	else
		printf("%llu %llu\n", (unsigned long long)run.nanoseconds,
		       (unsigned long long)run.operations);
}

/* Ends with the input. cases ends with one that has no name. */
static inline int bench_main(const struct bench_case *cases)
{
	char line[256];

	while (fgets(line, sizeof(line), stdin)) {
		bench_answer(cases, line);
		fflush(stdout);
	}
	return ferror(stdin) || ferror(stdout);
}

#endif /* NLBENCH_BENCH_H */
