// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an open file of /dev/nlpeer_bench or /proc/nlpeer_bench is: a buffer of
 * its own, whose bytes come back once, and for the device its rings.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "bench.h"
#include "nlpeer_bench.h"

/**
 * struct bench_file - an open file
 * @lock: guards the buffer; held while user memory is touched, so a fault may
 *	wait for the memory's own lock under it
 * @len: bytes that were written
 * @pos: how many of them were read
 * @ring_lock: guards the rings; taken by mmap() under the memory's own lock
 * @ring: the rings
 * @buf: NLPEER_BENCH_MAX bytes, for what was written
 */
struct bench_file {
	struct mutex lock;	/* len, pos and buf */
	size_t len;
	size_t pos;
	struct mutex ring_lock;	/* ring */
	struct bench_ring ring;
	u8 buf[];
};

static int bench_open(struct inode *inode, struct file *file)
{
	struct bench_file *f;

	f = kvzalloc(struct_size(f, buf, NLPEER_BENCH_MAX), GFP_KERNEL_ACCOUNT);
	if (!f)
		return -ENOMEM;
	mutex_init(&f->lock);
	mutex_init(&f->ring_lock);
	file->private_data = f;
	return stream_open(inode, file);
}

/* Nothing is mapped any more: a mapping holds the file. */
static int bench_release(struct inode *inode, struct file *file)
{
	struct bench_file *f = file->private_data;

	bench_ring_free(&f->ring);
	kvfree(f);
	return 0;
}

static ssize_t bench_write(struct file *file, const char __user *from,
			   size_t len, loff_t *pos)
{
	struct bench_file *f = file->private_data;
	ssize_t ret = len;

	if (len > NLPEER_BENCH_MAX)
		return -EMSGSIZE;
	mutex_lock(&f->lock);
	f->pos = 0;
	f->len = len;
	if (copy_from_user(f->buf, from, len)) {
		f->len = 0;
		ret = -EFAULT;
	}
	mutex_unlock(&f->lock);
	return ret;
}

static ssize_t bench_read(struct file *file, char __user *to, size_t len,
			  loff_t *pos)
{
	struct bench_file *f = file->private_data;
	ssize_t ret;

	mutex_lock(&f->lock);
	ret = min(len, f->len - f->pos);
	if (copy_to_user(to, f->buf + f->pos, ret))
		ret = -EFAULT;
	else
		f->pos += ret;
	mutex_unlock(&f->lock);
	return ret;
}

static long bench_echo(struct bench_file *f,
		       const struct nlpeer_bench_echo __user *arg)
{
	struct nlpeer_bench_echo echo;
	int err = 0;

	if (copy_from_user(&echo, arg, sizeof(echo)))
		return -EFAULT;
	if (echo.pad)
		return -EINVAL;
	if (echo.len > NLPEER_BENCH_MAX)
		return -EMSGSIZE;

	mutex_lock(&f->lock);
	f->pos = 0;
	f->len = 0;
	if (copy_from_user(f->buf, u64_to_user_ptr(echo.in), echo.len) ||
	    copy_to_user(u64_to_user_ptr(echo.out), f->buf, echo.len))
		err = -EFAULT;
	mutex_unlock(&f->lock);
	return err;
}

static long bench_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct bench_file *f = file->private_data;
	long ret;

	switch (cmd) {
	case NLPEER_BENCH_NULL:
		return 0;
	case NLPEER_BENCH_ECHO:
		return bench_echo(f, (const void __user *)arg);
	case NLPEER_BENCH_DOORBELL:
		mutex_lock(&f->ring_lock);
		ret = bench_ring_answer(&f->ring);
		mutex_unlock(&f->ring_lock);
		return ret;
	default:
		return -ENOTTY;
	}
}

static int bench_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct bench_file *f = file->private_data;
	int err;

	mutex_lock(&f->ring_lock);
	err = bench_ring_map(&f->ring, vma);
	mutex_unlock(&f->ring_lock);
	return err;
}

static const struct file_operations bench_fops = {
	.owner = THIS_MODULE,
	.open = bench_open,
	.release = bench_release,
	.read = bench_read,
	.write = bench_write,
	.unlocked_ioctl = bench_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = bench_mmap,
};

static struct miscdevice bench_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "nlpeer_bench",
	.fops = &bench_fops,
	.mode = 0600,
};

/* procfs ends open files itself when the entry is removed. */
static const struct proc_ops bench_proc_ops = {
	.proc_open = bench_open,
	.proc_release = bench_release,
	.proc_read = bench_read,
	.proc_write = bench_write,
};

/**
 * bench_file_register - make the file in /proc and the device
 *
 * The device comes last of all: a load that fails behind it would free the module
 * under whoever has opened it meanwhile.
 *
 * Context: process, may sleep.
 * Return: 0 or a negative errno.
 */
int bench_file_register(void)
{
	int err;

	if (!proc_create("nlpeer_bench", 0600, NULL, &bench_proc_ops))
		return -ENOMEM;
	err = misc_register(&bench_device);
	if (err)
		remove_proc_entry("nlpeer_bench", NULL);
	return err;
}

/**
 * bench_file_unregister - take both away
 *
 * Context: process, may sleep.
 */
void bench_file_unregister(void)
{
	misc_deregister(&bench_device);
	remove_proc_entry("nlpeer_bench", NULL);
}
