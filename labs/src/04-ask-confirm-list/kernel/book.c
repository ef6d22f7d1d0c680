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

	//> todo 7
	//| /*
	//|  * TODO(7): if it is part of a list, let nl_dump_check_consistent()
	//|  * compare its edition with that of the part before.
	//|  */
	//> solved
	if (list)
		nl_dump_check_consistent(list, nlh);
	//> end
	return nlh;
}

static int book_write(struct nlmsghdr *nlh, struct netlink_ext_ack *extack)
{
	const struct book_page *page = nlmsg_data(nlh);

	//> todo 1
	//| /*
	//|  * TODO(1): say no. A payload that is shorter than a struct book_page
	//|  * is -EINVAL, a number that the book has no page for is -ERANGE; and
	//|  * say why in @extack. nlmsg_len() is the length of the payload. What
	//|  * is never checked, as here, is read from somebody else's memory.
	//|  */
	//| if (nlmsg_len(nlh) < sizeof(*page) || page->number >= BOOK_PAGES)
	//| 	return 0;
	//> solved
	if (nlmsg_len(nlh) < sizeof(*page)) {
		NL_SET_ERR_MSG(extack, "a page needs a number and a value");
		return -EINVAL;
	}
	if (page->number >= BOOK_PAGES) {
		NL_SET_ERR_MSG(extack, "the book has no page of that number");
		return -ERANGE;
	}
	//> mistake positive-errno
	//| if (nlmsg_len(nlh) < sizeof(*page)) {
	//| 	NL_SET_ERR_MSG(extack, "a page needs a number and a value");
	//| 	return EINVAL;
	//| }
	//| if (page->number >= BOOK_PAGES) {
	//| 	NL_SET_ERR_MSG(extack, "the book has no page of that number");
	//| 	return ERANGE;
	//| }
	//> mistake no-reason
	//| if (nlmsg_len(nlh) < sizeof(*page))
	//| 	return -EINVAL;
	//| if (page->number >= BOOK_PAGES)
	//| 	return -ERANGE;
	//> end

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
	//> todo 3
	//| /*
	//|  * TODO(3): answer with the page. Check the length of the request and
	//|  * the number as in book_write(); -ENOENT if nothing is written there.
	//|  * Then nlmsg_new(), book_put() with the port and the sequence number
	//|  * of the request, nlmsg_unicast(). Hold book_lock while you look into
	//|  * the book.
	//|  */
	//| (void)book_put;		/* nobody calls it yet */
	//| NL_SET_ERR_MSG(extack, "reading is not written yet");
	//| return -EOPNOTSUPP;
	//> solved
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
	//> mistake seq-of-my-own
	//| static u32 seq;
	//| struct sk_buff *answer;
	//| u32 number;
	//|
	//| if (nlmsg_len(nlh) < sizeof(number))
	//| 	return -EINVAL;
	//| number = *(u32 *)nlmsg_data(nlh);
	//| if (number >= BOOK_PAGES)
	//| 	return -ERANGE;
	//| if (!book_values[number])
	//| 	return -ENOENT;
	//| answer = nlmsg_new(sizeof(struct book_page), GFP_KERNEL);
	//| if (!answer)
	//| 	return -ENOMEM;
	//| book_put(answer, NETLINK_CB(skb).portid, ++seq, 0, number, NULL);
	//| return nlmsg_unicast(book_socket, answer, NETLINK_CB(skb).portid);
	//> mistake ack-twice
	//| struct sk_buff *answer;
	//| u32 number;
	//|
	//| if (nlmsg_len(nlh) < sizeof(number))
	//| 	return -EINVAL;
	//| number = *(u32 *)nlmsg_data(nlh);
	//| if (number >= BOOK_PAGES)
	//| 	return -ERANGE;
	//| if (!book_values[number])
	//| 	return -ENOENT;
	//| answer = nlmsg_new(sizeof(struct book_page), GFP_KERNEL);
	//| if (!answer)
	//| 	return -ENOMEM;
	//| book_put(answer, NETLINK_CB(skb).portid, nlh->nlmsg_seq, 0, number,
	//| 	 NULL);
	//| if (nlh->nlmsg_flags & NLM_F_ACK)
	//| 	netlink_ack(skb, nlh, 0, extack);
	//| return nlmsg_unicast(book_socket, answer, NETLINK_CB(skb).portid);
	//> mistake lock-kept
	//| struct sk_buff *answer;
	//| u32 number;
	//|
	//| if (nlmsg_len(nlh) < sizeof(number))
	//| 	return -EINVAL;
	//| number = *(u32 *)nlmsg_data(nlh);
	//| if (number >= BOOK_PAGES)
	//| 	return -ERANGE;
	//| answer = nlmsg_new(sizeof(struct book_page), GFP_KERNEL);
	//| if (!answer)
	//| 	return -ENOMEM;
	//| mutex_lock(&book_lock);
	//| if (!book_values[number]) {
	//| 	nlmsg_free(answer);
	//| 	return -ENOENT;
	//| }
	//| book_put(answer, NETLINK_CB(skb).portid, nlh->nlmsg_seq, 0, number,
	//| 	 NULL);
	//| mutex_unlock(&book_lock);
	//| return nlmsg_unicast(book_socket, answer, NETLINK_CB(skb).portid);
	//> mistake buffer-lost
	//| struct sk_buff *answer;
	//| u32 number;
	//|
	//| if (nlmsg_len(nlh) < sizeof(number))
	//| 	return -EINVAL;
	//| number = *(u32 *)nlmsg_data(nlh);
	//| if (number >= BOOK_PAGES)
	//| 	return -ERANGE;
	//| answer = nlmsg_new(sizeof(struct book_page), GFP_KERNEL);
	//| if (!answer)
	//| 	return -ENOMEM;
	//| mutex_lock(&book_lock);
	//| if (!book_values[number]) {
	//| 	mutex_unlock(&book_lock);
	//| 	return -ENOENT;
	//| }
	//| book_put(answer, NETLINK_CB(skb).portid, nlh->nlmsg_seq, 0, number,
	//| 	 NULL);
	//| mutex_unlock(&book_lock);
	//| return nlmsg_unicast(book_socket, answer, NETLINK_CB(skb).portid);
	//> mistake also-on-failure
	//| struct sk_buff *answer;
	//| u32 number;
	//| int err;
	//|
	//| if (nlmsg_len(nlh) < sizeof(number))
	//| 	return -EINVAL;
	//| number = *(u32 *)nlmsg_data(nlh);
	//| if (number >= BOOK_PAGES)
	//| 	return -ERANGE;
	//| answer = nlmsg_new(sizeof(struct book_page), GFP_KERNEL);
	//| if (!answer)
	//| 	return -ENOMEM;
	//| err = -ENOENT;
	//| mutex_lock(&book_lock);
	//| if (book_values[number]) {
	//| 	book_put(answer, NETLINK_CB(skb).portid, nlh->nlmsg_seq, 0,
	//| 		 number, NULL);
	//| 	err = 0;
	//| }
	//| mutex_unlock(&book_lock);
	//| if (!err)
	//| 	err = nlmsg_unicast(book_socket, answer,
	//| 			    NETLINK_CB(skb).portid);
	//| if (err)
	//| 	nlmsg_free(answer);
	//| return err;
	//> end
}

