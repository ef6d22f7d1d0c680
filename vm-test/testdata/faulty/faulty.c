// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module that misbehaves on request, to test what nlvm makes of it:
 *
 *	insmod faulty.ko what=NAME
 *
 * with a name of the table at the end. One that this kernel has no means to
 * commit is refused with -EOPNOTSUPP.
 */
#include <linux/bug.h>
#include <linux/completion.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/panic.h>
#include <linux/percpu_counter.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>
#ifdef CONFIG_DEBUG_NET
#include <net/net_debug.h>
#endif

static char *what = "";
module_param(what, charp, 0);
MODULE_PARM_DESC(what, "the misbehaviour");

static bool enough;
module_param(enough, bool, 0600);
MODULE_PARM_DESC(enough, "set while it goes on: an end to what would last");

/* What the compiler must not know, or it would not compile the mistake. */
static volatile int zero;
static volatile unsigned char byte;

static int warn(void)
{
	WARN(1, "faulty was asked to warn\n");
	return 0;
}

static int oops(void)
{
	int *nowhere = NULL;

	OPTIMIZER_HIDE_VAR(nowhere);
	return READ_ONCE(*nowhere);
}

static int panics(void)
{
	panic("faulty was asked to panic");
}

static int hang(void)
{
	preempt_disable();	/* or a preemptible kernel would not mind */
	while (!zero)
		cpu_relax();
	preempt_enable();
	return 0;
}

static int refuse(void)
{
	return -EINVAL;
}

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

