// SPDX-License-Identifier: MIT

package kernel

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// A Socket is a netlink socket of a network namespace.
type Socket struct {
	// Protocol is the number of its protocol, see [ProtocolName].
	Protocol int
	// PortID is its address; 0 is the kernel's socket.
	PortID uint32
	// Peer is the port ID that it is connected to, and Connected says that it
	// is. They are known only if the kernel has the module netlink_diag.
	Peer      uint32
	Connected bool
	// Groups are those that it has joined. Without netlink_diag, those up to 32.
	Groups []uint32
	// ReceiveQueue is the memory that what it has not read yet takes up, in
	// bytes, and SendQueue what others have not read of it in a memory mapped
	// ring, which is always 0 today.
	ReceiveQueue, SendQueue uint32
	// Drops is the number of messages that it had no room for.
	Drops uint32
	// References is how many hold it.
	References int
	// Inode is the socket's number.
	Inode uint64
	// Owners are the processes that have it open, if [FindOwners] was asked.
	Owners []Owner
}

// An Owner is a process that has a socket open.
type Owner struct {
	PID  int
	Name string // as in /proc/PID/comm
}

// protocols are the names of protocols (NETLINK_* in linux/netlink.h).
var protocols = map[int]string{
	unix.NETLINK_ROUTE: "route", unix.NETLINK_USERSOCK: "usersock", unix.NETLINK_FIREWALL: "firewall",
	unix.NETLINK_SOCK_DIAG: "sock-diag", unix.NETLINK_NFLOG: "nflog", unix.NETLINK_XFRM: "xfrm", unix.NETLINK_SELINUX: "selinux",
	unix.NETLINK_ISCSI: "iscsi", unix.NETLINK_AUDIT: "audit", unix.NETLINK_FIB_LOOKUP: "fib-lookup",
	unix.NETLINK_CONNECTOR: "connector", unix.NETLINK_NETFILTER: "netfilter", unix.NETLINK_IP6_FW: "ip6-fw",
	unix.NETLINK_DNRTMSG: "dnrtmsg", unix.NETLINK_KOBJECT_UEVENT: "uevent", unix.NETLINK_GENERIC: "generic",
	unix.NETLINK_SCSITRANSPORT: "scsitransport", unix.NETLINK_ECRYPTFS: "ecryptfs", unix.NETLINK_RDMA: "rdma",
	unix.NETLINK_CRYPTO: "crypto", unix.NETLINK_SMC: "smc", wire.NetlinkTest: "test",
}

// ProtocolName returns the name of a protocol, or its number if it has none. 31
// is "test", the usual number of the nlpeer module.
func ProtocolName(protocol int) string {
	if name, ok := protocols[protocol]; ok {
		return name
	}
	return strconv.Itoa(protocol)
}

// ProtocolNames returns all names by their numbers.
func ProtocolNames() []string {
	names := make([]string, 32)
	for n := range names {
		names[n] = ProtocolName(n)
	}
	return names
}

// Sockets lists the netlink sockets of a network namespace, that of an open file
// descriptor or, if that is 0, of the calling thread. It needs no privilege, but
// CAP_SYS_ADMIN for another namespace.
func Sockets(ctx context.Context, netns int) ([]Socket, error) {
	sockets, err := procSockets(netns)
	if err != nil {
		return nil, err
	}
	// A list made a moment later, that knows some things better. Only the first
	// one is complete without the module.
	detailed, err := diagSockets(ctx, netns)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, err
	}
	for i := range sockets {
		s := &sockets[i]
		if d, ok := detailed[key(s)]; ok {
			s.Peer, s.Connected, s.Groups = d.Peer, d.Connected, d.Groups
		}
	}
	slices.SortFunc(sockets, func(a, b Socket) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.PortID, b.PortID))
	})
	return sockets, nil
}

type socketKey struct {
	protocol int
	port     uint32
	inode    uint64
}

// key tells sockets apart.
func key(s *Socket) socketKey { return socketKey{s.Protocol, s.PortID, s.Inode} }

// procSockets reads /proc/net/netlink in a namespace.
func procSockets(netns int) (sockets []Socket, err error) {
	read := func() {
		var b []byte
		if b, err = os.ReadFile("/proc/thread-self/net/netlink"); err == nil {
			sockets, err = ParseProcNetlink(b)
		}
	}
	if netns == 0 {
		read()
		return sockets, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread dies, no state to restore
		if err = unix.Setns(netns, unix.CLONE_NEWNET); err != nil {
			err = os.NewSyscallError("setns", err)
			return
		}
		read()
	}()
	<-done
	return sockets, err
}

// ErrProcNetlink says that a text is not what /proc/net/netlink is like.
var ErrProcNetlink = errors.New("/proc/net/netlink is not understood")

