// SPDX-License-Identifier: MIT

package privilege_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

const (
	handedEnv = "NLPEER_HANDED" // sockets come through the file above standard error
	familyEnv = "NLPEER_FAMILY" // the family's number, and those of its groups

	settled = 1234 // the interval that beacon-set sets
)

// protocols are those of the sockets that an actor has, in the order in which
// they are handed over. Those of the second half become connected.
var protocols = []int{
	vmtest.NetlinkTest, unix.NETLINK_GENERIC, unix.NETLINK_ROUTE, unix.NETLINK_CONNECTOR,
	vmtest.NetlinkTest, unix.NETLINK_GENERIC, unix.NETLINK_ROUTE,
}

// alone is a testing.TB for a child, where there is no test. What fails there
// ends it.
type alone struct{ testing.TB }

func (alone) Helper()                   {}
func (alone) Fatal(a ...any)            { panic(fmt.Sprint(a...)) }
func (alone) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

// attempt is what an actor tries by one of its sockets.
type attempt struct {
	row string
	do  func(a *actor) string
}

type actor struct {
	sockets               []*vmtest.Socket
	family                uint16
	beacon, objects, next uint32 // groups, and the number of the next request
}

// receive takes the sockets that were handed over, or opens some.
func (a *actor) receive() error {
	if os.Getenv(handedEnv) == "" {
		for _, protocol := range protocols {
			s, err := vmtest.TryOpen(protocol, 0, 0)
			if err != nil {
				return err
			}
			a.sockets = append(a.sockets, s)
		}
		return nil
	}
	oob := make([]byte, unix.CmsgSpace(4*len(protocols)))
	_, n, _, _, err := unix.Recvmsg(3, make([]byte, 1), oob, 0)
	if err != nil {
		return err
	}
	control, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(control) != 1 {
		return fmt.Errorf("%d control messages: %w", len(control), err)
	}
	fds, err := unix.ParseUnixRights(&control[0])
	if err != nil {
		return err
	}
	for _, fd := range fds {
		sa, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		a.sockets = append(a.sockets, &vmtest.Socket{FD: fd, PortID: sa.(*unix.SockaddrNetlink).Pid})
	}
	return nil
}

// try is a child: it tries everything and tells one result a line.
var try = vmtest.Register("try everything", func() (string, error) {
	a := &actor{}
	if _, err := fmt.Sscan(os.Getenv(familyEnv), &a.family, &a.beacon, &a.objects); err != nil {
		return "", err
	}
	if err := a.receive(); err != nil {
		return "", err
	}
	for _, s := range a.sockets {
		if err := unix.SetsockoptInt(s.FD, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1); err != nil {
			return "", err
		}
	}
	var out strings.Builder
	for _, at := range attempts() {
		fmt.Fprintf(&out, "%s = %s\n", at.row, at.do(a))
	}
	return out.String(), nil
})

