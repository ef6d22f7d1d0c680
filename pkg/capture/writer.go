// SPDX-License-Identifier: MIT

package capture

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"nlpeer/pkg/explain"
)

// A Writer writes packets as pcapng. It is not safe for concurrent use.
type Writer struct {
	out     io.Writer
	by      string
	ng      *pcapgo.NgWriter
	sockets map[socket]int
	buf     []byte
}

// A socket has an interface in the file, which names it.
type socket struct {
	protocol int
	port     uint32
}

// NewWriter returns a Writer to w. by is the program that the file names as its
// writer.
func NewWriter(w io.Writer, by string) *Writer {
	return &Writer{out: w, by: by, sockets: make(map[socket]int)}
}

// Close completes a file that has no packet. It does not close the io.Writer.
func (w *Writer) Close() error {
	if w.ng != nil {
		return nil
	}
	_, err := w.iface(socket{})
	if err != nil {
		return err
	}
	return w.ng.Flush()
}

// Write writes a packet. It is complete in the file when Write returns: whatever
// ends the program, the file can be read.
func (w *Writer) Write(p Packet) error {
	id, err := w.iface(socket{p.Protocol, p.PortID})
	if err != nil {
		return err
	}
	w.buf = appendCooked(w.buf[:0], p)
	flags := pcapgo.NgEpbFlags{}
	switch p.Direction {
	case explain.Sent:
		flags.Direction = pcapgo.NgEpbFlagDirectionOutbound
	case explain.Received:
		flags.Direction = pcapgo.NgEpbFlagDirectionInbound
	}
	err = w.ng.WritePacketWithOptions(gopacket.CaptureInfo{
		Timestamp:      p.Time,
		CaptureLength:  len(w.buf),
		Length:         cookedLen + max(p.Size, len(p.Data)),
		InterfaceIndex: id,
	}, w.buf, pcapgo.NgPacketOptions{Flags: &flags})
	if err != nil {
		return err
	}
	return w.ng.Flush()
}

// iface returns the interface of a socket. The first makes the file.
func (w *Writer) iface(s socket) (int, error) {
	if id, ok := w.sockets[s]; ok {
		return id, nil
	}
	intf := pcapgo.NgInterface{
		Name:                explain.ProtocolName(s.protocol),
		LinkType:            layers.LinkType(linkNetlink),
		TimestampResolution: 9,
	}
	if s.port != 0 {
		intf.Description = fmt.Sprintf("socket with port ID %d", s.port)
	}
	id := 0
	var err error
	if w.ng == nil {
		w.ng, err = pcapgo.NewNgWriterInterface(w.out, intf, pcapgo.NgWriterOptions{
			SectionInfo: pcapgo.NgSectionInfo{
				Application: w.by,
				OS:          "Linux",
				Comment:     "netlink datagrams, recorded by the program that sent and received them",
			},
		})
	} else {
		id, err = w.ng.AddInterface(intf)
	}
	if err != nil {
		return 0, err
	}
	w.sockets[s] = id
	return id, nil
}

// appendCooked appends a datagram with the header that the link type asks for.
func appendCooked(b []byte, p Packet) []byte {
	typ := uint16(packetToUser)
	if p.Direction == explain.Sent {
		typ = packetToKern
	}
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, hardware)
	b = append(b, make([]byte, 10)...)
	b = binary.BigEndian.AppendUint16(b, uint16(p.Protocol))
	return append(b, p.Data...)
}
