// SPDX-License-Identifier: GPL-2.0-only
/*
 * nlpeer - a netlink peer that lives in the kernel
 *
 * Module parameters, the life of a namespace, and init and exit in an order
 * that matters.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include "nlpeer.h"

/* uapi numbers below 23 are named, and may be used by somebody some day. */
#define PROTOCOL_MIN	23
#define PROTOCOL_MAX	(MAX_LINKS - 1)

static unsigned int protocol = NETLINK_TEST;
module_param(protocol, uint, 0444);
MODULE_PARM_DESC(protocol, "raw netlink protocol number, 23 to 31 (default 31)");

static unsigned int interval_ms = 1000;
module_param(interval_ms, uint, 0444);
MODULE_PARM_DESC(interval_ms, "beacon of a new namespace: milliseconds between ticks, 0 (off) to 3600000 (default 1000)");

static unsigned int groups = 1;
module_param(groups, uint, 0444);
MODULE_PARM_DESC(groups, "beacon of a new namespace: mask of raw groups, bit n - 1 for group n (default 1)");

#define HISTORY_MAX	65536	/* 2 MiB in a namespace */

static unsigned int history = 1024;
module_param(history, uint, 0444);
MODULE_PARM_DESC(history, "events that a namespace remembers, 0 to 65536 (default 1024)");

static bool user_send;
module_param(user_send, bool, 0444);
MODULE_PARM_DESC(user_send, "let everybody send to other processes and groups by the raw protocol, not only those with CAP_NET_ADMIN (default 0)");

static unsigned int nlpeer_net_id __read_mostly;

/**
 * nlpeer_pernet - what nlpeer has in a namespace
 * @net: the namespace
 *
 * Context: any, between the two ends of the module's life.
 * Return: never NULL.
 */
struct nlpeer_net *nlpeer_pernet(const struct net *net)
{
	return net_generic(net, nlpeer_net_id);
}

static int __net_init nlpeer_net_init(struct net *net)
{
	struct nlpeer_beacon_config config = {
		.interval = interval_ms,
		.groups = groups,
		.genl = 1,
	};
	struct nlpeer_net *nn = nlpeer_pernet(net);
	int err;

	nn->net = net;
	nlpeer_beacon_init(nn, &config);

	err = nlpeer_stats_init(nn);
	if (err)
		return err;

	err = nlpeer_history_init(nn, history);
	if (err)
		goto err_stats;

	/* Last: from here on, requests come in. */
	err = nlpeer_raw_init(nn, protocol, user_send);
	if (err)
		goto err_history;

	return 0;

err_history:
	nlpeer_history_exit(nn);
err_stats:
	nlpeer_stats_exit(nn);
	return err;
}

static void __net_exit nlpeer_net_exit(struct net *net)
{
	struct nlpeer_net *nn = nlpeer_pernet(net);

	nlpeer_raw_exit(nn);
	nlpeer_history_exit(nn);
	nlpeer_stats_exit(nn);
}

static struct pernet_operations nlpeer_net_ops = {
	.init = nlpeer_net_init,
	.exit = nlpeer_net_exit,
	.id = &nlpeer_net_id,
	.size = sizeof(struct nlpeer_net),
};

static int __net_init nlpeer_net_start(struct net *net)
{
	nlpeer_beacon_start(nlpeer_pernet(net));
	return 0;
}

static void __net_exit nlpeer_net_stop(struct net *net)
{
	nlpeer_beacon_stop(nlpeer_pernet(net));
}

static struct pernet_operations nlpeer_beacon_ops = {
	.init = nlpeer_net_start,
	.exit = nlpeer_net_stop,
};

static int __init nlpeer_check_params(void)
{
	if (protocol < PROTOCOL_MIN || protocol > PROTOCOL_MAX) {
		pr_err("protocol=%u is out of range, it must be %u to %u\n",
		       protocol, PROTOCOL_MIN, PROTOCOL_MAX);
		return -EINVAL;
	}
	if (interval_ms > NLPEER_INTERVAL_MAX) {
		pr_err("interval_ms=%u is out of range, it must be 0 (off) to %u\n",
		       interval_ms, NLPEER_INTERVAL_MAX);
		return -EINVAL;
	}
	if (history > HISTORY_MAX) {
		pr_err("history=%u is out of range, it must be 0 to %u\n",
		       history, HISTORY_MAX);
		return -EINVAL;
	}
	return 0;
}

/*
 * Three lives, one inside the other: a namespace's data must be there when a
 * generic netlink request comes in, and the family must be registered when a
 * beacon sends to its group. So data come first, then the family, then the
 * beacons; exit goes the other way. Two sets of pernet operations give the
 * same order to namespaces that come and go in between.
 */
static int __init nlpeer_init(void)
{
	int err;

	err = nlpeer_check_params();
	if (err)
		return err;

	err = nlpeer_beacon_register();
	if (err)
		return err;

	err = register_pernet_subsys(&nlpeer_net_ops);
	if (err) {
		if (err == -EADDRINUSE)
			pr_err("cannot open netlink protocol %u: the number is taken, or memory is short; try another with protocol=N\n",
			       protocol);
		goto err_beacon;
	}

	err = nlpeer_genl_register();
	if (err) {
		pr_err("cannot register the generic netlink family: error %d\n",
		       err);
		goto err_net;
	}

	err = register_pernet_subsys(&nlpeer_beacon_ops);
	if (err)
		goto err_genl;

	return 0;

err_genl:
	nlpeer_genl_unregister();
err_net:
	unregister_pernet_subsys(&nlpeer_net_ops);
err_beacon:
	nlpeer_beacon_unregister();
	return err;
}

static void __exit nlpeer_exit(void)
{
	unregister_pernet_subsys(&nlpeer_beacon_ops);
	nlpeer_genl_unregister();
	unregister_pernet_subsys(&nlpeer_net_ops);
	nlpeer_beacon_unregister();
}

module_init(nlpeer_init);
module_exit(nlpeer_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The nlpeer authors");
MODULE_DESCRIPTION("A netlink peer: echoes messages and broadcasts events");
MODULE_VERSION(NLPEER_VERSION);
MODULE_ALIAS_NET_PF_PROTO(PF_NETLINK, NETLINK_TEST);
MODULE_ALIAS_GENL_FAMILY(NLPEER_FAMILY_NAME);
