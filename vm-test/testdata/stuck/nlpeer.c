// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module by the name of ours that cannot be unloaded, because it has an init
 * and no exit: nlvm must not let that pass.
 */
#include <linux/module.h>

static int __init stuck_init(void)
{
	return 0;
}
module_init(stuck_init);

MODULE_DESCRIPTION("Cannot be unloaded");
MODULE_LICENSE("GPL");
