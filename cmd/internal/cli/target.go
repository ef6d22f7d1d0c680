// SPDX-License-Identifier: MIT

package cli

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// A Target is where a command's messages go, and how its output is written: the
// flags that all commands have.
type Target struct {
	Format Format
	NetNS  string

	// Those of AddCarrier and AddSocket.
	Carrier  client.Carrier
	Protocol int
	PortID   uint32
	To       uint32 // 0: the kernel
	pid      string
}

// carriers are the names of those that exist.
var carriers = []string{client.Raw.String(), client.Generic.String(), client.Connector.String(), client.Rtnl.String(), client.UserSock.String()}

// Add defines the flags of every command, for cmd and all below it.
func (t *Target) Add(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	AddFormat(cmd, flags, &t.Format)
	Var(flags, &t.NetNS, parseNetNS, "netns", "n", "", "network namespace to work in: a `NAME` in "+netnsDir+", or a path; needs CAP_SYS_ADMIN")
	CompleteFunc(cmd, "netns", func(prefix string) []string {
		if strings.Contains(prefix, "/") {
			return nil
		}
		return netnsNames(netnsDir)
	})
}

// AddFormat defines the flag of cmd that chooses how output is written.
func AddFormat(cmd *cobra.Command, flags *pflag.FlagSet, to *Format) {
	Var(flags, to, parseFormat, "output", "o", "text", "`FORMAT` of the output: text, or json (one object a line)")
	CompleteFunc(cmd, "output", func(string) []string { return formats })
}

// AddCarrier defines the flags of commands that choose a carrier.
func (t *Target) AddCarrier(cmd *cobra.Command) {
	flags := cmd.Flags()
	Var(flags, &t.Carrier, parseCarrier, "via", "", carriers[0], "`CARRIER` of the messages: raw (protocol NETLINK_TEST), genl (generic netlink family nlpeer), connector (NETLINK_CONNECTOR, in the initial network namespace), rtnl (a protocol family of rtnetlink), or usersock (NETLINK_USERSOCK, on which processes talk to each other)")
	Var(flags, &t.To, parseTo, "to", "", "", "`PORTID` of a process that answers in the kernel's place, with --via usersock or raw, such as nlsub --reply")
	CompleteFunc(cmd, "via", func(string) []string { return carriers })
	CompleteFunc(cmd, "to", func(string) []string { return nil })
	t.AddSocket(cmd)
}

// AddSocket defines the flags of commands that open a socket of their own choice.
func (t *Target) AddSocket(cmd *cobra.Command) {
	flags := cmd.Flags()
	t.AddProtocol(flags)
	t.pid = pids[0]
	Var(flags, &t.PortID, t.parsePID, "pid", "", t.pid, "port ID of our socket, `auto|getpid|thread|N`: chosen by the kernel, the process ID, thread ID << 16 | process ID, or a number")
	CompleteFunc(cmd, "protocol", func(string) []string { return nil })
	CompleteFunc(cmd, "pid", func(string) []string { return pids })
}

// AddProtocol defines the flag of commands that choose a carrier, but no socket.
func (t *Target) AddProtocol(flags *pflag.FlagSet) {
	Var(flags, &t.Protocol, parseProtocol, "protocol", "", "", fmt.Sprintf("`NUMBER` of the raw protocol, if the module was loaded with another than %d", wire.NetlinkTest))
}

// CompleteFunc completes a flag from values, or files once a path was begun.
func CompleteFunc(cmd *cobra.Command, flag string, values func(prefix string) []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if strings.Contains(prefix, "/") {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return values(prefix), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // no such flag
	}
}

// Complete completes a flag from a list of values.
func Complete(cmd *cobra.Command, flag string, values ...string) {
	CompleteFunc(cmd, flag, func(string) []string { return values })
}

// CompleteNothing makes that nothing, not even a file's name, is proposed after
// the flags.
func CompleteNothing(cmd *cobra.Command, flags ...string) {
	for _, flag := range flags {
		Complete(cmd, flag)
	}
}

func parseCarrier(s string) (c client.Carrier, err error) {
	if err := c.UnmarshalText([]byte(s)); err != nil {
		return 0, fmt.Errorf("there is no such carrier; known are: %s", strings.Join(carriers, ", "))
	}
	return c, nil
}

// Protocol numbers that the module takes.
const protocolMin, protocolMax = 23, 31

func parseProtocol(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < protocolMin || n > protocolMax {
		return 0, fmt.Errorf("the module's protocol is a number from %d to %d", protocolMin, protocolMax)
	}
	return n, nil
}

var pids = []string{"auto", "getpid", "thread"}

func parseTo(s string) (uint32, error) {
	// The kernel's own choices are negative where they are shown as int.
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < math.MinInt32 || n > math.MaxUint32 {
		return 0, errors.New("must be a port ID, 0 to 4294967295; 0 is the kernel")
	}
	return uint32(n), nil
}

func (t *Target) parsePID(s string) (uint32, error) {
	t.pid = s
	switch s {
	case "auto":
		return 0, nil
	case "getpid":
		return uint32(os.Getpid()), nil
	case "thread":
		tid, err := threadID()
		return uint32(tid)<<16 | uint32(os.Getpid()), err
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, errors.New("must be auto, getpid, thread, or a number from 1 to 4294967295")
	}
	return uint32(n), nil
}

