// SPDX-License-Identifier: GPL-2.0-only
/*
 * values: a thousand numbers in the kernel, and five ways to get them out: a
 * file in /proc, an ioctl, netlink one by one, netlink in batches, shared memory.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/skbuff.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <net/net_namespace.h>
#include <net/netlink.h>
#include <net/sock.h>

#define PROTOCOL	31
#define VALUES		1000

/* Messages. */
#define VALUE_GET	0x10	/* __u32 index */
#define VALUE		0x11	/* struct value */

struct value {
	__u32 index;
	__u32 value;
};

/* Gets the value whose index is in the argument. */
#define VALUES_IOCTL_GET	_IOWR('v', 1, struct value)

static unsigned int seed = 1;
module_param(seed, uint, 0444);
MODULE_PARM_DESC(seed, "the values are made from it");

static u32 *values;		/* whole pages, for mmap */

/* The file in /proc: a line for each value. */
static int values_show(struct seq_file *file, void *v)
{
	int i;

	for (i = 0; i < VALUES; i++)
		seq_printf(file, "%d %u\n", i, values[i]);
	return 0;
}

/* The device's ioctl: one value for each call. */
static long values_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct value __user *to = (struct value __user *)arg;
	struct value value;

	if (cmd != VALUES_IOCTL_GET)
		return -ENOTTY;
	if (copy_from_user(&value, to, sizeof(value)))
		return -EFAULT;
	if (value.index >= VALUES)
		return -EINVAL;
	value.value = values[value.index];
	return copy_to_user(to, &value, sizeof(value)) ? -EFAULT : 0;
}

/* The device's mmap: the values themselves, in the memory of the program. */
static int values_mmap(struct file *file, struct vm_area_struct *vma)
{
	//> todo 2
	//| /* TODO(2): map the pages of values there. */
	//| return -ENODEV;
	//> solved
	return remap_vmalloc_range(vma, values, vma->vm_pgoff);
	//> mistake maps-more
	//| return remap_pfn_range(vma, vma->vm_start, vmalloc_to_pfn(values),
	//| 		       vma->vm_end - vma->vm_start, vma->vm_page_prot);
	//> end
}

static const struct file_operations values_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = values_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = values_mmap,
};

static struct miscdevice values_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "values",
	.fops = &values_fops,
	.mode = 0444,
};

static struct sock *sock;

static DEFINE_MUTEX(lock);	/* what follows */
static struct sk_buff *answers;	/* to the datagram that is being read */

/* Add the answer to a request to a buffer. */
static int values_put(struct sk_buff *skb, u32 portid,
		      const struct nlmsghdr *request, u32 index)
{
	struct nlmsghdr *nlh;
	struct value *value;

	nlh = nlmsg_put(skb, portid, request->nlmsg_seq, VALUE, sizeof(*value),
			0);
	if (!nlh)
		return -EMSGSIZE;
	value = nlmsg_data(nlh);
	value->index = index;
	value->value = values[index];
	nlmsg_end(skb, nlh);
	return 0;
}

/* One request of those in a datagram. */
static int values_request(struct sk_buff *skb, struct nlmsghdr *nlh,
			  struct netlink_ext_ack *extack)
{
	u32 portid = NETLINK_CB(skb).portid;
	u32 index;

	if (nlh->nlmsg_type != VALUE_GET || nlmsg_len(nlh) < sizeof(index))
		return -EINVAL;
	index = *(u32 *)nlmsg_data(nlh);
	if (index >= VALUES)
		return -EINVAL;
	if (!answers)
		return -ENOMEM;

	return values_put(answers, portid, nlh, index);
}

/* What a program has sent with one call. */
static void values_input(struct sk_buff *skb)
{
	u32 portid = NETLINK_CB(skb).portid;

	mutex_lock(&lock);
	//> todo 1
	//| /*
	//|  * TODO(1): this answers each datagram once, but has room for one answer
	//|  * only: further requests are refused. Make room for as many as there can
	//|  * be in skb, at least NLMSG_HDRLEN + 4 bytes each.
	//|  */
	//| answers = nlmsg_new(sizeof(struct value), GFP_KERNEL);
	//> solved
	answers = alloc_skb(skb->len / (NLMSG_HDRLEN + sizeof(u32)) *
			    nlmsg_total_size(sizeof(struct value)), GFP_KERNEL);
	//> mistake a-page
	//| answers = nlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	//> mistake as-asked
	//| answers = alloc_skb(skb->len, GFP_KERNEL);
	//> mistake fixed-size
	//| answers = alloc_skb(16384, GFP_KERNEL);
	//> mistake always-large
	//| answers = alloc_skb(131072, GFP_KERNEL);
	//> end
	netlink_rcv_skb(skb, values_request);
	if (answers && answers->len)
		netlink_unicast(sock, answers, portid, MSG_DONTWAIT);
	else
		kfree_skb(answers);	/* NULL is all right */
	mutex_unlock(&lock);
}

static int __init values_init(void)
{
	struct netlink_kernel_cfg cfg = { .input = values_input };
	u32 x = seed;
	int i, err;

	//> todo 2
	//| /* TODO(2): memory that may be mapped into programs is another one. */
	//| values = vmalloc(PAGE_ALIGN(VALUES * sizeof(*values)));
	//> solved
	values = vmalloc_user(PAGE_ALIGN(VALUES * sizeof(*values)));
	//> mistake not-for-users
	//| values = vzalloc(PAGE_ALIGN(VALUES * sizeof(*values)));
	//> end
	if (!values)
		return -ENOMEM;
	for (i = 0; i < VALUES; i++) {
		x = x * 1664525 + 1013904223;
		values[i] = x >> 8;
	}

	err = misc_register(&values_device);
	if (err)
		goto free;
	err = -ENOMEM;
	if (!proc_create_single("values", 0444, NULL, values_show))
		goto deregister;
	err = -EADDRINUSE;
	sock = netlink_kernel_create(&init_net, PROTOCOL, &cfg);
	if (!sock)
		goto remove;
	return 0;

remove:
	remove_proc_entry("values", NULL);
deregister:
	misc_deregister(&values_device);
free:
	vfree(values);
	return err;
}

static void __exit values_exit(void)
{
	netlink_kernel_release(sock);
	remove_proc_entry("values", NULL);
	misc_deregister(&values_device);
	vfree(values);
}

module_init(values_init);
module_exit(values_exit);

MODULE_DESCRIPTION("Lab 10: a thousand values, and five ways to them");
MODULE_LICENSE("GPL");
