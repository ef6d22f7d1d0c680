// SPDX-License-Identifier: MIT

package nlctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/capture"
	"nlpeer/pkg/explain"
	"nlpeer/pkg/wire"
)

func (o *options) decode() *cobra.Command {
	protocol, given := wire.NetlinkTest, false
	family := uint16(0)
	cmd := &cobra.Command{
		Use:   "decode [flags] [FILE]",
		Short: "show netlink messages of a file, byte by byte",
		Long: `Show the messages in FILE, or in standard input, byte by byte: what each field is
called and what it means. FILE is

  - a capture, pcap or pcapng, of netlink: made by nlecho or nlsub with --write,
    or by tcpdump or Wireshark on an nlmon device (which does not see NETLINK_TEST)
  - or one datagram as hexadecimal digits: plain, or as xxd, hexdump -C and C
    programs write them; --protocol says of which netlink protocol

The number of a generic netlink family is learnt from what nlctrl says in the same
capture; --family tells it. Two exclamation marks point at what is wrong with a message: lengths that
do not fit, bytes left over, padding that is not zero. Needs neither the module nor
a privilege.

EXIT STATUS
  0   all of it was decoded, whatever is wrong with the messages
  1   the capture is cut short, or kept only the beginnings of datagrams
  2   wrong usage, or FILE is nothing of the kind

JSON
` + cli.MessageHelp,
		Example: `  nlctl decode events.pcapng
  echo 1500000010000100010000000000000068656c6c6f000000 | nlctl decode
  nlctl decode -o json events.pcapng | jq -r .summary`,
		Args: cobra.MaximumNArgs(1),
	}
	cli.Var(cmd.Flags(), &protocol, func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > maxProtocol {
			return 0, fmt.Errorf("must be a protocol number, 0 to %d", maxProtocol)
		}
		given = true
		return n, nil
	}, "protocol", "p", strconv.Itoa(wire.NetlinkTest), "`NUMBER` of the netlink protocol, for hexadecimal digits; for a capture, the number of NETLINK_TEST")
	cli.Var(cmd.Flags(), &family, func(s string) (uint16, error) {
		n, err := strconv.ParseUint(s, 0, 16)
		if err != nil || n < wire.MsgMin {
			return 0, fmt.Errorf("must be a message type, %d to 65535", wire.MsgMin)
		}
		return uint16(n), nil
	}, "family", "", "", "`NUMBER` of the generic netlink family "+wire.FamilyName+", where nlctrl does not tell it")
	cli.CompleteNothing(cmd, "protocol", "family")
	cmd.RunE = cli.RunE(func(ctx context.Context, args []string) error {
		in, name := o.streams.In, "standard input"
		if len(args) > 0 && args[0] != "-" {
			f, err := openFile(ctx, args[0])
			switch {
			case err != nil && ctx.Err() != nil:
				return cli.ErrFailed
			case err != nil:
				return err
			}
			defer f.Close()
			in, name = f, args[0]
		} else if cli.Terminal(in) {
			return cli.Usagef("give a FILE, or bytes on standard input")
		}
		err := o.show(ctx, in, name, protocol, given, family)
		if ctx.Err() != nil {
			return cli.ErrFailed // whatever it looked like to who read
		}
		return err
	})
	return cmd
}

// openFile opens a file to be read. A FIFO waits for somebody who writes to it, but
// not longer than ctx.
func openFile(ctx context.Context, name string) (*os.File, error) {
	var f *os.File
	opened := make(chan error, 1)
	go func() {
		var err error
		f, err = os.Open(name)
		opened <- err
	}()
	select {
	case err := <-opened:
		return f, err
	case <-ctx.Done(): // and what comes of it is nobody's: the command ends
		return nil, ctx.Err()
	}
}

// An interruptible is a reader whose reads end with ctx, though those below may
// wait for ever. After that nothing more can be read.
type interruptible struct {
	ctx  context.Context
	in   io.Reader
	buf  []byte // and n and err: of the read below, until done says that it is over
	done chan struct{}
	n    int
	err  error
}

