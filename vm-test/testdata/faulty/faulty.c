// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module that misbehaves on request, to test what nlvm makes of it:
 *
 *	insmod faulty.ko what=warn|overrun|oops|panic|hang|refuse
 */
#include <linux/bug.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/slab.h>
#include <linux/string.h>

static char *what = "";
module_param(what, charp, 0);
MODULE_PARM_DESC(what, "the misbehaviour");

/* One byte beyond an object; slub_debug finds it when the object is freed. */
static int overrun(void)
{
	char *p = kmalloc(32, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	OPTIMIZER_HIDE_VAR(p);
	p[32] = 1;
	kfree(p);
	return 0;
}

static int __init faulty_init(void)
{
	int *nowhere = NULL;

	OPTIMIZER_HIDE_VAR(nowhere);
	if (!strcmp(what, "warn"))
		WARN(1, "faulty was asked to warn\n");
	else if (!strcmp(what, "overrun"))
		return overrun();
	else if (!strcmp(what, "oops"))
		return READ_ONCE(*nowhere);
	else if (!strcmp(what, "panic"))
		panic("faulty was asked to panic");
	else if (!strcmp(what, "hang"))
		for (;;)
			cpu_relax();
	else if (!strcmp(what, "refuse"))
		return -EINVAL;
	return 0;
}

static void __exit faulty_exit(void)
{
}

module_init(faulty_init);
module_exit(faulty_exit);

MODULE_DESCRIPTION("Misbehaves on request");
MODULE_LICENSE("GPL");
