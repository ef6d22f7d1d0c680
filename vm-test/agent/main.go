// SPDX-License-Identifier: MIT

// Agent is the guest's first and, apart from what it is asked to execute, only
// process. It prepares the system, says Hello over a virtio-serial port, and
// does what the host asks for; see package wire for the conversation.
//
// It decides nothing: what a kernel message means, how long something may
// take and which exit status follows is the host's business.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/internal/tarball"
	"nlpeer/vm-test/internal/wire"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "agent: made to be the first process of a virtual machine; see nlvm --help")
		os.Exit(2)
	}
	// The host takes a machine that ends without a verdict for lost and shows
	// the console, so this line is found.
	fmt.Printf("nlvm agent: %v\n", serve())
	powerOff(255)
}

// serve prepares the machine and answers the host. It returns only with an
// error: a run that goes well ends in powerOff.
func serve() error {
	if err := prepare(); err != nil {
		return err
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	conn := wire.NewConn(port)
	if err := conn.SendValue(wire.Hello, wire.HelloInfo{Kernel: release()}); err != nil {
		return err
	}
	s := &session{conn: conn}
	for {
		f, err := conn.Receive()
		if errors.Is(err, io.EOF) {
			return errors.New("the host is gone")
		}
		if err != nil {
			return err
		}
		if err := s.handle(f); err != nil {
			return err
		}
	}
}

// session is the state between two frames.
type session struct {
	conn    *wire.Conn
	files   *unpacking
	command *command
	status  atomic.Uint32 // of the command, for powerOff
}

func (s *session) handle(f wire.Frame) error {
	switch f.Type {
	case wire.Resume:
		var info wire.ResumeInfo
		if err := f.Decode(&info); err != nil {
			return err
		}
		if err := resume(info); err != nil {
			return err
		}
		return s.conn.Send(wire.Resumed, nil)
	case wire.Files:
		if s.files == nil {
			s.files = startUnpacking()
		}
		s.files.write(f.Payload)
	case wire.FilesEnd:
		var res wire.Result
		if s.files != nil {
			if err := s.files.finish(); err != nil {
				res.Err = err.Error()
			}
			s.files = nil
		}
		return s.conn.SendValue(wire.FilesDone, res)
	case wire.Run:
		var cmd wire.Command
		if err := f.Decode(&cmd); err != nil {
			return err
		}
		s.command = newCommand(s.conn, cmd)
		go func() {
			info := s.command.execute()
			s.status.Store(uint32(info.Status))
			if err := s.conn.SendValue(wire.Exit, info); err != nil {
				fmt.Printf("nlvm agent: %v\n", err)
				powerOff(255)
			}
		}()
	case wire.Bye:
		// Not earlier: a write to the port returns when the frame is in the
		// queue, and ending QEMU then would throw the verdict away.
		powerOff(byte(s.status.Load()))
	case wire.Stdin:
		s.command.stdin.push(f.Payload)
	case wire.StdinEOF:
		s.command.stdin.end()
	case wire.Signal:
		var sig wire.SignalInfo
		if err := f.Decode(&sig); err != nil {
			return err
		}
		s.command.signal(unix.Signal(sig.Number))
	case wire.Resize:
		var size wire.Size
		if err := f.Decode(&size); err != nil {
			return err
		}
		s.command.resize(size)
	case wire.Dump:
		return dumpTasks(s.conn)
	default:
		return fmt.Errorf("frame of unknown type %d", f.Type)
	}
	return nil
}

// unpacking feeds the pieces of a tar stream to its reader.
type unpacking struct {
	pipe *io.PipeWriter
	done chan error
}

func startUnpacking() *unpacking {
	r, w := io.Pipe()
	u := &unpacking{pipe: w, done: make(chan error, 1)}
	go func() {
		err := tarball.Unpack(r, func(name string) string { return "/" + strings.TrimPrefix(name, "/") })
		// Whatever went wrong, the host is never blocked by it: the rest of
		// the stream is thrown away and the error travels in FilesDone.
		r.CloseWithError(io.ErrClosedPipe)
		u.done <- err
	}()
	return u
}

func (u *unpacking) write(p []byte) {
	// An error here only says that Unpack has stopped; finish has its reason.
	_, _ = u.pipe.Write(p)
}

func (u *unpacking) finish() error {
	u.pipe.Close()
	return <-u.done
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
