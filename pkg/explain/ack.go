// SPDX-License-Identifier: MIT

package explain

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// maxErrno is the greatest errno that the kernel hands out.
const maxErrno = 4095

// code covers the outcome of a request. ok is what 0 means.
func (w *walker) code(end int, ok string) (errno syscall.Errno, whole bool) {
	whole = w.members(end, []member{{"error", 4, func(v uint64) (string, string) {
		code := int32(v)
		switch {
		case code == 0:
			return "0: " + ok, ""
		case code > 0 || code < -maxErrno:
			return fmt.Sprint(code), "neither 0 nor a negative errno"
		}
		errno = syscall.Errno(-code)
		if name := ErrnoName(errno); name != "" {
			return fmt.Sprintf("%d -%s: %v", code, name, errno), ""
		}
		return fmt.Sprintf("%d, an errno without a name", code), ""
	}}}, nil)
	if whole {
		f := &w.m.Fields[len(w.m.Fields)-1]
		f.Value = int64(int32(f.Value.(uint64)))
	}
	return errno, whole
}

// ErrnoName returns what the kernel calls an errno, "" if it has no name. Of the two
// names of EOPNOTSUPP, [unix.ErrnoName] has the other, ENOTSUP, which no part of
// netlink uses.
func ErrnoName(errno syscall.Errno) string {
	if errno == unix.EOPNOTSUPP {
		return "EOPNOTSUPP"
	}
	return unix.ErrnoName(errno)
}

// outcome is a summary of an acknowledgment.
func outcome(errno syscall.Errno, ok, failed string) string {
	if errno == 0 {
		return ok
	}
	if name := ErrnoName(errno); name != "" {
		return failed + " " + name
	}
	return fmt.Sprintf("%s errno %d", failed, int(errno))
}

// nlmsgerr covers an acknowledgment: the outcome, the request or its header, and
// the extended acknowledgment.
func (w *walker) nlmsgerr(h wire.Header, end int) (summary string) {
	name := w.d.protocolName(w.m.Protocol)
	w.heading("nlmsgerr")
	errno, whole := w.code(end, "done as asked")
	if !whole {
		return name + " acknowledgment, cut short"
	}
	summary = name + " " + outcome(errno, "acknowledgment", "error")
	// The kernel quotes an acknowledgment at most, which asks for one itself. Who
	// nests them is shown as much as of attributes.
	if w.depth > maxNests {
		w.rest(end, "quoted more than %d deep", maxNests)
		return summary
	}

	about := w.d.requests[requestKey{w.m.Protocol, h.Seq}]
	w.depth++
	var req wire.Header
	start, from := w.at, len(w.m.Fields)
	w.heading("nlmsghdr of the request")
	whole = w.header(end, &req)
	if whole && h.Flags&wire.FlagCapped == 0 {
		switch left := end - w.at; {
		case req.Len < wire.HeaderLen:
			w.rest(end, "the request quoted has an impossible length")
		case uint64(req.Len)-wire.HeaderLen > uint64(left):
			w.rest(end, "the request quoted had %d bytes here", req.Len-wire.HeaderLen)
		default:
			to := w.at + int(req.Len) - wire.HeaderLen
			w.body(req, to)
			w.rest(to, "left over in the request quoted")
			w.padding(start, end)
			if names := w.names(from, start); names != nil {
				about.names = names
			}
		}
	}
	w.depth--
	if whole {
		w.extAck(h, end, about)
	}
	return summary
}

// done covers the end of a dump.
func (w *walker) done(h wire.Header, end int) (summary string) {
	name := w.d.protocolName(w.m.Protocol)
	if w.at == end {
		return name + " end of a dump"
	}
	w.heading("end of a dump")
	errno, whole := w.code(end, "the dump is complete")
	if !whole {
		return name + " end of a dump, cut short"
	}
	w.extAck(h, end, w.d.requests[requestKey{w.m.Protocol, h.Seq}])
	return name + " " + outcome(errno, "end of a dump", "end of a dump: error")
}

// extAck covers an extended acknowledgment.
func (w *walker) extAck(h wire.Header, end int, about request) {
	if h.Flags&wire.FlagAckTLVs == 0 {
		w.rest(end, "left over: without NLM_F_ACK_TLVS nothing follows")
		return
	}
	from := len(w.m.Fields)
	w.attrs(end, &ackTable, ackTable.sets["extended-ack"])

	nested := false
	for _, f := range w.m.Fields[from:] {
		nested = nested || f.Name == "miss-nest" && f.Kind == Value
	}
	for i := range w.m.Fields[from:] {
		f := &w.m.Fields[from+i]
		v, ok := f.Value.(uint64)
		if !ok || f.Depth != w.depth+1 {
			continue
		}
		switch f.Name {
		case "offs", "miss-nest":
			f.Meaning += ", from the beginning of the request"
			if name := about.names[uint32(v)]; name != "" {
				f.Meaning += ": " + name
			}
		case "miss-type":
			if a, ok := about.attr(uint16(v)); ok && !nested {
				f.Meaning += " " + a.c
			}
		}
	}
}

// attr finds an attribute of the request.
func (r *request) attr(typ uint16) (attribute, bool) {
	if r.table == nil {
		return attribute{}, false
	}
	a, ok := r.table.sets[r.set][typ]
	return a, ok
}
