// SPDX-License-Identifier: GPL-2.0-only
/*
 * The objects of a namespace: a tree in the order of their keys.
 *
 * An object never changes. A change puts another one in its place, so whoever
 * holds a reference, be it a dump, the history or an event on its way, sees one
 * state of it. Values are kept as they cross the wire, as attributes, so an
 * object is written into a message by one copy, whatever the carrier.
 */
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <net/netlink.h>

#include "nlpeer.h"

/* Dumps of a namespace that may hold the whole of its table at a time. */
#define SNAPSHOTS_MAX	4

/* A table as it was, in the order of the keys. */
struct nlpeer_snapshot {
	u32 count;
	u32 pos;	/* of what is dumped next */
	struct nlpeer_object *object[];
};

/**
 * nlpeer_object_put - give a reference back
 * @obj: the object, or NULL
 *
 * Context: any.
 */
void nlpeer_object_put(struct nlpeer_object *obj)
{
	if (obj && refcount_dec_and_test(&obj->refs))
		kfree(obj);
}

/**
 * nlpeer_object_hold - take a reference
 * @obj: an object of which the caller has one, or NULL
 *
 * Return: @obj.
 */
struct nlpeer_object *nlpeer_object_hold(struct nlpeer_object *obj)
{
	if (obj)
		refcount_inc(&obj->refs);
	return obj;
}

/**
 * nlpeer_object_bytes - the memory that an object takes
 * @obj: the object
 *
 * Return: bytes.
 */
size_t nlpeer_object_bytes(const struct nlpeer_object *obj)
{
	return struct_size(obj, values, obj->len);
}

/**
 * nlpeer_object_size - room that nlpeer_object_fill() needs
 * @obj: the object
 *
 * Return: bytes.
 */
size_t nlpeer_object_size(const struct nlpeer_object *obj)
{
	return nla_total_size(strlen(obj->key) + 1) +		/* key */
	       nla_total_size_64bit(sizeof(u64)) +		/* generation */
	       obj->len;					/* values */
}

/**
 * nlpeer_object_fill - write the attributes of an object
 * @skb: has room for nlpeer_object_size()
 * @obj: the object
 * @generation: its own, or that of its deletion
 *
 * Return: 0 or -EMSGSIZE; the caller drops the message then.
 */
int nlpeer_object_fill(struct sk_buff *skb, const struct nlpeer_object *obj,
		       u64 generation)
{
	if (nla_put_string(skb, NLPEER_A_OBJECT_KEY, obj->key) ||
	    nla_put_u64_64bit(skb, NLPEER_A_OBJECT_GENERATION, generation,
			      NLPEER_A_OBJECT_PAD))
		return -EMSGSIZE;

	if (skb_tailroom(skb) < obj->len)
		return -EMSGSIZE;
	skb_put_data(skb, obj->values, obj->len);
	return 0;
}

static struct nlpeer_object *object_of(struct rb_node *node)
{
	return rb_entry_safe(node, struct nlpeer_object, node);
}

/* The object with a key, or the place where it would be. */
static struct nlpeer_object *object_find(struct nlpeer_objects *t,
					 const char *key,
					 struct rb_node **parent,
					 struct rb_node ***link)
{
	struct rb_node **pos = &t->tree.rb_node;

	*parent = NULL;
	while (*pos) {
		struct nlpeer_object *obj = object_of(*pos);
		int order = strcmp(key, obj->key);

		if (!order)
			return obj;
		*parent = *pos;
		pos = order < 0 ? &(*pos)->rb_left : &(*pos)->rb_right;
	}
	*link = pos;
	return NULL;
}

static struct nlpeer_object *object_lookup(struct nlpeer_objects *t,
					   const char *key)
{
	struct rb_node *parent, **link;

	return object_find(t, key, &parent, &link);
}

/* The first object whose key is not below @key, or only those above it. */
static struct nlpeer_object *object_from(struct nlpeer_objects *t,
					 const char *key, bool above)
{
	struct rb_node *pos = t->tree.rb_node;
	struct nlpeer_object *best = NULL;

	while (pos) {
		struct nlpeer_object *obj = object_of(pos);
		int order = strcmp(key, obj->key);

		if (order < 0 || (!order && !above)) {
			best = obj;
			pos = pos->rb_left;
		} else {
			pos = pos->rb_right;
		}
	}
	return best;
}

static bool object_matches(const struct nlpeer_object *obj, const char *prefix)
{
	return !strncmp(obj->key, prefix, strlen(prefix));
}

