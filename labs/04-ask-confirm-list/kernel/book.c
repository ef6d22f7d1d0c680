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

	/*
	 * TODO(7): if it is part of a list, let nl_dump_check_consistent()
	 * compare its edition with that of the part before.
	 */
	return nlh;
}

static int book_write(struct nlmsghdr *nlh, struct netlink_ext_ack *extack)
{
	const struct book_page *page = nlmsg_data(nlh);

	/*
	 * TODO(1): say no. A payload that is shorter than a struct book_page
	 * is -EINVAL, a number that the book has no page for is -ERANGE; and
	 * say why in @extack. nlmsg_len() is the length of the payload. What
	 * is never checked, as here, is read from somebody else's memory.
	 */
	if (nlmsg_len(nlh) < sizeof(*page) || page->number >= BOOK_PAGES)
		return 0;

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
	/*
	 * TODO(3): answer with the page. Check the length of the request and
	 * the number as in book_write(); -ENOENT if nothing is written there.
	 * Then nlmsg_new(), book_put() with the port and the sequence number
	 * of the request, nlmsg_unicast(). Hold book_lock while you look into
	 * the book.
	 */
	(void)book_put;		/* nobody calls it yet */
	NL_SET_ERR_MSG(extack, "reading is not written yet");
	return -EOPNOTSUPP;
}

/*
 * Fills one datagram of a list. The core of netlink calls it with an empty
 * buffer again and again, until it returns 0 (or an error). Between two calls
 * @cb is what is remembered: cb->args[] are ours, and begin as 0.
 */
static int book_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	/*
	 * TODO(5): put pages into @skb, in the order of their numbers, empty
	 * ones left out, until book_put() finds no room. Each is one of many:
	 * NLM_F_MULTI. Remember in cb->args[0] where to go on. The port and
	 * the sequence number are those of the request: NETLINK_CB(cb->skb)
	 * and cb->nlh. Return skb->len: more than nothing means "call again".
	 */

	if (torn && cb->args[0])
		return -EIO;

	mutex_lock(&book_lock);
	/* TODO(7): say in cb->seq from which edition this datagram is. */
	/* TODO(5): the pages. */
	mutex_unlock(&book_lock);

	return 0;	/* TODO(5): not only this */
}

static int book_list(struct sk_buff *skb, struct nlmsghdr *nlh,
		     struct netlink_ext_ack *extack)
{
	struct netlink_dump_control control = { .dump = book_dump };

	/*
	 * TODO(4): start the dump: netlink_dump_start() wants the kernel's
	 * socket, the request and &control. Its result is yours.
	 */
	NL_SET_ERR_MSG(extack, "lists are not written yet");
	return control.dump ? -EOPNOTSUPP : 0;
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
