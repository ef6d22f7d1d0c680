// SPDX-License-Identifier: MIT

package client

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"nlpeer/pkg/wire"
)

// ErrNotLoaded says that the kernel does not know the peer: socket(2) refused
// the protocol number, or no generic netlink family has the peer's name.
// errors.Is finds [os.ErrNotExist] in it.
var ErrNotLoaded error = notLoaded{}

// ErrTruncated says that a datagram was longer than the buffer for it and that
// its end is lost. No message of the nlpeer protocols is that long.
var ErrTruncated = errors.New("datagram is longer than the receive buffer")

// ErrNoCarrier says that the peer can not be reached by the carrier that
// [Config] names: the connector exists in the initial network namespace only,
// and the module does without the connector or rtnetlink if its parameters say
// so. errors.Is finds [os.ErrNotExist] in it.
var ErrNoCarrier error = noCarrier{}

// ErrEnded says that the peer has left the namespace of a Subscription, as the
// last event of each group told: its module was unloaded. Its groups will have
// no more events.
var ErrEnded = errors.New("the peer left the namespace")

// ErrDumpInterrupted says that the table of objects changed while it was
// dumped. Objects that were there all the time have all been yielded, each once;
// others may be missing, or be there no longer.
var ErrDumpInterrupted = errors.New("the table changed during the dump")

type noCarrier struct{}

func (noCarrier) Error() string        { return "the peer can not be reached by this carrier" }
func (noCarrier) Is(target error) bool { return target == os.ErrNotExist }

// noCarrierError is ErrNoCarrier with its reason.
type noCarrierError struct {
	reason string
	cause  error
}

func (e *noCarrierError) Error() string   { return e.reason }
func (e *noCarrierError) Unwrap() []error { return []error{ErrNoCarrier, e.cause} }

// A GroupError says that the generic netlink family has no multicast group of a
// name. errors.Is finds [os.ErrNotExist] in it.
type GroupError struct {
	// Family is the name of the family, Group that of the group.
	Family, Group string
	// Known are the names of the groups that the family has.
	Known []string
}

// Error says which group there is not.
func (e *GroupError) Error() string {
	return fmt.Sprintf("family %q has no multicast group %q", e.Family, e.Group)
}

// Is says that the group does not exist.
func (e *GroupError) Is(target error) bool { return target == os.ErrNotExist }

type notLoaded struct{}

func (notLoaded) Error() string        { return "the nlpeer module is not loaded" }
func (notLoaded) Is(target error) bool { return target == os.ErrNotExist }

// notLoadedError is ErrNotLoaded with its evidence.
type notLoadedError struct {
	evidence string
	cause    error
}

func (e *notLoadedError) Error() string   { return ErrNotLoaded.Error() + " (" + e.evidence + ")" }
func (e *notLoadedError) Unwrap() []error { return []error{ErrNotLoaded, e.cause} }

// closedError is what calls on a closed Conn or Subscription fail with.
type closedError struct{}

func (closedError) Error() string { return "use of closed netlink socket" }
func (closedError) Is(target error) bool {
	return target == net.ErrClosed || target == os.ErrClosed
}

// configError is an EINVAL that was found before the kernel was asked.
type configError string

func (e configError) Error() string        { return string(e) }
func (e configError) Is(target error) bool { return target == syscall.EINVAL }

// sizeError is an EMSGSIZE that was found before the kernel was asked.
type sizeError struct {
	what   string
	n, max int
}

func (e sizeError) Error() string {
	return fmt.Sprintf("%s of %d bytes is longer than %d", e.what, e.n, e.max)
}
func (e sizeError) Is(target error) bool { return target == syscall.EMSGSIZE }

// An OpError says which call failed, why, and what the kernel had to say about
// it. All errors of this package that are not an [*OverrunError] are an
// OpError.
type OpError struct {
	// Op is what was tried: "dial", "subscribe", "listen", "close", "events",
	// "receive", "send", "batch", "pipeline", "getfamily", or the operation's name
	// in spec/nlpeer.yaml, such as "echo" or "beacon-set".
	Op string

	// Err is the cause: the [syscall.Errno] of a failed request, an
	// [*os.SyscallError] of a failed system call, the error of the context,
	// [os.ErrDeadlineExceeded] after Config.Timeout, or an error of package
	// wire about a message that makes no sense.
	Err error

	// ExtAck is the kernel's extended acknowledgment, nil if there was none.
	ExtAck *ExtAck
}