func newInterruptible(ctx context.Context, in io.Reader) *interruptible {
	return &interruptible{ctx: ctx, in: in, buf: make([]byte, 64<<10), done: make(chan struct{}, 1)}
}

func (r *interruptible) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	go func() {
		r.n, r.err = r.in.Read(r.buf[:min(len(p), len(r.buf))])
		r.done <- struct{}{}
	}()
	select {
	case <-r.done:
		return copy(p, r.buf[:r.n]), r.err
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
}

// maxProtocol is the greatest netlink protocol number.
const maxProtocol = 31

// maxHex is how many hexadecimal digits are read, in bytes of text: far more than
// the largest datagram has.
const maxHex = 64 << 20

// show decodes a file. given says that protocol was, family is 0 if it was not.
func (o *options) show(ctx context.Context, in io.Reader, name string, protocol int, given bool, family uint16) error {
	var d explain.Decoder
	if isRaw(protocol) {
		d.RawProtocol = protocol
	}
	if family != 0 {
		d.AddFamily(family, wire.FamilyName)
	}
	b := bufio.NewReaderSize(newInterruptible(ctx, in), 64<<10)
	magic, err := b.Peek(4)
	switch {
	case err != nil && err != io.EOF:
		return fmt.Errorf("%s: %w", name, err)
	case capture.IsCapture(magic):
		if given && !isRaw(protocol) {
			return cli.Usagef("a capture says itself which protocol it is; --protocol can only tell the number of NETLINK_TEST, %d to %d", protocolMin, maxProtocol)
		}
		return o.showCapture(ctx, b, name, &d)
	}

	text, err := io.ReadAll(io.LimitReader(b, maxHex+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case len(text) > maxHex:
		return fmt.Errorf("%s: more than %d MiB of text", name, maxHex>>20)
	}
	data, err := parseHex(string(text))
	if err != nil {
		return fmt.Errorf("%s is neither pcap, pcapng nor hexadecimal digits: %w", name, err)
	}
	cli.WriteMessages(o.streams.Out, o.target.Format, &d, &capture.Packet{Datagram: explain.Datagram{Protocol: protocol, Data: data}})
	return nil
}

// protocolMin is the least number that the raw protocol may have.
const protocolMin = 23

// isRaw says that the module may have been loaded with a protocol number.
func isRaw(protocol int) bool { return protocol >= protocolMin && protocol <= maxProtocol }

// showCapture decodes a capture.
func (o *options) showCapture(ctx context.Context, in io.Reader, name string, d *explain.Decoder) error {
	r, err := capture.NewReader(in)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	datagrams, cut := 0, 0
	for ctx.Err() == nil && o.streams.Out.Err() == nil {
		p, err := r.Next()
		switch {
		case err != nil && ctx.Err() != nil:
			return err
		case err == io.EOF && datagrams == 0 && r.Other() > 0:
			return fmt.Errorf("%s has no netlink: its %d packets have other link types", name, r.Other())
		case err == io.EOF && cut > 0:
			fmt.Fprintf(o.streams.Err, "nlctl: %s: only the beginnings were captured of %d of %d datagrams\n", name, cut, datagrams)
			return cli.ErrFailed
		case err == io.EOF:
			return nil
		case errors.Is(err, capture.ErrTruncated):
			fmt.Fprintf(o.streams.Err, "nlctl: %s: %v after datagram %d\n", name, err, datagrams)
			return cli.ErrFailed
		case err != nil && datagrams > 0:
			fmt.Fprintf(o.streams.Err, "nlctl: %s: after datagram %d: %v\n", name, datagrams, err)
			return cli.ErrFailed
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		}
		datagrams++
		if p.Size > len(p.Data) {
			cut++
		}
		cli.WriteMessages(o.streams.Out, o.target.Format, d, &p)
	}
	return nil
}
