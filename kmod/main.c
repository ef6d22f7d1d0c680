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

#define HISTORY_MAX	65536	/* 3 MiB in a namespace */

static unsigned int history = 1024;
module_param(history, uint, 0444);
MODULE_PARM_DESC(history, "events that a namespace remembers, 0 to 65536 (default 1024)");

#define BYTES_MAX	0x40000000	/* 1 GiB */

static unsigned int history_bytes = 1 << 20;
module_param(history_bytes, uint, 0444);
MODULE_PARM_DESC(history_bytes, "bytes that the objects in a namespace's remembered events may take, 0 to 1073741824 (default 1048576)");

#define OBJECTS_MAX	1048576

static unsigned int objects = 4096;
module_param(objects, uint, 0444);
MODULE_PARM_DESC(objects, "objects that a namespace may have, 0 to 1048576 (default 4096)");

static unsigned int object_bytes = 4 << 20;
module_param(object_bytes, uint, 0444);
MODULE_PARM_DESC(object_bytes, "bytes that the objects of a namespace may take, 0 to 1073741824 (default 4194304)");

static bool rtnl = true;
module_param(rtnl, bool, 0444);
MODULE_PARM_DESC(rtnl, "answer on rtnetlink, as protocol family 127 (default Y)");

static bool connector = true;
module_param(connector, bool, 0444);
MODULE_PARM_DESC(connector, "answer on the connector, as index 16 (default Y)");

static bool user_send;
module_param(user_send, bool, 0444);
MODULE_PARM_DESC(user_send, "let everybody send to other processes and groups by the raw protocol, not only those with CAP_NET_ADMIN (default 0)");

bool nlpeer_batch __read_mostly = true;
module_param_named(batch, nlpeer_batch, bool, 0444);
MODULE_PARM_DESC(batch, "answer the requests of one datagram together, by the raw protocol, not each in a datagram of its own (default Y)");

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
	mutex_init(&nn->events);
	nlpeer_objects_init(nn, objects, object_bytes);
	nlpeer_beacon_init(nn, &config);

	err = nlpeer_stats_init(nn);
	if (err)
		return err;

	err = nlpeer_history_init(nn, history, history_bytes);
	if (err)
		nlpeer_stats_exit(nn);
	return err;
}

static void __net_exit nlpeer_net_exit(struct net *net)
{
	struct nlpeer_net *nn = nlpeer_pernet(net);

	nlpeer_raw_put(nn);
	nlpeer_objects_exit(nn);
	nlpeer_history_exit(nn);
	nlpeer_stats_exit(nn);
}

static struct pernet_operations nlpeer_net_ops = {
	.init = nlpeer_net_init,
	.exit = nlpeer_net_exit,
	.id = &nlpeer_net_id,
	.size = sizeof(struct nlpeer_net),
};

static int __net_init nlpeer_net_open(struct net *net)
{
	return nlpeer_raw_init(nlpeer_pernet(net), protocol, user_send);
}

static void __net_exit nlpeer_net_close(struct net *net)
{
	nlpeer_raw_exit(nlpeer_pernet(net));
}

static struct pernet_operations nlpeer_raw_ops = {
	.init = nlpeer_net_open,
	.exit = nlpeer_net_close,
};

static int __net_init nlpeer_net_start(struct net *net)
{
	nlpeer_beacon_start(nlpeer_pernet(net));
	return 0;
}

static void __net_exit nlpeer_net_stop(struct net *net)
{
	struct nlpeer_net *nn = nlpeer_pernet(net);

	nlpeer_beacon_stop(nn);
	nlpeer_event_end(nn);
}

static struct pernet_operations nlpeer_beacon_ops = {
	.init = nlpeer_net_start,
	.exit = nlpeer_net_stop,
};

static int __init nlpeer_check_params(void)
{
	const struct {
		const char *name;
		unsigned int value, min, max;
		const char *note;
	} range[] = {
		{ "protocol", protocol, PROTOCOL_MIN, PROTOCOL_MAX, "" },
		{ "interval_ms", interval_ms, 0, NLPEER_INTERVAL_MAX, " (off)" },
		{ "history", history, 0, HISTORY_MAX, "" },
		{ "history_bytes", history_bytes, 0, BYTES_MAX, "" },
		{ "objects", objects, 0, OBJECTS_MAX, "" },
		{ "object_bytes", object_bytes, 0, BYTES_MAX, "" },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(range); i++) {
		if (range[i].value >= range[i].min &&
		    range[i].value <= range[i].max)
			continue;
		pr_err("%s=%u is out of range, it must be %u%s to %u\n",
		       range[i].name, range[i].value, range[i].min,
		       range[i].note, range[i].max);
		return -EINVAL;
	}
	return 0;
}

