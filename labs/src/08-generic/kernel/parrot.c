// SPDX-License-Identifier: GPL-2.0-only
/*
 * parrot: a generic netlink family, as parrot.yaml describes it. It repeats what
 * it hears, lists what it has heard, and tells those who have joined its group.
 *
 * The handlers of a family run one at a time: all of them hold genl_mutex, as
 * long as the family does not ask for parallel_ops. So nothing here has a lock.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/skbuff.h>
#include <linux/string.h>
#include <net/genetlink.h>
#include <net/netlink.h>

enum {
	PARROT_CMD_UNSPEC,
	PARROT_CMD_ECHO,
	PARROT_CMD_LIST,
	PARROT_CMD_HEARD,
};

enum {
	PARROT_A_UNSPEC,
	PARROT_A_TEXT,		/* a string of at most TEXT_MAX bytes */
	PARROT_A_TIMES,		/* u32, 1 to TIMES_MAX */
	PARROT_A_NUMBER,	/* u32 */
	__PARROT_A_MAX,
};

#define PARROT_A_MAX	(__PARROT_A_MAX - 1)
#define TEXT_MAX	32
#define TIMES_MAX	8
#define MEMORY		128	/* how many texts are remembered */

static struct genl_family parrot_family;

static char memory[MEMORY][TEXT_MAX + 1];
static u32 heard;		/* how many there were; the last ones are in memory */

/* What may be in a request. The core refuses the rest before we are called. */
static const struct nla_policy parrot_policy[PARROT_A_MAX + 1] = {
	//> todo 1
	//| /*
	//|  * TODO(1): the text is a string that ends with a zero byte and is at most
	//|  * TEXT_MAX long without it; times is a u32 from 1 to TIMES_MAX. No request
	//|  * has a number, so that one is not listed: it is refused.
	//|  */
	//> solved
	[PARROT_A_TEXT] = { .type = NLA_NUL_STRING, .len = TEXT_MAX },
	[PARROT_A_TIMES] = NLA_POLICY_RANGE(NLA_U32, 1, TIMES_MAX),
	//> mistake no-range
	//| [PARROT_A_TEXT] = { .type = NLA_NUL_STRING, .len = TEXT_MAX },
	//| [PARROT_A_TIMES] = { .type = NLA_U32 },
	//> mistake no-zero
	//| [PARROT_A_TEXT] = { .type = NLA_STRING, .len = TEXT_MAX },
	//| [PARROT_A_TIMES] = NLA_POLICY_RANGE(NLA_U32, 1, TIMES_MAX),
	//> end
};

/* Add what has been heard under a number to a message. */
static int parrot_put(struct sk_buff *skb, u32 number)
{
	if (nla_put_u32(skb, PARROT_A_NUMBER, number) ||
	    nla_put_string(skb, PARROT_A_TEXT, memory[number % MEMORY]))
		return -EMSGSIZE;
	return 0;
}

/* Tell those who listen what was heard last. */
static void parrot_tell(struct net *net)
{
	//> todo 4
	//| /*
	//|  * TODO(4): give the family a multicast group, "listeners". Then send it a
	//|  * message with the command PARROT_CMD_HEARD, and what parrot_put() adds,
	//|  * if there is anybody in it.
	//|  */
	//> solved
	struct sk_buff *skb;
	void *hdr;

	if (!genl_has_listeners(&parrot_family, net, 0))
		return;

	skb = genlmsg_new(nla_total_size(sizeof(u32)) +
			  nla_total_size(TEXT_MAX + 1), GFP_KERNEL);
	if (!skb)
		return;
	hdr = genlmsg_put(skb, 0, 0, &parrot_family, 0, PARROT_CMD_HEARD);
	if (!hdr || parrot_put(skb, heard)) {
		nlmsg_free(skb);
		return;
	}
	genlmsg_end(skb, hdr);
	genlmsg_multicast_netns(&parrot_family, net, skb, 0, 0, GFP_KERNEL);
	//> mistake made-for-nobody
	//| struct sk_buff *skb;
	//| void *hdr;
	//|
	//| skb = genlmsg_new(nla_total_size(sizeof(u32)) +
	//| 		  nla_total_size(TEXT_MAX + 1), GFP_KERNEL);
	//| if (!skb)
	//| 	return;
	//| hdr = genlmsg_put(skb, 0, 0, &parrot_family, 0, PARROT_CMD_HEARD);
	//| if (!hdr || parrot_put(skb, heard)) {
	//| 	nlmsg_free(skb);
	//| 	return;
	//| }
	//| genlmsg_end(skb, hdr);
	//| genlmsg_multicast_netns(&parrot_family, net, skb, 0, 0, GFP_KERNEL);
	//> end
}

