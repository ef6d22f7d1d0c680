// SPDX-License-Identifier: MIT

package client_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

func TestOpErrorText(t *testing.T) {
	tests := []struct {
		in   client.OpError
		want string
	}{
		{client.OpError{Op: "echo", Err: syscall.EINVAL}, "echo: invalid argument"},
		{client.OpError{Op: "echo", Err: syscall.EINVAL, ExtAck: &client.ExtAck{}}, "echo: invalid argument"},
		{
			client.OpError{Op: "beacon-set", Err: syscall.ERANGE, ExtAck: &client.ExtAck{
				Text: "integer out of range", Offset: 20,
				Policy: wire.Policy{
					Has: wire.PolicyHasType | wire.PolicyHasMinU | wire.PolicyHasMaxU, Type: wire.PolicyU32, MaxU: wire.IntervalMax,
				},
			}},
			"beacon-set: numerical result out of range: integer out of range (attribute at offset 20, must be u32 from 0 to 3600000)",
		},
		{
			client.OpError{Op: "echo", Err: syscall.EINVAL, ExtAck: &client.ExtAck{MissingType: 1}},
			"echo: invalid argument: (attribute 1 is missing)",
		},
		{
			client.OpError{Op: "echo", Err: syscall.EINVAL, ExtAck: &client.ExtAck{Text: " two\n lines\t"}},
			"echo: invalid argument: two lines",
		},
	}
	for _, tt := range tests {
		diff(t, tt.want, tt.in.Error())
	}
}

func TestOpErrorIs(t *testing.T) {
	yes := []struct{ err, target error }{
		{syscall.EPERM, os.ErrPermission},
		{syscall.EACCES, os.ErrPermission},
		{syscall.ENOENT, os.ErrNotExist},
		{client.ErrNotLoaded, os.ErrNotExist},
		{context.DeadlineExceeded, os.ErrDeadlineExceeded},
		{context.DeadlineExceeded, context.DeadlineExceeded},
		{os.ErrDeadlineExceeded, os.ErrDeadlineExceeded},
		{&os.SyscallError{Syscall: "sendto", Err: syscall.ENOBUFS}, syscall.ENOBUFS},
	}
	for _, tt := range yes {
		if !errors.Is(&client.OpError{Op: "x", Err: tt.err}, tt.target) {
			t.Errorf("%v is no %v", tt.err, tt.target)
		}
	}
	no := []struct{ err, target error }{
		{context.Canceled, os.ErrDeadlineExceeded},
		{os.ErrDeadlineExceeded, context.DeadlineExceeded},
		{syscall.ENOENT, client.ErrNotLoaded},
		{syscall.EPERM, syscall.EACCES},
		{&os.SyscallError{Syscall: "sendto", Err: syscall.EAGAIN}, os.ErrDeadlineExceeded},
	}
	for _, tt := range no {
		if errors.Is(&client.OpError{Op: "x", Err: tt.err}, tt.target) {
			t.Errorf("%v is %v", tt.err, tt.target)
		}
	}
	if (&client.OpError{Err: context.Canceled}).Timeout() {
		t.Error("a cancelled call is a timeout")
	}
}

func TestOverrunError(t *testing.T) {
	err := error(&client.OverrunError{Op: "events", Count: 2})
	if !errors.Is(err, syscall.ENOBUFS) {
		t.Error("is no ENOBUFS")
	}
	diff(t, "events: receive buffer overrun: messages were lost", err.Error())
}
