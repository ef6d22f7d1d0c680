// SPDX-License-Identifier: GPL-2.0-only
/*
 * A book of numbered pages. On each stands one value, or nothing (0). Programs
 * write it, read a page of it, and list it, through netlink.
 */
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/netlink.h>
#include <net/netlink.h>
#include <net/sock.h>

#define NETLINK_LAB	31
#define BOOK_PAGES	65536

/* The types of messages, and what they carry. user/main.go has the same. */
enum {
	BOOK_WRITE = NLMSG_MIN_TYPE,	/* program: struct book_page */
	BOOK_READ,			/* program: the number of a page, a u32 */
	BOOK_PAGE,			/* kernel: struct book_page */
};

struct book_page {
	u32 number;
	u32 value;
};

static u32 book_values[BOOK_PAGES];
static u32 book_edition = 1;		/* another one after each change */
static DEFINE_MUTEX(book_lock);		/* two programs may ask at a time */

static struct sock *book_socket;

static bool torn;
module_param(torn, bool, 0644);
MODULE_PARM_DESC(torn, "a list breaks off after its first datagram, with -EIO");

/*
 * Writes one page into a message for @portid; @list is the list that it is part
 * of, or NULL. Returns NULL if the buffer is full. The caller holds book_lock.
 */
static struct nlmsghdr *book_put(struct sk_buff *skb, u32 portid, u32 seq,
				 u16 flags, u32 number,
				 struct netlink_callback *list)
{
	struct book_page *page;
	struct nlmsghdr *nlh;

	nlh = nlmsg_put(skb, portid, seq, BOOK_PAGE, sizeof(*page), flags);
	if (!nlh)
		return NULL;

	page = nlmsg_data(nlh);
	page->number = number;
	page->value = book_values[number];

	if (list)
		nl_dump_check_consistent(list, nlh);
	return nlh;
}

static int book_write(struct nlmsghdr *nlh, struct netlink_ext_ack *extack)
{
	const struct book_page *page = nlmsg_data(nlh);

	if (nlmsg_len(nlh) < sizeof(*page)) {
		NL_SET_ERR_MSG(extack, "a page needs a number and a value");
		return -EINVAL;
	}
	if (page->number >= BOOK_PAGES) {
		NL_SET_ERR_MSG(extack, "the book has no page of that number");
		return -ERANGE;
	}

	mutex_lock(&book_lock);
	book_values[page->number] = page->value;
	book_edition++;
	if (!book_edition)		/* 0 means "no edition" to a dump */
		book_edition = 1;
	mutex_unlock(&book_lock);
	return 0;
}

static int book_read(struct sk_buff *skb, struct nlmsghdr *nlh,
		     struct netlink_ext_ack *extack)
{
	u32 portid = NETLINK_CB(skb).portid;
	struct sk_buff *answer;
	u32 number;

	if (nlmsg_len(nlh) < sizeof(number)) {
		NL_SET_ERR_MSG(extack, "the number of a page is needed");
		return -EINVAL;
	}
	number = *(u32 *)nlmsg_data(nlh);
	if (number >= BOOK_PAGES) {
		NL_SET_ERR_MSG(extack, "the book has no page of that number");
		return -ERANGE;
	}

	answer = nlmsg_new(sizeof(struct book_page), GFP_KERNEL);
	if (!answer)
		return -ENOMEM;

	mutex_lock(&book_lock);
	if (!book_values[number]) {
		mutex_unlock(&book_lock);
		nlmsg_free(answer);
		NL_SET_ERR_MSG(extack, "nothing is written on that page");
		return -ENOENT;
	}
	book_put(answer, portid, nlh->nlmsg_seq, 0, number, NULL);
	mutex_unlock(&book_lock);

	return nlmsg_unicast(book_socket, answer, portid);
}

/*
 * Fills one datagram of a list. The core of netlink calls it with an empty
 * buffer again and again, until it returns 0 (or an error). Between two calls
 * @cb is what is remembered: cb->args[] are ours, and begin as 0.
 */
static int book_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	u32 portid = NETLINK_CB(cb->skb).portid;
	u32 seq = cb->nlh->nlmsg_seq;
	u32 number = cb->args[0];

	if (torn && cb->args[0])
		return -EIO;

	mutex_lock(&book_lock);
	cb->seq = book_edition;
	for (; number < BOOK_PAGES; number++) {
		if (!book_values[number])
			continue;
		if (!book_put(skb, portid, seq, NLM_F_MULTI, number, cb))
			break;
	}
	mutex_unlock(&book_lock);

	cb->args[0] = number;
	return skb->len;
}

static int book_list(struct sk_buff *skb, struct nlmsghdr *nlh,
		     struct netlink_ext_ack *extack)
{
	struct netlink_dump_control control = { .dump = book_dump };

	return netlink_dump_start(book_socket, skb, nlh, &control);
}

/*
 * One request. What is returned becomes the error of an acknowledgment: always
 * if it is not 0, and if it is 0 when the program asked for one (NLM_F_ACK).
 */
static int book_request(struct sk_buff *skb, struct nlmsghdr *nlh,
			struct netlink_ext_ack *extack)
{
	switch (nlh->nlmsg_type) {
	case BOOK_WRITE:
		return book_write(nlh, extack);
	case BOOK_READ:
		if ((nlh->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP)
			return book_list(skb, nlh, extack);
		return book_read(skb, nlh, extack);
	default:
		NL_SET_ERR_MSG(extack, "a book is written or read");
		return -EOPNOTSUPP;
	}
}

static void book_input(struct sk_buff *skb)
{
	netlink_rcv_skb(skb, book_request);
}

static int __init book_init(void)
{
	struct netlink_kernel_cfg cfg = { .input = book_input };

	book_socket = netlink_kernel_create(&init_net, NETLINK_LAB, &cfg);
	return book_socket ? 0 : -EADDRINUSE;
}

static void __exit book_exit(void)
{
	netlink_kernel_release(book_socket);
}

module_init(book_init);
module_exit(book_exit);

MODULE_DESCRIPTION("A book that is written, read and listed through netlink");
MODULE_LICENSE("GPL");
