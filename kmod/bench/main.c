// SPDX-License-Identifier: GPL-2.0-only
/*
 * nlpeer_bench: other ways into the kernel, for nlbench to compare netlink with.
 * It shares nothing with nlpeer; and nobody but root can open what it makes.
 */
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "bench.h"

/* A file of sysfs is no open file's: what is written is there for all. */
static DEFINE_MUTEX(bench_sysfs_lock);
static size_t bench_sysfs_len;
static char bench_sysfs_buf[PAGE_SIZE];

static ssize_t echo_show(struct kobject *kobj, struct kobj_attribute *attr,
			 char *buf)
{
	ssize_t len;

	mutex_lock(&bench_sysfs_lock);
	len = bench_sysfs_len;
	memcpy(buf, bench_sysfs_buf, len);
	mutex_unlock(&bench_sysfs_lock);
	return len;
}

/*
 * sysfs hands on the first page of what is longer, and shows less than a page:
 * so a whole page is already too much.
 */
static ssize_t echo_store(struct kobject *kobj, struct kobj_attribute *attr,
			  const char *buf, size_t len)
{
	if (len >= PAGE_SIZE)
		return -EMSGSIZE;
	mutex_lock(&bench_sysfs_lock);
	bench_sysfs_len = len;
	memcpy(bench_sysfs_buf, buf, len);
	mutex_unlock(&bench_sysfs_lock);
	return len;
}

static struct kobj_attribute echo_attribute = __ATTR_RW_MODE(echo, 0600);
static struct kobject *bench_kobject;

static int __init bench_sysfs_register(void)
{
	int err;

	bench_kobject = kobject_create_and_add("nlpeer_bench", kernel_kobj);
	if (!bench_kobject)
		return -ENOMEM;
	err = sysfs_create_file(bench_kobject, &echo_attribute.attr);
	if (err)
		kobject_put(bench_kobject);
	return err;
}

static int __init bench_init(void)
{
	int err;

	err = bench_sysfs_register();
	if (err)
		return err;
	err = bench_file_register();
	if (err)
		kobject_put(bench_kobject);
	return err;
}

static void __exit bench_exit(void)
{
	bench_file_unregister();
	kobject_put(bench_kobject);
}

module_init(bench_init);
module_exit(bench_exit);

MODULE_DESCRIPTION("Other ways into the kernel, to compare netlink with");
MODULE_LICENSE("GPL");