/* PARROT_CMD_ECHO: a doit, called with one request. */
static int parrot_echo(struct sk_buff *request, struct genl_info *info)
{
	char words[TIMES_MAX * (TEXT_MAX + 1) + 1] = "";
	struct nlattr **attrs = info->attrs;
	u32 times = 1, n = 0, i;
	struct sk_buff *skb;
	const char *text;
	void *hdr;

	if (!attrs[PARROT_A_TEXT]) {
		NL_SET_ERR_MSG(info->extack, "there is nothing to repeat");
		return -EINVAL;
	}
	text = nla_data(attrs[PARROT_A_TEXT]);
	if (attrs[PARROT_A_TIMES])
		times = nla_get_u32(attrs[PARROT_A_TIMES]);

	/* scnprintf() and strscpy() keep to their limit, whatever is in there. */
	for (i = 0; i < times && i < TIMES_MAX; i++)
		n += scnprintf(words + n, sizeof(words) - n, "%s%s",
			       i ? " " : "", text);
	heard++;
	strscpy(memory[heard % MEMORY], text, TEXT_MAX + 1);
	parrot_tell(genl_info_net(info));

	skb = genlmsg_new(nla_total_size(strlen(words) + 1), GFP_KERNEL);
	if (!skb)
		return -ENOMEM;
	//> todo 2
	//| /*
	//|  * TODO(2): an answer to info's request, with the command PARROT_CMD_ECHO
	//|  * and the words as its PARROT_A_TEXT. Then send it.
	//|  */
	//| hdr = NULL;
	//| nlmsg_free(skb);
	//| return hdr ? 0 : -EOPNOTSUPP;
	//> solved
	hdr = genlmsg_put_reply(skb, info, &parrot_family, 0, PARROT_CMD_ECHO);
	if (!hdr || nla_put_string(skb, PARROT_A_TEXT, words)) {
		nlmsg_free(skb);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return genlmsg_reply(skb, info);	/* skb is gone, whatever it says */
	//> mistake no-answer
	//| hdr = genlmsg_put(skb, 0, 0, &parrot_family, 0, PARROT_CMD_ECHO);
	//| if (!hdr || nla_put_string(skb, PARROT_A_TEXT, words)) {
	//| 	nlmsg_free(skb);
	//| 	return -EMSGSIZE;
	//| }
	//| genlmsg_end(skb, hdr);
	//| return genlmsg_reply(skb, info);
	//> mistake no-end
	//| hdr = genlmsg_put_reply(skb, info, &parrot_family, 0, PARROT_CMD_ECHO);
	//| if (!hdr || nla_put_string(skb, PARROT_A_TEXT, words)) {
	//| 	nlmsg_free(skb);
	//| 	return -EMSGSIZE;
	//| }
	//| return genlmsg_reply(skb, info);
	//> mistake also-on-failure
	//| hdr = genlmsg_put_reply(skb, info, &parrot_family, 0, PARROT_CMD_ECHO);
	//| if (!hdr || nla_put_string(skb, PARROT_A_TEXT, words)) {
	//| 	nlmsg_free(skb);
	//| 	return -EMSGSIZE;
	//| }
	//| genlmsg_end(skb, hdr);
	//| if (genlmsg_reply(skb, info)) {
	//| 	nlmsg_free(skb);
	//| 	return -EAGAIN;
	//| }
	//| return 0;
	//> end
}

/*
 * PARROT_CMD_LIST: a dumpit, called again and again with an empty buffer until it
 * puts nothing into it. Where it was is in cb->args, which begin as zeroes.
 */
static int parrot_list(struct sk_buff *skb, struct netlink_callback *cb)
{
	u32 oldest = heard > MEMORY ? heard - MEMORY + 1 : 1;
	u32 number = max_t(u32, cb->args[0], oldest);

	for (; number <= heard; number++) {
		//> todo 3
		//| /*
		//|  * TODO(3): a message that answers cb->nlh, is one of many, and
		//|  * has the command PARROT_CMD_LIST and what parrot_put() adds.
		//|  * When the buffer is full, take the unfinished one back and
		//|  * stop. Keep where to go on.
		//|  */
		//| (void)parrot_put;
		//| break;
		//> solved
		void *hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid,
					cb->nlh->nlmsg_seq, &parrot_family,
					NLM_F_MULTI, PARROT_CMD_LIST);

		if (!hdr)
			break;
		if (parrot_put(skb, number)) {
			genlmsg_cancel(skb, hdr);
			break;
		}
		genlmsg_end(skb, hdr);
		//> mistake not-many
		//| void *hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid,
		//| 			cb->nlh->nlmsg_seq, &parrot_family,
		//| 			0, PARROT_CMD_LIST);
		//|
		//| if (!hdr)
		//| 	break;
		//| if (parrot_put(skb, number)) {
		//| 	genlmsg_cancel(skb, hdr);
		//| 	break;
		//| }
		//| genlmsg_end(skb, hdr);
		//> end
	}
	//> todo 3
	//> solved
	cb->args[0] = number;
	//> mistake empty-is-an-error
	//| cb->args[0] = number;
	//| if (!skb->len)
	//| 	return -ENOENT;
	//> mistake from-the-beginning
	//| cb->args[0] = 0;
	//> end
	return skb->len;
}

static const struct genl_ops parrot_ops[] = {
	{
		.cmd = PARROT_CMD_ECHO,
		.doit = parrot_echo,
	}, {
		.cmd = PARROT_CMD_LIST,
		.dumpit = parrot_list,
	},
};

//> todo 4
//> solved
static const struct genl_multicast_group parrot_groups[] = {
	{ .name = "listeners" },
};

//> end
static struct genl_family parrot_family __ro_after_init = {
	.name = "parrot",
	.version = 1,
	.maxattr = PARROT_A_MAX,
	.policy = parrot_policy,
	.ops = parrot_ops,
	.n_ops = ARRAY_SIZE(parrot_ops),
	//> todo 4
	//> solved
	.mcgrps = parrot_groups,
	.n_mcgrps = ARRAY_SIZE(parrot_groups),
	//> end
	.module = THIS_MODULE,
};

static int __init parrot_init(void)
{
	return genl_register_family(&parrot_family);
}

static void __exit parrot_exit(void)
{
	genl_unregister_family(&parrot_family);
}

module_init(parrot_init);
module_exit(parrot_exit);

MODULE_DESCRIPTION("Lab 8: a generic netlink family");
MODULE_LICENSE("GPL");
MODULE_ALIAS_GENL_FAMILY("parrot");