/* The next object with a prefix, behind one or from the first on. */
static struct nlpeer_object *object_next(struct nlpeer_objects *t,
					 struct nlpeer_object *last,
					 const char *prefix)
{
	struct nlpeer_object *obj;

	if (!last)
		obj = object_from(t, prefix, false);
	else if (RB_EMPTY_NODE(&last->node))	/* no longer in the tree */
		obj = object_from(t, last->key, true);
	else
		obj = object_of(rb_next(&last->node));

	return obj && object_matches(obj, prefix) ? obj : NULL;
}

static void object_unlink(struct nlpeer_objects *t, struct nlpeer_object *obj)
{
	rb_erase(&obj->node, &t->tree);
	RB_CLEAR_NODE(&obj->node);
	t->count--;
	t->bytes -= nlpeer_object_bytes(obj);
}

/**
 * nlpeer_objects_init - make an empty table
 * @nn: the namespace
 * @count: most objects that it may hold
 * @bytes: most bytes that they may take
 */
void nlpeer_objects_init(struct nlpeer_net *nn, u32 count, u64 bytes)
{
	struct nlpeer_objects *t = &nn->objects;

	mutex_init(&t->lock);
	t->tree = RB_ROOT;
	t->count_max = count;
	t->bytes_max = bytes;
}

/**
 * nlpeer_objects_exit - drop all objects, without a word
 * @nn: the namespace, in which nobody asks any more
 */
void nlpeer_objects_exit(struct nlpeer_net *nn)
{
	struct nlpeer_object *obj, *next;

	rbtree_postorder_for_each_entry_safe(obj, next, &nn->objects.tree, node)
		nlpeer_object_put(obj);
}

/* Keys are never empty, as the empty prefix is that of all. */
static const char *object_key(const struct nlpeer_object_request *req,
			      struct netlink_ext_ack *extack)
{
	if (!req->key) {
		NL_SET_ERR_ATTR_MISS(extack, NULL, NLPEER_A_OBJECT_KEY);
		NL_SET_ERR_MSG_MOD(extack, "an object needs a key");
		return NULL;
	}
	if (!*(const char *)nla_data(req->key)) {
		NL_SET_ERR_MSG_ATTR(extack, req->key,
				    "nlpeer: a key has at least one byte");
		return NULL;
	}
	return nla_data(req->key);
}

/* What the flags of a request make of it, see the table in protocol.md. */
static int object_allowed(const struct nlpeer_object *old, u32 flags,
			  const struct nlattr *key,
			  struct netlink_ext_ack *extack)
{
	if (!old) {
		if (flags & NLM_F_CREATE)
			return 0;
		NL_SET_ERR_MSG_ATTR(extack, key,
				    "nlpeer: no object has this key; NLM_F_CREATE makes one");
		return -ENOENT;
	}
	if (flags & NLM_F_EXCL) {
		NL_SET_ERR_MSG_ATTR(extack, key, "nlpeer: the object exists");
		return -EEXIST;
	}
	if (flags & (NLM_F_REPLACE | NLM_F_APPEND))
		return 0;
	NL_SET_ERR_MSG_ATTR(extack, key,
			    "nlpeer: the object exists; NLM_F_REPLACE or NLM_F_APPEND changes it");
	return -EEXIST;
}

static size_t values_len(const struct nlpeer_object_request *req)
{
	const struct nlattr *attr;
	size_t len = 0;
	int rem;

	nla_for_each_attr(attr, req->attrs, req->len, rem)
		if (nla_type(attr) == NLPEER_A_OBJECT_VALUE)
			len += nla_total_size(nla_len(attr));
	return len;
}

/* Copy the values, with headers of our own and padding that is zero. */
static void values_copy(u8 *to, const struct nlpeer_object_request *req)
{
	const struct nlattr *attr;
	int rem;

	nla_for_each_attr(attr, req->attrs, req->len, rem) {
		struct nlattr *value = (struct nlattr *)to;

		if (nla_type(attr) != NLPEER_A_OBJECT_VALUE)
			continue;
		value->nla_type = NLPEER_A_OBJECT_VALUE;
		value->nla_len = nla_attr_size(nla_len(attr));
		memcpy(nla_data(value), nla_data(attr), nla_len(attr));
		memset(to + value->nla_len, 0, nla_padlen(nla_len(attr)));
		to += nla_total_size(nla_len(attr));
	}
}

/* Make an object of the values in a request, behind those of @head if any. */
static struct nlpeer_object *object_make(const char *key,
					 const struct nlpeer_object *head,
					 const struct nlpeer_object_request *req,
					 struct netlink_ext_ack *extack)
{
	size_t len = values_len(req) + (head ? head->len : 0);
	struct nlpeer_object *obj;

