// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module that says hello, and, if it is asked to, crashes the kernel.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

static bool crash;
module_param(crash, bool, 0);
MODULE_PARM_DESC(crash, "write to address 0");

/* A function of its own, so that you find it in the kernel's last words. */
static noinline void hello_crash(void)
{
	int *nowhere = NULL;

	/* The compiler must not see that this cannot go well. */
	OPTIMIZER_HIDE_VAR(nowhere);
	*nowhere = 1;
}

static int __init hello_init(void)
{
	pr_info("this is the kernel\n");
	if (crash)
		hello_crash();
	return 0;
}

static void __exit hello_exit(void)
{
	pr_info("goodbye\n");
}

module_init(hello_init);
module_exit(hello_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("lab 0: a kernel to break");
