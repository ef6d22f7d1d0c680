// SPDX-License-Identifier: MIT

package objects_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// What is asked for one object.
func TestOne(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		r := vmtest.Rand(t)
		tb := vmtest.OpenTable(t, c)
		first := vmtest.OpenControl(t).TableStats(t).Generation
		values := [][]byte{vmtest.Bytes(r, 1), vmtest.Bytes(r, 2), vmtest.Bytes(r, 3), vmtest.Bytes(r, 4), {}}
		tb.Must(t, vmtest.NewObject(cre, "one", values...))
		tb.Must(t, vmtest.NewObject(cre, "on"))
		tb.Must(t, vmtest.NewObject(cre, "onf", []byte("x")))

		o, _ := tb.Get(t, "one")
		vmtest.SameObject(t, o, "one", first+1, values...)
		o, _ = tb.Get(t, "on")
		vmtest.SameObject(t, o, "on", first+2)

		tb.Must(t, vmtest.DelObject("one"))
		for _, r := range []vmtest.ObjectRequest{vmtest.DelObject("one"), vmtest.GetObject("one"), vmtest.GetObject("o")} {
			before, ack := tb.Ask(t, r)
			refused(t, before, ack, unix.ENOENT, textUnknown, c.Header)
		}
		o, _ = tb.Get(t, "onf")
		vmtest.SameObject(t, o, "onf", first+3, []byte("x"))
		tb.Must(t, vmtest.DelObjects(""))
	})
}

func keys(objects []vmtest.Object) string {
	var all []string
	for _, o := range objects {
		all = append(all, o.Key)
	}
	return strings.Join(all, " ")
}

// Deletions by prefix: those that have it and no others, or none.
func TestDelMany(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		for _, tt := range []struct {
			name    string
			req     vmtest.ObjectRequest
			deleted int
			left    string
		}{
			{"prefix", vmtest.DelObjects("b"), 3, "a az c \xff"},
			{"longer prefix", vmtest.DelObjects("ba"), 2, "a az b c \xff"},
			{"prefix that is a key", vmtest.DelObjects("bab"), 1, "a az b ba c \xff"},
			{"first", vmtest.DelObjects("a"), 2, "b ba bab c \xff"},
			{"last", vmtest.DelObjects("\xff"), 1, "a az b ba bab c"},
			{"none before", vmtest.DelObjects("A"), 0, "a az b ba bab c \xff"},
			{"none between", vmtest.DelObjects("bb"), 0, "a az b ba bab c \xff"},
			{"none behind", vmtest.DelObjects("\xff\xff"), 0, "a az b ba bab c \xff"},
			{"empty prefix", vmtest.DelObjects(""), 7, ""},
			{"no attribute", vmtest.ObjectRequest{Op: vmtest.ObjectDel, Flags: vmtest.FlagBulk}, 7, ""},
		} {
			t.Run(tt.name, func(t *testing.T) {
				if c == vmtest.GenlCarrier && tt.req.Attrs == nil {
					return // there, it takes a prefix; see TestBadRequests
				}
				tb, stats := vmtest.OpenTable(t, c), vmtest.OpenControl(t)
				for _, k := range []string{"bab", "a", "\xff", "b", "c", "az", "ba"} {
					tb.Must(t, vmtest.NewObject(cre|exc, k, []byte(k)))
				}
				was := stats.TableStats(t)
				tb.Must(t, tt.req)
				is := stats.TableStats(t)
				if is.Generation != was.Generation+uint64(tt.deleted) || is.Count != was.Count-uint32(tt.deleted) {
					t.Errorf("%d objects at generation %d, want %d less than %d, at %d",
						is.Count, is.Generation, tt.deleted, was.Count, was.Generation+uint64(tt.deleted))
				}
				if got := keys(tb.All(t)); got != tt.left {
					t.Errorf("left are %q, want %q", got, tt.left)
				}
				tb.Must(t, vmtest.DelObjects(""))
				if s := stats.TableStats(t); s.Count != 0 || s.Bytes != 0 {
					t.Errorf("%d objects of %d bytes in an empty table", s.Count, s.Bytes)
				}
				tb.Must(t, vmtest.DelObjects("")) // none is no error
			})
		}
	})
}

