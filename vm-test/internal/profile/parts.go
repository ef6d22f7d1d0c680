// SPDX-License-Identifier: MIT

package profile

import (
	"path"
	"strings"
)

// Part is what a function is there for.
type Part string

// The parts, in the order in which they are shown.
const (
	PartProgram Part = "program"
	PartClient  Part = "client library"
	PartRuntime Part = "Go runtime"
	PartSyscall Part = "system call"
	PartSocket  Part = "sockets"
	PartNetlink Part = "netlink"
	PartPeer    Part = "nlpeer"
	PartMemory  Part = "memory"
	PartBuffer  Part = "buffers"
	PartCopy    Part = "copies"
	PartWake    Part = "wake-up"
	PartLock    Part = "locks"
	PartOther   Part = "other"
)

var partOrder = []Part{
	PartProgram, PartClient, PartRuntime, PartSyscall, PartSocket, PartNetlink, PartPeer,
	PartBuffer, PartMemory, PartCopy, PartWake, PartLock, PartOther,
}

// peerModule is the module that has a part of its own.
const peerModule = "nlpeer"

// kernelParts tell by the name of a function of the kernel; the first pattern
// that fits counts. What none fits is a part of what called it.
var kernelParts = []struct {
	pattern string
	part    Part
}{
	{"entry_SYSCALL*", PartSyscall},
	{"do_syscall_64", PartSyscall},
	{"syscall_*", PartSyscall},
	{"exit_to_user_mode*", PartSyscall},
	{"x64_sys_call", PartSyscall},
	{"swapgs_*", PartSyscall},
	{"fpregs_assert*", PartSyscall},

	{"sock_def_readable", PartWake},
	{"*wake_up*", PartWake},
	{"try_to_wake*", PartWake},
	{"ep_poll_callback", PartWake},
	{"autoremove_wake*", PartWake},
	{"schedule*", PartWake},

	{"skb_copy_datagram_iter", PartCopy},
	{"*_copy_datagram_iter", PartCopy},
	{"simple_copy_to_iter", PartCopy},
	{"*copy_from_iter*", PartCopy},
	{"*copy_to_iter*", PartCopy},
	{"*copy_user*", PartCopy},
	{"*copy_from_user*", PartCopy},
	{"*copy_to_user*", PartCopy},
	{"rep_movs*", PartCopy},
	{"copyout", PartCopy},
	{"copyin", PartCopy},
	{"*memcpy*", PartCopy},
	{"*memset*", PartCopy},
	{"*memmove*", PartCopy},
	{"clear_user*", PartCopy},
	{"copy_iovec*", PartSocket},

	{"*kmem_cache*", PartMemory},
	{"*kmalloc*", PartMemory},
	{"*kfree*", PartMemory}, // kfree_skb comes below the buffers' own
	{"*slab*", PartMemory},
	{"__unfreeze_partials", PartMemory},
	{"ksize", PartMemory},
	{"should_failslab", PartMemory},
	{"*memcg*", PartMemory},
	{"*obj_cgroup*", PartMemory},
	{"*get_obj_cgroup*", PartMemory},
	{"vmalloc*", PartMemory},
	{"kvfree*", PartMemory},

	{"netlink_*", PartNetlink},
	{"__netlink_*", PartNetlink},
	{"genl_*", PartNetlink},
	{"genlmsg_*", PartNetlink},
	{"*nlmsg*", PartNetlink},
	{"*nla_*", PartNetlink},
	{"rht*", PartNetlink},
	{"rhashtable*", PartNetlink},
	{"jhash*", PartNetlink},

	{"*skb*", PartBuffer},
	{"datagram_poll", PartBuffer},
	{"*sock_rfree*", PartBuffer},
	{"*sock_wfree*", PartBuffer},

	{"mutex_*", PartLock},
	{"__mutex_*", PartLock},
	{"down_*", PartLock},
	{"up_*", PartLock},
	{"*raw_spin_*", PartLock},
	{"*raw_read_*", PartLock},
	{"*raw_write_*", PartLock},
	{"*local_bh_*", PartLock},
	{"*rcu_*", PartLock},
	{"preempt_*", PartLock},

	{"*sys_send*", PartSocket},
	{"*sys_recv*", PartSocket},
	{"sock_*", PartSocket},
	{"__sock_*", PartSocket},
	{"sockfd_*", PartSocket},
	{"security_socket_*", PartSocket},
	{"security_sock_*", PartSocket},
	{"security_netlink_*", PartSocket},
	{"apparmor_*", PartSocket},
	{"aa_*", PartSocket},
	{"selinux_*", PartSocket},
	{"move_addr_*", PartSocket},
	{"import_*", PartSocket},
	{"iov_iter_*", PartSocket},
	{"*fget*", PartSocket},
	{"__fdget*", PartSocket},
	{"fput*", PartSocket},
	{"*sys_*", PartSyscall},
}

// userParts does the same for the program.
var userParts = []struct {
	pattern string
	part    Part
}{
	{"nlpeer/pkg/", PartClient},
	{"runtime.", PartRuntime},
	{"runtime/", PartRuntime},
	{"internal/", PartRuntime},
	{"syscall.", PartRuntime},
	{"sync.", PartRuntime},
	{"sync/", PartRuntime},
	{"context.", PartRuntime},
	{"time.", PartRuntime},
	{"golang.org/x/sys/", PartRuntime},
	{"gogo", PartRuntime},
}

// partOf says what a function is there for, given what its caller is.
func partOf(f *Function, caller Part) Part {
	if !f.Kernel {
		for _, row := range userParts {
			if strings.HasPrefix(f.Name, row.pattern) {
				return row.part
			}
		}
		return PartProgram
	}
	if f.Module == peerModule {
		return PartPeer
	}
	for _, row := range kernelParts {
		if ok, _ := path.Match(row.pattern, f.Name); ok {
			return row.part
		}
	}
	switch caller {
	case PartProgram, PartClient, PartRuntime, "":
		return PartOther
	}
	return caller
}
