// SPDX-License-Identifier: MIT

package bench

import (
	"fmt"
	"strings"

	"nlpeer/pkg/wire"
)

// The kinds of work.
const (
	// Echo is to send bytes and get them back. An operation is one echo, also in
	// a batch.
	Echo = "echo"
	// Syscall is the least that a system call costs (getppid).
	Syscall = "syscall"
	// Receive is to take events that are queued already. An operation is one
	// event.
	Receive = "receive"
	// Rate is to send a burst of events and take them, the largest of which
	// nothing is lost. An operation is one event, sent and taken.
	Rate = "rate"
	// Broadcast is to send events to listeners that do not read. An operation is
	// one event.
	Broadcast = "broadcast"
	// Get is to ask for one object.
	Get = "get"
	// Dump is to ask for all objects. An operation is one object.
	Dump = "dump"
	// Family is to ask generic netlink for the family nlctrl.
	Family = "family"
)

// A Case is a piece of work. Cases are equal if all of it is.
type Case struct {
	// Name is what is done.
	Name string `json:"case"`
	// Carrier is the way into the kernel: raw, genl, connector, rtnl, usersock,
	// or one that is not netlink: ioctl, chardev, proc, sysfs, ring.
	Carrier string `json:"carrier,omitempty"`
	// Size is the length of a payload or value in bytes.
	Size int `json:"size"`
	// Batch is the number of requests, or of events, that share a datagram.
	Batch int `json:"batch"`
	// N is the number of listeners or objects.
	N int `json:"n,omitempty"`
}

// String is the case in short, such as echo/raw/64B/x16: --only looks for it.
func (c Case) String() string {
	s := c.Name
	if c.Carrier != "" {
		s += "/" + c.Carrier
	}
	if c.Name != Syscall && c.Name != Family {
		s += fmt.Sprintf("/%dB", c.Size)
	}
	if c.Batch > 0 {
		s += fmt.Sprintf("/x%d", c.Batch)
	}
	if c.N > 0 {
		s += fmt.Sprintf("/n%d", c.N)
	}
	return s
}

// sysfsMax is the longest that a file of sysfs can be on the smallest pages, less
// the byte that ends it.
const sysfsMax = 4095

// otherWays are those into the kernel that are not netlink.
var otherWays = []string{"ioctl", "chardev", "proc", "sysfs", "ring"}

// netlink says that the way is netlink.
func (c Case) netlink() bool {
	return !strings.Contains(" "+strings.Join(otherWays, " ")+" ", " "+c.Carrier+" ")
}

// A Scope says how much is measured.
type Scope int

// The scopes.
const (
	// Full is all cases.
	Full Scope = iota
	// Quick is what the targets are made from, and a few more.
	Quick
	// Smoke is Full without a few cases that take long and show nothing that
	// others do not.
	Smoke
)

// The axes.
var (
	sizes     = []int{0, 64, 1024, 32768}
	batches   = []int{4, 16, 64, 256}
	listeners = []int{1, 10, 100, 1000}
	objects   = []int{10, 1000, 100000}
)

// Events and values are of the length that echoes are compared at.
const standard = 64

// Cases returns what is measured in the virtual machine, in the order in which it
// is.
func Cases(scope Scope) []Case {
	var cases []Case
	add := func(c Case) { cases = append(cases, c) }
	full := scope != Quick

	add(Case{Name: Syscall})
	add(Case{Name: Syscall, Carrier: "ioctl"})
	for _, carrier := range []string{"raw", "genl", "connector", "rtnl"} {
		for _, size := range sizes {
			if carrier == "connector" && size > wire.CnPayloadMax || !full && size != standard {
				continue
			}
			add(Case{Name: Echo, Carrier: carrier, Size: size, Batch: 1})
		}
		if carrier == "connector" {
			continue // it looks at the first message of a datagram only
		}
		for _, batch := range batches {
			if full || carrier == "raw" {
				add(Case{Name: Echo, Carrier: carrier, Size: standard, Batch: batch})
			}
		}
	}
	for _, size := range []int{0, 1024} {
		for _, batch := range batches {
			if full {
				add(Case{Name: Echo, Carrier: "raw", Size: size, Batch: batch})
			}
		}
	}
	for _, way := range otherWays {
		for _, size := range sizes {
			if way == "sysfs" && (size > sysfsMax || size == 0) {
				continue // it does not pass on an empty write
			}
			if full || size == standard {
				add(Case{Name: Echo, Carrier: way, Size: size, Batch: 1})
			}
		}
		if way == "ring" {
			for _, batch := range batches {
				if full {
					add(Case{Name: Echo, Carrier: way, Size: standard, Batch: batch})
				}
			}
		}
	}
	for _, batch := range []int{1, 16, 64} {
		add(Case{Name: Receive, Carrier: "raw", Size: standard, Batch: batch})
	}
	for _, batch := range []int{1, 16} {
		for _, n := range listeners {
			if full || n >= 100 {
				add(Case{Name: Broadcast, Carrier: "raw", Size: standard, Batch: batch, N: n})
			}
		}
	}
	for _, batch := range []int{1, 64} {
		add(Case{Name: Rate, Carrier: "raw", Size: standard, Batch: batch})
	}
	for _, carrier := range []string{"raw", "genl", "rtnl"} {
		if full || carrier == "raw" {
			add(Case{Name: Get, Carrier: carrier, Size: standard, Batch: 1})
		}
	}
	// The table is filled once for each number.
	for _, n := range objects {
		for _, carrier := range []string{"raw", "genl", "rtnl"} {
			if full && (scope != Smoke || carrier == "raw" || n < 100000) || carrier == "raw" && n >= 1000 {
				add(Case{Name: Dump, Carrier: carrier, Size: standard, N: n})
			}
		}
	}
	return cases
}

// HostCases returns what needs no module.
func HostCases() []Case {
	var cases []Case
	for _, size := range sizes {
		cases = append(cases, Case{Name: Echo, Carrier: "usersock", Size: size, Batch: 1})
	}
	return append(cases,
		Case{Name: Family, Carrier: "genl"},
		Case{Name: Rate, Carrier: "usersock", Size: standard, Batch: 1},
	)
}