	if (len > NLPEER_OBJECT_MAX) {
		NL_SET_ERR_MSG_MOD(extack, "an object's values take at most "
				   __stringify(NLPEER_OBJECT_MAX) " bytes, headers included");
		return ERR_PTR(-ENOSPC);
	}

	/* Bounded by the table, owned by it until its last reference is gone. */
	obj = kmalloc(struct_size(obj, values, len), GFP_KERNEL_ACCOUNT);
	if (!obj)
		return ERR_PTR(-ENOMEM);

	RB_CLEAR_NODE(&obj->node);
	refcount_set(&obj->refs, 1);
	obj->len = len;
	strscpy(obj->key, key, sizeof(obj->key));
	if (head)
		memcpy(obj->values, head->values, head->len);
	values_copy(obj->values + (head ? head->len : 0), req);
	return obj;
}

/* Is there room for one object in the place of another? */
static int objects_admit(const struct nlpeer_objects *t,
			 const struct nlpeer_object *old,
			 const struct nlpeer_object *obj,
			 struct netlink_ext_ack *extack)
{
	if (!old && t->count >= t->count_max) {
		NL_SET_ERR_MSG_MOD(extack, "table full: objects=N allows more objects");
		return -ENOSPC;
	}
	if (t->bytes - (old ? nlpeer_object_bytes(old) : 0) +
	    nlpeer_object_bytes(obj) > t->bytes_max) {
		NL_SET_ERR_MSG_MOD(extack, "table full: object_bytes=N allows more bytes");
		return -ENOSPC;
	}
	return 0;
}

static int object_new(struct nlpeer_net *nn, const char *key,
		      const struct nlpeer_object_request *req,
		      const struct nlpeer_cause *cause,
		      struct netlink_ext_ack *extack)
{
	struct nlpeer_objects *t = &nn->objects;
	struct rb_node *parent, **link;
	struct nlpeer_object *old, *obj;
	int err;

	old = object_find(t, key, &parent, &link);
	err = object_allowed(old, req->flags, req->key, extack);
	if (err)
		return err;

	obj = object_make(key, req->flags & NLM_F_REPLACE ? NULL : old, req,
			  extack);
	if (IS_ERR(obj))
		return PTR_ERR(obj);

	err = objects_admit(t, old, obj, extack);
	if (err) {
		nlpeer_object_put(obj);
		return err;
	}

	obj->generation = ++t->generation;
	t->bytes += nlpeer_object_bytes(obj);
	if (old) {
		t->bytes -= nlpeer_object_bytes(old);
		rb_replace_node(&old->node, &obj->node, &t->tree);
		RB_CLEAR_NODE(&old->node);
		nlpeer_object_put(old);
	} else {
		t->count++;
		rb_link_node(&obj->node, parent, link);
		rb_insert_color(&obj->node, &t->tree);
	}

	nlpeer_event_object(nn, old ? NLPEER_KIND_OBJECT_CHANGE :
				      NLPEER_KIND_OBJECT_NEW,
			    obj, obj->generation, cause);
	return 0;
}

/**
 * nlpeer_object_new - make or change an object, and tell all who listen
 * @nn: the namespace
 * @req: key, values, and flags NLM_F_CREATE, _EXCL, _REPLACE, _APPEND
 * @cause: who asks
 * @extack: says what is wrong
 *
 * Context: process, may sleep.
 * Return: 0, -EINVAL, -EEXIST, -ENOENT, -ENOSPC or -ENOMEM.
 */
int nlpeer_object_new(struct nlpeer_net *nn,
		      const struct nlpeer_object_request *req,
		      const struct nlpeer_cause *cause,
		      struct netlink_ext_ack *extack)
{
	const char *key = object_key(req, extack);
	int err;

	if (!key)
		return -EINVAL;

	/* Events go out under the lock: their order is that of the changes. */
	mutex_lock(&nn->objects.lock);
	err = object_new(nn, key, req, cause, extack);
	mutex_unlock(&nn->objects.lock);
	return err;
}

/* Caller holds the lock. */
static void object_delete(struct nlpeer_net *nn, struct nlpeer_object *obj,
			  const struct nlpeer_cause *cause)
{
	object_unlink(&nn->objects, obj);
	nlpeer_event_object(nn, NLPEER_KIND_OBJECT_DEL, obj,
			    ++nn->objects.generation, cause);
	nlpeer_object_put(obj);
}

