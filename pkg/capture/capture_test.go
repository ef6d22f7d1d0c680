// SPDX-License-Identifier: MIT

package capture_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"nlpeer/internal/fuzzing"
	"nlpeer/pkg/capture"
	"nlpeer/pkg/explain"
	"nlpeer/pkg/wire"
)

func packet(protocol int, port uint32, direction explain.Direction, at time.Time, data []byte) capture.Packet {
	return capture.Packet{
		Datagram: explain.Datagram{Protocol: protocol, Direction: direction, Data: data},
		Time:     at,
		PortID:   port,
	}
}

// packets returns some of all sorts.
func packets(t *testing.T) []capture.Packet {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var all []capture.Packet
	at := time.Unix(1700000000, 123456789).UTC()
	for i := range 20 {
		data := make([]byte, random.IntN(100))
		for j := range data {
			data[j] = byte(random.Uint32())
		}
		p := packet([]int{31, 16, 0}[i%3], uint32(i%2+1), explain.Sent+explain.Direction(i%2), at, data)
		if i == 7 {
			p.Size = len(data) + 1000 // not all of it was kept
		}
		all = append(all, p)
		at = at.Add(time.Duration(random.Int64N(1e9)))
	}
	return all
}

func write(t *testing.T, all []capture.Packet) []byte {
	t.Helper()
	var b bytes.Buffer
	w := capture.NewWriter(&b, "test 1.2")
	for _, p := range all {
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read reads up to an error.
func read(b []byte) (all []capture.Packet, err error) {
	r, err := capture.NewReader(bytes.NewReader(b))
	for err == nil {
		var p capture.Packet
		if p, err = r.Next(); err == nil {
			all = append(all, p)
		}
	}
	return all, err
}

// want is what is read of what was written.
func want(all []capture.Packet) []capture.Packet {
	var read []capture.Packet
	for _, p := range all {
		p.PortID = 0
		p.Size = max(p.Size, len(p.Data))
		read = append(read, p)
	}
	return read
}

func TestRoundTrip(t *testing.T) {
	all := packets(t)
	got, err := read(write(t, all))
	if err != io.EOF {
		t.Errorf("the end is %v", err)
	}
	if diff := cmp.Diff(want(all), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := read(write(t, nil)); len(got) != 0 || err != io.EOF {
		t.Errorf("without a packet there are %v, %v", got, err)
	}
}

// Each packet is in the file as soon as it is written.
func TestWriteIsComplete(t *testing.T) {
	var b bytes.Buffer
	w := capture.NewWriter(&b, "test")
	for i, p := range packets(t) {
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
		if got, err := read(b.Bytes()); len(got) != i+1 || err != io.EOF {
			t.Fatalf("after %d packets there are %d, %v", i+1, len(got), err)
		}
	}
}

// A file that ends anywhere gives all packets before that, and says so unless
// it ends between two.
func TestTruncated(t *testing.T) {
	all := packets(t)[:4]
	file := write(t, all)
	ends := 0
	for n := range len(file) {
		got, err := read(file[:n])
		switch {
		case err == io.EOF:
			ends++
		case n < 4 && !errors.Is(err, capture.ErrFormat), n >= 4 && !errors.Is(err, capture.ErrTruncated):
			t.Errorf("%d bytes: %v", n, err)
		}
		if diff := cmp.Diff(want(all[:len(got)]), got); diff != "" {
			t.Errorf("%d bytes (-want +got):\n%s", n, diff)
		}
	}
	// After the section, an interface for each socket, and each packet but the
	// last.
	if ends != 1+4+3 {
		t.Errorf("%d places look like an end, want 8", ends)
	}
}

// classic returns a file as older programs write it.
func classic(t *testing.T, link int, cooked ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65535, layers.LinkType(link)); err != nil {
		t.Fatal(err)
	}
	for _, c := range cooked {
		ci := gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(c), Length: len(c)}
		if err := w.WritePacket(ci, c); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestPcap(t *testing.T) {
	nlmon := "\x00\x04\x03\x38" + strings.Repeat("\x00", 10) + "\x00\x10" + "data"
	ethernet := "\x00\x04\x00\x01" + strings.Repeat("\x00", 10) + "\x08\x00" + "data"
	data := []capture.Packet{{Datagram: explain.Datagram{Protocol: 16, Data: []byte("data")}, Time: time.Unix(1, 0).UTC(), Size: 4}}
	for _, test := range []struct {
		name string
		file []byte
		want []capture.Packet
		err  string
	}{
		{"netlink", classic(t, 253, []byte(nlmon)), data, "EOF"},
		{"cooked", classic(t, 113, []byte(ethernet), []byte(nlmon)), data, "EOF"},
		{"compressed", compress(classic(t, 253, []byte(nlmon))), data, "EOF"},
		{"another link type", classic(t, 1, []byte(nlmon)), nil, "its packets have link type 1, not 253, netlink"},
		{"cut", classic(t, 253, []byte(nlmon), []byte(nlmon))[:24+16+20+16], data, "the file is cut short"},
		{"short header", classic(t, 253, []byte(nlmon[:15])), nil, "a packet has 15 bytes, less than its header alone"},
		{"nothing", nil, nil, "neither a pcap nor a pcapng file"},
		{"text", []byte("hello, world"), nil, "neither a pcap nor a pcapng file"},
		{"compressed text", compress([]byte("hello, world")), nil, "neither a pcap nor a pcapng file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := read(test.file)
			if err == nil || err.Error() != test.err {
				t.Errorf("the end is %v, want %s", err, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func compress(b []byte) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.Bytes()
}

// A file with packets of other link types gives those of netlink.
func TestMixed(t *testing.T) {
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: 4, Length: 4}, []byte("eth0")); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	r, err := capture.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != io.EOF || r.Other() != 1 {
		t.Errorf("%v, %d others", err, r.Other())
	}
}

// A disk that is full is an error.
func TestWriteFails(t *testing.T) {
	full := errors.New("full")
	w := capture.NewWriter(failing{full}, "test")
	if err := w.Write(packet(31, 1, explain.Sent, time.Now(), []byte("data"))); !errors.Is(err, full) {
		t.Errorf("writing gave %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func FuzzReader(f *testing.F) {
	var b bytes.Buffer
	w := capture.NewWriter(&b, "test")
	for i := range 3 {
		w.Write(packet(31, uint32(i), explain.Sent, time.Unix(1, 2), wire.AppendMessage(nil, wire.Header{Type: 16}, []byte("data"))))
	}
	f.Add(b.Bytes())
	// The older format: either byte order, micro- and nanoseconds, a packet with
	// all its bytes and one with a length that lies.
	for _, magic := range []uint32{0xa1b2c3d4, 0xa1b23c4d} {
		for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
			for _, length := range []uint32{20, 0, 15, 0x7fffffff, 0xffffffff} {
				old := order.AppendUint16(order.AppendUint16(order.AppendUint32(nil, magic), 2), 4)
				for _, v := range []uint32{0, 0, length | 0xffff, 253, 1, 2, length, length} {
					old = order.AppendUint32(old, v)
				}
				old = append(old, make([]byte, 20)...)
				f.Add(old)
				var z bytes.Buffer
				c := gzip.NewWriter(&z)
				c.Write(old)
				c.Close()
				f.Add(z.Bytes())
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		all, err := read(b)
		if err == nil {
			t.Error("no error at the end")
		}
		for _, p := range all {
			if p.Size < len(p.Data) {
				t.Errorf("%+v", p)
			}
		}
		// A file that is cut short has the same packets, as far as it goes.
		if len(b) > 4 && b[0] != 0x1f {
			some, _ := read(b[:len(b)-1])
			if len(some) > len(all) || len(some) > 0 && !cmp.Equal(all[:len(some)], some) {
				t.Errorf("%d packets, and %d others of the file without its last byte", len(all), len(some))
			}
		}
	})
}

// What is written comes back.
func FuzzWriter(f *testing.F) {
	f.Add(uint8(31), uint32(5), uint8(1), int64(1700000000123456789), 0, []byte("data"))
	f.Add(uint8(0), uint32(0), uint8(0), int64(0), 1000, []byte{})
	f.Fuzz(func(t *testing.T, protocol uint8, port uint32, direction uint8, at int64, more int, data []byte) {
		defer fuzzing.Limit(protocol, port, direction, at, more, data)()
		if at < 0 || more < 0 || more > 1<<20 || len(data) > 1<<16 {
			t.Skip()
		}
		p := packet(int(protocol), port, explain.Sent+explain.Direction(direction%2), time.Unix(0, at), data)
		p.Size = len(data) + more
		all, err := read(write(t, []capture.Packet{p, p}))
		if err != io.EOF || len(all) != 2 {
			t.Fatalf("%d packets, %v", len(all), err)
		}
		for _, got := range all {
			if got.Protocol != p.Protocol || got.Direction != p.Direction || !got.Time.Equal(p.Time) || got.Size != p.Size || !bytes.Equal(got.Data, data) {
				t.Errorf("%+v, want %+v", got, p)
			}
		}
	})
}