// ParseProcNetlink decodes /proc/net/netlink. It returns an error that is
// [ErrProcNetlink].
func ParseProcNetlink(text []byte) ([]Socket, error) {
	var sockets []Socket
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 0; lines.Scan(); n++ {
		if n == 0 {
			continue // the names of the columns
		}
		// sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
		f := strings.Fields(lines.Text())
		bad := len(f) != 10
		number := func(i, base, bits int) uint64 {
			if bad {
				return 0
			}
			v, err := strconv.ParseUint(f[i], base, bits)
			bad = err != nil
			return v
		}
		s := Socket{
			Protocol: int(number(1, 10, 8)),
			PortID:   uint32(number(2, 10, 32)),
			Groups:   bitmap(binary.LittleEndian.AppendUint32(nil, uint32(number(3, 16, 32)))),
		}
		s.ReceiveQueue, s.SendQueue = uint32(number(4, 10, 32)), uint32(number(5, 10, 32))
		s.References, s.Drops, s.Inode = int(number(7, 10, 31)), uint32(number(8, 10, 32)), number(9, 10, 64)
		if bad {
			return nil, fmt.Errorf("%w: line %d", ErrProcNetlink, n+1)
		}
		sockets = append(sockets, s)
	}
	return sockets, lines.Err()
}

// bitmap returns the groups of a little-endian map, whose bit n-1 is group n.
func bitmap(b []byte) []uint32 {
	var groups []uint32
	for i, c := range b {
		for bit := range uint32(8) {
			if c&(1<<bit) != 0 {
				groups = append(groups, uint32(i)*8+bit+1)
			}
		}
	}
	return groups
}

// What linux/netlink_diag.h has.
const (
	diagAllProtocols = 255 // NDIAG_PROTO_ALL
	diagShowGroups   = 2   // NDIAG_SHOW_GROUPS
	diagGroups       = 1   // NETLINK_DIAG_GROUPS
	diagReqLen       = 20  // struct netlink_diag_req
	diagMsgLen       = 28  // struct netlink_diag_msg
	stateConnected   = 1   // NETLINK_CONNECTED in net/netlink/af_netlink.h
)

// diagSockets asks NETLINK_SOCK_DIAG. Without netlink_diag in the kernel that
// fails with ENOENT.
func diagSockets(ctx context.Context, netns int) (map[socketKey]Socket, error) {
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, &netlink.Config{NetNS: netns})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer limit(ctx, c)()

	req := make([]byte, diagReqLen)
	req[0], req[1] = unix.AF_NETLINK, diagAllProtocols
	binary.NativeEndian.PutUint32(req[8:], diagShowGroups)
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: netlink.Request | netlink.Dump},
		Data:   req,
	})
	if err != nil {
		return nil, done(ctx, err)
	}
	sockets := make(map[socketKey]Socket, len(answers))
	for _, a := range answers {
		s, err := ParseDiag(a.Data)
		if err != nil {
			return nil, err
		}
		sockets[key(&s)] = s
	}
	return sockets, nil
}

// ErrDiag says that an answer of NETLINK_SOCK_DIAG is too short.
var ErrDiag = errors.New("answer of NETLINK_SOCK_DIAG is cut short")

// ParseDiag decodes an answer of NETLINK_SOCK_DIAG about a netlink socket (struct
// netlink_diag_msg and attributes). It returns [ErrDiag] or an error of package
// wire.
func ParseDiag(b []byte) (Socket, error) {
	if len(b) < diagMsgLen {
		return Socket{}, ErrDiag
	}
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	s := Socket{
		Protocol: int(b[2]), PortID: u32(4), Peer: u32(8), Connected: b[3] == stateConnected, Inode: uint64(u32(16)),
	}
	for a, err := range wire.Attrs(b[diagMsgLen:]) {
		if err != nil {
			return Socket{}, err
		}
		if a.Type == diagGroups {
			s.Groups = bitmap(littleEndian(a.Data))
		}
	}
	return s, nil
}

// littleEndian returns a map of the kernel's unsigned longs with the lowest bit
// in the first byte.
func littleEndian(b []byte) []byte {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return b
	}
	const long = strconv.IntSize / 8
	swapped := slices.Clone(b)
	for part := range slices.Chunk(swapped[:len(b)/long*long], long) {
		slices.Reverse(part)
	}
	return swapped
}

// FindOwners sets the Owners of sockets: the processes in the caller's PID
// namespace that have them open. Those of other users are found only by who may
// trace them (ptrace(2)).
func FindOwners(sockets []Socket) {
	found := make(map[uint64][]Owner)
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		entries, err := os.ReadDir(dir + "/fd")
		if err != nil {
			continue // another user's, or gone
		}
		name := ""
		for _, e := range entries {
			link, err := os.Readlink(filepath.Join(dir, "fd", e.Name()))
			if err != nil {
				continue
			}
			number, ok := strings.CutPrefix(link, "socket:[")
			if !ok {
				continue
			}
			inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
			if err != nil {
				continue
			}
			if name == "" {
				comm, _ := os.ReadFile(dir + "/comm")
				name = strings.TrimSuffix(string(comm), "\n")
			}
			if o := (Owner{pid, name}); !slices.Contains(found[inode], o) {
				found[inode] = append(found[inode], o)
			}
		}
	}
	for i := range sockets {
		if s := &sockets[i]; s.PortID != 0 {
			s.Owners = found[s.Inode]
		}
	}
}