static int object_delete_key(struct nlpeer_net *nn,
			     const struct nlpeer_object_request *req,
			     const struct nlpeer_cause *cause,
			     struct netlink_ext_ack *extack)
{
	const char *key = object_key(req, extack);
	struct nlpeer_object *obj;

	if (!key)
		return -EINVAL;

	mutex_lock(&nn->objects.lock);
	obj = object_lookup(&nn->objects, key);
	if (obj)
		object_delete(nn, obj, cause);
	mutex_unlock(&nn->objects.lock);

	if (!obj) {
		NL_SET_ERR_MSG_ATTR(extack, req->key,
				    "nlpeer: no object has this key");
		return -ENOENT;
	}
	return 0;
}

/**
 * nlpeer_object_del - delete one object or many, and tell all who listen
 * @nn: the namespace
 * @req: a key, or a prefix
 * @cause: who asks
 * @extack: says what is wrong
 *
 * Those with a prefix are deleted one by one, in the order of their keys;
 * others may ask in between. They could also go on making new ones behind
 * those, so a request ends when it has deleted as many as a table can hold,
 * or has taken too long.
 *
 * Context: process, may sleep.
 * Return: 0, -EINVAL, -ENOENT if no object has the key, -EAGAIN if it ended
 * before all were deleted, or -EINTR if the caller is being killed.
 */
int nlpeer_object_del(struct nlpeer_net *nn,
		      const struct nlpeer_object_request *req,
		      const struct nlpeer_cause *cause,
		      struct netlink_ext_ack *extack)
{
	unsigned long end = jiffies + NLPEER_LONGEST;
	struct nlpeer_object *obj = NULL, *last;
	u32 left = nn->objects.count_max;

	if (!req->prefix)
		return object_delete_key(nn, req, cause, extack);

	if (req->key) {
		NL_SET_ERR_MSG_ATTR(extack, req->key,
				    "nlpeer: key and prefix contradict each other");
		return -EINVAL;
	}

	do {
		last = obj;
		mutex_lock(&nn->objects.lock);
		obj = object_next(&nn->objects, last, nla_data(req->prefix));
		nlpeer_object_hold(obj);	/* to go on behind it */
		if (obj && left)
			object_delete(nn, obj, cause);
		mutex_unlock(&nn->objects.lock);
		nlpeer_object_put(last);
		cond_resched();
	} while (obj && left-- && !nlpeer_too_long(end));

	nlpeer_object_put(obj);
	if (!obj)
		return 0;
	if (fatal_signal_pending(current))
		return -EINTR;
	if (time_after(jiffies, end))
		NL_SET_ERR_MSG(extack,
			       "nlpeer: took too long, not all are deleted; ask again");
	else
		NL_SET_ERR_MSG(extack,
			       "nlpeer: objects come faster than they are deleted; ask again");
	return -EAGAIN;
}

/**
 * nlpeer_object_get - get one object
 * @nn: the namespace
 * @req: a key
 * @extack: says what is wrong
 *
 * Context: process, may sleep.
 * Return: the object, for the caller to put, or ERR_PTR() of -EINVAL or
 * -ENOENT.
 */
struct nlpeer_object *nlpeer_object_get(struct nlpeer_net *nn,
					const struct nlpeer_object_request *req,
					struct netlink_ext_ack *extack)
{
	const char *key = object_key(req, extack);
	struct nlpeer_object *obj;

	if (!key)
		return ERR_PTR(-EINVAL);

	mutex_lock(&nn->objects.lock);
	obj = nlpeer_object_hold(object_lookup(&nn->objects, key));
	mutex_unlock(&nn->objects.lock);

	if (!obj) {
		NL_SET_ERR_MSG_ATTR(extack, req->key,
				    "nlpeer: no object has this key");
		return ERR_PTR(-ENOENT);
	}
	return obj;
}

static int snapshot_take(struct nlpeer_object_dump *dump,
			 struct netlink_ext_ack *extack)
{
	struct nlpeer_objects *t = &dump->nn->objects;
	struct nlpeer_object *obj = NULL;
	struct nlpeer_snapshot *snap;

	if (t->snapshots == SNAPSHOTS_MAX) {
		NL_SET_ERR_MSG_MOD(extack, "too many atomic dumps in progress");
		return -EBUSY;
	}

	/* A pointer for each object of a bounded table, owned by the dump. */
	snap = kvmalloc(struct_size(snap, object, t->count),
			GFP_KERNEL_ACCOUNT);
	if (!snap)
		return -ENOMEM;