/*
 * Fills one datagram of a list. The core of netlink calls it with an empty
 * buffer again and again, until it returns 0 (or an error). Between two calls
 * @cb is what is remembered: cb->args[] are ours, and begin as 0.
 */
static int book_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	//> todo 5
	//| /*
	//|  * TODO(5): put pages into @skb, in the order of their numbers, empty
	//|  * ones left out, until book_put() finds no room. Each is one of many:
	//|  * NLM_F_MULTI. Remember in cb->args[0] where to go on. The port and
	//|  * the sequence number are those of the request: NETLINK_CB(cb->skb)
	//|  * and cb->nlh. Return skb->len: more than nothing means "call again".
	//|  */
	//> solved
	u32 portid = NETLINK_CB(cb->skb).portid;
	u32 seq = cb->nlh->nlmsg_seq;
	u32 number = cb->args[0];
	//> end

	if (torn && cb->args[0])
		return -EIO;

	mutex_lock(&book_lock);
	//> todo 7
	//| /* TODO(7): say in cb->seq from which edition this datagram is. */
	//> solved
	cb->seq = book_edition;
	//> mistake never-interrupted
	//| cb->seq = 1;
	//> end
	//> todo 5
	//| /* TODO(5): the pages. */
	//> solved
	for (; number < BOOK_PAGES; number++) {
		if (!book_values[number])
			continue;
		if (!book_put(skb, portid, seq, NLM_F_MULTI, number, cb))
			break;
	}
	//> mistake one-lost
	//| while (number < BOOK_PAGES) {
	//| 	if (!book_values[number++])
	//| 		continue;
	//| 	if (!book_put(skb, portid, seq, NLM_F_MULTI, number - 1, cb))
	//| 		break;
	//| }
	//> mistake no-multi
	//| for (; number < BOOK_PAGES; number++) {
	//| 	if (!book_values[number])
	//| 		continue;
	//| 	if (!book_put(skb, portid, seq, 0, number, cb))
	//| 		break;
	//| }
	//> end
	mutex_unlock(&book_lock);

	//> todo 5
	//| return 0;	/* TODO(5): not only this */
	//> solved
	cb->args[0] = number;
	return skb->len;
	//> mistake same-pages
	//| return skb->len;
	//> end
}

static int book_list(struct sk_buff *skb, struct nlmsghdr *nlh,
		     struct netlink_ext_ack *extack)
{
	struct netlink_dump_control control = { .dump = book_dump };

	//> todo 4
	//| /*
	//|  * TODO(4): start the dump: netlink_dump_start() wants the kernel's
	//|  * socket, the request and &control. Its result is yours.
	//|  */
	//| NL_SET_ERR_MSG(extack, "lists are not written yet");
	//| return control.dump ? -EOPNOTSUPP : 0;
	//> solved
	return netlink_dump_start(book_socket, skb, nlh, &control);
	//> mistake dump-acked
	//| netlink_dump_start(book_socket, skb, nlh, &control);
	//| return 0;
	//> end
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