// An ExtAck is what the kernel says about a failed request besides the errno
// (linux/netlink.h, enum nlmsgerr_attrs). A field that it left out is zero.
type ExtAck struct {
	// Text says in English what is wrong.
	Text string
	// Offset is where the bad attribute begins, in bytes from the beginning of
	// the message header of the request.
	Offset uint32
	// MissingType is the type of an attribute that must be there.
	MissingType uint32
	// MissingNest is the offset of the nest that it is missing from, 0 at the
	// top level.
	MissingNest uint32
	// Cookie is whatever the kernel's subsystem chose to put there.
	Cookie []byte
	// Policy is what the bad attribute's value has to fulfil.
	Policy wire.Policy
}

// Error returns the whole story on one line.
func (e *OpError) Error() string {
	text := e.Op + ": " + e.Err.Error()
	if e.ExtAck != nil {
		if s := e.ExtAck.String(); s != "" {
			text += ": " + s
		}
	}
	return text
}

// String returns the text and the details in parentheses, on one line.
func (x *ExtAck) String() string {
	var details []string
	if x.Offset != 0 {
		details = append(details, fmt.Sprintf("attribute at offset %d", x.Offset))
	}
	if x.MissingType != 0 {
		s := fmt.Sprintf("attribute %d is missing", x.MissingType)
		if x.MissingNest != 0 {
			s += fmt.Sprintf(" in the nest at offset %d", x.MissingNest)
		}
		details = append(details, s)
	}
	if s := x.Policy.String(); s != "" {
		details = append(details, "must be "+s)
	}
	if len(x.Cookie) != 0 {
		details = append(details, fmt.Sprintf("cookie %x", x.Cookie))
	}

	// The kernel's text is the kernel's, but the line is ours.
	text := strings.Join(strings.Fields(x.Text), " ")
	if len(details) == 0 {
		return text
	}
	return strings.TrimPrefix(text+" ("+strings.Join(details, ", ")+")", " ")
}

// Unwrap returns Err.
func (e *OpError) Unwrap() error { return e.Err }

// Timeout reports whether the call ran out of time. EAGAIN is no such error, whatever
// package syscall says: it comes at once.
func (e *OpError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout() && !errors.Is(e.Err, syscall.EAGAIN)
}

// Is makes [context.DeadlineExceeded] and ETIMEDOUT an
// [os.ErrDeadlineExceeded] too.
func (e *OpError) Is(target error) bool {
	return target == os.ErrDeadlineExceeded && e.Timeout()
}

// opError returns nil for a nil cause, and adds nothing to an error that is
// complete already.
func opError(op string, err error) error {
	switch err := err.(type) {
	case nil:
		return nil
	case *OpError, *OverrunError:
		return err
	}
	return &OpError{Op: op, Err: err}
}

// ackError returns the error in an acknowledgment, nil if it reports success.
// It copies what it keeps.
func ackError(op string, a *wire.Ack) error {
	if a.Errno == 0 {
		return nil
	}
	e := &OpError{Op: op, Err: a.Errno}
	if x := &a.ExtAck; !x.Empty() {
		e.ExtAck = &ExtAck{
			Text:        string(x.Text),
			Offset:      x.Offset,
			MissingType: x.MissingType,
			MissingNest: x.MissingNest,
			Cookie:      append([]byte(nil), x.Cookie...),
			Policy:      x.Policy,
		}
	}
	return e
}

// An OverrunError says that the kernel dropped messages because the socket's
// receive buffer was full. errors.Is finds ENOBUFS in it.
//
// From a Subscription it says that events are missing; the iteration goes on
// with those that the peer's history still holds, unless Config.NoResync is set,
// and the Lost of the events that follow tell how many are gone. From a Conn it says
// that the answer is gone; whether the request was carried out is not known.
// Both go on to work.
//
// A larger Config.ReceiveBuffer makes it rarer.
type OverrunError struct {
	// Op is as in [OpError].
	Op string
	// Count is how many overruns the socket has had, this one included.
	Count uint64
}

// Error says what happened.
func (e *OverrunError) Error() string {
	return e.Op + ": receive buffer overrun: messages were lost"
}

// Unwrap returns ENOBUFS.
func (e *OverrunError) Unwrap() error { return syscall.ENOBUFS }
