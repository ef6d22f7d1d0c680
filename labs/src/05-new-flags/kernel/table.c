// SPDX-License-Identifier: GPL-2.0-only
/*
 * A table of entries, each with a key and a list of values. What a request to
 * make one does, its flags say.
 */
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/netlink.h>
#include <linux/slab.h>
#include <net/netlink.h>
#include <net/sock.h>

#define NETLINK_LAB	31
#define TABLE_VALUES	8	/* of one entry */
#define TABLE_ENTRIES	1000

/* The types of messages; the payload is u32 numbers. user/witness.go has the same. */
enum {
	TABLE_NEW = NLMSG_MIN_TYPE,	/* program: key, value; kernel: key, values */
	TABLE_DEL,			/* program: key */
	TABLE_GET,			/* program: key */
};

struct table_entry {
	struct list_head list;
	u32 key;
	unsigned int count;
	u32 values[TABLE_VALUES];
};

static LIST_HEAD(table_entries);
static unsigned int table_count;
static DEFINE_MUTEX(table_lock);	/* of both */

static struct sock *table_socket;

static struct table_entry *table_find(u32 key)
{
	struct table_entry *e;

	list_for_each_entry(e, &table_entries, list)
		if (e->key == key)
			return e;
	return NULL;
}

/* Makes an entry of one value. */
static int table_create(u32 key, u32 value)
{
	struct table_entry *e;

	if (table_count >= TABLE_ENTRIES)
		return -ENOSPC;
	e = kzalloc(sizeof(*e), GFP_KERNEL);
	if (!e)
		return -ENOMEM;
	e->key = key;
	e->values[e->count++] = value;
	list_add_tail(&e->list, &table_entries);
	table_count++;
	return 0;
}

/* Leaves an entry with one value. */
static void table_replace(struct table_entry *e, u32 value)
{
	e->count = 0;
	e->values[e->count++] = value;
}

static void table_delete(struct table_entry *e)
{
	list_del(&e->list);
	table_count--;
	kfree(e);
}

/* A request to make an entry. The caller holds table_lock. */
static int table_new(u16 flags, u32 key, u32 value,
		     struct netlink_ext_ack *extack)
{
	struct table_entry *e = table_find(key);

	//> todo 3
	//| /*
	//|  * TODO(3): NLM_F_CREATE decides about an entry that is not there. If it
	//|  * is not set, that is -ENOENT, whatever the other flags say.
	//|  */
	//> solved
	if (!e && !(flags & NLM_F_CREATE)) {
		NL_SET_ERR_MSG(extack, "no entry has that key");
		return -ENOENT;
	}
	//> mistake replace-creates
	//| if (!e && !(flags & (NLM_F_CREATE | NLM_F_REPLACE))) {
	//| 	NL_SET_ERR_MSG(extack, "no entry has that key");
	//| 	return -ENOENT;
	//| }
	//> end
	if (!e)
		return table_create(key, value);

