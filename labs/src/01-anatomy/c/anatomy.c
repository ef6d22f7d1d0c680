// SPDX-License-Identifier: MIT
/*
 * Takes netlink messages apart, and puts them together, as ../user does, with
 * the macros of the kernel's headers.
 *
 *	anatomy parse < DATAGRAM
 *	anatomy build TYPE FLAGS SEQUENCE PORT [ATTRIBUTE=HEX...] > DATAGRAM
 */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATAGRAM_MAX	(1 << 16)

/* Aligned as a message has to be, and with room for a header behind the last. */
static union {
	struct nlmsghdr header;
	char bytes[DATAGRAM_MAX + NLMSG_HDRLEN];
} buf;

static void print_header(const struct nlmsghdr *nlh)
{
	printf("message: length %u, type %u, flags 0x%x, sequence %u, port %u\n",
	       nlh->nlmsg_len, nlh->nlmsg_type, nlh->nlmsg_flags,
	       nlh->nlmsg_seq, nlh->nlmsg_pid);
}

static void print_attribute(unsigned int type, const unsigned char *value,
			    int len, int depth)
{
	printf("%*sattribute %u%s%s: %d bytes: ", 2 * depth, "",
	       type & NLA_TYPE_MASK, type & NLA_F_NESTED ? " (nested)" : "",
	       type & NLA_F_NET_BYTEORDER ? " (big-endian)" : "", len);
	for (int i = 0; i < len; i++)
		printf("%02x", value[i]);
	printf("\n");
}

static void print_rest(long rest, int depth)
{
	if (rest > 0)
		printf("%*s%ld bytes left over\n", 2 * depth, "", rest);
}

/* Prints a run of attributes of len bytes. */
static void parse_attributes(struct rtattr *rta, int len, int depth)
{
	//> todo 5
	//| /*
	//|  * TODO(5): RTA_OK(rta, len) says whether there is one more attribute,
	//|  * RTA_NEXT(rta, len) goes to the next one and takes it off len;
	//|  * RTA_DATA() and RTA_PAYLOAD() are its value and the value's length.
	//|  */
	//| (void)rta;
	//| (void)print_attribute;
	//> solved
	for (; RTA_OK(rta, len); rta = RTA_NEXT(rta, len)) {
		print_attribute(rta->rta_type, RTA_DATA(rta), RTA_PAYLOAD(rta), depth);
		if (rta->rta_type & NLA_F_NESTED)
			parse_attributes(RTA_DATA(rta), RTA_PAYLOAD(rta), depth + 1);
	}
	//> mistake rta-len-as-payload
	//| for (; RTA_OK(rta, len); rta = RTA_NEXT(rta, len)) {
	//| 	print_attribute(rta->rta_type, RTA_DATA(rta), rta->rta_len, depth);
	//| 	if (rta->rta_type & NLA_F_NESTED)
	//| 		parse_attributes(RTA_DATA(rta), RTA_PAYLOAD(rta), depth + 1);
	//| }
	//> end
	print_rest(len, depth);
}

/* Prints all messages of a datagram of size bytes. */
static void parse(struct nlmsghdr *nlh, size_t size)
{
	//> todo 5
	//| /*
	//|  * TODO(5): the same with NLMSG_OK() and NLMSG_NEXT(). Here, too, count
	//|  * what is left in an int: it may become negative, and has to.
	//|  */
	//| int rest = size;
	//|
	//| if (NLMSG_OK(nlh, rest))
	//| 	print_header(nlh);
	//| parse_attributes(NLMSG_DATA(nlh), 0, 1);
	//> solved
	int rest = size;

	for (; NLMSG_OK(nlh, rest); nlh = NLMSG_NEXT(nlh, rest)) {
		print_header(nlh);
		parse_attributes(NLMSG_DATA(nlh), NLMSG_PAYLOAD(nlh, 0), 1);
	}
	//> mistake trusts-the-length-in-c
	//| int rest = size;
	//|
	//| while (rest > 0) {
	//| 	print_header(nlh);
	//| 	parse_attributes(NLMSG_DATA(nlh), NLMSG_PAYLOAD(nlh, 0), 1);
	//| 	nlh = NLMSG_NEXT(nlh, rest);
	//| }
	//> mistake unsigned-rest
	//| size_t rest = size;
	//|
	//| for (; NLMSG_OK(nlh, rest); nlh = NLMSG_NEXT(nlh, rest)) {
	//| 	print_header(nlh);
	//| 	parse_attributes(NLMSG_DATA(nlh), NLMSG_PAYLOAD(nlh, 0), 1);
	//| }
	//> end
	print_rest(rest, 0);
}

