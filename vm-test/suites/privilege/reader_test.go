// SPDX-License-Identifier: MIT

package privilege_test

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// Where a socket has no room, the kernel begins a dump when somebody reads. What
// that one may do is not what the asker may.
func TestReaderIsNotTheAsker(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	family := vmtest.Nlpeer(t).ID
	echo := map[*vmtest.Carrier]vmtest.Message{
		vmtest.RawCarrier:  vmtest.NewEcho(1, nil),
		vmtest.GenlCarrier: vmtest.NewGenl(family, vmtest.CmdEcho, 1, vmtest.Attr{Type: 1}),
		vmtest.RtnlCarrier: vmtest.NewRtnlEcho(1, nil),
	}
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		root := vmtest.OpenTable(t, vmtest.RawCarrier)
		root.Must(t, vmtest.NewObject(vmtest.FlagCreate, "there"))
		for _, flags := range []uint16{0, vmtest.FlagAtomic} {
			dump := c.Encode(family, 2, vmtest.GetObjects(flags))
			var s *vmtest.Socket
			asUser(t, vmtest.Nobody, func() (err error) {
				if s, err = vmtest.TryOpen(c.Protocol, 0, 0); err != nil {
					return err
				}
				for range 500 { // small ones, so that no room is left
					if err := s.TrySend(echo[c].Bytes()); err != nil {
						return err
					}
				}
				if err := s.TrySend(dump.Bytes()); err != unix.ENOBUFS && err != nil {
					return err
				}
				return nil
			})
			defer s.Close()

			objects, end := 0, unix.Errno(0)
			for {
				b, err := s.TryRecv(0)
				if err == unix.ENOBUFS {
					continue
				}
				if err != nil {
					break
				}
				for _, m := range vmtest.Parse(t, b) {
					switch {
					case m.Seq != dump.Seq:
					case m.Type == unix.NLMSG_DONE || m.Type == unix.NLMSG_ERROR:
						end = unix.Errno(-int32(binary.NativeEndian.Uint32(m.Body)))
					default:
						objects++
					}
				}
			}
			switch {
			case flags == 0 && (objects != 1 || end != 0):
				t.Errorf("a dump: %d objects, %v", objects, end)
			case flags != 0 && objects != 0:
				t.Errorf("an atomic dump that the asker may not have: %d objects, %v", objects, end)
			case flags != 0 && c != vmtest.RawCarrier && end != unix.EPERM: // raw refuses at once, without room to say so
				t.Errorf("an atomic dump that the asker may not have: %v, want EPERM", end)
			}
		}
	})
}