// Requests that contradict themselves. The table stays as it is.
func TestBadRequests(t *testing.T) {
	const (
		reserved = "nlpeer: ambiguous or reserved bits set in nlmsg_flags"
		// Words of generic netlink's core, before any of ours.
		genlFlags = "ambiguous or reserved bits set in nlmsg_flags"

		noKey    = "nlpeer: an object needs a key"
		emptyKey = "nlpeer: a key has at least one byte"
		bulkKey  = "nlpeer: NLM_F_BULK goes with a prefix, not with a key"
		noBulk   = "nlpeer: deleting by prefix needs NLM_F_BULK"
		both     = "nlpeer: key and prefix contradict each other"
		root     = "nlpeer: NLM_F_ROOT alone asks for all; a prefix needs NLM_F_MATCH"
		match    = "nlpeer: NLM_F_MATCH alone needs a prefix"
		hole     = "Unsupported attribute"
		beyond   = "Unknown attribute type"
	)
	const (
		raw  = 1
		genl = 2
		rtnl = 4
		all  = raw | genl | rtnl
	)
	bit := map[*vmtest.Carrier]int{vmtest.RawCarrier: raw, vmtest.GenlCarrier: genl, vmtest.RtnlCarrier: rtnl}
	generation := vmtest.Attr{Type: vmtest.ObjectGeneration, Data: make([]byte, 8)}
	value := vmtest.Attr{Type: vmtest.ObjectValue, Data: []byte("v")}
	payload := vmtest.Attr{Type: vmtest.ObjectPayload, Data: []byte("p")}
	k, p := vmtest.Key("k"), vmtest.Prefix("k") // 8 bytes each
	const second = 8

	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		for _, tt := range []struct {
			name     string
			carriers int
			op       int
			flags    uint16
			attrs    []vmtest.Attr
			header   uint16 // more flags, also on generic netlink in the header
			text     string
			offset   int // behind the header, -1 for none
			miss     int
		}{
			{"new without key", all, vmtest.ObjectNew, cre, []vmtest.Attr{value}, 0, noKey, -1, 1},
			{"new of nothing", all, vmtest.ObjectNew, cre, nil, 0, noKey, -1, 1},
			{"new with an empty key", all, vmtest.ObjectNew, cre, []vmtest.Attr{vmtest.Key("")}, 0, emptyKey, 0, -1},
			{"new with a prefix", raw | rtnl, vmtest.ObjectNew, cre, []vmtest.Attr{k, p}, 0, beyond, second, -1},
			{"new with a prefix", genl, vmtest.ObjectNew, cre, []vmtest.Attr{k, p}, 0, hole, second, -1},
			{"new with a generation", raw | rtnl, vmtest.ObjectNew, cre, []vmtest.Attr{k, generation}, 0, beyond, second, -1},
			{"new with a generation", genl, vmtest.ObjectNew, cre, []vmtest.Attr{k, generation}, 0, hole, second, -1},
			{"new with a flag of nobody", raw | rtnl, vmtest.ObjectNew, cre, []vmtest.Attr{k}, 0x1000, reserved, -1, -1},
			{"new with NLM_F_DUMP_INTR", raw | rtnl, vmtest.ObjectNew, cre, []vmtest.Attr{k}, 0x10, reserved, -1, -1},
			{"new with NLM_F_CREATE", genl, vmtest.ObjectNew, 0, []vmtest.Attr{k}, cre, genlFlags, -1, -1},

			{"del without key", all, vmtest.ObjectDel, 0, nil, 0, noKey, -1, 1},
			{"del with an empty key", all, vmtest.ObjectDel, 0, []vmtest.Attr{vmtest.Key("")}, 0, emptyKey, 0, -1},
			{"del with a key in bulk", raw | rtnl, vmtest.ObjectDel, 0, []vmtest.Attr{k}, vmtest.FlagBulk, bulkKey, 0, -1},
			{"del with a key in bulk", genl, vmtest.ObjectDel, 0, []vmtest.Attr{k}, vmtest.FlagBulk, genlFlags, -1, -1},
			{"del with both in bulk", raw | rtnl, vmtest.ObjectDel, 0, []vmtest.Attr{k, p}, vmtest.FlagBulk, bulkKey, 0, -1},
			{"del with both", raw | rtnl, vmtest.ObjectDel, 0, []vmtest.Attr{k, p}, 0, noBulk, second, -1},
			{"del with both", genl, vmtest.ObjectDel, 0, []vmtest.Attr{k, p}, 0, both, 0, -1},
			{"del with a prefix alone", raw | rtnl, vmtest.ObjectDel, 0, []vmtest.Attr{p}, 0, noBulk, 0, -1},
			{"del with a value", all, vmtest.ObjectDel, 0, []vmtest.Attr{k, value}, 0, hole, second, -1},
			{"del with NLM_F_ROOT", raw | rtnl, vmtest.ObjectDel, 0, []vmtest.Attr{k}, 0x100, reserved, -1, -1},
			{"del with NLM_F_CREATE", raw | rtnl, vmtest.ObjectDel, 0, []vmtest.Attr{k}, cre, reserved, -1, -1},

			{"get without key", all, vmtest.ObjectGet, 0, nil, 0, noKey, -1, 1},
			{"get with an empty key", all, vmtest.ObjectGet, 0, []vmtest.Attr{vmtest.Key("")}, 0, emptyKey, 0, -1},
			{"get with a prefix", raw | genl, vmtest.ObjectGet, 0, []vmtest.Attr{k, p}, 0, beyond, second, -1},
			{"get with a prefix", rtnl, vmtest.ObjectGet, 0, []vmtest.Attr{k, p}, 0, hole, second, -1},
			{"get with NLM_F_ATOMIC alone", raw | rtnl, vmtest.ObjectGet, 0, []vmtest.Attr{k}, vmtest.FlagAtomic, reserved, -1, -1},
			{"get of key and payload", rtnl, vmtest.ObjectGet, 0, []vmtest.Attr{k, payload}, 0,
				"nlpeer: key and payload contradict each other", second, -1},
			{"get with a payload", raw | genl, vmtest.ObjectGet, 0, []vmtest.Attr{k, payload}, 0, beyond, second, -1},

			{"dump of the root with a prefix", raw | rtnl, vmtest.ObjectGet, vmtest.FlagRoot, []vmtest.Attr{p}, 0, root, 0, -1},
			{"dump of what matches nothing", raw | rtnl, vmtest.ObjectGet, vmtest.FlagMatch, nil, 0, match, -1, 4},
			{"dump of a key", raw | rtnl, vmtest.ObjectGet, vmtest.FlagDump, []vmtest.Attr{k}, 0, hole, 0, -1},
			{"dump of a key", genl, vmtest.ObjectGet, vmtest.FlagDump, []vmtest.Attr{k}, 0, hole, 0, -1},
			{"dump with NLM_F_APPEND", raw | rtnl, vmtest.ObjectGet, vmtest.FlagDump, nil, app, reserved, -1, -1},
		} {
			if tt.carriers&bit[c] == 0 {
				continue
			}
			if tt.text == genlFlags && !vmtest.Has(vmtest.GenlHeader) {
				continue
			}
			t.Run(tt.name, func(t *testing.T) {
				tb, stats := vmtest.OpenTable(t, c), vmtest.OpenControl(t)
				tb.Must(t, vmtest.NewObject(cre|rep, "k", []byte("kept")))
				was := stats.TableStats(t)
				dump := tt.op == vmtest.ObjectGet && tt.flags&vmtest.FlagDump != 0

				req := tb.Encode(vmtest.ObjectRequest{Op: tt.op, Flags: tt.flags, Attrs: tt.attrs})
				req.Flags |= tt.header | unix.NLM_F_ACK
				tb.Send(t, req.Bytes())
				m := tb.RecvOne(t)
				// rtnetlink learns of it when the dump has begun, and so does a
				// family that shares a policy between do and dump (before 6.2).
				if dump && (c == vmtest.RtnlCarrier || c == vmtest.GenlCarrier && m.Type == unix.NLMSG_DONE) {
					errno, text := end(t, m, req)
					if errno != unix.EINVAL || text != tt.text {
						t.Errorf("%v, %q; want EINVAL, %q", errno, text, tt.text)
					}
				} else {
					ack := vmtest.ParseAck(t, m, req)
					offset := tt.offset
					if offset >= 0 {
						offset += c.Header
					}
					refused(t, nil, ack, unix.EINVAL, tt.text, offset)
					if want := vmtest.Miss(tt.miss); ack.Miss != want {
						t.Errorf("missing attribute %d, want %d", ack.Miss, want)
					}
				}
				tb.Empty(t)
				if is := stats.TableStats(t); is.Generation != was.Generation || is.Count != was.Count || is.Snapshots != 0 {
					t.Errorf("the table is %+v, was %+v", is, was)
				}
				o, _ := tb.Get(t, "k")
				if len(o.Values) != 1 || string(o.Values[0]) != "kept" {
					t.Errorf("%+v", o)
				}
				tb.Must(t, vmtest.DelObjects(""))
			})
		}
	})
}