	//> todo 4
	//| /*
	//|  * TODO(4): here the entry is there. NLM_F_EXCL forbids that: -EEXIST,
	//|  * whatever the other flags say.
	//|  */
	//> solved
	if (flags & NLM_F_EXCL) {
		NL_SET_ERR_MSG(extack, "an entry has that key, and none was to have it");
		return -EEXIST;
	}
	//> mistake excl-turned-round
	//| if (flags & NLM_F_EXCL) {
	//| 	table_replace(e, value);
	//| 	return 0;
	//| }
	//> end
	//> todo 5
	//| /* TODO(5): NLM_F_REPLACE: the new value instead of the old ones. */
	//| (void)table_replace;	/* nobody calls it yet */
	//> solved
	if (flags & NLM_F_REPLACE) {
		table_replace(e, value);
		return 0;
	}
	//> mistake append-wins
	//| if ((flags & NLM_F_REPLACE) && !(flags & NLM_F_APPEND)) {
	//| 	table_replace(e, value);
	//| 	return 0;
	//| }
	//> end
	//> todo 6
	//| /*
	//|  * TODO(6): NLM_F_APPEND: the new value behind the old ones, or -ENOSPC
	//|  * if there are TABLE_VALUES already. NLM_F_REPLACE wins over it.
	//|  */
	//> solved
	if (flags & NLM_F_APPEND) {
		if (e->count == TABLE_VALUES) {
			NL_SET_ERR_MSG(extack, "an entry has no more than 8 values");
			return -ENOSPC;
		}
		e->values[e->count++] = value;
		return 0;
	}
	//> mistake no-bound
	//| if (flags & NLM_F_APPEND) {
	//| 	e->values[e->count % TABLE_VALUES] = value;
	//| 	e->count = min(e->count + 1, (unsigned int)TABLE_VALUES);
	//| 	return 0;
	//| }
	//> end
	//> todo 4
	//| /* TODO(4): and if no flag says what is to become of it? */
	//| table_replace(e, value);
	//| return 0;
	//> solved
	NL_SET_ERR_MSG(extack, "an entry has that key, and no flag says what to do with it");
	return -EEXIST;
	//> mistake quiet-overwrite
	//| table_replace(e, value);
	//| return 0;
	//> end
}

static int table_del(u32 key)
{
	struct table_entry *e = table_find(key);

	if (!e)
		return -ENOENT;
	table_delete(e);
	return 0;
}

static int table_get(struct sk_buff *skb, u32 seq, u32 key)
{
	u32 portid = NETLINK_CB(skb).portid;
	struct table_entry *e = table_find(key);
	struct nlmsghdr *nlh;
	struct sk_buff *answer;
	size_t size;
	u32 *words;

	if (!e)
		return -ENOENT;
	size = (1 + e->count) * sizeof(u32);
	answer = nlmsg_new(size, GFP_KERNEL);
	if (!answer)
		return -ENOMEM;
	nlh = nlmsg_put(answer, portid, seq, TABLE_NEW, size, 0);
	words = nlmsg_data(nlh);
	words[0] = key;
	memcpy(words + 1, e->values, e->count * sizeof(u32));
	return nlmsg_unicast(table_socket, answer, portid);
}

static int table_request(struct sk_buff *skb, struct nlmsghdr *nlh,
			 struct netlink_ext_ack *extack)
{
	int want = nlh->nlmsg_type == TABLE_NEW ? 2 : 1;
	const u32 *words = nlmsg_data(nlh);
	int err;

	if (nlmsg_len(nlh) < want * sizeof(u32)) {
		NL_SET_ERR_MSG(extack, "the request is too short");
		return -EINVAL;
	}
	mutex_lock(&table_lock);
	switch (nlh->nlmsg_type) {
	case TABLE_NEW:
		err = table_new(nlh->nlmsg_flags, words[0], words[1], extack);
		break;
	case TABLE_DEL:
		err = table_del(words[0]);
		break;
	case TABLE_GET:
		err = table_get(skb, nlh->nlmsg_seq, words[0]);
		break;
	default:
		err = -EOPNOTSUPP;
	}
	mutex_unlock(&table_lock);
	return err;
}

static void table_input(struct sk_buff *skb)
{
	netlink_rcv_skb(skb, table_request);
}

static int __init table_init(void)
{
	struct netlink_kernel_cfg cfg = { .input = table_input };

	table_socket = netlink_kernel_create(&init_net, NETLINK_LAB, &cfg);
	return table_socket ? 0 : -EADDRINUSE;
}

static void __exit table_exit(void)
{
	struct table_entry *e, *next;

	netlink_kernel_release(table_socket);
	list_for_each_entry_safe(e, next, &table_entries, list)
		table_delete(e);
}

module_init(table_init);
module_exit(table_exit);

MODULE_DESCRIPTION("A table whose requests have the flags of NEW");
MODULE_LICENSE("GPL");
