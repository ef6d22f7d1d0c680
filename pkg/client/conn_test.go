// SPDX-License-Identifier: MIT

package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

var carriers = []client.Carrier{client.Raw, client.Generic}

func eachCarrier(t *testing.T, f func(t *testing.T, carrier client.Carrier)) {
	for _, carrier := range carriers {
		t.Run(carrier.String(), func(t *testing.T) { f(t, carrier) })
	}
}

func TestNotLoaded(t *testing.T) {
	const free = 23 // no kernel has this protocol
	ctx := background(t)
	tests := []struct {
		name string
		cfg  client.Config
		text string
	}{
		{"raw", client.Config{Protocol: free}, "dial: the nlpeer module is not loaded (protocol 23 is unknown to this kernel)"},
		{"generic", client.Config{Carrier: client.Generic}, `dial: the nlpeer module is not loaded (generic netlink family "nlpeer" is unknown to this kernel)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := client.Dial(ctx, tt.cfg)
			if err == nil {
				c.Close()
				t.Skip("the module is loaded here")
			}
			wantError(t, err, client.ErrNotLoaded, os.ErrNotExist)
			diff(t, tt.text, err.Error())
			_, err = client.Subscribe(ctx, tt.cfg)
			wantError(t, err, client.ErrNotLoaded, os.ErrNotExist)
		})
	}
	_, err := client.Dial(ctx, client.Config{Protocol: free})
	wantError(t, err, syscall.EPROTONOSUPPORT)
}

func TestConfigIsChecked(t *testing.T) {
	ctx := background(t)
	dial := func(cfg client.Config) error { _, err := client.Dial(ctx, cfg); return err }
	subscribe := func(cfg client.Config) error { _, err := client.Subscribe(ctx, cfg); return err }
	tests := []struct {
		call func(client.Config) error
		cfg  client.Config
		text string
	}{
		{dial, client.Config{Carrier: 7}, "Config.Carrier"},
		{dial, client.Config{Protocol: 32}, "Config.Protocol"},
		{dial, client.Config{Protocol: -1}, "Config.Protocol"},
		{dial, client.Config{Carrier: client.Generic, Protocol: 31}, "Config.Protocol"},
		{dial, client.Config{Carrier: client.Connector, Protocol: 31}, "Config.Protocol"},
		{dial, client.Config{Carrier: client.Connector, To: 1}, "Config.To"},
		{dial, client.Config{Carrier: client.Rtnl, To: 1}, "Config.To"},
		{dial, client.Config{Carrier: client.Connector, Acknowledge: true}, "the connector acknowledges nothing"},
		{subscribe, client.Config{Carrier: client.Rtnl}, "rtnetlink has no events"},
		{subscribe, client.Config{Carrier: client.Connector, Groups: 1}, "the connector one group"},
		{subscribe, client.Config{Carrier: client.Connector, GroupNames: []string{"beacon"}}, "Config.Groups"},
		{subscribe, client.Config{Carrier: client.Connector, Since: map[uint32]uint64{wire.GroupObjects: 1}}, "group 65537, which is not joined"},
		{subscribe, client.Config{Carrier: client.Generic, Since: map[uint32]uint64{wire.GroupObjects: 1}}, "group 65537, which is not joined"},
		{dial, client.Config{NetNS: -1}, "Config.NetNS"},
		{dial, client.Config{ReceiveBuffer: -1}, "Config.ReceiveBuffer"},
		{dial, client.Config{Timeout: -1}, "Config.Timeout"},
		{dial, client.Config{Groups: 1}, "use Subscribe"},
		{dial, client.Config{Carrier: client.Generic, GroupNames: []string{"beacon"}}, "use Subscribe"},
		{dial, client.Config{AllNSID: true}, "use Subscribe"},
		{subscribe, client.Config{Carrier: client.Generic, Groups: 1}, "Config.GroupNames"},
		{subscribe, client.Config{GroupNames: []string{"beacon"}}, "Config.Groups"},
		{dial, client.Config{NoResync: true}, "use Subscribe"},
		{dial, client.Config{Since: map[uint32]uint64{1: 1}}, "use Subscribe"},
		{subscribe, client.Config{Acknowledge: true}, "use Dial"},
		{subscribe, client.Config{Since: map[uint32]uint64{2: 1}}, "group 2, which is not joined"},
		{subscribe, client.Config{Groups: 2, Since: map[uint32]uint64{1: 1}}, "group 1, which is not joined"},
		{subscribe, client.Config{Since: map[uint32]uint64{wire.GroupBeacon: 1}}, "group 65536, which is not joined"},
		{subscribe, client.Config{Carrier: client.Generic, Since: map[uint32]uint64{1: 1}}, "group 1, which is not joined"},
		{subscribe, client.Config{Carrier: client.Generic, GroupNames: []string{"x"}, Since: map[uint32]uint64{wire.GroupBeacon: 1}}, "not joined"},
	}
	for _, tt := range tests {
		err := tt.call(tt.cfg)
		wantError(t, err, syscall.EINVAL)
		if !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%+v: error %q does not say %q", tt.cfg, err, tt.text)
		}
	}
}

func TestDialWithACancelledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := client.Dial(ctx, client.Config{Carrier: client.Generic})
	wantError(t, err, context.Canceled)
	_, err = client.Subscribe(ctx, client.Config{})
	wantError(t, err, context.Canceled)
}

func TestPortID(t *testing.T) {
	ctx := background(t)
	const port = 0x70000000 + 17
	c, err := client.DialProtocol(ctx, client.Config{PortID: port}, unix.NETLINK_GENERIC)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, uint32(port), c.PortID())
	_, err = client.DialProtocol(ctx, client.Config{PortID: port}, unix.NETLINK_GENERIC)
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("second socket with the same port ID: error is %v", err)
	}
	c.Close()
	c, err = client.DialProtocol(ctx, client.Config{PortID: port}, unix.NETLINK_GENERIC)
	if err != nil {
		t.Fatalf("the port ID is not free after Close: %v", err)
	}
	c.Close()

	c, err = client.DialProtocol(ctx, client.Config{}, unix.NETLINK_GENERIC)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.PortID() == 0 {
		t.Error("automatic port ID is 0")
	}
}

func TestReceiveBuffer(t *testing.T) {
	size := func(n int) int {
		c := must(client.DialProtocol(background(t), client.Config{ReceiveBuffer: n}, unix.NETLINK_GENERIC))(t)
		defer c.Close()
		return must(c.ReceiveBufferSize())(t)
	}
	// The kernel doubles it, for its own bookkeeping.
	diff(t, 2*20000, size(20000))
	if def := size(0); def == 2*20000 || def == 0 {
		t.Errorf("default is %d", def)
	}
}

// The kernel itself: nlctrl, which every kernel has.
const (
	ctrlFamily     = 16
	ctrlNewFamily  = 1
	ctrlGetFamily  = 3
	ctrlAttrID     = 1
	ctrlAttrName   = 2
	ctrlMaxNameLen = 15
)

func getFamily(name string) []byte {
	return wire.AppendString(wire.AppendGenlHeader(nil, wire.GenlHeader{Command: ctrlGetFamily, Version: 1}), ctrlAttrName, name)
}

func dialCtrl(t *testing.T, cfg client.Config) *client.Conn {
	t.Helper()
	c := must(client.DialFamily(background(t), cfg, "nlctrl"))(t)
	t.Cleanup(func() { c.Close() })
	return c
}

func familyID(t *testing.T, m wire.Message) uint16 {
	t.Helper()
	h, attrs, err := wire.ParseGenl(m.Body)
	if err != nil || h.Command != ctrlNewFamily {
		t.Fatalf("answer has %+v, error %v", h, err)
	}
	for a, err := range wire.Attrs(attrs) {
		if err != nil {
			t.Fatal(err)
		}
		if a.Type == ctrlAttrID {
			return must(a.Uint16())(t)
		}
	}
	t.Fatal("answer has no ID")
	return 0
}

func TestKernelAnswers(t *testing.T) {
	c := dialCtrl(t, client.Config{})
	for range 3 {
		answers, err := c.Request(background(t), ctrlFamily, wire.FlagRequest, getFamily("nlctrl"))
		if err != nil || len(answers) != 1 {
			t.Fatalf("%d answers, error %v", len(answers), err)
		}
		diff(t, uint16(ctrlFamily), familyID(t, answers[0]))
		diff(t, c.PortID(), answers[0].PortID)
	}
	diff(t, client.Counters{}, c.Counters())
}

// An acknowledgment besides the answer must not be left for the next call.
func TestKernelAnswersAndAcknowledges(t *testing.T) {
	c := dialCtrl(t, client.Config{})
	for range 3 {
		answers, err := c.Request(background(t), ctrlFamily, wire.FlagRequest|wire.FlagAck, getFamily("nlctrl"))
		if err != nil || len(answers) != 1 {
			t.Fatalf("%d answers, error %v", len(answers), err)
		}
	}
	diff(t, client.Counters{}, c.Counters())
}

// One that nobody waited for is dropped by the next call.
func TestUnreadAcknowledgmentIsStale(t *testing.T) {
	c := dialCtrl(t, client.Config{})
	err := c.Call(background(t), ctrlGetFamily, wire.AppendString(nil, ctrlAttrName, "nlctrl"), func([]byte) error { return nil })
	wantError(t, err, syscall.EBADMSG) // nlctrl answers by another command
	for range 3 {
		if _, err := c.Request(background(t), ctrlFamily, wire.FlagRequest, getFamily("nlctrl")); err != nil {
			t.Fatal(err)
		}
	}
	diff(t, client.Counters{}, c.Counters())

	// This time with an acknowledgment, which is still queued when the call
	// fails.
	c = dialCtrl(t, client.Config{Acknowledge: true})
	err = c.Call(background(t), ctrlGetFamily, wire.AppendString(nil, ctrlAttrName, "nlctrl"), func([]byte) error { return nil })
	wantError(t, err, syscall.EBADMSG)
	answers, err := c.Request(background(t), ctrlFamily, wire.FlagRequest, getFamily("nlctrl"))
	if err != nil || len(answers) != 1 {
		t.Fatalf("%d answers, error %v", len(answers), err)
	}
	diff(t, client.Counters{Stale: 1}, c.Counters())
}

func TestKernelRefuses(t *testing.T) {
	c := dialCtrl(t, client.Config{})
	long := strings.Repeat("x", ctrlMaxNameLen+1)
	err := c.Call(background(t), ctrlGetFamily, wire.AppendString(nil, ctrlAttrName, long), nil)
	wantError(t, err, syscall.EINVAL)
	var op *client.OpError
	if !errors.As(err, &op) || op.ExtAck == nil {
		t.Fatalf("error %v has no extended acknowledgment", err)
	}
	x := op.ExtAck
	if x.Text == "" {
		t.Error("no text")
	}
	diff(t, uint32(20), x.Offset)
	diff(t, wire.PolicyNulString, x.Policy.Type)
	diff(t, uint32(ctrlMaxNameLen), x.Policy.MaxLen)
	for _, word := range []string{"call: ", "invalid argument", x.Text, "offset 20", "nul-string of at most 15 bytes"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q has several lines", err)
	}

	// The next call is not affected.
	if _, err := c.Request(background(t), ctrlFamily, wire.FlagRequest, getFamily("nlctrl")); err != nil {
		t.Error(err)
	}
}

func TestFamilyThatIsGone(t *testing.T) {
	c := dialCtrl(t, client.Config{})
	_, err := c.Request(background(t), 0x3ff0, wire.FlagRequest, wire.AppendGenlHeader(nil, wire.GenlHeader{Command: 1}))
	wantError(t, err, client.ErrNotLoaded, os.ErrNotExist, syscall.ENOENT)
}

func TestUnprivileged(t *testing.T) {
	ctx := background(t)
	err := inThread(t, func() error {
		if err := dropCapabilities(); err != nil {
			return err
		}
		c, err := client.DialFamily(ctx, client.Config{}, "nlctrl")
		if err != nil {
			return fmt.Errorf("dial: %w", err)
		}
		defer c.Close()
		if _, err := c.Request(ctx, ctrlFamily, wire.FlagRequest, getFamily("nlctrl")); err != nil {
			return err
		}
		// A second socket in the same namespace takes no privilege.
		g, err := c.SameNamespace(ctx, unix.NETLINK_GENERIC)
		if err != nil {
			return fmt.Errorf("second socket: %w", err)
		}
		g.Close()

		if s, err := client.SubscribeFamily(ctx, client.Config{AllNSID: true, GroupNames: []string{"notify"}}, "nlctrl"); !errors.Is(err, os.ErrPermission) {
			if err == nil {
				s.Close()
			}
			return fmt.Errorf("all namespaces: error is %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestNetNS(t *testing.T) {
	ctx := background(t)
	ns := newNetNS(t)
	here := must(client.DialProtocol(ctx, client.Config{}, unix.NETLINK_GENERIC))(t)
	defer here.Close()
	there := must(client.DialProtocol(ctx, client.Config{NetNS: ns}, unix.NETLINK_GENERIC))(t)
	defer there.Close()

	cookie := func(c *client.Conn) uint64 { return must(c.NetNSCookie())(t) }
	if cookie(here) == cookie(there) {
		t.Fatal("the socket is in this namespace")
	}
	second := must(here.SameNamespace(ctx, unix.NETLINK_GENERIC))(t)
	defer second.Close()
	diff(t, cookie(here), cookie(second))

	// The Config's descriptor may have become that of something else.
	if err := unix.Dup3(must(unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0))(t), ns, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	second = must(there.SameNamespace(ctx, unix.NETLINK_GENERIC))(t)
	defer second.Close()
	diff(t, cookie(there), cookie(second))
}

// A thread that was elsewhere when it dialled.
func TestNamespaceOfTheThread(t *testing.T) {
	ctx := background(t)
	ns := newNetNS(t)
	var c *client.Conn
	err := inThread(t, func() (err error) {
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return err
		}
		c, err = client.DialProtocol(ctx, client.Config{}, unix.NETLINK_GENERIC)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	second := must(c.SameNamespace(ctx, unix.NETLINK_GENERIC))(t)
	defer second.Close()
	diff(t, must(c.NetNSCookie())(t), must(second.NetNSCookie())(t))
}

// A thread that has moved to where a socket like the second can not be opened.
func TestNamespaceOfTheThreadRefuses(t *testing.T) {
	ctx := background(t)
	ns := newNetNS(t)
	taken := newUser(t).port // in this namespace alone
	var there *client.Conn
	err := inThread(t, func() (err error) {
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return err
		}
		there, err = client.DialProtocol(ctx, client.Config{}, unix.NETLINK_GENERIC)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	second, err := there.SameNamespaceWith(ctx, unix.NETLINK_USERSOCK, taken)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	diff(t, must(there.NetNSCookie())(t), must(second.NetNSCookie())(t))

	// Who may not ask for the namespace has the first error, and so has the socket
	// that is there.
	err = inThread(t, func() error {
		if err := dropCapabilities(); err != nil {
			return err
		}
		if g, err := there.SameNamespaceWith(ctx, unix.NETLINK_USERSOCK, taken); !errors.Is(err, syscall.EADDRINUSE) {
			if err == nil {
				g.Close()
			}
			return fmt.Errorf("unprivileged: error is %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	here := must(client.DialProtocol(ctx, client.Config{}, unix.NETLINK_GENERIC))(t)
	defer here.Close()
	if g, err := here.SameNamespaceWith(ctx, unix.NETLINK_USERSOCK, taken); !errors.Is(err, syscall.EADDRINUSE) {
		if err == nil {
			g.Close()
		}
		t.Errorf("in the same namespace: error is %v", err)
	}
}

func TestBadNetNS(t *testing.T) {
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = client.Dial(background(t), client.Config{Carrier: client.Generic, NetNS: int(f.Fd())})
	wantError(t, err, syscall.EINVAL)
}

func TestEcho(t *testing.T) {
	eachCarrier(t, func(t *testing.T, carrier client.Carrier) {
		c := dialSelf(t, client.Config{Carrier: carrier})
		for _, n := range []int{0, 1, 2, 3, 4, 5, 63, 64, 127, 128, 129, 4096, 8191, 8192, 8193, wire.PayloadMax - 1, wire.PayloadMax} {
			payload := make([]byte, n)
			for i := range payload {
				payload[i] = byte(i*7 + n)
			}
			got, err := c.Echo(background(t), payload)
			if err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
			if !bytes.Equal(payload, got) {
				t.Fatalf("%d bytes come back as %d others", n, len(got))
			}
		}
		diff(t, client.Counters{}, c.Counters())
	})
}

func TestAppendEcho(t *testing.T) {
	c := dialSelf(t, client.Config{})
	got := must(c.AppendEcho(background(t), []byte("before "), []byte("payload")))(t)
	diff(t, "before payload", string(got))

	// dst and payload may be the same memory.
	b := append(make([]byte, 0, 16), "abcdefgh"...)
	got = must(c.AppendEcho(background(t), b[:2], b[:4]))(t)
	diff(t, "ababcd", string(got))

	dst := []byte("before")
	got, err := c.AppendEcho(background(t), dst, make([]byte, wire.PayloadMax+1))
	wantError(t, err, syscall.EMSGSIZE)
	diff(t, "before", string(got))
	diff(t, "echo: payload of 32769 bytes is longer than 32768", err.Error())
}

func TestEchoAllocatesNothing(t *testing.T) {
	eachCarrier(t, func(t *testing.T, carrier client.Carrier) {
		c := dialSelf(t, client.Config{Carrier: carrier})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		payload := bytes.Repeat([]byte("x"), 64)
		check := func(name string, f func() ([]byte, error)) {
			t.Helper()
			var n int
			allocs := testing.AllocsPerRun(200, func() {
				b, err := f()
				if err != nil {
					t.Fatal(err)
				}
				n = len(b)
			})
			if allocs != 0 || n != len(payload) {
				t.Errorf("%s: %v allocations, %d bytes", name, allocs, n)
			}
		}
		dst := make([]byte, 0, 64)
		check("AppendEcho", func() ([]byte, error) { return c.AppendEcho(ctx, dst, payload) })

		allocs := testing.AllocsPerRun(200, func() {
			b, err := c.Echo(ctx, payload)
			if err != nil || len(b) != len(payload) {
				t.Fatal(len(b), err)
			}
		})
		if allocs != 0 {
			t.Errorf("Echo: %v allocations", allocs)
		}
	})
}

func TestConcurrentEcho(t *testing.T) {
	c := dialSelf(t, client.Config{})
	ctx := background(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var dst []byte
			for i := range 300 {
				payload := fmt.Appendf(nil, "goroutine %d call %d", g, i)
				var err error
				dst, err = c.AppendEcho(ctx, dst[:0], payload)
				if err != nil {
					t.Error(err)
					return
				}
				if !bytes.Equal(payload, dst) {
					t.Errorf("%q comes back as %q", payload, dst)
					return
				}
			}
		})
	}
	wg.Wait()
	diff(t, client.Counters{}, c.Counters())
}

// startEcho starts an echo and returns once the peer has it.
func startEcho(ctx context.Context, c *client.Conn, u *user, payload string) (<-chan result[[]byte], wire.Message) {
	u.t.Helper()
	r := async(func() ([]byte, error) { return c.Echo(ctx, []byte(payload)) })
	m, from := u.receive()
	if from != c.PortID() {
		u.t.Fatalf("request is from port ID %d, not %d", from, c.PortID())
	}
	return r, m
}

func TestRequestBytes(t *testing.T) {
	eachCarrier(t, func(t *testing.T, carrier client.Carrier) {
		for _, acknowledge := range []bool{false, true} {
			c, u := dialUser(t, client.Config{Carrier: carrier, Acknowledge: acknowledge})
			r, m := startEcho(background(t), c, u, "hello")
			want := wire.Message{Header: wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest}, Body: []byte("hello")}
			if carrier == client.Generic {
				want.Type = client.UserFamily
				want.Body = wire.AppendAttr(wire.AppendGenlHeader(nil, wire.GenlHeader{Command: wire.CmdEcho, Version: 1}), 1, []byte("hello"))
			}
			if acknowledge {
				want.Flags |= wire.FlagAck
			}
			want.Len, want.Seq = uint32(wire.HeaderLen+len(want.Body)), m.Seq
			diff(t, want, m)
			u.send(c.PortID(), answer(m, c.PortID(), m.Body))
			if acknowledge {
				u.send(c.PortID(), ack(m, c.PortID(), 0, nil))
			}
			got, err := await(t, r)
			if err != nil || string(got) != "hello" {
				t.Errorf("got %q, error %v", got, err)
			}
		}
	})
}

func TestAnswerThatIsLate(t *testing.T) {
	c, u := dialUser(t, client.Config{})
	r, m := startEcho(background(t), c, u, "hello")
	eventually(t, "the call waits", func() bool { return c.Waiting() == 1 })
	u.send(c.PortID(), answer(m, c.PortID(), m.Body))
	got, err := await(t, r)
	if err != nil || string(got) != "hello" {
		t.Errorf("got %q, error %v", got, err)
	}
}

// An answer that comes right before the end of the context came in time, though who
// waits is woken up by the end.
func TestAnswerAtTheEnd(t *testing.T) {
	// With one processor, the call goes on after both have happened.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	c, u := dialUser(t, client.Config{})
	for range 20 {
		ctx, cancel := context.WithCancel(background(t))
		r, m := startEcho(ctx, c, u, "hello")
		eventually(t, "the call sleeps", c.Sleeps)
		u.send(c.PortID(), answer(m, c.PortID(), m.Body))
		cancel()
		if got, err := await(t, r); err != nil || string(got) != "hello" {
			t.Fatalf("got %q, error %v", got, err)
		}
	}
	diff(t, client.Counters{}, c.Counters())
}

func TestAcknowledgmentWithAnswer(t *testing.T) {
	eachCarrier(t, func(t *testing.T, carrier client.Carrier) {
		for name, together := range map[string]bool{"apart": false, "in one datagram": true} {
			t.Run(name, func(t *testing.T) {
				c, u := dialUser(t, client.Config{Carrier: carrier, Acknowledge: true})
				for range 3 {
					r, m := startEcho(background(t), c, u, "hello")
					a, b := answer(m, c.PortID(), m.Body), ack(m, c.PortID(), 0, nil)
					if together {
						u.send(c.PortID(), append(a, b...))
					} else {
						u.send(c.PortID(), a)
						u.send(c.PortID(), b)
					}
					got, err := await(t, r)
					if err != nil || string(got) != "hello" {
						t.Fatalf("got %q, error %v", got, err)
					}
				}
				diff(t, client.Counters{}, c.Counters())
			})
		}
	})
}

func TestRefusal(t *testing.T) {
	c, u := dialUser(t, client.Config{})
	r, m := startEcho(background(t), c, u, "hello")
	ext := wire.AppendString(nil, 1, "no\nsuch  thing")
	ext = wire.AppendUint32(ext, 5, 3)
	ext = wire.AppendUint32(ext, 6, 24)
	ext = wire.AppendAttr(ext, 3, []byte{0xca, 0xfe})
	u.send(c.PortID(), ack(m, c.PortID(), syscall.EPERM, ext))
	got, err := await(t, r)
	wantError(t, err, syscall.EPERM, os.ErrPermission)
	diff(t, 0, len(got))
	diff(t, "echo: operation not permitted: no such thing (attribute 3 is missing in the nest at offset 24, cookie cafe)", err.Error())
	var op *client.OpError
	if errors.As(err, &op) {
		diff(t, &client.ExtAck{Text: "no\nsuch  thing", MissingType: 3, MissingNest: 24, Cookie: []byte{0xca, 0xfe}}, op.ExtAck)
	}
}

func TestRefusalThatIsHalfUnreadable(t *testing.T) {
	c, u := dialUser(t, client.Config{})
	r, m := startEcho(background(t), c, u, "hello")
	u.send(c.PortID(), ack(m, c.PortID(), syscall.EPERM, []byte{0, 0, 0, 0}))
	_, err := await(t, r)
	wantError(t, err, syscall.EPERM)
}

func TestStaleAnswers(t *testing.T) {
	c, u := dialUser(t, client.Config{})
	ctx, cancel := context.WithCancel(background(t))
	r, first := startEcho(ctx, c, u, "first")
	cancel()
	_, err := await(t, r)
	wantError(t, err, context.Canceled)

	u.send(c.PortID(), answer(first, c.PortID(), first.Body))
	u.send(c.PortID(), ack(first, c.PortID(), syscall.EIO, nil))
	r, second := startEcho(background(t), c, u, "second")
	u.send(c.PortID(), answer(second, c.PortID(), second.Body))
	got, err := await(t, r)
	if err != nil || string(got) != "second" {
		t.Errorf("got %q, error %v", got, err)
	}
	diff(t, client.Counters{Stale: 2}, c.Counters())
}

// Stale answers behind the right one in its datagram.
func TestStaleAnswersInOneDatagram(t *testing.T) {
	c, u := dialUser(t, client.Config{})
	r, m := startEcho(background(t), c, u, "first")
	a := answer(m, c.PortID(), m.Body)
	u.send(c.PortID(), bytes.Join([][]byte{a, a, a}, nil))
	if _, err := await(t, r); err != nil {
		t.Fatal(err)
	}
	r, m = startEcho(background(t), c, u, "second")
	u.send(c.PortID(), answer(m, c.PortID(), m.Body))
	got, err := await(t, r)
	if err != nil || string(got) != "second" {
		t.Errorf("got %q, error %v", got, err)
	}
	diff(t, client.Counters{Stale: 2}, c.Counters())
}

func TestAnswerForSomebodyElse(t *testing.T) {
	c, u := dialUser(t, client.Config{})
	r, m := startEcho(background(t), c, u, "hello")
	u.send(c.PortID(), answer(m, c.PortID()+1, []byte("wrong")))
	u.send(c.PortID(), answer(m, c.PortID(), m.Body))
	got, err := await(t, r)
	if err != nil || string(got) != "hello" {
		t.Errorf("got %q, error %v", got, err)
	}
	diff(t, client.Counters{Foreign: 1}, c.Counters())
}

func TestForeignSenderIsRefused(t *testing.T) {
	c, _ := dialUser(t, client.Config{})
	stranger := newUser(t)
	err := stranger.trySend(c.PortID(), wire.AppendMessage(nil, wire.Header{Type: wire.MsgEcho}, nil))
	if err != unix.ECONNREFUSED {
		t.Errorf("error is %v, want %v", err, unix.ECONNREFUSED)
	}

	// The kernel as the peer.
	c = must(client.DialProtocol(background(t), client.Config{}, unix.NETLINK_USERSOCK))(t)
	defer c.Close()
	if err := stranger.trySend(c.PortID(), wire.AppendMessage(nil, wire.Header{}, nil)); err != unix.ECONNREFUSED {
		t.Errorf("error is %v, want %v", err, unix.ECONNREFUSED)
	}
}

func TestMalformedAnswers(t *testing.T) {
	eachCarrier(t, func(t *testing.T, carrier client.Carrier) {
		c, u := dialUser(t, client.Config{Carrier: carrier})
		tests := []struct {
			name   string
			damage func(m wire.Message, b []byte) []byte
		}{
			{"a few bytes", func(_ wire.Message, b []byte) []byte { return b[:7] }},
			{"length 0", func(m wire.Message, b []byte) []byte {
				wire.PutHeader(b, wire.Header{Type: m.Type, Seq: m.Seq, PortID: c.PortID()})
				return b
			}},
			{"length too great", func(m wire.Message, b []byte) []byte {
				wire.PutHeader(b, wire.Header{Len: 1 << 30, Type: m.Type, Seq: m.Seq, PortID: c.PortID()})
				return b
			}},
			{"another type", func(m wire.Message, b []byte) []byte {
				wire.PutHeader(b, wire.Header{Len: uint32(len(b)), Type: 0x99, Seq: m.Seq, PortID: c.PortID()})
				return b
			}},
			{"error without a body", func(m wire.Message, b []byte) []byte {
				return wire.AppendMessage(nil, wire.Header{Type: wire.MsgError, Seq: m.Seq, PortID: c.PortID()}, nil)
			}},
		}
		if carrier == client.Generic {
			tests = append(tests, []struct {
				name   string
				damage func(m wire.Message, b []byte) []byte
			}{
				{"no generic header", func(m wire.Message, b []byte) []byte { return answer(m, c.PortID(), nil) }},
				{"no payload", func(m wire.Message, b []byte) []byte { return answer(m, c.PortID(), m.Body[:4]) }},
				{"another command", func(m wire.Message, b []byte) []byte {
					m.Body[0] = 99
					return answer(m, c.PortID(), m.Body)
				}},
				{"attribute of length 0", func(m wire.Message, b []byte) []byte {
					m.Body[4], m.Body[5] = 0, 0
					return answer(m, c.PortID(), m.Body)
				}},
			}...)
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				r, m := startEcho(background(t), c, u, "hello")
				u.send(c.PortID(), tt.damage(m, answer(m, c.PortID(), bytes.Clone(m.Body))))
				_, err := await(t, r)
				wantError(t, err)

				r, m = startEcho(background(t), c, u, "next")
				u.send(c.PortID(), answer(m, c.PortID(), m.Body))
				got, err := await(t, r)
				if err != nil || string(got) != "next" {
					t.Errorf("the next call gets %q, error %v", got, err)
				}
			})
		}
	})
}

func TestTruncatedAnswer(t *testing.T) {
	u := newUser(t)
	c := must(client.DialUser(background(t), client.Config{}, u.port, 128))(t)
	defer c.Close()

	r, m := startEcho(background(t), c, u, "first")
	u.send(c.PortID(), answer(m, c.PortID(), make([]byte, 200)))
	_, err := await(t, r)
	wantError(t, err, client.ErrTruncated)

	// A stale one is not an error of the next call.
	r, second := startEcho(background(t), c, u, "second")
	u.send(c.PortID(), answer(m, c.PortID(), make([]byte, 200)))
	u.send(c.PortID(), answer(second, c.PortID(), second.Body))
	got, err := await(t, r)
	if err != nil || string(got) != "second" {
		t.Errorf("got %q, error %v", got, err)
	}
	diff(t, client.Counters{Stale: 1}, c.Counters())
}

func TestContextOfACall(t *testing.T) {
	t.Run("cancelled before", func(t *testing.T) {
		c := dialSelf(t, client.Config{})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := c.Echo(ctx, nil)
		wantError(t, err, context.Canceled)
	})
	t.Run("cancelled while it waits", func(t *testing.T) {
		c, u := dialUser(t, client.Config{})
		ctx, cancel := context.WithCancel(context.Background())
		r, _ := startEcho(ctx, c, u, "hello")
		cancel()
		_, err := await(t, r)
		wantError(t, err, context.Canceled)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("error %v is a timeout", err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		c, _ := dialUser(t, client.Config{Timeout: time.Hour})
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		defer cancel()
		_, err := c.Echo(ctx, nil)
		wantError(t, err, context.DeadlineExceeded, os.ErrDeadlineExceeded)
		var op *client.OpError
		if !errors.As(err, &op) || !op.Timeout() {
			t.Errorf("error %v is no timeout", err)
		}
	})
	t.Run("timeout", func(t *testing.T) {
		c, u := dialUser(t, client.Config{Timeout: 5 * time.Millisecond})
		r, m := startEcho(context.Background(), c, u, "hello")
		_, err := await(t, r)
		wantError(t, err, os.ErrDeadlineExceeded)
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v is one of the context", err)
		}

		// The next call has time of its own, and one with a deadline does not
		// obey the timeout.
		r, next := startEcho(background(t), c, u, "next")
		u.send(c.PortID(), answer(m, c.PortID(), m.Body))
		u.send(c.PortID(), answer(next, c.PortID(), next.Body))
		got, err := await(t, r)
		if err != nil || string(got) != "next" {
			t.Errorf("the next call gets %q, error %v", got, err)
		}
	})
}

// A call that waits for another one gives up by itself.
func TestContextOfACallThatWaitsForAnother(t *testing.T) {
	c, u := dialUser(t, client.Config{})
	first, m := startEcho(background(t), c, u, "first")
	ctx, cancel := context.WithCancel(context.Background())
	second := async(func() ([]byte, error) { return c.Echo(ctx, []byte("second")) })
	eventually(t, "two calls", func() bool { return c.Waiting() == 2 })
	cancel()
	_, err := await(t, second)
	wantError(t, err, context.Canceled)
	diff(t, 1, c.Waiting())

	u.send(c.PortID(), answer(m, c.PortID(), m.Body))
	if _, err := await(t, first); err != nil {
		t.Error(err)
	}
	diff(t, client.Counters{}, c.Counters())
}

func TestTimeoutCountsWhileWaitingForAnother(t *testing.T) {
	c, u := dialUser(t, client.Config{Timeout: 5 * time.Millisecond})
	first, m := startEcho(background(t), c, u, "first")
	_, err := c.Echo(context.Background(), nil)
	wantError(t, err, os.ErrDeadlineExceeded)
	u.send(c.PortID(), answer(m, c.PortID(), m.Body))
	if _, err := await(t, first); err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	c, u := dialUser(t, client.Config{})
	first, _ := startEcho(context.Background(), c, u, "first")
	second := async(func() ([]byte, error) { return c.Echo(context.Background(), []byte("second")) })
	eventually(t, "two calls", func() bool { return c.Waiting() == 2 })

	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for _, r := range []<-chan result[[]byte]{first, second} {
		_, err := await(t, r)
		wantError(t, err, net.ErrClosed, os.ErrClosed)
	}
	wantError(t, c.Close(), net.ErrClosed, os.ErrClosed)
	_, err := c.Echo(context.Background(), nil)
	wantError(t, err, net.ErrClosed, os.ErrClosed)
	_, err = c.Stats(context.Background())
	wantError(t, err, net.ErrClosed, os.ErrClosed)
	_, err = c.Subscribe(context.Background())
	wantError(t, err, net.ErrClosed, os.ErrClosed)
	diff(t, "echo: use of closed netlink socket", func() string { _, err := c.Echo(context.Background(), nil); return err.Error() }())
}

// A call that is about to wait when Close comes.
func TestCloseJustBeforeWaiting(t *testing.T) {
	c, _ := dialUser(t, client.Config{})
	_, err := await(t, async(func() (struct{}, error) { return struct{}{}, c.CloseThenWait(context.Background()) }))
	wantError(t, err, net.ErrClosed)
}

// Close while calls come and go: each call is carried out or fails with
// ErrClosed, and none touches a descriptor that is somebody else's by then.
func TestCloseUnderLoad(t *testing.T) {
	for range 50 {
		c, err := client.DialUser(background(t), client.Config{}, 0, 0)
		needs(t, "NETLINK_USERSOCK", err)
		var wg sync.WaitGroup
		started := make(chan struct{}, 4)
		for range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					_, err := c.Echo(context.Background(), []byte("hello"))
					if i == 0 {
						started <- struct{}{}
					}
					if err != nil {
						if !errors.Is(err, net.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		for range 4 {
			<-started
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}

func TestCloseAndCancelTogether(t *testing.T) {
	for range 100 {
		c, u := dialUser(t, client.Config{})
		ctx, cancel := context.WithCancel(context.Background())
		r, _ := startEcho(ctx, c, u, "hello")
		go cancel()
		go c.Close()
		_, err := await(t, r)
		if !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
			t.Fatalf("error is %v", err)
		}
		cancel()
	}
}

// Answers that nobody took fill the receive buffer, and the one that is waited
// for finds no room.
func TestConnOverrun(t *testing.T) {
	c := dialCtrl(t, client.Config{ReceiveBuffer: 4096})
	for range 2 {
		sent := uint64(0)
		for ; sent < 100; sent++ {
			if err := c.Send(wire.MsgNoop, wire.FlagRequest|wire.FlagAck); err != nil {
				t.Fatal(err)
			}
		}
		before := c.Counters()
		_, err := c.Request(background(t), ctrlFamily, wire.FlagRequest, getFamily("nlctrl"))
		wantError(t, err, syscall.ENOBUFS)
		var overrun *client.OverrunError
		if !errors.As(err, &overrun) {
			t.Fatalf("error %v is no OverrunError", err)
		}
		after := c.Counters()
		diff(t, before.Overruns+1, after.Overruns)
		diff(t, after.Overruns, overrun.Count)
		if stale := after.Stale - before.Stale; stale == 0 || stale >= sent {
			t.Errorf("%d of %d answers were stale", stale, sent)
		}

		answers, err := c.Request(background(t), ctrlFamily, wire.FlagRequest, getFamily("nlctrl"))
		if err != nil || len(answers) != 1 {
			t.Fatalf("the next call gets %d answers, error %v", len(answers), err)
		}
	}
}

// polled tells whether a file descriptor is in an epoll instance of this
// process.
func polled(t *testing.T, fd int) bool {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, e := range fds {
		if link, _ := os.Readlink("/proc/self/fd/" + e.Name()); !strings.Contains(link, "eventpoll") {
			continue
		}
		found = true
		info, err := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(info)) {
			var tfd int
			if _, err := fmt.Sscanf(line, "tfd: %d", &tfd); err == nil && tfd == fd {
				return true
			}
		}
	}
	if !found {
		t.Fatal("no epoll instance")
	}
	return false
}

// The poller learns of each answer to a socket that is in it, which costs a
// system call more.
func TestConnIsInNoPoller(t *testing.T) {
	c, u := dialUser(t, client.Config{})
	for range 2 {
		if polled(t, c.FD()) {
			t.Error("the socket is in the poller")
		}
		// A call that waits leaves it as it was.
		r, m := startEcho(background(t), c, u, "hello")
		eventually(t, "the call waits", func() bool { return c.Waiting() == 1 })
		u.send(c.PortID(), answer(m, c.PortID(), m.Body))
		if _, err := await(t, r); err != nil {
			t.Error(err)
		}
	}

	s, _ := subscribeUser(t, client.Config{})
	if !polled(t, s.FD()) {
		t.Error("the socket of a Subscription is not in the poller")
	}
}

// Descriptors come back, also those of calls that had to wait.
func TestNoDescriptorIsLeft(t *testing.T) {
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	u := newUser(t)
	round := func() {
		c := must(client.DialUser(background(t), client.Config{}, u.port, 0))(t)
		ctx, cancel := context.WithCancel(context.Background())
		r, _ := startEcho(ctx, c, u, "hello")
		cancel()
		_, err := await(t, r)
		wantError(t, err, context.Canceled)
		c.Close()
		if s, err := client.SubscribeUser(background(t), client.Config{}, u.port, 0); err == nil {
			s.Close()
		}
		_, err = client.SubscribeFamily(background(t), client.Config{GroupNames: []string{"nope"}}, "nlctrl")
		if !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		_, _ = client.Dial(background(t), client.Config{Protocol: 23})
	}
	round()
	before := count()
	for range 5 {
		round()
	}
	diff(t, before, count())
}