// threadID returns the ID of a thread of ours, that which happens to run.
func threadID() (int, error) {
	link, err := os.Readlink("/proc/thread-self") // PID/task/TID
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(filepath.Base(link))
}

// Open returns the configuration that reaches the target, and a function to call
// once the socket is open.
func (t *Target) Open() (cfg client.Config, done func(), err error) {
	if t.Protocol != 0 && t.Carrier != client.Raw {
		if t.Carrier != client.Generic {
			return cfg, nil, Usagef("--protocol is for --via raw; %v has a number of its own", t.Carrier)
		}
		return cfg, nil, Usagef("--protocol is for --via raw; generic netlink finds the family by its name")
	}
	if t.To != 0 && t.Carrier != client.Raw && t.Carrier != client.UserSock {
		return cfg, nil, Usagef("--to is for --via raw and usersock; %s is the kernel's", kernels[t.Carrier])
	}
	cfg = client.Config{Carrier: t.Carrier, Protocol: t.Protocol, PortID: t.PortID, To: t.To}
	if t.NetNS == "" {
		return cfg, func() {}, nil
	}
	f, err := openNetNS(netnsDir, t.NetNS)
	if err != nil {
		return cfg, nil, err
	}
	cfg.NetNS = int(f.Fd())
	return cfg, func() { f.Close() }, nil
}

// kernels are the carriers on which nobody but the kernel answers.
var kernels = map[client.Carrier]string{
	client.Generic:   "generic netlink",
	client.Connector: "the connector",
	client.Rtnl:      "rtnetlink",
}

// netnsDir is where ip-netns(8) keeps the namespaces that it names.
const netnsDir = "/run/netns"

func parseNetNS(s string) (string, error) {
	if s == "" {
		return "", errors.New("must be a name or a path")
	}
	return s, nil
}

// openNetNS opens a namespace by its path, or by its name in dir.
func openNetNS(dir, name string) (*os.File, error) {
	path := name
	if !strings.Contains(name, "/") {
		path = filepath.Join(dir, name)
	}
	f, err := os.Open(path)
	switch {
	case err == nil:
		return f, nil
	case path == name || !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("network namespace %s: %w", name, reason(err))
	}
	if names := netnsNames(dir); len(names) > 0 {
		return nil, fmt.Errorf("there is no network namespace %q in %s; there are: %s", name, dir, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("there is no network namespace %q: %s is empty; try: sudo ip netns add %s", name, dir, name)
}

func netnsNames(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// Explain puts an error of package client into the words of a command's user.
func (t *Target) Explain(err error) error {
	var op *client.OpError
	isOp := errors.As(err, &op)
	setup := isOp && (op.Op == "dial" || op.Op == "subscribe" || op.Op == "listen")
	switch {
	case err == nil:
		return nil
	case errors.Is(err, client.ErrNotLoaded):
		return fmt.Errorf("the nlpeer module is not loaded (%s); try: sudo insmod nlpeer.ko, or: make demo", t.unknown())
	case isOp && errors.Is(err, client.ErrNoCarrier):
		return &explained{err, op.Err.Error() + "; try another --via"}
	case setup && errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port ID %d (--pid %s) is in use by another socket; try: --pid auto", t.PortID, t.pid)
	case setup && t.To != 0 && t.NetNS == "" && errors.Is(err, os.ErrPermission):
		return fmt.Errorf("sending to port ID %d on --via %v needs CAP_NET_ADMIN in this network namespace, or the module loaded with user_send=1; try with sudo", t.To, t.Carrier)
	case t.To != 0 && errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody receives at port ID %d on --via %v; try: nlsub --via %v --pid %d --reply", t.To, t.Carrier, t.Carrier, t.To)
	case t.To != 0 && errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("the receive buffer of port ID %d is full", t.To)
	case setup && t.NetNS != "" && errors.Is(err, os.ErrPermission):
		return fmt.Errorf("entering network namespace %s needs CAP_SYS_ADMIN; try with sudo", t.NetNS)
	case setup && t.NetNS != "" && errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("%s is not a network namespace", t.NetNS)
	case isOp && (op.ExtAck != nil || setup):
		return &explained{err, op.Error()}
	case isOp:
		return &explained{err, op.Err.Error()}
	}
	return err
}

// explained is an error in other words.
type explained struct {
	error
	text string
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.error }

// unknown says what the kernel does not know if it does not know the module.
func (t *Target) unknown() string {
	switch t.Carrier {
	case client.Generic:
		return fmt.Sprintf("family %s is unknown to this kernel", wire.FamilyName)
	case client.Connector:
		return "nobody answers on the connector"
	case client.Rtnl:
		return fmt.Sprintf("protocol family %d is unknown to rtnetlink", wire.RtnlFamily)
	}
	n := t.Protocol
	if n == 0 {
		n = wire.NetlinkTest
	}
	return fmt.Sprintf("protocol %d is unknown to this kernel", n)
}
