// SPDX-License-Identifier: MIT

// Package security is who may do what: one table, which the suite privilege
// asks the kernel about cell by cell, and which SECURITY.md shows.
package security

// Actors are the columns of the table. What they do, they do by sockets of
// their own, in the network namespace they are in.
var Actors = []string{
	"root",
	"root of a user namespace, in its own network namespace",
	"root, in another network namespace",
	"root of a user namespace, in the initial network namespace",
	"a user",
	"a user, in a network namespace of somebody else",
}

// Handed are the columns of the second table: who uses sockets that somebody
// else has opened in the initial network namespace and handed over.
var Handed = []string{
	"a user with root's sockets",
	"root of a user namespace with root's sockets",
	"root with a user's sockets",
}

// The results, as the suite writes them: "ok", or the name of an errno with
// the text of the extended acknowledgment.
const (
	ok      = "ok"
	eperm   = "EPERM"                                  // the kernel's own, which has no text
	ours    = "EPERM nlpeer: this needs CAP_NET_ADMIN" // nlpeer's
	refused = "ECONNREFUSED"                           // nobody there
	noConn  = "EOPNOTSUPP nlpeer: this namespace has no connector"
	tooMuch = "ERANGE integer out of range"
)

// Row is one operation on one carrier.
type Row struct {
	Carrier   string
	Operation string
	Actors    [6]string // the results, in the order of Actors
	Handed    [3]string // in the order of Handed
}

// who is the results of all columns of a row: anybody may, or only those may
// who administer the network namespace, and the others are told no.
func anybody(carrier, operation string) Row {
	return Row{carrier, operation, [6]string{ok, ok, ok, ok, ok, ok}, [3]string{ok, ok, ok}}
}

func admin(carrier, operation, no string) Row {
	return Row{carrier, operation, [6]string{ok, ok, ok, no, no, no}, [3]string{no, no, ok}}
}

// machine is what only who administers the machine may.
func machine(carrier, operation, no string) Row {
	return Row{carrier, operation, [6]string{ok, no, ok, no, no, no}, [3]string{no, no, ok}}
}

// change says what is different in some columns.
func (r Row) change(results map[int]string, handed map[int]string) Row {
	for i, s := range results {
		r.Actors[i] = s
	}
	for i, s := range handed {
		r.Handed[i] = s
	}
	return r
}

// others is sending to who is not the kernel, which is the kernel's own to allow.
func others(carrier string) []Row {
	return []Row{
		admin(carrier, "send to a group", eperm),
		admin(carrier, "send to another's port", eperm).change(map[int]string{1: refused, 2: refused}, nil),
	}
}

// tricked is an operation in which the privilege of who opened the socket counts
// as well: on a socket that is connected to the kernel, so that no address with
// the message says that the kernel is meant; and where the kernel may do it only
// when somebody reads, who need not be who asked.
func tricked(r Row, no string) Row {
	return r.change(nil, map[int]string{2: no})
}

// objects is the operations that three carriers have in common. These refuse
// a change with no, and an atomic dump, which is a matter of flags, with ours.
func objects(carrier, no string) []Row {
	return []Row{
		anybody(carrier, "object-get, one"),
		anybody(carrier, "object-get, a dump"),
		admin(carrier, "object-get, an atomic dump", ours),
		admin(carrier, "object-new, a new one", no),
		admin(carrier, "object-new, a change", no),
		admin(carrier, "object-del, one", no),
		admin(carrier, "object-del, many", no),
		tricked(admin(carrier, "object-new, without an address", no), no),
	}
}

// Table is all rows, in the order in which an actor tries them.
func Table() []Row {
	var all []Row
	add := func(rows ...Row) { all = append(all, rows...) }

	add(anybody("raw", "echo"))
	add(objects("raw", ours)...)
	add(others("raw")...)
	add(
		anybody("raw", "join groups at bind"),
		anybody("raw", "join a group"),
		// NETLINK_LISTEN_ALL_NSID; who hears what is decided by the namespaces that have IDs.
		admin("raw", "hear all namespaces", eperm),
		machine("raw", "a receive buffer above net.core.rmem_max", eperm),
	)

	add(
		anybody("generic", "echo"),
		anybody("generic", "stats-get"),
		anybody("generic", "beacon-get"),
		anybody("generic", "event-get"),
		admin("generic", "beacon-set", eperm),
		admin("generic", "beacon-set, out of range", eperm).change(map[int]string{0: tooMuch, 1: tooMuch, 2: tooMuch}, map[int]string{2: tooMuch}),
		admin("generic", "beacon-set, a burst", eperm),
		admin("generic", "beacon-set, the connector", eperm).change(map[int]string{1: noConn, 2: noConn}, nil),
	)
	add(objects("generic", eperm)...)
	add(
		anybody("generic", "join the group beacon"),
		anybody("generic", "join the group objects"),
		admin("generic", "hear all namespaces", eperm),
	)
	add(others("generic")...)

	add(anybody("rtnetlink", "echo"))
	for _, r := range objects("rtnetlink", eperm) {
		if r.Operation == "object-get, an atomic dump" {
			r = tricked(r, ours) // rtnetlink has no place for the start of a dump
		}
		add(r)
	}
	add(others("rtnetlink")...)

	// The connector is in the initial network namespace alone.
	add(
		anybody("connector", "echo").change(map[int]string{1: refused, 2: refused, 5: refused}, nil),
		admin("connector", "join the group at bind", eperm),
		admin("connector", "join the group", eperm),
	)
	// What goes to a group goes to the kernel as well, and is refused where that is not.
	for _, r := range others("connector") {
		add(r.change(map[int]string{1: refused, 2: refused}, nil))
	}
	return all
}

// WithUserSend is the rows that the module parameter user_send=1 changes.
func WithUserSend() []Row {
	return []Row{
		anybody("raw", "send to a group"),
		anybody("raw", "send to another's port").change(map[int]string{1: refused, 2: refused, 5: refused}, nil),
	}
}
