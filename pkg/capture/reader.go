// SPDX-License-Identifier: MIT

package capture

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"nlpeer/pkg/explain"
)

// ErrFormat says that a file is neither pcap nor pcapng.
var ErrFormat = errors.New("neither a pcap nor a pcapng file")

// ErrTruncated says that a file ends in the middle of a packet.
var ErrTruncated = errors.New("the file is cut short")

// A Reader reads packets from pcap and pcapng, also compressed by gzip.
type Reader struct {
	next  func() ([]byte, gopacket.CaptureInfo, pcapgo.NgPacketOptions, error)
	link  int // of all packets, 0 if each tells
	other int
}

// IsCapture says that a file beginning with these bytes, at least 4, is meant to
// be one that a Reader reads.
func IsCapture(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	if b[0] == 0x1f && b[1] == 0x8b {
		return true
	}
	switch binary.BigEndian.Uint32(b) {
	case 0x0a0d0d0a, 0xa1b2c3d4, 0xd4c3b2a1, 0xa1b23c4d, 0x4d3cb2a1:
		return true
	}
	return false
}

// NewReader returns a Reader from r. It fails with [ErrFormat], [ErrTruncated],
// or an error that says what of the file it does not understand, such as
// another link type.
func NewReader(r io.Reader) (*Reader, error) {
	b := bufio.NewReaderSize(r, readerBufSize)
	magic, _ := b.Peek(4)
	if !IsCapture(magic) {
		return nil, ErrFormat
	}
	if magic[0] == 0x1f {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		b = bufio.NewReaderSize(z, readerBufSize)
		if magic, err = b.Peek(4); !IsCapture(magic) || magic[0] == 0x1f {
			return nil, errors.Join(ErrFormat, err)
		}
	}

	if magic[0] == 0x0a {
		ng, err := pcapgo.NewNgReader(b, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, truncated(err)
		}
		return &Reader{next: ng.ReadPacketDataWithOptions}, nil
	}
	old, err := pcapgo.NewReader(b)
	if err != nil {
		return nil, truncated(err)
	}
	link := int(old.LinkType())
	if link != linkNetlink && link != linkCooked {
		return nil, linkError(link)
	}
	return &Reader{link: link, next: func() ([]byte, gopacket.CaptureInfo, pcapgo.NgPacketOptions, error) {
		data, ci, err := old.ReadPacketData()
		if err == io.EOF && ci.CaptureLength > 0 {
			err = io.ErrUnexpectedEOF
		}
		return data, ci, pcapgo.NgPacketOptions{}, err
	}}, nil
}

// Next returns the next datagram of netlink; packets of other link types are
// passed over. It fails with io.EOF at the end, with [ErrTruncated] if the file
// ends too early, or with an error that says what is wrong. After an error there
// is no next one.
func (r *Reader) Next() (Packet, error) {
	for {
		data, ci, opts, err := r.next()
		if err != nil {
			return Packet{}, truncated(err)
		}
		link := r.link
		if link == 0 && len(ci.AncillaryData) > 0 {
			if l, ok := ci.AncillaryData[0].(layers.LinkType); ok {
				link = int(l)
			}
		}
		netlink := link == linkNetlink || link == linkCooked && len(data) >= 4 && binary.BigEndian.Uint16(data[2:4]) == hardware
		if !netlink {
			r.other++
			continue
		}
		if len(data) < cookedLen {
			return Packet{}, fmt.Errorf("a packet has %d bytes, less than its header alone", len(data))
		}

		p := Packet{Time: ci.Timestamp, Size: max(ci.Length, len(data)) - cookedLen}
		p.Protocol = int(binary.BigEndian.Uint16(data[14:16]))
		p.Data = data[cookedLen:]
		switch typ := binary.BigEndian.Uint16(data); {
		case typ == packetToKern:
			p.Direction = explain.Sent
		case typ == packetToUser:
			p.Direction = explain.Received
		case opts.Flags == nil:
		case opts.Flags.Direction == pcapgo.NgEpbFlagDirectionOutbound:
			p.Direction = explain.Sent
		case opts.Flags.Direction == pcapgo.NgEpbFlagDirectionInbound:
			p.Direction = explain.Received
		}
		return p, nil
	}
}

// Other returns the number of packets that were passed over so far.
func (r *Reader) Other() int { return r.other }

func linkError(link int) error {
	return fmt.Errorf("its packets have link type %d, not %d, netlink", link, linkNetlink)
}

// truncated puts the end of a file in the middle of something into our words.
func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}