static int use_after_free(void)
{
	char *p = kmalloc(32, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	OPTIMIZER_HIDE_VAR(p);
	kfree(p);
	byte = READ_ONCE(p[3]);
	return 0;
}

static int double_free(void)
{
	char *p = kmalloc(32, GFP_KERNEL);
	char *again = p;

	OPTIMIZER_HIDE_VAR(again);
	kfree(p);
	kfree(again);
	return 0;
}

static int stack_overrun(void)
{
	char small[8] = { 0 };
	char *p = small;	/* UBSAN would know how long the array is */

	OPTIMIZER_HIDE_VAR(p);
	byte = READ_ONCE(p[sizeof(small)]);
	return 0;
}

static int global_overrun(void)
{
	static char small[8];
	char *p = small;

	OPTIMIZER_HIDE_VAR(p);
	byte = READ_ONCE(p[sizeof(small)]);
	return 0;
}

static int vmalloc_overrun(void)
{
	char *p = vmalloc(100);

	if (!p)
		return -ENOMEM;
	OPTIMIZER_HIDE_VAR(p);
	byte = READ_ONCE(p[100]);
	vfree(p);
	return 0;
}

static int leak(void)
{
	int i;

	/* Several: the word that a dead stack still has keeps one alive. */
	for (i = 0; i < 8; i++)
		if (!kmalloc(1000, GFP_KERNEL))
			return -ENOMEM;
	return 0;
}

/* A size that is known at run time only, to a field that is shorter. */
static int field_overrun(void)
{
	struct {
		char field[8];
		char next[8];
	} s = {};

	memcpy(s.field, "0123456789abcdef", sizeof(s.field) + 1 + zero);
	byte = s.next[0];
	return 0;
}

/* More than an object to a process; it is noticed before a byte is read. */
static int copy_overrun(void)
{
	char *p = kmalloc(32, GFP_KERNEL);
	unsigned long left;

	if (!p)
		return -ENOMEM;
	OPTIMIZER_HIDE_VAR(p);
	left = copy_to_user((void __user *)current->mm->arg_start, p,
			    33 + zero);
	kfree(p);
	return left ? -EFAULT : 0;
}

static int array_index(void)
{
	static volatile int table[4];

	table[4 + zero] = 1;
	return table[0];
}

static int shift(void)
{
	byte = 1 << (40 + zero);
	return 0;
}

static int bad_bool(void)
{
	union {
		unsigned char raw;
		bool truth;
	} u;

	u.raw = 7 + zero;
	OPTIMIZER_HIDE_VAR(u.raw);
	byte = *(volatile bool *)&u.truth;
	return 0;
}

/* A, then B; and B, then A: that it did not hang was luck. */
static DEFINE_MUTEX(lock_a);
static DEFINE_MUTEX(lock_b);

static int lock_cycle(void)
{
	mutex_lock(&lock_a);
	mutex_lock(&lock_b);
	mutex_unlock(&lock_b);
	mutex_unlock(&lock_a);

	mutex_lock(&lock_b);
	mutex_lock(&lock_a);
	mutex_unlock(&lock_a);
	mutex_unlock(&lock_b);
	return 0;
}

static int lock_twice(void)
{
	static struct mutex pair[2];
	int i;

	/* Two locks of one class, which may be the same lock another time. */
	for (i = 0; i < 2; i++)
		mutex_init(&pair[i]);
	mutex_lock(&pair[0]);
	mutex_lock(&pair[1]);
	mutex_unlock(&pair[1]);
	mutex_unlock(&pair[0]);
	return 0;
}

static DEFINE_SPINLOCK(irq_lock);

static int lock_irq(void)
{
	unsigned long flags;

	/* Taken as if by an interrupt, then with interrupts on. */
	local_irq_save(flags);
	lockdep_hardirq_enter();
	spin_lock(&irq_lock);
	spin_unlock(&irq_lock);
	lockdep_hardirq_exit();
	local_irq_restore(flags);

	spin_lock(&irq_lock);
	spin_unlock(&irq_lock);
	return 0;
}

static int lock_kept(void)
{
	mutex_lock(&lock_a);
	kfree(kmalloc(8, GFP_KERNEL));
	/* The task returns to user space with it. */
	return 0;
}

static int lock_freed(void)
{
	struct mutex *m = kmalloc(sizeof(*m), GFP_KERNEL);

	if (!m)
		return -ENOMEM;
	mutex_init(m);
	mutex_lock(m);
	kfree(m);
	return 0;
}

/* Written over by somebody; lockdep only looks at what it has beside the lock. */
static int lock_overwritten(void)
{
#ifdef CONFIG_DEBUG_SPINLOCK
	static DEFINE_SPINLOCK(lock);

	lock.rlock.magic = 0x6b6b6b6b;
	spin_lock(&lock);
	spin_unlock(&lock);
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}

static int sleep_in_atomic(void)
{
	spin_lock(&irq_lock);
	kfree(kmalloc(8, GFP_KERNEL));
	spin_unlock(&irq_lock);
	return 0;
}

static int schedule_in_atomic(void)
{
	preempt_disable();
	schedule_timeout_interruptible(1);
	preempt_enable();
	return 0;
}

static int this_cpu(void)
{
	byte = smp_processor_id();
	return 0;
}

static int rcu_pointer(void)
{
	static int __rcu *pointer;
	int *p = rcu_dereference(pointer);

	return p ? *p : 0;
}

struct link {
	struct list_head list;
	int value;
};

static int rcu_list(void)
{
	static LIST_HEAD(head);
	struct link *l;

	list_for_each_entry_rcu(l, &head, list)
		byte = l->value;
	return 0;
}

static int rcu_sleep(void)
{
	rcu_read_lock();
	schedule_timeout_interruptible(1);
	rcu_read_unlock();
	return 0;
}

struct timed {
	struct timer_list timer;
	struct work_struct work;
};

static void on_timer(struct timer_list *t)
{
}

static void on_work(struct work_struct *work)
{
}

static int free_timer(void)
{
	struct timed *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	timer_setup(&t->timer, on_timer, 0);
	mod_timer(&t->timer, jiffies + 1000 * HZ);
	kfree(t);	/* the detector stops the timer */
	return 0;
}

static int free_work(void)
{
	struct delayed_work *w = kzalloc(sizeof(*w), GFP_KERNEL);

	if (!w)
		return -ENOMEM;
	INIT_DELAYED_WORK(w, on_work);
	schedule_delayed_work(w, 1000 * HZ);
	kfree(w);
	return 0;
}

static int free_queued(void)
{
	struct timed *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	INIT_WORK(&t->work, on_work);
	get_cpu();
	schedule_work_on(smp_processor_id(), &t->work);
	kfree(t);
	put_cpu();
	return 0;
}

static int free_counter(void)
{
	struct percpu_counter *c = kmalloc(sizeof(*c), GFP_KERNEL);
	int err;

	if (!c)
		return -ENOMEM;
	err = percpu_counter_init(c, 0, GFP_KERNEL);
	kfree(c);	/* the detector frees what it had of each processor */
	return err;
}

static void on_rcu(struct rcu_head *head)
{
}

static int rcu_twice(void)
{
	static struct rcu_head head;

	/* The detector calls something of its own in place of on_rcu(). */
	rcu_read_lock();
	call_rcu(&head, on_rcu);
	call_rcu(&head, on_rcu);
	rcu_read_unlock();
	return 0;
}

static int refcount(void)
{
	refcount_t r = REFCOUNT_INIT(1);

	refcount_dec(&r);
	return 0;
}

static int list(void)
{
	LIST_HEAD(head);
	struct link one, other;

	list_add(&one.list, &head);
	list_add(&other.list, &one.list);
	one.list.next = &head;
	list_del(&other.list);
	return 0;
}

/* Something is still noted as holding the caller's network when it ends. */
static int net_tracker(void)
{
#ifdef CONFIG_NET_NS_REFCNT_TRACKER
	static netns_tracker tracker;

	__netns_tracker_alloc(current->nsproxy->net_ns, &tracker, false, GFP_KERNEL);
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}

/* The same for its loopback, and this is waited for without end. */
static int net_device(void)
{
#ifdef CONFIG_NET_DEV_REFCNT_TRACKER
	static netdevice_tracker tracker;

	netdev_hold(current->nsproxy->net_ns->loopback_dev, &tracker, GFP_KERNEL);
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}

static int net_debug(void)
{
#ifdef CONFIG_DEBUG_NET
	DEBUG_NET_WARN_ON_ONCE(!zero);
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}

static int wait_for_nobody(void *unused)
{
	DECLARE_COMPLETION_ONSTACK(never);

	wait_for_completion(&never);
	return 0;
}

static int hung_task(void)
{
	/* It does not end, so neither may the module. */
	__module_get(THIS_MODULE);
	return PTR_ERR_OR_ZERO(kthread_run(wait_for_nobody, NULL, "faulty"));
}

/*
 * A reader that does not end. It can be preempted, so that who waits for it is
 * seen to wait, and all else goes on.
 */
static int rcu_stall(void)
{
	rcu_read_lock();
	while (!READ_ONCE(enough))
		cpu_relax();
	rcu_read_unlock();
	return 0;
}

static void on_busy(struct work_struct *work)
{
	unsigned long end = jiffies + 6 * HZ;	/* a soft lockup is after 20 s */

	preempt_disable();	/* or the pool would begin the next work */
	while (time_before(jiffies, end))
		cpu_relax();
	preempt_enable();
}

/* Work that has to wait for work that takes its time. */
static int busy_work(void)
{
	static DECLARE_WORK(busy, on_busy);
	static DECLARE_WORK(next, on_work);

	get_cpu();
	schedule_work_on(smp_processor_id(), &busy);
	schedule_work_on(smp_processor_id(), &next);
	put_cpu();
	flush_work(&busy);
	flush_work(&next);
	return 0;
}

static int counter;

static int count(void *unused)
{
	while (!kthread_should_stop()) {
		counter++;
		cond_resched();
	}
	return 0;
}

/* Two tasks and a number without a lock; nobody is told that it is shared. */
static int race(void)
{
	unsigned long end = jiffies + 2 * HZ;
	struct task_struct *other;
	int sum = 0;

	if (!IS_ENABLED(CONFIG_KCSAN) || num_online_cpus() < 2)
		return -EOPNOTSUPP;
	other = kthread_create(count, NULL, "faulty");
	if (IS_ERR(other))
		return PTR_ERR(other);
	kthread_bind(other, cpumask_any_but(cpu_online_mask,
					    raw_smp_processor_id()));
	wake_up_process(other);
	while (time_before(jiffies, end)) {
		sum += counter;
		barrier();	/* or it is read once */
	}
	byte = sum;	/* or not at all */
	return kthread_stop(other);
}

static const struct {
	const char *name;
	int (*commit)(void);
} faults[] = {
	{ "warn", warn },
	{ "oops", oops },
	{ "panic", panics },
	{ "hang", hang },
	{ "refuse", refuse },
	{ "overrun", overrun },
	{ "use-after-free", use_after_free },
	{ "double-free", double_free },
	{ "stack-overrun", stack_overrun },
	{ "global-overrun", global_overrun },
	{ "vmalloc-overrun", vmalloc_overrun },
	{ "leak", leak },
	{ "field-overrun", field_overrun },
	{ "copy-overrun", copy_overrun },
	{ "array-index", array_index },
	{ "shift", shift },
	{ "bool", bad_bool },
	{ "lock-cycle", lock_cycle },
	{ "lock-twice", lock_twice },
	{ "lock-irq", lock_irq },
	{ "lock-kept", lock_kept },
	{ "lock-freed", lock_freed },
	{ "lock-overwritten", lock_overwritten },
	{ "sleep-in-atomic", sleep_in_atomic },
	{ "schedule-in-atomic", schedule_in_atomic },
	{ "this-cpu", this_cpu },
	{ "rcu-pointer", rcu_pointer },
	{ "rcu-list", rcu_list },
	{ "rcu-sleep", rcu_sleep },
	{ "free-timer", free_timer },
	{ "free-work", free_work },
	{ "free-queued", free_queued },
	{ "free-counter", free_counter },
	{ "rcu-twice", rcu_twice },
	{ "refcount", refcount },
	{ "list", list },
	{ "net-tracker", net_tracker },
	{ "net-device", net_device },
	{ "net-debug", net_debug },
	{ "hung-task", hung_task },
	{ "rcu-stall", rcu_stall },
	{ "busy-work", busy_work },
	{ "data-race", race },
};

static int __init faulty_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(faults); i++)
		if (!strcmp(what, faults[i].name))
			return faults[i].commit();
	return *what ? -EINVAL : 0;
}

static void __exit faulty_exit(void)
{
}

module_init(faulty_init);
module_exit(faulty_exit);

MODULE_DESCRIPTION("Misbehaves on request");
MODULE_LICENSE("GPL");
