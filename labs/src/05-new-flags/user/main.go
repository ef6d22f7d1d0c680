// SPDX-License-Identifier: MIT

// User finds out what the flags of requests mean.
//
//	user names get|new|del|ack FLAGS        what a header's flags are called
//	user detect neighbours|links|table      asks a table of the kernel, flag by flag
//	user try neighbours|links|table FLAGS   one experiment, with an object that is there
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A flag has a bit, and a name.
type flag struct {
	bit  uint16
	name string
}

// Those that mean the same in all messages.
var general = []flag{
	{0x01, "REQUEST"}, {0x02, "MULTI"}, {0x04, "ACK"}, {0x08, "ECHO"},
	{0x10, "DUMP_INTR"}, {0x20, "DUMP_FILTERED"},
}

// flagNames are the names of the flags in the header of a message of a kind,
// the lowest bit first.
func flagNames(kind string, flags uint16) string {
	all := slices.Clone(general)
	//> todo 1
	//| // TODO(1): from 0x100 on, the names depend on the kind: "get", "new", "del"
	//| // or "ack". Look them up in include/uapi/linux/netlink.h, without NLM_F_.
	//| all = append(all, flag{0x100, "ROOT"}, flag{0x200, "MATCH"}, flag{0x400, "ATOMIC"})
	//> solved
	all = append(all, map[string][]flag{
		"get": {{0x100, "ROOT"}, {0x200, "MATCH"}, {0x400, "ATOMIC"}},
		"new": {{0x100, "REPLACE"}, {0x200, "EXCL"}, {0x400, "CREATE"}, {0x800, "APPEND"}},
		"del": {{0x100, "NONREC"}, {0x200, "BULK"}},
		"ack": {{0x100, "CAPPED"}, {0x200, "ACK_TLVS"}},
	}[kind]...)
	//> mistake one-meaning
	//| all = append(all, flag{0x100, "REPLACE"}, flag{0x200, "EXCL"}, flag{0x400, "CREATE"}, flag{0x800, "APPEND"})
	//> end
	var names []string
	for _, f := range all {
		if flags&f.bit != 0 {
			names = append(names, f.name)
			flags &^= f.bit
		}
	}
	if flags != 0 {
		names = append(names, fmt.Sprintf("%#x", flags))
	}
	return strings.Join(names, "|")
}

// outcome makes one experiment: an object that is there, with the value 1, or
// is not there, is asked for with the value 2 and flags. What became of it?
// The name of an error, or one of
//
//	made      it was not there, and has the value 2
//	kept      there was no error, and it has the value 1 as before
//	changed   it has the value 2
//	appended  it has the values 1 and 2
//	nothing   there was no error, and it is not there
func outcome(w witness, number int, there bool, flags uint16) string {
	defer w.del(number)
	if there {
		if err := w.set(number, 1, syscall.NLM_F_CREATE|syscall.NLM_F_EXCL); err != nil {
			return "not made: " + errorName(err)
		}
	}
	err := w.set(number, 2, flags)
	if err != nil {
		return errorName(err)
	}
	//> todo 2
	//| // TODO(2): there was no error. That does not say what was done: look.
	//| return "no error"
	//> solved
	now, err := w.values(number)
	switch {
	case err != nil:
		return "not found: " + errorName(err)
	case len(now) == 0:
		return "nothing"
	case slices.Equal(now, []int{1}):
		return "kept"
	case slices.Equal(now, []int{1, 2}):
		return "appended"
	case there:
		return "changed"
	}
	return "made"
	//> mistake believes-in-success
	//| if there {
	//| 	return "changed"
	//| }
	//| return "made"
	//> mistake appended-is-changed
	//| now, err := w.values(number)
	//| switch {
	//| case err != nil:
	//| 	return "not found: " + errorName(err)
	//| case len(now) == 0:
	//| 	return "nothing"
	//| case slices.Equal(now, []int{1}):
	//| 	return "kept"
	//| case there:
	//| 	return "changed"
	//| }
	//| return "made"
	//> end
}