// end takes an NLMSG_DONE apart that answers req at once.
func end(t *testing.T, m, req vmtest.Message) (unix.Errno, string) {
	t.Helper()
	if m.Type != unix.NLMSG_DONE || m.Seq != req.Seq || len(m.Body) < 4 {
		t.Fatalf("not the end of a dump: %+v", m)
	}
	text := ""
	if m.Flags&unix.NLM_F_ACK_TLVS != 0 {
		for _, a := range vmtest.Attrs(t, m.Body[4:]) {
			if a.Type == unix.NLMSGERR_ATTR_MSG {
				text = unix.ByteSliceToString(a.Data)
			}
		}
	}
	return unix.Errno(-vmtest.S32(m.Body)), text
}

// Several requests in one send are handled in order, each with its answer.
func TestBatch(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		tb := vmtest.OpenTable(t, c)
		var reqs []vmtest.Message
		for _, r := range []struct {
			req   vmtest.ObjectRequest
			flags uint16
		}{
			{vmtest.NewObject(cre, "b", []byte("1")), unix.NLM_F_ACK},
			{vmtest.NewObject(app, "b", []byte("2")), 0},
			{vmtest.NewObject(app, "a", []byte("3")), 0}, // refused
			{vmtest.NewObject(app, "b", []byte("4")), unix.NLM_F_ACK},
			{vmtest.GetObject("b"), 0},
		} {
			r.req.Flags |= r.flags
			reqs = append(reqs, tb.Encode(r.req))
		}
		tb.Send(t, vmtest.Join(reqs...))
		got := tb.RecvMany(t, 4)
		for i, want := range []struct {
			req   int
			errno unix.Errno
		}{{0, 0}, {2, unix.ENOENT}, {3, 0}} {
			if a := vmtest.ParseAck(t, got[i], reqs[want.req]); a.Errno != want.errno {
				t.Errorf("request %d: %v, want %v", want.req, a.Errno, want.errno)
			}
		}
		o := tb.Object(t, got[3], 0, false)
		vmtest.SameObject(t, o, "b", o.Generation, []byte("1"), []byte("2"), []byte("4"))
		tb.Empty(t)
		tb.Must(t, vmtest.DelObjects(""))
	})
}