	snap->count = 0;
	snap->pos = 0;
	while ((obj = object_next(t, obj, dump->prefix)))
		snap->object[snap->count++] = nlpeer_object_hold(obj);

	t->snapshots++;
	dump->snapshot = snap;
	return 0;
}

/**
 * nlpeer_object_dump_start - begin to dump objects
 * @dump: where the dump stands, all zero; in the 48 bytes of a callback
 * @nn: the namespace
 * @prefix: of the keys that are asked for, or NULL; outlives the dump
 * @atomic: dump the table as it is now
 * @extack: says what is wrong
 *
 * Context: process, may sleep.
 * Return: 0, -EBUSY or -ENOMEM. After 0, nlpeer_object_dump_done() is due.
 */
int nlpeer_object_dump_start(struct nlpeer_object_dump *dump,
			     struct nlpeer_net *nn, const struct nlattr *prefix,
			     bool atomic, struct netlink_ext_ack *extack)
{
	int err = 0;

	BUILD_BUG_ON(sizeof(*dump) >
		     sizeof(((struct netlink_callback *)NULL)->ctx));

	dump->nn = nn;
	dump->prefix = prefix ? nla_data(prefix) : "";
	dump->flags = NLM_F_MULTI | (prefix ? NLM_F_DUMP_FILTERED : 0);
	if (atomic) {
		mutex_lock(&nn->objects.lock);
		err = snapshot_take(dump, extack);
		mutex_unlock(&nn->objects.lock);
	}
	return err;
}

static int dump_snapshot(struct nlpeer_object_dump *dump, struct sk_buff *skb,
			 struct netlink_callback *cb, nlpeer_object_put_fn put)
{
	struct nlpeer_snapshot *snap = dump->snapshot;

	for (; snap->pos < snap->count; snap->pos++) {
		int err = put(skb, cb, snap->object[snap->pos], dump->flags);

		if (err)
			return err;
	}
	return 0;
}

/* Caller holds the lock. */
static int dump_table(struct nlpeer_object_dump *dump, struct sk_buff *skb,
		      struct netlink_callback *cb, nlpeer_object_put_fn put)
{
	struct nlpeer_objects *t = &dump->nn->objects;
	struct nlpeer_object *last = dump->last, *obj;
	int err = 0;

	/* The core compares it with that of the message before; never 0. */
	cb->seq = lower_32_bits(t->generation) ?: 1;

	while ((obj = object_next(t, last, dump->prefix))) {
		err = put(skb, cb, obj, dump->flags);
		if (err)
			break;
		last = obj;
	}

	/* To go on from there, even if it is deleted meanwhile. */
	if (last != dump->last) {
		nlpeer_object_hold(last);
		nlpeer_object_put(dump->last);
		dump->last = last;
	}
	return err;
}

/**
 * nlpeer_object_dump_next - write as many objects as fit
 * @dump: where the dump stands
 * @skb: where to
 * @cb: of the dump
 * @put: writes one message, or returns -EMSGSIZE
 *
 * Context: process, may sleep.
 * Return: what a dump's callback returns: 0 if that was all, a positive number
 * if there is more, -EMSGSIZE if not even one fits.
 */
int nlpeer_object_dump_next(struct nlpeer_object_dump *dump,
			    struct sk_buff *skb, struct netlink_callback *cb,
			    nlpeer_object_put_fn put)
{
	int err;

	/* A reader with a small buffer must not stop at a large object. */
	cb->min_dump_alloc = NLPEER_OBJECT_MSG_MAX;

	if (dump->snapshot) {
		err = dump_snapshot(dump, skb, cb, put);
	} else {
		mutex_lock(&dump->nn->objects.lock);
		err = dump_table(dump, skb, cb, put);
		mutex_unlock(&dump->nn->objects.lock);
	}
	return err == -EMSGSIZE && skb->len ? skb->len : err;
}

/**
 * nlpeer_object_dump_done - end a dump, wherever it stands
 * @dump: the dump
 *
 * Context: process, may sleep.
 */
void nlpeer_object_dump_done(struct nlpeer_object_dump *dump)
{
	struct nlpeer_snapshot *snap = dump->snapshot;
	u32 i;

	nlpeer_object_put(dump->last);
	if (!snap)
		return;

	for (i = 0; i < snap->count; i++)
		nlpeer_object_put(snap->object[i]);
	kvfree(snap);

	mutex_lock(&dump->nn->objects.lock);
	dump->nn->objects.snapshots--;
	mutex_unlock(&dump->nn->objects.lock);
}