// A row of a truth table: what becomes of an object that is not there, and of
// one that is.
type row struct {
	flags             uint16
	notThere, isThere string
}

// verdict says who is right about NLM_F_EXCL: "intro.rst" (it "only succeeds if
// object already existed") or "netlink.h" ("Do not touch, if it exists"); or
// "nobody".
func verdict(rows []row) string {
	//> todo 2
	//| // TODO(2): what do the rows with NLM_F_EXCL say, all of them?
	//| return "nobody"
	//> solved
	said := map[string]bool{}
	for _, r := range rows {
		switch {
		case r.flags&syscall.NLM_F_EXCL == 0:
		case r.isThere == "EEXIST":
			said["netlink.h"] = true
		case r.isThere == "changed" || r.isThere == "kept" || r.isThere == "appended":
			said["intro.rst"] = true
		default:
			said["nobody"] = true
		}
	}
	if len(said) != 1 {
		return "nobody"
	}
	for who := range said {
		return who
	}
	return "nobody"
	//> mistake intro-is-right
	//| return "intro.rst"
	//> end
}

// errorName is what programmers call an error.
func errorName(err error) string {
	names := map[syscall.Errno]string{
		syscall.ENOENT: "ENOENT", syscall.EEXIST: "EEXIST", syscall.ENODEV: "ENODEV", syscall.EINVAL: "EINVAL",
		syscall.EOPNOTSUPP: "EOPNOTSUPP", syscall.ENOSPC: "ENOSPC", syscall.EPERM: "EPERM",
	}
	var errno syscall.Errno
	if errors.As(err, &errno) && names[errno] != "" {
		return names[errno]
	}
	return err.Error()
}

// Flags of NEW in the order of a truth table's columns.
var columns = []uint16{syscall.NLM_F_REPLACE, syscall.NLM_F_EXCL, syscall.NLM_F_CREATE, syscall.NLM_F_APPEND}

// call makes a witness of a name.
func call(name string) (witness, error) {
	protocol := syscall.NETLINK_ROUTE
	if name == "table" {
		protocol = 31
	}
	c, err := dial(protocol)
	if err != nil {
		return nil, err
	}
	switch name {
	case "neighbours":
		return neighbours{c}, nil
	case "links":
		return links{c}, nil
	case "table":
		return table{c}, nil
	}
	return nil, fmt.Errorf("there are neighbours, links and the table, but no %s", name)
}

func runTry(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: user try neighbours|links|table FLAGS")
	}
	flags, err := strconv.ParseUint(args[1], 0, 16)
	if err != nil {
		return err
	}
	w, err := call(args[0])
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s\n", flagNames("new", uint16(flags)), outcome(w, 99, true, uint16(flags)))
	return nil
}

func runDetect(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: user detect neighbours|links|table")
	}
	w, err := call(args[0])
	if err != nil {
		return err
	}
	var rows []row
	fmt.Println("REPLACE EXCL CREATE APPEND  not there   there")
	for i := range 16 {
		var r row
		for j, bit := range columns {
			mark := "-"
			if i&(8>>j) != 0 {
				r.flags |= bit
				mark = "x"
			}
			fmt.Printf("%-*s", []int{8, 5, 7, 8}[j], mark)
		}
		r.notThere = outcome(w, 100+2*i, false, r.flags)
		r.isThere = outcome(w, 101+2*i, true, r.flags)
		fmt.Printf("%-11s %s\n", r.notThere, r.isThere)
		rows = append(rows, r)
	}
	fmt.Printf("about EXCL, right is: %s\n", verdict(rows))
	return nil
}

func runNames(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: user names get|new|del|ack FLAGS")
	}
	flags, err := strconv.ParseUint(args[1], 0, 16)
	if err != nil {
		return err
	}
	fmt.Println(flagNames(args[0], uint16(flags)))
	return nil
}

func main() {
	err := errors.New("usage: user names|try|detect …")
	switch {
	case len(os.Args) > 1 && os.Args[1] == "names":
		err = runNames(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "try":
		err = runTry(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "detect":
		err = runDetect(os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "user:", err)
		os.Exit(1)
	}
}