static int __init nlpeer_data_register(void)
{
	return register_pernet_subsys(&nlpeer_net_ops);
}

static void nlpeer_data_unregister(void)
{
	unregister_pernet_subsys(&nlpeer_net_ops);
}

static int __init nlpeer_users_begin(void)
{
	return 0;
}

/*
 * Sockets and dumps hold the module, so at its exit there are none. But an init
 * that fails frees it whoever holds it, and they may have come as soon as there
 * was the first carrier: this waits until they are gone. One is init's own.
 */
static void nlpeer_users_end(void)
{
	if (module_refcount(THIS_MODULE) <= 1)
		return;

	pr_warn("in use already; waiting until those sockets are closed\n");
	while (module_refcount(THIS_MODULE) > 1)
		schedule_timeout_idle(HZ / 50);
}

static int __init nlpeer_raw_begin(void)
{
	int err = register_pernet_subsys(&nlpeer_raw_ops);

	if (err == -EADDRINUSE)
		pr_err("cannot open netlink protocol %u: the number is taken, or memory is short; try another with protocol=N\n",
		       protocol);
	return err;
}

static void nlpeer_raw_end(void)
{
	unregister_pernet_subsys(&nlpeer_raw_ops);
}

static int __init nlpeer_family_register(void)
{
	int err = nlpeer_genl_register();

	if (err)
		pr_err("cannot register the generic netlink family: error %d\n",
		       err);
	return err;
}

static int __init nlpeer_rtnl_begin(void)
{
	int err = rtnl ? nlpeer_rtnl_register() : 0;

	if (err)
		pr_err("cannot register with rtnetlink: error %d; rtnl=0 does without\n",
		       err);
	return err;
}

static void nlpeer_rtnl_end(void)
{
	if (rtnl)
		nlpeer_rtnl_unregister();
}

static int __init nlpeer_connector_begin(void)
{
	int err = connector ? nlpeer_connector_register() : 0;

	if (err)
		pr_err("cannot register with the connector, the index may be taken: error %d; connector=0 does without\n",
		       err);
	return err;
}

static void nlpeer_connector_end(void)
{
	if (connector)
		nlpeer_connector_unregister();
}

static int __init nlpeer_beacons_begin(void)
{
	return register_pernet_subsys(&nlpeer_beacon_ops);
}

static void nlpeer_beacons_end(void)
{
	unregister_pernet_subsys(&nlpeer_beacon_ops);
}

/*
 * One life inside the other: a namespace's data must be there when a request
 * comes in, and the carriers must be registered when an event is sent to their
 * groups. So data come first, then the carriers, then the beacons; exit goes the
 * other way. Sets of pernet operations give the same order to namespaces that
 * come and go in between.
 */
static const struct {
	int (*begin)(void);
	void (*end)(void);
} nlpeer_life[] = {
	{ nlpeer_beacon_register, nlpeer_beacon_unregister },
	{ nlpeer_data_register, nlpeer_data_unregister },
	{ nlpeer_users_begin, nlpeer_users_end },
	{ nlpeer_raw_begin, nlpeer_raw_end },
	{ nlpeer_family_register, nlpeer_genl_unregister },
	{ nlpeer_rtnl_begin, nlpeer_rtnl_end },
	{ nlpeer_connector_begin, nlpeer_connector_end },
	{ nlpeer_beacons_begin, nlpeer_beacons_end },
};

static void nlpeer_end(int n)
{
	while (n--)
		nlpeer_life[n].end();
}

static int __init nlpeer_init(void)
{
	int err, i;

	err = nlpeer_check_params();
	for (i = 0; !err && i < ARRAY_SIZE(nlpeer_life); i++) {
		err = nlpeer_life[i].begin();
		if (err)
			nlpeer_end(i);
	}
	/* modprobe takes this one for "loaded already", and does not complain */
	return err == -EEXIST ? -EBUSY : err;
}

static void __exit nlpeer_exit(void)
{
	nlpeer_end(ARRAY_SIZE(nlpeer_life));
}

module_init(nlpeer_init);
module_exit(nlpeer_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The nlpeer authors");
MODULE_DESCRIPTION("A netlink peer: echoes messages and broadcasts events");
MODULE_VERSION(NLPEER_VERSION);
MODULE_ALIAS_NET_PF_PROTO(PF_NETLINK, NETLINK_TEST);
MODULE_ALIAS_GENL_FAMILY(NLPEER_FAMILY_NAME);