/* Puts an attribute behind the message; both are padded. */
static void add_attribute(struct nlmsghdr *nlh, unsigned short type,
			  const void *value, unsigned short len)
{
	struct rtattr *rta = (struct rtattr *)((char *)nlh + NLMSG_ALIGN(nlh->nlmsg_len));

	//> todo 6
	//| /*
	//|  * TODO(6): fill the attribute (RTA_LENGTH() is what its rta_len has to
	//|  * be), and make the message longer by what it takes, RTA_SPACE().
	//|  */
	//| (void)rta;
	//| (void)type;
	//| (void)value;
	//| (void)len;
	//> solved
	rta->rta_type = type;
	rta->rta_len = RTA_LENGTH(len);
	memcpy(RTA_DATA(rta), value, len);
	nlh->nlmsg_len = NLMSG_ALIGN(nlh->nlmsg_len) + RTA_SPACE(len);
	//> mistake space-as-length
	//| rta->rta_type = type;
	//| rta->rta_len = RTA_SPACE(len);
	//| memcpy(RTA_DATA(rta), value, len);
	//| nlh->nlmsg_len = NLMSG_ALIGN(nlh->nlmsg_len) + RTA_SPACE(len);
	//> end
}

static size_t from_hex(unsigned char *to, size_t room, const char *hex)
{
	unsigned int byte;
	size_t n = 0;

	while (n < room && sscanf(hex, "%2x", &byte) == 1) {
		to[n++] = byte;
		hex += 2;
	}
	return n;
}

static int build(int argc, char **argv)
{
	static unsigned char value[DATAGRAM_MAX / 2];
	struct nlmsghdr *nlh = &buf.header;

	//> todo 6
	//| /*
	//|  * TODO(6): the header, from argv[0] to argv[3]: type, flags, sequence,
	//|  * port (strtoul() reads them). NLMSG_LENGTH(0) is a message without
	//|  * payload.
	//|  */
	//> solved
	nlh->nlmsg_len = NLMSG_LENGTH(0);
	nlh->nlmsg_type = strtoul(argv[0], NULL, 0);
	nlh->nlmsg_flags = strtoul(argv[1], NULL, 0);
	nlh->nlmsg_seq = strtoul(argv[2], NULL, 0);
	nlh->nlmsg_pid = strtoul(argv[3], NULL, 0);
	//> end
	for (int i = 4; i < argc; i++) {
		const char *equals = strchr(argv[i], '=');
		size_t len = equals ? from_hex(value, sizeof(value), equals + 1) : 0;

		if (NLMSG_ALIGN(nlh->nlmsg_len) + RTA_SPACE(len) > DATAGRAM_MAX || RTA_LENGTH(len) > 0xffff) {
			fprintf(stderr, "anatomy: that is too long\n");
			return 1;
		}
		add_attribute(nlh, strtoul(argv[i], NULL, 0), value, len);
	}
	fwrite(nlh, nlh->nlmsg_len, 1, stdout);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "parse")) {
		size_t size;

		/* Nobody wipes a buffer: there is something old behind a datagram. */
		memset(&buf, 0x11, sizeof(buf));
		size = fread(&buf, 1, DATAGRAM_MAX, stdin);
		parse(&buf.header, size);
		return 0;
	}
	if (argc >= 6 && !strcmp(argv[1], "build"))
		return build(argc - 2, argv + 2);
	fprintf(stderr, "usage: anatomy parse, or anatomy build TYPE FLAGS SEQUENCE PORT [ATTRIBUTE=HEX...]\n");
	return 2;
}
