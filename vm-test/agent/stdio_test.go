// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"net"
	"testing"
	"time"

	"nlpeer/vm-test/internal/wire"
)

// twoPieces are bytes of which, when the first piece is on its way to the host, the
// second is still in the pipe.
func twoPieces() []byte { return bytes.Repeat([]byte("0123456789abcdef"), 128<<10/16) }

// openCommand returns a command that has not been started, its standard streams, and
// the host's end of the wire.
func openCommand(t *testing.T) (*command, *stdio, net.Conn) {
	t.Helper()
	host, guest := net.Pipe()
	t.Cleanup(func() {
		guest.Close()
		host.Close()
	})
	c := newCommand(wire.NewConn(guest), wire.Command{})
	s, err := c.openStdio()
	if err != nil {
		t.Fatal(err)
	}
	return c, s, host
}

// The end of the output is waited for, however long the host does not read.
func TestOutputOfSlowReader(t *testing.T) {
	c, s, host := openCommand(t)
	s.start(c)
	want := twoPieces()
	if _, err := s.out.Write(want); err != nil {
		t.Fatal(err)
	}
	s.closeChild() // all processes have ended
	ended := make(chan bool, 1)
	go func() {
		ended <- s.finish(true)
		_ = c.conn.Send(wire.Exit, nil)
	}()
	select {
	case <-ended:
		t.Fatal("the end of the output was not waited for")
	case <-time.After(endPatience + endPatience/4):
	}
	var got []byte
	for conn := wire.NewConn(host); ; {
		f, err := conn.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == wire.Exit {
			break
		}
		got = append(got, f.Payload...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes arrived", len(got), len(want))
	}
	if !<-ended {
		t.Error("it is said that output is missing")
	}
}

// A process that cannot be killed is not waited for, and what is missing then is said.
func TestOutputOfUnkillable(t *testing.T) {
	c, s, _ := openCommand(t)
	defer s.closeChild() // which it has open until then
	s.start(c)
	ended := make(chan bool, 1)
	go func() { ended <- s.finish(false) }()
	select {
	case whole := <-ended:
		if whole {
			t.Error("it is not said that output may be missing")
		}
	case <-time.After(5 * endPatience):
		t.Fatal("it is waited for")
	}
}