func name(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

// ask sends a request to the kernel and returns what it answers.
func (a *actor) ask(socket int, m vmtest.Message) string {
	s := a.sockets[socket]
	a.next++
	m.Seq = a.next
	m.Flags |= unix.NLM_F_REQUEST
	if m.Flags&unix.NLM_F_DUMP != unix.NLM_F_DUMP {
		m.Flags |= unix.NLM_F_ACK
	}
	var err error
	if socket > 3 { // without an address
		if err = unix.Connect(s.FD, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err == nil {
			_, err = unix.Write(s.FD, m.Bytes())
		}
	} else {
		err = s.TrySend(m.Bytes())
	}
	if err != nil {
		return name(err)
	}
	for {
		b, err := s.TryRecv(0)
		if err != nil {
			return "no answer: " + name(err)
		}
		for _, got := range vmtest.Parse(alone{}, b) {
			if got.Seq != a.next {
				continue // an event
			}
			switch got.Type {
			case unix.NLMSG_ERROR:
				ack := vmtest.ParseAck(alone{}, got, m)
				return say(ack.Errno, ack.Text)
			case unix.NLMSG_DONE:
				text := ""
				if got.Flags&unix.NLM_F_ACK_TLVS != 0 {
					text = unix.ByteSliceToString(vmtest.Attrs(alone{}, got.Body[4:])[0].Data)
				}
				return say(unix.Errno(-int32(binary.NativeEndian.Uint32(got.Body))), text)
			}
		}
	}
}

// say is a result. That there is no such object is an answer like any.
func say(errno unix.Errno, text string) string {
	if errno == 0 || errno == unix.ENOENT && text == "nlpeer: no object has this key" {
		return "ok"
	}
	name := unix.ErrnoName(errno)
	if errno == unix.EOPNOTSUPP { // two names for one number
		name = "EOPNOTSUPP"
	}
	return strings.TrimSpace(name + " " + text)
}

// attempts is all of the table, in an order in which one does what the next
// needs.
func attempts() []attempt {
	var all []attempt
	add := func(row string, do func(a *actor) string) { all = append(all, attempt{row, do}) }
	set := func(protocol, level, option, value int) func(a *actor) string {
		return func(a *actor) string {
			return name(unix.SetsockoptInt(a.sockets[protocol].FD, level, option, value))
		}
	}
	group := func(protocol int, number func(a *actor) uint32) func(a *actor) string {
		return func(a *actor) string {
			return name(unix.SetsockoptInt(a.sockets[protocol].FD, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(number(a))))
		}
	}
	bind := func(protocol int, groups uint32) func(a *actor) string {
		return func(a *actor) string {
			fd := a.sockets[protocol].FD
			err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: a.sockets[protocol].PortID, Groups: groups})
			if err == nil {
				unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: a.sockets[protocol].PortID})
			}
			return name(err)
		}
	}
	genl := func(cmd uint8, flags uint16, attrs ...vmtest.Attr) func(a *actor) string {
		return func(a *actor) string {
			m := vmtest.NewGenl(a.family, cmd, 0, attrs...)
			m.Flags |= flags
			return a.ask(1, m)
		}
	}
	beacon := func(typ uint16, v uint32) func(a *actor) string {
		return genl(vmtest.CmdBeaconSet, 0, vmtest.Attr{Type: typ, Data: vmtest.U32(v)})
	}
	text := vmtest.Attr{Type: 1, Data: []byte("who am I")}

	for i, w := range witnesses {
		send := func(operation string, to *unix.SockaddrNetlink) {
			row := w.carrier + ": " + operation
			add(row, func(a *actor) string {
				m := vmtest.NewEcho(0, []byte(row))
				m.Flags = 0 // no request: what goes to a group goes to the kernel as well
				return name(unix.Sendto(a.sockets[i].FD, m.Bytes(), unix.MSG_DONTWAIT, to))
			})
		}
		send(toGroup, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (w.group - 1)})
		send(toPort, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: witnessPort})
	}

	for i, c := range vmtest.Carriers {
		carrier := []string{"raw", "generic", "rtnetlink"}[i]
		object := func(operation string, socket int, r vmtest.ObjectRequest) {
			add(carrier+": "+operation, func(a *actor) string { return a.ask(socket, c.Encode(a.family, 0, r)) })
		}
		object("object-get, one", i, vmtest.GetObject("there"))
		object("object-get, a dump", i, vmtest.GetObjects(0))
		object("object-get, an atomic dump", i, vmtest.GetObjects(vmtest.FlagAtomic))
		object("object-new, a new one", i, vmtest.NewObject(vmtest.FlagCreate|vmtest.FlagExcl, "new"))
		object("object-new, a change", i, vmtest.NewObject(vmtest.FlagAppend, "new"))
		object("object-del, one", i, vmtest.DelObject("new"))
		object("object-del, many", i, vmtest.DelObjects("new"))
		object("object-new, without an address", 4+i, vmtest.NewObject(vmtest.FlagCreate|vmtest.FlagReplace, "connected "+carrier))
	}

	add("raw: echo", func(a *actor) string { return a.ask(0, vmtest.NewEcho(0, text.Data)) })
	add("raw: join groups at bind", bind(0, 0xffffffff))
	add("raw: join a group", group(0, func(*actor) uint32 { return 32 }))
	add("raw: hear all namespaces", set(0, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1))
	add("raw: a receive buffer above net.core.rmem_max", set(0, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20))

	add("generic: echo", genl(vmtest.CmdEcho, 0, text))
	add("generic: stats-get", genl(vmtest.CmdStatsGet, 0))
	add("generic: beacon-get", genl(vmtest.CmdBeaconGet, 0))
	add("generic: event-get", genl(6, unix.NLM_F_DUMP, vmtest.Attr{Type: 1, Data: vmtest.U32(1)}))
	add("generic: beacon-set, the connector", beacon(vmtest.BeaconConnector, 1))
	add("generic: beacon-set", beacon(vmtest.BeaconInterval, settled))
	add("generic: beacon-set, out of range", beacon(vmtest.BeaconInterval, vmtest.IntervalMax+1))
	add("generic: beacon-set, a burst", beacon(vmtest.BeaconBurst, 1))
	add("generic: join the group beacon", group(1, func(a *actor) uint32 { return a.beacon }))
	add("generic: join the group objects", group(1, func(a *actor) uint32 { return a.objects }))
	add("generic: hear all namespaces", set(1, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1))

	add("rtnetlink: echo", func(a *actor) string { return a.ask(2, vmtest.NewRtnlEcho(0, text.Data)) })

	add("connector: echo", func(a *actor) string {
		s := a.sockets[3]
		if err := s.TrySend(vmtest.NewCn(5, 6, text.Data).Message().Bytes()); err != nil {
			return name(err)
		}
		b, err := s.TryRecv(0)
		if err == nil && string(vmtest.ParseCn(alone{}, vmtest.Parse(alone{}, b)[0]).Data) != string(text.Data) {
			return "something else"
		}
		return name(err)
	})
	add("connector: join the group at bind", bind(3, 1<<(vmtest.CnIdx-1)))
	add("connector: join the group", group(3, func(*actor) uint32 { return vmtest.CnIdx }))
	return all
}
